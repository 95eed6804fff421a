package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"postern/smtpwire"
)

// Server serves the listeners of one inbound or outbound. Its settings can be
// replaced while it runs: a session keeps those that it began with.
type Server struct {
	service    atomic.Pointer[Service]
	clients    *clients
	handshakes atomic.Int64 // finished, for Handshakes
	sweeper    *sweeper
	deepStack  workers
	ctx        context.Context
	cancel     context.CancelFunc

	mu       sync.Mutex
	sessions map[*session]struct{}
	draining bool
	awaited  bool          // somebody waits for empty
	empty    chan struct{} // closed when awaited and no session is left

	turnedAway atomic.Int32
}

// NewServer makes a server for an inbound or an outbound.
func NewServer(in Service) *Server {
	s := &Server{clients: newClients(), sweeper: newSweeper(), deepStack: newWorkers(), sessions: make(map[*session]struct{}), empty: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.Configure(in)
	return s
}

// Configure replaces the settings, for connections accepted from now on.
func (s *Server) Configure(service Service) {
	service = service.ready()
	s.service.Store(&service)
}

// now is what a connection is served as that is accepted now.
func (s *Server) now() Service { return *s.service.Load() }

// Sessions is the number of open sessions.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Handshakes is the number of TLS handshakes finished so far.
func (s *Server) Handshakes() int64 { return s.handshakes.Load() }

// acceptPause is the time to wait after accept failed: mostly for want of
// descriptors, which come back when sessions end.
const acceptPause = 20 * time.Millisecond

// Serve accepts connections until l is closed, and returns nil then. Errors of
// single connections end those alone; accept is tried again when it fails.
func (s *Server) Serve(l net.Listener) error {
	for failures := 0; ; {
		c, err := l.Accept()
		switch {
		case err == nil:
			failures = 0
			s.admit(c)
		case errors.Is(err, net.ErrClosed):
			return nil
		case s.ctx.Err() != nil:
			return nil
		default:
			if failures++; failures == 1 {
				f := s.now().settings()
				f.Log.Error("cannot accept connections; too few file descriptors?", f.named(), "error", err)
			}
			select {
			case <-s.ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}

// admit registers the session before its goroutine starts, so that Shutdown
// sees either it or no connection.
func (s *Server) admit(c net.Conn) {
	service := s.now()
	k := newConn(c)
	base := session{srv: s, front: service.settings(), id: newID(), down: leg{conn: k}, tally: tally{started: time.Now()}}
	base.who.Peer, base.who.Local = addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())
	base.who.Client = base.who.Peer
	ses := service.open(base)
	ses.down.over(k)
	if ok, cause, reply := s.register(ses); !ok {
		s.turnAway(ses, cause, reply, service.silent(ses.who.Peer.Addr()))
		return
	}
	k.over(s.sweeper)
	ses.front.Observer.Connected(ses.front.Name)
	go func() {
		defer s.recovered(ses)
		ses.role.begin(s.ctx)
	}()
}

func (s *Server) register(ses *session) (ok bool, cause Cause, r smtpwire.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limits := ses.front.Limits
	switch {
	case s.draining:
		return false, CauseShutdown, replyShutdown
	case limits.Connections > 0 && len(s.sessions) >= limits.Connections, !limits.Places.take():
		return false, CauseConnections, replyTooManyConns
	}
	s.sessions[ses] = struct{}{}
	return true, "", r
}

// maxTurnedAway bounds the connections that are being told that there are too
// many; more than that are closed without a word.
const maxTurnedAway = 64

// turnAway answers 421 to a connection that there is no place for.
func (s *Server) turnAway(ses *session, cause Cause, r smtpwire.Reply, silent bool) {
	ses.front.Observer.Refused(ses.front.Name, cause)
	if silent {
		ses.down.conn.Close()
		return
	}
	if s.turnedAway.Add(1) > maxTurnedAway {
		s.turnedAway.Add(-1)
		ses.down.conn.Close()
		return
	}
	go func() {
		defer s.turnedAway.Add(-1)
		ses.down.conn.within(lingerTimeout, time.Time{})
		ses.down.w.Raw(r.Lines)
		if ses.down.w.Flush() == nil {
			ses.linger()
		}
		ses.down.close()
	}()
}

// remove forgets a session that is over.
func (s *Server) remove(ses *session) {
	if ses.who.counted {
		s.clients.leave(ses.who.Client.Addr())
		ses.who.counted = false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.sessions[ses]; !open {
		return
	}
	delete(s.sessions, ses)
	ses.front.Limits.Places.giveBack()
	if s.awaited && len(s.sessions) == 0 {
		close(s.empty)
	}
}

// stopping says whether Shutdown was called.
func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Finish waits until all sessions have ended by themselves, or ctx ends, which is
// the error then. The listeners are the caller's to close, before. Shutdown is
// still to be called.
func (s *Server) Finish(ctx context.Context) error {
	s.mu.Lock()
	s.awaited = true
	left := len(s.sessions)
	s.mu.Unlock()
	if left == 0 {
		return nil
	}
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown ends all sessions: those that wait for a command get 421 at once,
// messages that are under way are finished first (RFC 5321, 3.8). When ctx ends,
// what is left is closed. The listeners are the caller's to close, before.
// It is called once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining, s.awaited = true, true
	left := len(s.sessions)
	for ses := range s.sessions {
		ses.down.conn.Wake()
	}
	s.mu.Unlock()
	defer s.cancel()
	if left == 0 {
		return nil
	}
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	left = len(s.sessions)
	for ses := range s.sessions {
		ses.down.conn.Conn.Close()
	}
	s.mu.Unlock()
	return fmt.Errorf("%d sessions were cut off: %w", left, ctx.Err())
}

// recovered keeps a defect of ours in one session from ending all others. The
// message under way was not acknowledged, so none is lost.
func (s *Server) recovered(ses *session) {
	if p := recover(); p != nil {
		s.logPanic(ses, p)
		ses.down.conn.Close()
		ses.role.cut()
		s.remove(ses)
	}
}

// caught is recovered for what is done for a session elsewhere, which then learns
// that it failed.
func (s *Server) caught(ses *session) {
	if p := recover(); p != nil {
		s.logPanic(ses, p)
	}
}

func (s *Server) logPanic(ses *session, p any) {
	ses.front.Log.Error("internal error, please report it", ses.front.named(), "session", ses.id, "panic", p, "stack", string(debug.Stack()))
}

func newID() string { return strconv.FormatUint(rand.Uint64(), 36) }

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return unmap(t.AddrPort())
	}
	return netip.AddrPort{}
}
