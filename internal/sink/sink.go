// Package sink is a throw-away SMTP server: it takes every message, counts
// it, and forgets it. The demo's backend, the benchmarks and the tests share
// it.
//
// It is gullible on purpose. It accepts MAIL, RCPT and DATA in any order, from
// anybody, believes every XCLIENT, and keeps nothing that would protect it:
// no time limit, no limit on recipients, no relay rules. So it shows what a
// proxy lets through, and it must never listen where strangers can reach it.
//
// It is strict in two places, because measurements depend on them. A message
// ends at CRLF.CRLF and nowhere else (RFC 5321, 4.1.1.4), and bytes that
// follow STARTTLS before the handshake end the connection (RFC 3207, 4.2).
//
// It is fast, because it is the backend in benchmarks: a body that nobody
// looks at is searched for its end a buffer at a time, and the replies to one
// group of pipelined commands leave in one write.
//
// # Verification
//
// After Reset(true) every message is checked. A message that takes part
// carries two header lines, in this order:
//
//	X-Bench-Id: any text that is unique among the messages sent
//	X-Bench-Sha256: the SHA-256 in hexadecimal of all that follows this line
//
// Stats counts those whose sum is right, those whose sum is wrong or missing,
// and those whose id had been seen before. Lines above them, such as the
// Received line that a proxy puts on top, do not matter. The memory that it
// takes does not depend on the message.
package sink

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
)

// DefaultMaxData is how many bytes of a message are kept for OnMessage unless
// Server.MaxData says otherwise.
const DefaultMaxData = 1 << 20

// DefaultCapabilities is what EHLO offers unless Server.Capabilities says
// otherwise; STARTTLS is added by ServeSTARTTLS.
var DefaultCapabilities = []string{
	"PIPELINING", "SIZE 209715200", "8BITMIME", "CHUNKING", "SMTPUTF8",
	"XCLIENT NAME ADDR PROTO HELO LOGIN PORT", "ENHANCEDSTATUSCODES",
}

// Server is an SMTP server that takes every message. Its zero value works, as
// a plaintext server that only counts. Set the exported fields before the
// first call of a Serve method and leave them alone afterwards.
type Server struct {
	// Name is how the server calls itself; "sink.bench.test" when empty.
	Name string
	// Capabilities are the lines of the EHLO reply after the name, without
	// STARTTLS. Nil means DefaultCapabilities.
	Capabilities []string
	// TLS is needed by ServeSTARTTLS and ServeTLS.
	TLS *tls.Config
	// Inject sends plaintext replies behind the 220 to STARTTLS, in the same
	// write: the response injection that a client must not fall for.
	Inject bool
	// Trace, when set, logs each command line and why each session ended.
	Trace *log.Logger
	// OnMessage, when set, is called for each message after its last byte,
	// from the session's goroutine. It returns the reply without its CRLF,
	// such as "451 4.3.0 try later"; empty means 250.
	OnMessage func(Message) (reply string)
	// MaxData is how many bytes of a message OnMessage gets at most; 0 means
	// DefaultMaxData. What is over it is still read, counted and verified.
	MaxData int

	counters counters
	verify   verification

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]struct{} // listeners and connections
	ended  sync.WaitGroup         // the sessions
}

// Message is one message as the server got it.
type Message struct {
	From       string            // address of MAIL FROM, without the angle brackets
	To         []string          // addresses of RCPT TO, likewise
	Data       []byte            // the body, dots unstuffed, at most Server.MaxData bytes
	Size       int64             // of the whole body, in bytes
	Secured    bool              // it came through TLS
	Hello      string            // the argument of the last EHLO or HELO
	XCLIENT    map[string]string // attributes given by XCLIENT, decoded, names in upper case
	RemoteAddr net.Addr          // of the connection
}

// mode is how a listener treats its connections.
type mode int

const (
	plaintext mode = iota
	offerSTARTTLS
	implicitTLS
)

// errNoTLS says that a server without Server.TLS was asked to speak it.
var errNoTLS = errors.New("no certificate: set Server.TLS before serving TLS")

// Serve takes plaintext connections from l, without offering STARTTLS, until
// Close is called (nil) or l fails for good (its error). It closes l.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, plaintext) }

// ServeSTARTTLS is Serve with STARTTLS offered (RFC 3207).
func (s *Server) ServeSTARTTLS(l net.Listener) error { return s.serve(l, offerSTARTTLS) }

// ServeTLS is Serve with a TLS handshake before the greeting (RFC 8314, 3.3).
func (s *Server) ServeTLS(l net.Listener) error { return s.serve(l, implicitTLS) }

func (s *Server) serve(l net.Listener, m mode) error {
	defer l.Close()
	if m != plaintext && s.TLS == nil {
		return errNoTLS
	}
	if !s.register(l) {
		return nil
	}
	defer s.forget(l)
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.isClosed() {
				return nil
			}
			return err
		}
		if !s.begin(nc) {
			nc.Close()
			return nil
		}
		go s.session(nc, m)
	}
}

// session serves one connection that begin has admitted.
func (s *Server) session(nc net.Conn, m mode) {
	defer s.end(nc)
	err := newSession(s, nc, m).run()
	if err != nil && s.Trace != nil && !errors.Is(err, io.EOF) {
		s.Trace.Printf("session of %v ended: %v", nc.RemoteAddr(), err)
	}
}

// begin admits a connection. The session is counted under the lock that Close
// takes first, so that Close cannot miss one that was just accepted.
func (s *Server) begin(nc net.Conn) bool {
	if !s.register(nc) {
		return false
	}
	s.counters.accepted.Add(1)
	s.counters.open.Add(1)
	return true
}

func (s *Server) end(nc net.Conn) {
	nc.Close()
	s.counters.open.Add(-1)
	s.forget(nc)
}

func (s *Server) register(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.open == nil {
		s.open = map[io.Closer]struct{}{}
	}
	s.open[c] = struct{}{}
	s.ended.Add(1)
	return true
}

func (s *Server) forget(c io.Closer) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	s.ended.Done()
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close stops every Serve call, closes every connection and waits until their
// goroutines have ended. OnMessage must not call it. It may be called again.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.ended.Wait()
}

// Drop closes every connection that is open now, and leaves the listeners.
// To the other side it looks like a server that died and came back.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if nc, ok := c.(net.Conn); ok {
			nc.Close()
		}
	}
}

func (s *Server) name() string {
	if s.Name == "" {
		return "sink.bench.test"
	}
	return s.Name
}

func (s *Server) capabilities() []string {
	if s.Capabilities == nil {
		return DefaultCapabilities
	}
	return s.Capabilities
}

func (s *Server) maxData() int {
	if s.MaxData == 0 {
		return DefaultMaxData
	}
	return s.MaxData
}
