package proxy

import (
	"bytes"
	"context"

	"postern/smtpwire"
)

// authenticate carries a SASL exchange (RFC 4954) between client and backend
// without a look into it. Its lines are in no log, not even in errors.
func (s *session) authenticate(ctx context.Context, c smtpwire.Command) (answer, error) {
	mechanism, _, _ := bytes.Cut(c.Args, []byte(" "))
	switch {
	case !s.hello.esmtp:
		return own(replyHelloFirst), nil
	case s.auth:
		return own(replyAuthDone), nil
	case s.tx.open || s.tx.chunks != nil:
		return own(replyAuthInMail), nil
	case !s.mayAuth():
		s.in.Observer.Refused(s.in.Name, CauseTLSRequired)
		return own(replyAuthNeedsTLS), nil
	case len(mechanism) == 0:
		return own(replySyntax), nil
	case !carriesMechanism(string(mechanism)):
		return own(replyMechanism), nil
	}
	if r, err := s.connect(ctx); err != nil || !s.live() {
		return own(r), err
	}
	if !s.up.caps.Has("AUTH") {
		if s.hello.offer.caps.Has("AUTH") {
			return own(replyAuthGone), nil // SEM 2
		}
		return own(replyNotHere), nil
	}
	return answer{}, s.exchange(c.Line)
}

// exchange passes the client's line on, and the backend's challenge back, until
// the backend's answer is no challenge.
func (s *session) exchange(line []byte) error {
	for {
		s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
		s.up.w.Line(line)
		s.up.w.Flush()
		r, err := s.up.reply()
		if err != nil {
			return s.backendGone(err)
		}
		s.down.w.Raw(r.Lines)
		if r.Code != 334 {
			s.auth = r.Code == 235
			return goneWith(r)
		}
		if err := s.flush(); err != nil {
			return err
		}
		s.down.conn.within(s.in.Timeouts.Command, s.hardEnd())
		if line, err = s.down.r.ReadLine(smtpwire.MaxAuthLine); err != nil {
			return s.exchangeBroken(err)
		}
		if s.down.r.Buffered() > 0 {
			return s.refuse(CausePipelining, replyPipelining)
		}
	}
}

// exchangeBroken ends a session in which the client sent no proper line within
// an exchange: the backend is in the middle of it.
func (s *session) exchangeBroken(err error) error {
	if r, ok := lineDefect(err); ok {
		return s.refuse(CauseBareNewline, r)
	}
	return s.noCommand(err)
}
