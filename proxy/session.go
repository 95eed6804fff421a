package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"postern/smtpwire"
)

// session is one client's connection, from accept to close. Everything in it
// belongs to one goroutine at a time.
type session struct {
	srv  *Server
	in   *Inbound // as it was at accept
	id   string
	who  Accepted
	down leg
	up   *upstream // nil until it is needed

	hello      greeted
	firstHello string // the name given before the handshake
	sec        secured
	auth       bool
	tx         transaction
	group      []answer // commands read whose replies are not said yet
	tally      tally
}

// Accepted is what is known of a connection before the greeting.
type Accepted struct {
	Client netip.AddrPort // from the PROXY header, where there is one
	Local  netip.AddrPort
	Peer   netip.AddrPort // of the socket

	counted bool // Client holds a place in the limits
}

// greeted is what the last EHLO or HELO said, and was told.
type greeted struct {
	name  string
	esmtp bool
	offer *offer // nil for HELO
	avoid bool   // STARTTLS is not offered to this client for now (SEM 31)
}

// tally is what is kept from command to command: counts, for limits and the end,
// and what the log says of it all.
type tally struct {
	started  time.Time
	messages int
	errors   int
	refused  int   // commands that were refused, by us or by the backend
	failure  Cause // why there was no backend
	login    string
	backend  string
	story    slog.Handler // see story
	behind   bool         // octets came in one segment with a message's end
}

// errStartTLS is talk's way to say that the handshake is next.
var errStartTLS = errors.New("STARTTLS")

// begin is the first part of a session: in clear, up to the handshake where
// there is one.
func (s *session) begin(ctx context.Context) {
	err := s.accept()
	if s.in.Mode == TLSImplicit {
		err = s.implicit(err)
	} else {
		if err == nil {
			err = s.greet(ctx)
		}
		if err == nil {
			err = s.talk(ctx)
		}
	}
	if err == errStartTLS {
		s.handshake(ctx)
		return
	}
	s.finish(err)
}

// implicit says what comes after accept where TLS is implicit: the handshake, or
// the end without a word in clear (RFC 8314, 3).
func (s *session) implicit(err error) error {
	if err == nil && !s.srv.clients.mayHandshake(s.who.Client.Addr(), s.in) {
		err = s.refuse(CauseHandshakeRate, smtpwire.Reply{})
	}
	if err == nil {
		return errStartTLS
	}
	var e *ending
	if errors.As(err, &e) {
		e.reply = smtpwire.Reply{}
	}
	return err
}

// handshake is done by a worker, and goes on in a fresh goroutine: the stack that a
// handshake needs is several times that of the rest, would have to be grown for
// each, and would stay with the session.
func (s *session) handshake(ctx context.Context) {
	deepStack.do(func() {
		defer s.srv.recovered(s)
		if err := s.secure(ctx); err != nil {
			s.finish(err)
			return
		}
		s.srv.handshakes.Add(1)
		go s.insideTLS(ctx)
	})
}

// insideTLS is the second part of a session.
func (s *session) insideTLS(ctx context.Context) {
	defer s.srv.recovered(s)
	var err error
	if s.in.Mode == TLSImplicit {
		err = s.greet(ctx)
	}
	if err == nil {
		err = s.talk(ctx)
	}
	s.finish(s.disprove(err))
}

// accept reads the PROXY header where one must come, and takes the client's
// place in the limits.
func (s *session) accept() error {
	if contains(s.in.Networks.Proxy, s.who.Peer.Addr()) {
		s.down.conn.within(s.in.Timeouts.Proxy, time.Time{})
		client, local, ok, err := readProxyHeader(&s.down.r)
		if err != nil {
			s.in.Observer.Refused(s.in.Name, CauseProxyHeader)
			return lost(CauseProxyHeader, err)
		}
		if ok {
			s.who.Client, s.who.Local = client, local
		}
	}
	if !s.srv.clients.enter(s.who.Client.Addr(), s.in) {
		return s.refuse(CausePerClient, replyTooManyOfYou)
	}
	s.who.counted = true
	return nil
}

