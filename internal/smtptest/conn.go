package smtptest

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// Conn is one connection of a Backend, and what was received on it.
type Conn struct {
	net.Conn
	stream io.ReadWriter // the socket, or TLS on it
	secure *tls.Conn
	b      *Backend
	script Script
	stop   <-chan struct{}
	r      *bufio.Reader

	mu       sync.Mutex
	segments []string
	header   string
	commands []string
	messages []string
	chunks   strings.Builder
	over     bool
}

// Segments are the octets that came, read by read.
func (c *Conn) Segments() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.segments...)
}

// Octets is all that came.
func (c *Conn) Octets() string { return strings.Join(c.Segments(), "") }

// Header is the PROXY header, where the script asks for one.
func (c *Conn) Header() string { return c.locked(&c.header) }

func (c *Conn) locked(s *string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *s
}

// Commands are the lines that were executed, without their line ends.
func (c *Conn) Commands() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.commands...)
}

// Messages are the whole messages of the connection: see Backend.Messages.
func (c *Conn) Messages() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.messages...)
}

// Over says whether the connection has ended.
func (c *Conn) Over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// WaitOver waits for the end of the connection.
func (c *Conn) WaitOver() {
	c.b.t.Helper()
	c.b.Wait("the end of a connection", c.Over)
}

// WaitFor waits until the octets that came hold text.
func (c *Conn) WaitFor(text string) {
	c.b.t.Helper()
	c.b.Wait(fmt.Sprintf("%q", text), func() bool { return strings.Contains(c.Octets(), text) })
}

// update changes what is known of the connection, and tells who waits for it.
func (c *Conn) update(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	c.b.note()
}

// Read keeps what it reads.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.stream.Read(p)
	if n > 0 {
		c.update(func() { c.segments = append(c.segments, string(p[:n])) })
	}
	return n, err
}

func (c *Conn) serve() {
	defer c.update(func() { c.over = true })
	defer c.Close()
	c.r = bufio.NewReaderSize(c, 64<<10)
	if c.script.Proxy > 0 && c.proxyHeader() != nil {
		return
	}
	if c.script.Implicit && !c.handshake() {
		return
	}
	if !c.phase("greeting", "", "220 gullible ESMTP") {
		return
	}
	for {
		line, err := c.line()
		if err != nil {
			return
		}
		c.update(func() { c.commands = append(c.commands, line) })
		if !c.execute(line) {
			return
		}
	}
}

// line reads up to CR, LF or both.
func (c *Conn) line() (string, error) {
	var b strings.Builder
	for {
		switch ch, err := c.r.ReadByte(); {
		case err != nil:
			return "", err
		case ch == '\r' || ch == '\n':
			c.pair(ch)
			return b.String(), nil
		default:
			b.WriteByte(ch)
		}
	}
}

// pair consumes the LF of a CRLF.
func (c *Conn) pair(ch byte) {
	if ch != '\r' {
		return
	}
	if next, err := c.r.Peek(1); err == nil && next[0] == '\n' {
		c.r.Discard(1)
	}
}

// phase answers as the script says, else with reply. It says false where the
// connection is at its end.
func (c *Conn) phase(name, line, reply string) bool {
	inner := name
	if c.secure != nil {
		inner = "TLS " + name
	}
	hold := c.script.Hold[inner]
	if hold == nil {
		hold = c.script.Hold[name]
	}
	if hold != nil {
		select {
		case <-hold:
		case <-c.stop:
			return false
		}
	}
	if c.script.Die == name || c.script.Die == inner {
		return false
	}
	if r, ok := c.script.Replies[inner]; ok {
		reply = r
	} else if r, ok := c.script.Replies[name]; ok {
		reply = r
	}
	if c.script.Answer != nil {
		if r := c.script.Answer(c, name, line); r != "" {
			reply = r
		}
	}
	if reply == "" {
		return true
	}
	_, err := io.WriteString(c.stream, reply+"\r\n")
	return err == nil && !strings.HasPrefix(reply, "421") && !strings.HasPrefix(reply, "221")
}

// Say writes octets at once, for an Answer.
func (c *Conn) Say(octets string) { io.WriteString(c.stream, octets) }

