package resolve

import (
	"context"
	"net"
	"time"

	"github.com/miekg/dns"
)

const (
	maxIdle  = 8                // connections to one server that wait for a question
	idleTime = 10 * time.Second // how long each does
)

// idle is a connection that waits for its next question. A handshake for each
// would cost more than all the rest (RFC 7858, 3.4).
type idle struct {
	net.Conn
	expiry *time.Timer // closes it
}

// stream asks over TCP or TLS.
func (s *server) stream(ctx context.Context, dial dialer, q query) (*dns.Msg, error) {
	for {
		conn := s.reuse()
		if conn == nil {
			break
		}
		m, began, err := s.over(ctx, conn, q)
		if err == nil || began || ctx.Err() != nil {
			return m, err
		}
		// The server had closed it meanwhile: that says nothing of the question.
	}
	conn, err := s.connect(ctx, dial)
	if err != nil {
		return nil, err
	}
	m, _, err := s.over(ctx, conn, q)
	return m, err
}

// over puts q over conn, and keeps or closes conn afterwards.
func (s *server) over(ctx context.Context, conn net.Conn, q query) (*dns.Msg, bool, error) {
	err := keepTo(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, false, err
	}
	m, began, err := converse(conn, q)
	if err != nil || s.tls == nil || !s.keep(conn) {
		conn.Close()
	}
	return m, began, err
}

// reuse returns an idle connection, or nil.
func (s *server) reuse() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.idle); n > 0; n = len(s.idle) {
		last := s.idle[n-1]
		s.idle = s.idle[:n-1]
		if last.expiry.Stop() {
			return last.Conn
		}
	}
	return nil
}

func (s *server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) >= maxIdle {
		return false
	}
	s.idle = append(s.idle, &idle{conn, time.AfterFunc(idleTime, func() { conn.Close() })})
	return true
}
