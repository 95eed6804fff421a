package harness

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Client is an SMTP client that sends what it is told, octet by octet, and
// fails the test when the answer is not the expected one.
type Client struct {
	Greeting string
	Hello    string   // its name in StartTLS, client.test when empty
	conn     net.Conn // of the SMTP layer: TLS after StartTLS
	raw      net.Conn // the TCP connection
	r        *bufio.Reader
	t        testing.TB
}

// Connect opens a connection and sends and reads nothing.
func Connect(t testing.TB, addr string) *Client {
	t.Helper()
	return ConnectFrom(t, "", addr)
}

// ConnectFrom opens a connection from a local address, such as 127.0.0.7.
func ConnectFrom(t testing.TB, ip, addr string) *Client {
	t.Helper()
	dialer := net.Dialer{Timeout: Deadline}
	if ip != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
	}
	conn, err := dialer.Dial("tcp", addr)
	must(t, err)
	return newClient(t, conn)
}

// TryConnect is Connect for a listener that may be closed.
func TryConnect(t testing.TB, addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, Deadline)
	if err != nil {
		return nil, err
	}
	return newClient(t, conn), nil
}

func newClient(t testing.TB, conn net.Conn) *Client {
	t.Cleanup(func() { conn.Close() })
	return &Client{conn: conn, raw: conn, r: bufio.NewReader(conn), t: t}
}

// Dial opens a connection and reads the greeting.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	c := Connect(t, addr)
	c.Greeting = c.Expect(220)
	return c
}

// DialTLS opens a connection with implicit TLS and reads the greeting.
func DialTLS(t testing.TB, addr string, config *tls.Config) *Client {
	t.Helper()
	c := Connect(t, addr)
	c.handshake(config)
	c.Greeting = c.Expect(220)
	return c
}

// Send writes raw octets, in one segment as far as TCP has any.
func (c *Client) Send(raw string) {
	c.t.Helper()
	c.deadline()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("send %.60q: %v", raw, err)
	}
}

// TrySend is Send for octets that the other end may refuse by closing.
func (c *Client) TrySend(raw string) error {
	c.deadline()
	_, err := io.WriteString(c.conn, raw)
	return err
}

// Segments writes each part only after the program at the other end has read
// the part before: it sees them in separate reads.
func (c *Client) Segments(parts ...string) {
	c.t.Helper()
	for _, part := range parts {
		if c.TrySend(part) != nil {
			return
		}
		Eventually(c.t, "the other end reads a segment", func() bool { return consumed(c.raw) })
	}
}

// Reply reads one reply, of one or more lines, and returns its code and text.
func (c *Client) Reply() (int, string, error) {
	c.deadline()
	var text strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		text.WriteString(line)
		if err != nil {
			return 0, text.String(), err
		}
		if !strings.HasSuffix(line, "\r\n") || len(line) < 5 {
			return 0, text.String(), fmt.Errorf("not a reply line: %q", line)
		}
		if line[3] != '-' {
			code, err := strconv.Atoi(line[:3])
			return code, text.String(), err
		}
	}
}

// Expect reads one reply and fails the test unless its code is the given one,
// or one of its class where the code is a single digit.
func (c *Client) Expect(code int) string {
	c.t.Helper()
	got, text, err := c.Reply()
	if err != nil {
		c.t.Fatalf("want reply %d, got %q and %v", code, text, err)
	}
	if got != code && (code > 9 || got/100 != code) {
		c.t.Fatalf("want reply %d, got %q", code, text)
	}
	return text
}

// Cmd sends one command line and expects a reply.
func (c *Client) Cmd(line string, code int) string {
	c.t.Helper()
	c.Send(line + "\r\n")
	got, text, err := c.Reply()
	if err != nil || got != code && (code > 9 || got/100 != code) {
		c.t.Fatalf("%.60q: want %d, got %q %v", line, code, text, err)
	}
	return text
}

// StartTLS says EHLO, STARTTLS, and EHLO again inside TLS, whose reply it
// returns.
func (c *Client) StartTLS(config *tls.Config) string {
	c.t.Helper()
	hello := "EHLO " + cmp.Or(c.Hello, "client.test")
	c.Cmd(hello, 250)
	c.Cmd("STARTTLS", 220)
	c.handshake(config)
	return c.Cmd(hello, 250)
}

// Handshake does the TLS handshake alone.
func (c *Client) Handshake(config *tls.Config) error {
	c.deadline()
	conn := tls.Client(c.raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
	return nil
}

func (c *Client) handshake(config *tls.Config) {
	c.t.Helper()
	if err := c.Handshake(config); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
}

// State is the state of the TLS connection.
func (c *Client) State() tls.ConnectionState {
	c.t.Helper()
	conn, ok := c.conn.(*tls.Conn)
	if !ok {
		c.t.Fatal("not in TLS")
	}
	return conn.ConnectionState()
}

// Envelope sends MAIL, RCPT and DATA, and returns after the 354.
func (c *Client) Envelope(from, to string) {
	c.t.Helper()
	c.Cmd("MAIL FROM:<"+from+">", 250)
	c.Cmd("RCPT TO:<"+to+">", 250)
	c.Cmd("DATA", 354)
}

// Deliver sends a message, dot-stuffed, and expects 250.
func (c *Client) Deliver(message string) {
	c.t.Helper()
	c.Envelope("a@client.test", "b@mx.test")
	c.Send(Stuff(message) + ".\r\n")
	c.Expect(250)
}

// Quit says goodbye.
func (c *Client) Quit() {
	c.t.Helper()
	c.Cmd("QUIT", 221)
}

// Closed fails the test unless the other end closes without a further word.
func (c *Client) Closed() {
	c.t.Helper()
	if rest := c.Rest(); rest != "" {
		c.t.Errorf("want the connection closed, got %q", rest)
	}
}

// Rest reads until the other end closes, and fails the test when it does not.
func (c *Client) Rest() string {
	c.t.Helper()
	c.deadline()
	rest, err := io.ReadAll(c.r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("the other end did not close; it said %q", rest)
	}
	return string(rest)
}

// Close closes the connection without QUIT.
func (c *Client) Close() { c.raw.Close() }

// LocalPort is the port that the client sends from.
func (c *Client) LocalPort() int { return int(addrOf(c.raw.LocalAddr()).Port()) }

func (c *Client) deadline() { _ = c.raw.SetDeadline(time.Now().Add(Deadline)) }

// Stuff doubles the dots at the beginning of lines (RFC 5321, 4.5.2).
func Stuff(message string) string {
	if strings.HasPrefix(message, ".") {
		message = "." + message
	}
	return strings.ReplaceAll(message, "\r\n.", "\r\n..")
}

// Capabilities are the keyword lines of an EHLO reply.
func Capabilities(reply string) []string {
	var all []string
	for i, line := range strings.Split(strings.TrimRight(reply, "\r\n"), "\r\n") {
		if i > 0 {
			all = append(all, line[4:])
		}
	}
	return all
}