func (c *Conn) execute(line string) bool {
	word, args, _ := strings.Cut(line, " ")
	switch verb := strings.ToUpper(word); verb {
	case "EHLO":
		return c.phase(verb, line, "250-gullible\r\n250-"+strings.Join(c.capabilities(), "\r\n250-")+"\r\n250 X-END")
	case "STARTTLS":
		return c.startTLS(line)
	case "DATA":
		return c.data(line)
	case "BDAT":
		return c.bdat(line, args)
	case "QUIT":
		return c.phase(verb, line, "221 2.0.0 bye")
	case "AUTH":
		return c.phase(verb, line, "235 2.7.0 welcome")
	case "XCLIENT":
		return c.phase(verb, line, "220 gullible ESMTP")
	default:
		return c.phase(verb, line, "250 2.0.0 ok")
	}
}

func (c *Conn) capabilities() []string {
	if c.script.TLS == nil || c.script.Hidden || c.secure != nil {
		return c.script.Capabilities
	}
	return append([]string{"STARTTLS"}, c.script.Capabilities...)
}

func (c *Conn) startTLS(line string) bool {
	if c.script.TLS == nil {
		return c.phase("STARTTLS", line, "502 5.5.1 no")
	}
	if !c.phase("STARTTLS", line, "220 2.0.0 ready") {
		return false
	}
	if said := c.script.Replies["STARTTLS"]; said != "" && !strings.HasPrefix(said, "220") {
		return true
	}
	return c.handshake()
}

func (c *Conn) handshake() bool {
	if !c.phase("handshake", "", "") {
		return false
	}
	t := tls.Server(c.Conn, c.script.TLS)
	if t.Handshake() != nil {
		return false
	}
	c.update(func() { c.secure = t })
	c.stream = t
	c.r = bufio.NewReaderSize(c, 64<<10)
	return true
}

// Secured is the state of TLS; nil in clear.
func (c *Conn) Secured() *tls.ConnectionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secure == nil {
		return nil
	}
	state := c.secure.ConnectionState()
	return &state
}

// data takes a message that ends at a dot between any two line ends.
func (c *Conn) data(line string) bool {
	if !c.phase("DATA", line, "354 go ahead") {
		return false
	}
	if said := c.script.Replies["DATA"]; said != "" && !strings.HasPrefix(said, "354") {
		return true
	}
	if c.script.Die == "message" {
		c.r.Peek(1)
		return false
	}
	message, err := c.message()
	if err != nil {
		return false
	}
	c.update(func() { c.messages = append(c.messages, message) })
	return c.phase(".", "", "250 2.0.0 queued")
}

func (c *Conn) message() (string, error) {
	var b strings.Builder
	for start := true; ; {
		ch, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		if next, _ := c.r.Peek(1); start && ch == '.' && len(next) == 1 && (next[0] == '\r' || next[0] == '\n') {
			c.r.Discard(1)
			c.pair(next[0])
			return b.String(), nil
		}
		b.WriteByte(ch)
		start = ch == '\r' || ch == '\n'
	}
}

func (c *Conn) bdat(line, args string) bool {
	size, last, _ := strings.Cut(args, " ")
	n, err := strconv.Atoi(size)
	if err != nil {
		return c.phase("BDAT", line, "501 5.5.4 bad size")
	}
	if c.script.Die == "message" {
		c.r.Peek(1)
		return false
	}
	chunk := make([]byte, n)
	if _, err := io.ReadFull(c.r, chunk); err != nil {
		return false
	}
	c.chunks.Write(chunk)
	if last == "" {
		return c.phase("BDAT", line, fmt.Sprintf("250 2.0.0 %d octets", n))
	}
	c.update(func() {
		c.messages = append(c.messages, c.chunks.String())
		c.chunks.Reset()
	})
	return c.phase(".", line, "250 2.0.0 queued")
}

// proxyHeader takes a PROXY header for granted, of the version of the script.
func (c *Conn) proxyHeader() error {
	if c.script.Proxy == 1 {
		line, err := c.r.ReadString('\n')
		c.update(func() { c.header = line })
		return err
	}
	fixed := make([]byte, 16)
	if _, err := io.ReadFull(c.r, fixed); err != nil {
		return err
	}
	rest := make([]byte, binary.BigEndian.Uint16(fixed[14:]))
	_, err := io.ReadFull(c.r, rest)
	c.update(func() { c.header = string(fixed) + string(rest) })
	return err
}
