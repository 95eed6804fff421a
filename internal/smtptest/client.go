package smtptest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Client is a client's side of a dialogue.
type Client struct {
	Conn net.Conn
	TLS  *tls.Conn // nil in clear

	t testing.TB
	r *bufio.Reader
}

// Dial connects to addr. The connection is closed with the test.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("smtptest: %v", err)
	}
	return Over(t, conn)
}

// Over makes a client of a connection.
func Over(t testing.TB, conn net.Conn) *Client {
	conn.SetDeadline(time.Now().Add(Patience))
	t.Cleanup(func() { conn.Close() })
	return &Client{Conn: conn, t: t, r: bufio.NewReader(conn)}
}

func (c *Client) stream() net.Conn {
	if c.TLS != nil {
		return c.TLS
	}
	return c.Conn
}

// Send sends octets in one write, so that on loopback they arrive together.
func (c *Client) Send(octets string) {
	c.t.Helper()
	if _, err := io.WriteString(c.stream(), octets); err != nil {
		c.t.Fatalf("sending %.60q: %v", octets, err)
	}
}

// Try is Send where the other side may be gone.
func (c *Client) Try(octets string) error {
	_, err := io.WriteString(c.stream(), octets)
	return err
}

// Reply reads one reply, with its line ends.
func (c *Client) Reply() (string, error) {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil || len(line) < 4 || line[3] != '-' {
			return b.String(), err
		}
	}
}

// Expect reads one reply and fails the test unless its last line begins with
// want.
func (c *Client) Expect(want string) string {
	c.t.Helper()
	r, err := c.Reply()
	lines := strings.Split(strings.TrimSuffix(r, "\r\n"), "\r\n")
	if !strings.HasPrefix(lines[len(lines)-1], want) {
		c.t.Fatalf("got %q (%v), want %s", r, err, want)
	}
	return r
}

// Do sends one command, or several joined by CRLF, in one write and expects as
// many replies.
func (c *Client) Do(commands string, want ...string) (last string) {
	c.t.Helper()
	c.Send(commands + "\r\n")
	for _, w := range want {
		last = c.Expect(w)
	}
	return last
}

// ExpectClose fails the test unless the other side closes without another
// reply.
func (c *Client) ExpectClose() {
	c.t.Helper()
	if r, err := c.Reply(); err == nil || r != "" {
		c.t.Fatalf("got %q, want the connection closed", r)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatal("the connection stays open")
	}
}

// Handshake begins TLS. What was read ahead is dropped.
func (c *Client) Handshake(config *tls.Config) error {
	t := tls.Client(c.Conn, config)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.TLS, c.r = t, bufio.NewReader(t)
	return nil
}

// StartTLS asks for TLS and does the handshake.
func (c *Client) StartTLS(config *tls.Config) {
	c.t.Helper()
	c.Do("STARTTLS", "220")
	if err := c.Handshake(config); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
}

// Close closes the connection without a word.
func (c *Client) Close() { c.Conn.Close() }
