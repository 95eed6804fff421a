package proxy

import (
	"context"
	"time"

	"postern/smtpwire"
)

// data answers DATA, and carries the message when the backend wants it. DATA is
// queued behind the MAIL and RCPT of its group, so that a group costs the
// backend one round trip.
func (s *inboundSession) data(ctx context.Context, c smtpwire.Command) error {
	if r := s.dataRefusal(c); r.Code != 0 {
		s.push(own(r))
		return nil
	}
	s.tx.goAhead = false
	s.push(s.relay(c))
	if err := s.settle(); err != nil || !s.tx.goAhead {
		return err
	}
	if s.up.answeredEarly() {
		return s.backendGone(smtpwire.ErrReplySyntax)
	}
	if s.tx.recipients == 0 { // it had to be asked before we knew (RFC 2920, 3.1)
		s.say(replyNoRecipients)
		return s.abandonMessage("")
	}
	s.say(replyGoAhead)
	if err := s.flush(); err != nil {
		s.abandon()
		return err
	}
	m := s.beginMessage(ctx, s.tx.recipients)
	body := s.newBody()
	s.startMoving()
	if s.in.Message.TraceHeader {
		s.up.w.Raw(smtpwire.StuffDots(s.traceHeader(m.start, s.protocol())))
	}
	bad, err := body.CopyDots(&s.up.w, &s.down.r)
	s.stopMoving()
	m.Bytes = body.Size()
	return s.endMessage(m, bad, err)
}

func (s *inboundSession) dataRefusal(c smtpwire.Command) smtpwire.Reply {
	switch {
	case len(c.Args) > 0:
		return replyNoArguments
	case s.tx.chunks != nil:
		return replyInChunks // RFC 3030, 2
	case !s.tx.open && !s.tx.asked || !s.live():
		return replyMailFirst
	case s.tx.recipients == 0 && s.tx.awaited == 0:
		return replyNoRecipients
	}
	return smtpwire.Reply{}
}

// askData sends DATA for a message that comes in chunks, and reads the answer.
func (s *inboundSession) askData() (smtpwire.Reply, error) {
	if err := s.inStep(); err != nil {
		return smtpwire.Reply{}, err
	}
	s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
	r, err := s.up.ask("DATA")
	if err == nil && (!expected(smtpwire.DATA, r) || r.Code == 354 && s.up.answeredEarly()) {
		err = smtpwire.ErrReplySyntax
	}
	if err != nil {
		return r, s.backendGone(err)
	}
	return r, nil
}

// newBody makes the Body of a message. Its end is not written when the backend
// has spoken already: what it said would be taken for the answer.
func (s *inboundSession) newBody() *smtpwire.Body {
	body := smtpwire.NewBody(s.newlines(), s.in.Message.MaxSize)
	body.AskBeforeEnd(s.up.quiet)
	return body
}

// goneWith ends the session after a reply by which the backend took leave.
func goneWith(r smtpwire.Reply) error {
	if r.Code == 421 {
		return end(CauseBackendGone, smtpwire.Reply{})
	}
	return nil
}

// startMoving and stopMoving stand around the copying of message data: both
// legs have a time limit for each block, and none for the whole but the last.
func (s *inboundSession) startMoving() {
	s.down.conn.moving(s.in.Timeouts.Data, s.hardEnd())
	s.up.conn.moving(s.in.Timeouts.Data, s.hardEnd())
}

func (s *inboundSession) stopMoving() {
	s.down.conn.moving(0, time.Time{})
	if s.up != nil {
		s.up.conn.moving(0, time.Time{})
	}
}

// endMessage answers a message that was read to its end, or not: bad says why it
// was not passed on, err why the client's octets ended.
func (s *inboundSession) endMessage(m *message, bad, err error) error {
	if err != nil {
		s.abandon()
		return s.cutShort(m, err)
	}
	failure := s.settleMessage(m, bad)
	s.say(m.reply)
	m.Code = m.reply.Code
	if m.reply.Class() == 2 {
		s.tally.messages++
	}
	s.reportMessage(m)
	s.tally.behind = s.down.r.Buffered() > 0
	if failure != nil {
		return failure
	}
	s.tx = transaction{}
	return goneWith(m.reply)
}

// settleMessage finds the reply to a message: the backend's own, or the reason
// why there is none. The error ends the session.
func (s *inboundSession) settleMessage(m *message, bad error) error {
	if bad == nil {
		r, err := s.up.finalReply(s.in.Timeouts, s.down.conn.hungUp)
		if err == nil {
			m.reply = r.Clone()
			return nil
		}
		// Behind the dot nobody knows what became of the message: 4xx, never
		// 250 (RFC 5321, 6.1).
		m.reply, m.Cause = replyBackendLost, CauseBackendGone
		if isClientGone(err) {
			m.Cause = CauseClientGone
		}
		s.in.Observer.BackendFailed(s.in.Name, s.up.address, m.Cause)
		return s.abandonMessage(m.Cause)
	}
	if m.reply, m.Cause = faulty(bad); m.Cause != "" {
		s.in.Observer.Refused(s.in.Name, m.Cause)
		return s.abandonMessage(m.Cause)
	}
	if m.reply, m.Cause = s.up.lastWords(), CauseBackendGone; m.reply.Code == 0 {
		m.reply = replyBackendLost
	}
	s.in.Observer.BackendFailed(s.in.Name, s.up.address, CauseBackendGone)
	return s.abandonMessage(m.Cause)
}

// abandonMessage takes a message back by closing the upstream leg. The session
// can go on with another one, unless that would have lost an authentication.
func (s *inboundSession) abandonMessage(why Cause) error {
	s.abandon()
	if s.auth {
		return end(why, smtpwire.Reply{})
	}
	return nil
}
