package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Script says how a scripted Backend behaves. The zero value is a polite
// server that takes every message.
type Script struct {
	// Gullible takes a bare LF or CR for a line end and believes every
	// ending of a message that any server ever believed: what postern must
	// protect it from.
	Gullible bool
	// Capabilities of its EHLO reply; the usual ones when nil.
	Capabilities []string
	// Reply gives another reply to a verb, to "greeting" or to "." (the
	// message). Close closes instead, Hang never answers.
	Reply map[string]string
	// CloseAfter closes once so many octets of a message have come.
	CloseAfter int
	// Delay is the time that it takes to answer a message.
	Delay time.Duration
	// Proxy reads a PROXY header line or v2 header before the greeting.
	Proxy bool
	// Wrap puts something around the listener, such as another PROXY reader.
	Wrap func(net.Listener) net.Listener
}

// Close and Hang are replies that are none.
const (
	Close = "close"
	Hang  = "hang"
)

var usual = []string{"PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "HELP"}

// Backend is a server that follows a Script and keeps what it was sent.
type Backend struct {
	Addr string
	Stop func() // makes it listen no more

	t        testing.TB
	script   Script
	mu       sync.Mutex
	sessions []*Session
	done     chan struct{}
}

// Session is what one connection brought. Read it through Backend.Sessions.
type Session struct {
	Proxy    []byte   // the PROXY header as it came
	Remote   string   // address of the client
	Commands []string // without line ends
	Messages [][]byte // after dot-unstuffing, without the ending
	Ended    bool
}

// NewBackend starts a scripted server.
func NewBackend(t testing.TB, script Script) *Backend {
	t.Helper()
	return NewBackendAt(t, "127.0.0.1:0", script)
}

// NewBackendAt is NewBackend on an address.
func NewBackendAt(t testing.TB, addr string, script Script) *Backend {
	t.Helper()
	b := &Backend{t: t, script: script, done: make(chan struct{})}
	l, err := net.Listen("tcp", addr)
	must(t, err)
	b.Addr = l.Addr().String()
	if script.Wrap != nil {
		l = script.Wrap(l)
	}
	b.Stop = func() { l.Close() }
	t.Cleanup(func() { close(b.done); b.Stop() })
	go b.accept(l)
	return b
}

func (b *Backend) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s := &Session{}
		b.mu.Lock()
		b.sessions = append(b.sessions, s)
		script := b.script
		b.mu.Unlock()
		go b.serve(conn, s, script)
	}
}

// Change gives later connections another script.
func (b *Backend) Change(script Script) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = script
}

// Sessions returns a copy of what came so far, without the probes: sessions
// that only looked at the capabilities.
func (b *Backend) Sessions() []Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Session
	for _, s := range b.sessions {
		if !s.probe() {
			c := *s
			c.Commands, c.Messages = slices.Clone(s.Commands), slices.Clone(s.Messages)
			all = append(all, c)
		}
	}
	return all
}

func (s *Session) probe() bool {
	return !slices.ContainsFunc(s.Commands, func(c string) bool {
		switch strings.ToUpper(strings.Fields(c + " -")[0]) {
		case "EHLO", "HELO", "QUIT", "XCLIENT":
			return false
		}
		return true
	})
}

// Commands returns the commands of all sessions.
func (b *Backend) Commands() []string {
	var all []string
	for _, s := range b.Sessions() {
		all = append(all, s.Commands...)
	}
	return all
}

// Messages returns the messages of all sessions.
func (b *Backend) Messages() [][]byte {
	var all [][]byte
	for _, s := range b.Sessions() {
		all = append(all, s.Messages...)
	}
	return all
}

// Idle waits until every connection has ended.
func (b *Backend) Idle() {
	b.t.Helper()
	Eventually(b.t, "all connections to the backend end", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return !slices.ContainsFunc(b.sessions, func(s *Session) bool { return !s.Ended })
	})
}

func (b *Backend) record(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// link is one connection to the backend.
type link struct {
	*Backend
	script Script
	s      *Session
	chunks []byte // of a message by BDAT, so far
	r      *bufio.Reader
	w      *bufio.Writer
}

func (b *Backend) serve(conn net.Conn, s *Session, script Script) {
	l := &link{Backend: b, script: script, s: s, r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriter(conn)}
	defer b.record(func() { s.Ended = true })
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(3 * Deadline))
	remote := conn.RemoteAddr().String() // a wrapped one reads the header here
	b.record(func() { s.Remote = remote })
	if script.Proxy && l.readProxy() != nil {
		return
	}
	if !l.answer("greeting", "220 backend.test ESMTP") {
		return
	}
	for l.command() {
	}
	l.w.Flush()
}

// readProxy keeps the PROXY header, version 1 or 2, as it came.
func (l *link) readProxy() error {
	start, err := l.r.Peek(1)
	if err != nil {
		return err
	}
	var header []byte
	if start[0] == '\r' {
		if start, err = l.r.Peek(16); err != nil {
			return err
		}
		header = make([]byte, 16+int(start[14])<<8+int(start[15]))
		_, err = io.ReadFull(l.r, header)
	} else {
		header, err = l.r.ReadBytes('\n')
	}
	l.record(func() { l.s.Proxy = header })
	return err
}

