package proxy

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// pipe is a pair of connections within the process that behaves like TCP: each
// direction has a buffer, and deadlines are kept. In a synctest bubble time stands
// still while octets are under way.
func pipe() (a, b net.Conn) {
	there, back := newStream(), newStream()
	return &pipeEnd{out: there, in: back}, &pipeEnd{out: back, in: there}
}

// pipeBuffer is what one direction holds, in octets.
const pipeBuffer = 64 << 10

// stream is one direction.
type stream struct {
	mu          sync.Mutex
	changed     *sync.Cond
	octets      []byte
	ended, gone bool // by who writes, by who reads
	read, write deadline
}

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// deadline is the end of someone's patience.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (s *stream) set(d *deadline, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.at = at; !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), s.wake)
	}
	s.changed.Broadcast()
}

func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

func (s *stream) stop() {
	for _, d := range []*deadline{&s.read, &s.write} {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
}

// pipeEnd is one of the connections.
type pipeEnd struct{ in, out *stream }

// Read implements net.Conn.
func (p *pipeEnd) Read(b []byte) (int, error) {
	s := p.in
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.read.over():
			return 0, os.ErrDeadlineExceeded
		case len(s.octets) > 0:
			n := copy(b, s.octets)
			s.octets = s.octets[n:]
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

// Write implements net.Conn.
func (p *pipeEnd) Write(b []byte) (n int, err error) {
	s := p.out
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended:
			return n, net.ErrClosed
		case s.gone:
			return n, syscall.EPIPE
		case s.write.over():
			return n, os.ErrDeadlineExceeded
		}
		k := min(len(b)-n, pipeBuffer-len(s.octets))
		s.octets = append(s.octets, b[n:n+k]...)
		s.changed.Broadcast()
		if n += k; n == len(b) {
			return n, nil
		}
		s.changed.Wait()
	}
}

// Close implements net.Conn.
func (p *pipeEnd) Close() error {
	for s, end := range map[*stream]*bool{p.in: &p.in.gone, p.out: &p.out.ended} {
		s.mu.Lock()
		*end = true
		s.stop()
		s.changed.Broadcast()
		s.mu.Unlock()
	}
	return nil
}

var pipeAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}

// LocalAddr implements net.Conn.
func (p *pipeEnd) LocalAddr() net.Addr { return pipeAddr }

// RemoteAddr implements net.Conn.
func (p *pipeEnd) RemoteAddr() net.Addr { return pipeAddr }

// SetDeadline implements net.Conn.
func (p *pipeEnd) SetDeadline(t time.Time) error {
	p.in.set(&p.in.read, t)
	p.out.set(&p.out.write, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (p *pipeEnd) SetReadDeadline(t time.Time) error { p.in.set(&p.in.read, t); return nil }

// SetWriteDeadline implements net.Conn.
func (p *pipeEnd) SetWriteDeadline(t time.Time) error { p.out.set(&p.out.write, t); return nil }

// pipeListener accepts pipes.
type pipeListener struct {
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), over: make(chan struct{})}
}

func (l *pipeListener) connect() (net.Conn, error) {
	a, b := pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.over:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error { l.once.Do(func() { close(l.over) }); return nil }

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return pipeAddr }

// newPipedWorld is a world without sockets, for a synctest bubble.
func newPipedWorld(t testing.TB) *world {
	w := newWorld(t)
	w.pipes = map[*smtptest.Backend]*pipeListener{}
	return w
}

// start starts a server.
func (w *world) start(s smtptest.Script) *smtptest.Backend {
	if w.pipes == nil {
		return smtptest.NewBackend(w.t, s)
	}
	l := newPipeListener()
	b := smtptest.NewBackendOn(w.t, l, s)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pipes[b] = l
	return b
}

// realistic are the time limits of the default configuration.
var realistic = Timeouts{Proxy: 10 * time.Second, Connect: 30 * time.Second, StartTLS: 30 * time.Second, Route: 3 * time.Minute,
	Command: 5 * time.Minute, Data: 3 * time.Minute, Final: 15 * time.Minute, Session: 2 * time.Hour}

// newPipedEgress starts a gateway without sockets, in a synctest bubble.
func newPipedEgress(t testing.TB, w *world, change ...func(*layout)) *egress {
	e := makeEgress(t, w, append([]func(*layout){func(p *layout) {
		p.Timeouts, p.gateway.Timeouts, p.gateway.ReuseIdle = realistic, realistic, 0
	}}, change...)...)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = e.Shutdown(ctx) // sessions that a test left open are cut off
		e.g.Close()
		<-time.After(time.Minute) // of the bubble: what is left comes to its end
		e.watch.update(func() {
			if e.watch.open != 0 {
				t.Errorf("%d steps were opened and not closed", e.watch.open)
			}
			if log := e.log.b.String(); strings.Contains(log, "please report it") {
				t.Error(log)
			}
		})
	})
	return e
}

// connect is a client's connection to the gateway.
func (e *egress) connect() *smtptest.Client {
	e.t.Helper()
	if e.w.pipes == nil {
		return smtptest.Dial(e.t, e.addr)
	}
	down, client := pipe()
	e.admit(down)
	c := smtptest.Over(e.t, client)
	client.SetDeadline(time.Time{})
	return c
}
