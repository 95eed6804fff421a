package smtptest

import (
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long something may take before a test fails. It is a safety
// net, never a measurement.
const Patience = 20 * time.Second

// Script is what a Backend does. The zero Script accepts everything.
//
// Its maps are keyed by phase: a verb in upper case, "greeting", "message" (the
// first octets of message data are there) or "." (the end of a message).
type Script struct {
	// Capabilities are the lines of the EHLO reply; nil are Default.
	Capabilities []string
	// Replies are one or more whole lines, joined by CRLF, without the last.
	Replies map[string]string
	// Answer is asked first, with the whole line; "" leaves it to Replies.
	Answer func(c *Conn, phase, line string) string
	// Hold is waited for before the phase is answered.
	Hold map[string]<-chan struct{}
	// Die is the phase at which the connection is closed without an answer.
	Die string
	// Proxy says which version of PROXY header must come first; 0: none.
	Proxy int
	// TLS is what a handshake is made with; STARTTLS is offered where it is set. The
	// phase before the handshake is "handshake"; inside TLS, "TLS EHLO" and the like
	// are looked for in Replies, Hold and Die before "EHLO".
	TLS *tls.Config
	// Hidden: STARTTLS works, but is not offered.
	Hidden bool
	// Implicit: the handshake comes first.
	Implicit bool
}

// Default is what a Backend offers.
var Default = []string{"PIPELINING", "SIZE 10000000", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN", "CHUNKING"}

// Backend is a scripted SMTP server on loopback.
type Backend struct {
	Addr string

	t        testing.TB
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	script  Script
	conns   []*Conn
	stop    chan struct{} // closed by Stop
	changed chan struct{} // closed and replaced whenever something happened
}

// NewBackend starts a backend that stops with the test.
func NewBackend(t testing.TB, s Script) *Backend {
	t.Helper()
	return NewBackendAt(t, "127.0.0.1:0", s)
}

// NewBackendAt is NewBackend at an address.
func NewBackendAt(t testing.TB, addr string, s Script) *Backend {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("smtptest: %v", err)
	}
	return NewBackendOn(t, l, s)
}

// NewBackendOn is NewBackend on a listener, which may be one without a network. Such a
// backend cannot be started again.
func NewBackendOn(t testing.TB, l net.Listener, s Script) *Backend {
	b := &Backend{Addr: l.Addr().String(), t: t, changed: make(chan struct{})}
	b.Play(s)
	b.serve(l)
	t.Cleanup(b.Stop)
	return b
}

// Play changes the script, for connections from now on.
func (b *Backend) Play(s Script) {
	if s.Capabilities == nil {
		s.Capabilities = Default
	}
	b.mu.Lock()
	b.script = s
	b.mu.Unlock()
}

func (b *Backend) serve(l net.Listener) {
	b.mu.Lock()
	b.listener, b.stop = l, make(chan struct{})
	b.mu.Unlock()
	b.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.running.Go(func() { b.take(c).serve() })
		}
	})
}

func (b *Backend) take(c net.Conn) *Conn {
	b.mu.Lock()
	k := &Conn{Conn: c, stream: c, b: b, script: b.script, stop: b.stop}
	b.conns = append(b.conns, k)
	b.mu.Unlock()
	b.note()
	return k
}

// note wakes everybody who waits for something.
func (b *Backend) note() {
	b.mu.Lock()
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
}

// Wait waits until ok says true; it is asked again whenever something happened.
func (b *Backend) Wait(what string, ok func() bool) {
	b.t.Helper()
	late := time.After(Patience)
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-late:
			b.t.Fatalf("smtptest: the backend still waits for %s", what)
		}
	}
}

// Stop closes the listener and all connections, and waits for their ends. Start
// opens the same address again.
func (b *Backend) Stop() {
	b.mu.Lock()
	b.listener.Close()
	select {
	case <-b.stop:
	default:
		close(b.stop)
	}
	for _, c := range b.conns {
		c.Conn.Close()
	}
	b.mu.Unlock()
	b.running.Wait()
}

// Start undoes Stop.
func (b *Backend) Start() {
	b.t.Helper()
	l, err := net.Listen("tcp", b.Addr)
	if err != nil {
		b.t.Fatalf("smtptest: %v", err)
	}
	b.serve(l)
}

// Forget drops the connections so far from Conns and all that counts them.
func (b *Backend) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = nil
}

// Conns are the connections so far.
func (b *Backend) Conns() []*Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*Conn(nil), b.conns...)
}

// Connection waits for the n-th connection, counted from 0.
func (b *Backend) Connection(n int) *Conn {
	b.t.Helper()
	b.Wait("a connection", func() bool { return len(b.Conns()) > n })
	return b.Conns()[n]
}

// Commands are the commands of all connections that carried one, QUIT apart.
func (b *Backend) Commands() []string {
	var all []string
	for _, c := range b.Conns() {
		for _, line := range c.Commands() {
			if !strings.EqualFold(line, "QUIT") {
				all = append(all, line)
			}
		}
	}
	return all
}

// Messages are all whole messages, as they came: from the first octet behind
// 354 up to and without the line of the dot, or the chunks joined.
func (b *Backend) Messages() []string {
	var all []string
	for _, c := range b.Conns() {
		all = append(all, c.Messages()...)
	}
	return all
}
