package proxy

import (
	"bytes"
	"context"

	"postern/smtpwire"
)

// authenticate carries a SASL exchange (RFC 4954) between client and backend
// without a look into it. Its lines are in no log, not even in errors.
func (s *inboundSession) authenticate(ctx context.Context, c smtpwire.Command) (answer, error) {
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
	case !validMechanism(mechanism):
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

// validMechanism: RFC 4422, 3.1. Nothing else is passed on: a server that takes a
// tab for a space would see another mechanism than we do.
func validMechanism(m []byte) bool {
	for _, c := range m {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(m) > 0 && len(m) <= 20
}

// exchange passes the client's line on, and the backend's challenge back, until
// the backend's answer is no challenge.
func (s *inboundSession) exchange(line []byte) error {
	if err := s.inStep(); err != nil {
		return err
	}
	for {
		s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
		s.up.w.Line(line)
		s.up.w.Flush()
		r, err := s.up.reply()
		if err == nil && r.Class() == 3 && r.Code != 334 {
			err = smtpwire.ErrReplySyntax
		}
		if err != nil {
			return s.backendGone(err)
		}
		s.down.w.Raw(r.Lines)
		if r.Code != 334 {
			if s.auth = r.Code == 235; s.auth {
				s.tally.login = "ok"
			} else {
				s.tally.login = "failed"
				s.tally.refused++
				s.tally.errors++ // guessing is what the limit is for
			}
			return goneWith(r)
		}
		if err := s.flush(); err != nil {
			return err
		}
		s.down.conn.within(s.in.Timeouts.Command, s.hardEnd())
		if line, err = s.down.r.ReadLine(smtpwire.MaxAuthLine); err != nil {
			s.abandon() // QUIT would be taken for a response
			return s.exchangeBroken(err)
		}
		if s.down.r.Buffered() > 0 {
			s.abandon()
			return s.refuse(CausePipelining, replyPipelining)
		}
	}
}

// exchangeBroken ends a session in which the client sent no proper line within
// an exchange: the backend is in the middle of it.
func (s *inboundSession) exchangeBroken(err error) error {
	if r, ok := lineDefect(err); ok {
		return s.refuse(CauseBareNewline, r)
	}
	return s.noCommand(err)
}
