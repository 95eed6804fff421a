package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"postern/smtpwire"
)

// session is one client's connection, from accept to close, as far as it is the
// same for inbound and outbound: speaking as an SMTP server. Everything in it
// belongs to one goroutine at a time.
type session struct {
	srv   *Server
	front *Front // as it was at accept
	role  role
	id    string
	who   Accepted
	down  leg

	hello greeted
	sec   secured
	group []answer // commands read whose replies are not said yet
	tally tally
}

// role is what differs: where mail goes, and so what becomes of the commands that
// have to do with it.
type role interface {
	// begin is the session from accept on. It ends with finish, there or in the
	// goroutine that it hands the session to.
	begin(ctx context.Context)
	// heard notes that the client said something, at each command.
	heard()
	// dispatch has one command answered, by push.
	dispatch(ctx context.Context, c smtpwire.Command) error
	// forward does what the answers of the group wait for.
	forward() error
	// relayed reads the reply of the upstream leg that an answer stands for, into
	// buf. silent: somebody else will say what came of it. Both the reply and an
	// error may come back; the error ends the session.
	relayed(a answer, buf []byte) (r smtpwire.Reply, silent bool, err error)
	// excuses says whether a refusal of ours is no fault of the client.
	excuses(smtpwire.Reply) bool
	// drop ends all that is under way, because the session is over.
	drop(why Cause)
	// cut closes what cannot be ended in good order.
	cut()
	// tell gives what the lines of this session in the log say beside the rest.
	tell(attrs []slog.Attr) []slog.Attr
}

// Accepted is what is known of a connection before the greeting.
type Accepted struct {
	Client netip.AddrPort // from the PROXY header, where there is one
	Local  netip.AddrPort
	Peer   netip.AddrPort // of the socket

	balancer bool // Client is the load balancer itself, which looks whether we are well
	counted  bool // Client holds a place in the limits
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
	started    time.Time
	firstHello string // the name given before the handshake
	messages   int
	errors     int
	refused    int   // commands that were refused, by us or by the backend
	failure    Cause // why there was no backend
	login      string
	backend    string
	story      slog.Handler // see story
	behind     bool         // octets came in one segment with a message's end
}

// accept reads the PROXY header where one must come, and takes the client's
// place in the limits.
func (s *session) accept() error {
	if contains(s.front.Networks.Proxy, s.who.Peer.Addr()) {
		s.down.conn.within(s.front.Timeouts.Proxy, time.Time{})
		client, local, ok, err := readProxyHeader(&s.down.r)
		if err != nil {
			return s.withoutHeader(err)
		}
		if ok {
			s.who.Client, s.who.Local = client, local
		}
		s.who.balancer = s.who.Client == s.who.Peer // LOCAL, or HAProxy's version 1 for it
	}
	if !s.srv.clients.enter(s.who.Client.Addr(), s.front) {
		return s.refuse(CausePerClient, replyTooManyOfYou)
	}
	s.who.counted = true
	return nil
}

// withoutHeader ends the session of a load balancer that has sent no good header. One
// that connects and leaves looks whether we are well: that is nothing to refuse.
func (s *session) withoutHeader(err error) error {
	if s.down.conn.in == 0 && !isTimeout(err) {
		return lost(CauseClientGone, err)
	}
	if isTimeout(err) {
		err = fmt.Errorf("no PROXY header from the load balancer within %v: switch it on there; "+
			"an AWS NLB sends it late unless its target group has proxy_protocol_v2.client_to_server.header_placement = on_first_ack: %w", s.front.Timeouts.Proxy, err)
	}
	s.front.Observer.Refused(s.front.Name, CauseProxyHeader)
	return lost(CauseProxyHeader, err)
}

// greet sends the 220. A client that spoke before it does not keep to the
// protocol, and is refused (SEM 8).
func (s *session) greet(ctx context.Context) error {
	_, done := s.front.Observer.Step(ctx, s.front.Name, StepGreet)
	if s.down.r.Buffered() > 0 || s.down.tls == nil && s.down.conn.unread() {
		done(nil)
		return s.refuse(CauseEarlyTalker, replyPipelining)
	}
	s.down.conn.within(s.front.Timeouts.Command, time.Time{})
	s.down.w.Line([]byte("220 " + s.front.Hostname + " ESMTP"))
	err := s.down.w.Flush()
	done(err)
	if err != nil {
		return lost(CauseClientGone, err)
	}
	return nil
}

// refuse counts a refusal and ends the session with it.
func (s *session) refuse(cause Cause, r smtpwire.Reply) error {
	s.front.Observer.Refused(s.front.Name, cause)
	return end(cause, r)
}

// softEnd is when the session is over at the next command, hardEnd when it is
// over whatever happens (SEM 22, 39).
func (s *session) softEnd() time.Time { return s.tally.started.Add(s.front.Timeouts.Session) }
func (s *session) hardEnd() time.Time { return s.tally.started.Add(2 * s.front.Timeouts.Session) }

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
	s.role.drop(e.cause)
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