// greet sends the 220. A client that spoke before it does not keep to the
// protocol, and is refused (SEM 8).
func (s *session) greet(ctx context.Context) error {
	_, done := s.in.Observer.Step(ctx, s.in.Name, StepGreet)
	if s.down.r.Buffered() > 0 || s.down.tls == nil && s.down.conn.unread() {
		done(nil)
		return s.refuse(CauseEarlyTalker, replyPipelining)
	}
	s.down.conn.within(s.in.Timeouts.Command, time.Time{})
	s.down.w.Line([]byte("220 " + s.in.Hostname + " ESMTP"))
	err := s.down.w.Flush()
	done(err)
	if err != nil {
		return lost(CauseClientGone, err)
	}
	return nil
}

// refuse counts a refusal and ends the session with it.
func (s *session) refuse(cause Cause, r smtpwire.Reply) error {
	s.in.Observer.Refused(s.in.Name, cause)
	return end(cause, r)
}

// forget drops everything that the client said before the handshake (RFC 3207,
// 4.2), and the upstream leg that was told of it.
func (s *session) forget() {
	s.giveUp(CauseClientGone)
	s.leave()
	s.firstHello = s.hello.name
	s.hello, s.tx, s.auth = greeted{}, transaction{}, false
	s.tally.story = nil
}

// leave takes leave of the backend, where there is one.
func (s *session) leave() {
	if s.live() && !s.tx.inMessage() {
		s.up.quit()
	} else if s.up != nil {
		s.up.close()
	}
	s.up = nil
}

// abandon closes the upstream leg within a message: DATA knows no other way to
// take one back (SEM 22).
func (s *session) abandon() {
	if s.up != nil {
		s.up.close()
		s.up = nil
	}
	s.tx = transaction{}
}

// live says whether there is a backend to send commands to.
func (s *session) live() bool { return s.up != nil && s.up.verdict.Code == 0 }

// submission says whether this listener takes mail from users rather than from
// servers: implicit TLS, or a backend that offers AUTH (SEM 33).
func (s *session) submission() bool {
	return s.in.Mode == TLSImplicit || s.in.Backends.auth.Load()
}

// softEnd is when the session is over at the next command, hardEnd when it is
// over whatever happens (SEM 22, 39).
func (s *session) softEnd() time.Time { return s.tally.started.Add(s.in.Timeouts.Session) }
func (s *session) hardEnd() time.Time { return s.tally.started.Add(2 * s.in.Timeouts.Session) }

// finish says the last reply, closes both legs and tells what the session came
// to.
func (s *session) finish(err error) {
	var e *ending
	if !errors.As(err, &e) {
		e = &ending{cause: CauseClientGone, err: err}
	}
	s.down.conn.moving(0, time.Time{})
	s.down.conn.within(lookAfterClient, time.Time{})
	if e.reply.Code != 0 {
		s.down.w.Raw(e.reply.Lines)
	}
	if e.cause == "" {
		s.down.conn.cork()
	}
	if s.down.w.Flush() == nil && e.reply.Code != 0 && e.cause != "" {
		s.lingerABit()
	}
	if s.srv.ctx.Err() != nil && e.cause != "" { // what broke here, broke because we cut it
		e.cause = CauseShutdown
	}
	s.down.close()
	s.giveUp(e.cause)
	s.leave()
	s.srv.remove(s)
	s.report(e)
}

// The time and the octets that a client is given to read our last reply.
const (
	lingerTimeout = 2 * time.Second
	lingerOctets  = 64 << 10
)

// lingerABit lingers. A client that is over its own limit holds no place
// meanwhile, and only so many of them are waited for.
func (s *session) lingerABit() {
	if !s.who.counted {
		s.srv.remove(s)
		defer s.srv.turnedAway.Add(-1)
		if s.srv.turnedAway.Add(1) > maxTurnedAway {
			return
		}
	}
	s.linger()
}

// linger ends our side and reads on for a moment: octets that are unread when a
// socket is closed make the kernel send a reset, which overtakes the reply.
func (s *session) linger() {
	if s.down.tls != nil {
		s.down.tls.CloseWrite()
	}
	if c, ok := s.down.conn.Conn.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		return
	}
	s.down.conn.within(lingerTimeout, time.Time{})
	io.CopyN(io.Discard, s.down.conn, lingerOctets)
}
