package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/smtpwire"
)

// data answers DATA, and carries the message when the backend wants it. DATA is
// queued behind the MAIL and RCPT of its group, so that a group costs the
// backend one round trip.
func (s *session) data(ctx context.Context, c smtpwire.Command) error {
	if r := s.dataRefusal(c); r.Code != 0 {
		s.push(own(r))
		return nil
	}
	s.tx.goAhead = false
	s.push(s.relay(c))
	if err := s.settle(); err != nil || !s.tx.goAhead {
		return err
	}
	if s.answeredEarly() {
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
	m := s.beginMessage(ctx)
	body := s.newBody()
	s.startMoving()
	if s.in.Message.TraceHeader {
		s.up.w.Raw(smtpwire.StuffDots(s.traceHeader(m.start)))
	}
	bad, err := body.CopyDots(&s.up.w, &s.down.r)
	s.stopMoving()
	m.Bytes = body.Size()
	return s.endMessage(m, bad, err)
}

func (s *session) dataRefusal(c smtpwire.Command) smtpwire.Reply {
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
func (s *session) askData() (smtpwire.Reply, error) {
	if err := s.inStep(); err != nil {
		return smtpwire.Reply{}, err
	}
	s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
	r, err := s.up.ask("DATA")
	if err == nil && (!expected(smtpwire.DATA, r) || r.Code == 354 && s.answeredEarly()) {
		err = smtpwire.ErrReplySyntax
	}
	if err != nil {
		return r, s.backendGone(err)
	}
	return r, nil
}

// answeredEarly says whether an answer to the message came with the 354.
func (s *session) answeredEarly() bool {
	return s.up.r.Buffered() > 0 && s.up.r.Peek()[0] == '2'
}

var errEarlyReply = errors.New("the backend spoke before the end of the message")

// newBody makes the Body of a message. Its end is not written when the backend
// has spoken already: what it said would be taken for the answer.
func (s *session) newBody() *smtpwire.Body {
	up, body := s.up.conn, smtpwire.NewBody(s.newlines(), s.in.Message.MaxSize)
	body.AskBeforeEnd(func() error {
		if up.unread() {
			return errEarlyReply
		}
		return nil
	})
	return body
}

// goneWith ends the session after a reply by which the backend took leave.
func goneWith(r smtpwire.Reply) error {
	if r.Code == 421 {
		return end(CauseBackendGone, smtpwire.Reply{})
	}
	return nil
}

// newlines is what this client's bare CR and LF become.
func (s *session) newlines() smtpwire.Newlines {
	if contains(s.in.Networks.Normalize, s.who.Client.Addr()) {
		return smtpwire.Normalize
	}
	return s.in.Message.Newlines
}

// startMoving and stopMoving stand around the copying of message data: both
// legs have a time limit for each block, and none for the whole but the last.
func (s *session) startMoving() {
	s.down.conn.moving(s.in.Timeouts.Data, s.hardEnd())
	s.up.conn.moving(s.in.Timeouts.Data, s.hardEnd())
}

func (s *session) stopMoving() {
	s.down.conn.moving(0, time.Time{})
	if s.up != nil {
		s.up.conn.moving(0, time.Time{})
	}
}

// message is what the log and the Observer are told of one message.
type message struct {
	Message
	start time.Time
	reply smtpwire.Reply
	done  func(error)
}

func (s *session) beginMessage(ctx context.Context) *message {
	_, done := s.in.Observer.Step(ctx, s.in.Name, StepRelay)
	return &message{Message: Message{Recipients: s.tx.recipients, Secured: s.sec.active()}, start: time.Now(), done: done}
}

// endMessage answers a message that was read to its end, or not: bad says why it
// was not passed on, err why the client's octets ended.
func (s *session) endMessage(m *message, bad, err error) error {
	if err != nil {
		m.Cause = CauseClientGone
		if isTimeout(err) {
			m.Cause = CauseSlow
		}
		s.abandon()
		s.reportMessage(m)
		if m.Cause == CauseSlow {
			return &ending{reply: replyIdle, cause: CauseSlow, err: err}
		}
		return lost(CauseClientGone, err)
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
func (s *session) settleMessage(m *message, bad error) error {
	if bad == nil {
		r, err := s.finalReply()
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
	switch {
	case errors.Is(bad, smtpwire.ErrBareCR), errors.Is(bad, smtpwire.ErrBareLF):
		m.reply, m.Cause = replyBareInMessage, CauseBareNewline
	case errors.Is(bad, smtpwire.ErrTooBig):
		m.reply, m.Cause = replyTooBig, CauseMessageTooBig
	default:
		m.reply, m.Cause = s.lastWords(), CauseBackendGone
		s.in.Observer.BackendFailed(s.in.Name, s.up.address, CauseBackendGone)
		return s.abandonMessage(m.Cause)
	}
	s.in.Observer.Refused(s.in.Name, m.Cause)
	return s.abandonMessage(m.Cause)
}

// abandonMessage takes a message back by closing the upstream leg. The session
// can go on with another one, unless that would have lost an authentication.
func (s *session) abandonMessage(why Cause) error {
	s.abandon()
	if s.auth {
		return end(why, smtpwire.Reply{})
	}
	return nil
}

// lastWords is what a backend said that closed while we were still writing to
// it, if it was a refusal.
func (s *session) lastWords() smtpwire.Reply {
	s.up.conn.within(lingerTimeout, time.Time{})
	if r, err := s.up.reply(); err == nil && (r.Class() == 4 || r.Class() == 5) {
		return r.Clone()
	}
	return replyBackendLost
}

// While the backend thinks about a message, we look now and then whether the
// client still waits. One that has closed its side may have closed only that, so
// it gets some time more.
const (
	lookAfterClient = 10 * time.Second
	hungUpGrace     = time.Minute
)

var errClientHungUp = errors.New("the client hung up before the reply to its message")

func isClientGone(err error) bool { return errors.Is(err, errClientHungUp) }

// finalReply waits for the reply to a message (SEM 22).
func (s *session) finalReply() (smtpwire.Reply, error) {
	last := time.Now().Add(s.in.Timeouts.Final)
	var gone time.Time
	for {
		s.up.conn.within(min(lookAfterClient, s.in.Timeouts.Final), last)
		err := s.up.r.Wait()
		now := time.Now()
		switch {
		case err == nil:
			s.up.conn.within(s.in.Timeouts.Command, time.Time{})
			r, err := s.up.reply()
			if err == nil && r.Class() == 3 {
				err = smtpwire.ErrReplySyntax
			}
			return r, err
		case !isTimeout(err) || !now.Before(last.Add(-margin(s.in.Timeouts.Final))):
			return smtpwire.Reply{}, fmt.Errorf("no reply to the message: %w", err)
		case !s.down.conn.hungUp():
		case gone.IsZero():
			gone = now
		case now.Sub(gone) > hungUpGrace:
			return smtpwire.Reply{}, errClientHungUp
		}
	}
}