// command reads and answers one command, and reports whether to go on.
func (l *link) command() bool {
	if l.r.Buffered() == 0 && l.w.Flush() != nil {
		return false
	}
	line, err := l.line()
	if err != nil {
		return false
	}
	if line == "" {
		return true
	}
	l.record(func() { l.s.Commands = append(l.s.Commands, line) })
	fields := strings.Fields(line + " -")
	switch verb := strings.ToUpper(fields[0]); verb {
	case "EHLO":
		return l.answer(verb, l.capabilities())
	case "DATA":
		return l.answer(verb, "354 go on") && l.data()
	case "BDAT":
		return l.bdat(fields)
	case "MAIL", "RSET":
		l.chunks = nil
		return l.answer(verb, "250 2.0.0 ok")
	case "QUIT":
		l.answer(verb, "221 2.0.0 bye")
		return false
	case "XCLIENT":
		return l.answer(verb, "220 backend.test ESMTP")
	default:
		return l.answer(verb, "250 2.0.0 ok")
	}
}

func (l *link) capabilities() string {
	lines := l.script.Capabilities
	if lines == nil {
		lines = usual
	}
	all := append([]string{"backend.test"}, lines...)
	var b strings.Builder
	for i, c := range all {
		sep := "-"
		if i == len(all)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + c + "\r\n")
	}
	return strings.TrimSuffix(b.String(), "\r\n")
}

// answer writes the scripted reply to verb, or the given one, and reports
// whether the connection goes on and, for DATA, whether data may follow.
func (l *link) answer(verb, reply string) bool {
	if scripted, ok := l.script.Reply[verb]; ok {
		reply = scripted
	}
	switch reply {
	case Close:
		l.w.Flush()
		return false
	case Hang:
		l.w.Flush()
		_, _ = io.Copy(io.Discard, l.r) // until the other end gives up
		return false
	}
	_, err := l.w.WriteString(reply + "\r\n")
	return err == nil
}

// line reads a command: to CRLF, or for a gullible server to the first CR or
// LF.
func (l *link) line() (string, error) {
	if l.script.Gullible {
		var line []byte
		for {
			c, err := l.r.ReadByte()
			if err != nil || c == '\n' || c == '\r' {
				if c == '\r' && err == nil {
					l.skipLF()
				}
				return string(line), err
			}
			line = append(line, c)
		}
	}
	line, err := l.r.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// skipLF takes the LF of a CRLF, which always comes with its CR.
func (l *link) skipLF() {
	if next, err := l.r.Peek(1); err == nil && next[0] == '\n' {
		_, _ = l.r.Discard(1)
	}
}

var anyEnding = regexp.MustCompile(`(^|[\r\n])\x00?\.\x00?[\r\n]$`)

// data reads a message to its end, and answers it.
func (l *link) data() bool {
	if reply, ok := l.script.Reply["DATA"]; ok && !strings.HasPrefix(reply, "354") {
		return true
	}
	l.w.Flush()
	var raw []byte
	for !l.ended(raw) {
		c, err := l.r.ReadByte()
		if err != nil || l.script.CloseAfter > 0 && len(raw) >= l.script.CloseAfter {
			return false
		}
		raw = append(raw, c)
	}
	if l.script.Gullible {
		raw = anyEnding.ReplaceAll(raw, []byte("$1"))
	} else {
		raw = raw[:len(raw)-3]
	}
	text := strings.ReplaceAll("\r\n"+string(raw), "\r\n.", "\r\n")[2:]
	return l.took([]byte(text))
}

func (l *link) ended(raw []byte) bool {
	if l.script.Gullible {
		return anyEnding.Match(raw[max(0, len(raw)-5):])
	}
	if len(raw) < 3 || string(raw[len(raw)-3:]) != ".\r\n" {
		return false
	}
	return len(raw) == 3 || len(raw) >= 5 && string(raw[len(raw)-5:len(raw)-3]) == "\r\n"
}

// bdat reads a chunk. A gullible server would not be fooled here: the length
// is the length. What it keeps is the octets.
func (l *link) bdat(fields []string) bool {
	n, err := strconv.Atoi(fields[1])
	if err != nil {
		return l.answer("", "501 5.5.4 bad chunk")
	}
	chunk := make([]byte, n)
	if _, err := io.ReadFull(l.r, chunk); err != nil {
		return false
	}
	if l.chunks = append(l.chunks, chunk...); !strings.EqualFold(fields[2], "LAST") {
		return l.answer("BDAT", "250 2.0.0 "+fmt.Sprint(n))
	}
	return l.took(l.chunks)
}

func (l *link) took(message []byte) bool {
	l.chunks = nil
	l.record(func() { l.s.Messages = append(l.s.Messages, message) })
	select {
	case <-l.done:
	case <-time.After(l.script.Delay):
	}
	return l.answer(".", "250 2.0.0 taken")
}
