package proxy

import (
	"context"
	"errors"
	"log/slog"

	"postern/smtpwire"
)

// inboundSession is a session with a client from anywhere, whose mail goes to a
// backend.
type inboundSession struct {
	session
	in *Inbound
	up *backendLeg // nil until it is needed

	auth bool
	tx   transaction
}

// errStartTLS is talk's way to say that the handshake is next.
var errStartTLS = errors.New("STARTTLS")

// begin is the first part of a session: in clear, up to the handshake where
// there is one.
func (s *inboundSession) begin(ctx context.Context) {
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
func (s *inboundSession) implicit(err error) error {
	if err == nil && !s.srv.clients.mayHandshake(s.who.Client.Addr(), s.front) {
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
func (s *inboundSession) handshake(ctx context.Context) {
	s.srv.deepStack.do(func() {
		defer s.srv.recovered(&s.session)
		if err := s.secure(ctx); err != nil {
			s.finish(err)
			return
		}
		s.srv.handshakes.Add(1)
		go s.insideTLS(ctx)
	})
}

// insideTLS is the second part of a session.
func (s *inboundSession) insideTLS(ctx context.Context) {
	defer s.srv.recovered(&s.session)
	var err error
	if s.in.Mode == TLSImplicit {
		err = s.greet(ctx)
	}
	if err == nil {
		err = s.talk(ctx)
	}
	s.finish(s.disprove(err))
}

// forget drops everything that the client said before the handshake (RFC 3207,
// 4.2), and the upstream leg that was told of it.
func (s *inboundSession) forget() {
	s.giveUp(CauseClientGone)
	s.leave()
	s.tally.firstHello = s.hello.name
	s.hello, s.tx, s.auth = greeted{}, transaction{}, false
	s.tally.story = nil
}

// leave takes leave of the backend, where there is one.
func (s *inboundSession) leave() {
	if s.live() && !s.tx.inMessage() {
		s.up.quit()
	} else if s.up != nil {
		s.up.close()
	}
	s.up = nil
}

// abandon closes the upstream leg within a message: DATA knows no other way to
// take one back (SEM 22).
func (s *inboundSession) abandon() {
	if s.up != nil {
		s.up.close()
		s.up = nil
	}
	s.tx = transaction{}
}

// live says whether there is a backend to send commands to.
func (s *inboundSession) live() bool { return s.up != nil && s.up.verdict.Code == 0 }

// submission says whether this listener takes mail from users rather than from
// servers: implicit TLS, or a backend that offers AUTH (SEM 33).
func (s *inboundSession) submission() bool {
	return s.in.Mode == TLSImplicit || s.in.Backends.auth.Load()
}

func (s *inboundSession) excuses(smtpwire.Reply) bool { return false }

func (s *inboundSession) heard() { s.prove() }

func (s *inboundSession) drop(why Cause) {
	s.giveUp(why)
	s.leave()
}

func (s *inboundSession) cut() {
	if s.up != nil {
		s.up.conn.Close()
	}
}

// tell implements role.
func (s *inboundSession) tell(attrs []slog.Attr) []slog.Attr {
	attrs = append(s.sec.attrs(attrs), slog.String("backend", s.tally.backend))
	if s.hello.avoid {
		attrs = append(attrs, slog.String("starttls", "withheld"))
	}
	return attrs
}
