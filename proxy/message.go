package proxy

import (
	"context"
	"errors"
	"time"

	"postern/smtpwire"
)

// newlines is what this client's bare CR and LF become.
func (s *session) newlines() smtpwire.Newlines {
	if contains(s.front.Networks.Normalize, s.who.Client.Addr()) {
		return smtpwire.Normalize
	}
	return s.front.Message.Newlines
}

// message is what the log and the Observer are told of one message.
type message struct {
	Message
	start time.Time
	reply smtpwire.Reply
	done  func(error)
}

func (s *session) beginMessage(ctx context.Context, recipients int) *message {
	_, done := s.front.Observer.Step(ctx, s.front.Name, StepRelay)
	return &message{Message: Message{Recipients: recipients, Secured: s.sec.active()}, start: time.Now(), done: done}
}

// cutShort ends a session whose client stopped within a message.
func (s *session) cutShort(m *message, err error) error {
	m.Cause = CauseClientGone
	if isTimeout(err) {
		m.Cause = CauseSlow
	}
	s.reportMessage(m)
	if m.Cause == CauseSlow {
		return &ending{reply: replyIdle, cause: CauseSlow, err: err}
	}
	return lost(CauseClientGone, err)
}

// faulty says what is wrong with a message that we refuse ourselves; the cause is
// empty where it is no fault of the message.
func faulty(bad error) (smtpwire.Reply, Cause) {
	switch {
	case errors.Is(bad, smtpwire.ErrBareCR), errors.Is(bad, smtpwire.ErrBareLF):
		return replyBareInMessage, CauseBareNewline
	case errors.Is(bad, smtpwire.ErrTooBig):
		return replyTooBig, CauseMessageTooBig
	}
	return smtpwire.Reply{}, ""
}
