package proxy

import (
	"bytes"
	"context"
	"errors"
	"time"

	"postern/smtpwire"
)

// talk is the dialogue: it reads commands and answers them until an error ends
// it. Commands that arrive together are answered together (RFC 2920).
func (s *session) talk(ctx context.Context) error {
	for {
		line, err := s.nextLine()
		if err == nil {
			err = s.command(ctx, smtpwire.ParseCommand(line))
		} else if r, ok := lineDefect(err); ok {
			err = s.defect(err, r)
		}
		if err == nil && s.front.Limits.Errors > 0 && s.tally.errors >= s.front.Limits.Errors {
			err = s.refuse(CauseErrors, replyTooManyErrors)
		}
		if err != nil {
			return s.settled(err)
		}
	}
}

// settled answers what is still open before a session ends with err.
func (s *session) settled(err error) error {
	if err == errStartTLS || len(s.group) == 0 {
		return err
	}
	if e := s.settle(); e != nil {
		return e
	}
	return err
}

// nextLine waits for a command. Before it does, all that was asked is answered.
func (s *session) nextLine() ([]byte, error) {
	if !s.down.r.HasLine() {
		if err := s.settle(); err != nil {
			return nil, err
		}
		if err := s.flush(); err != nil {
			return nil, err
		}
		s.down.conn.waiting(s.front.Timeouts.Command, s.softEnd())
	}
	line, err := s.down.r.ReadLine(smtpwire.MaxAuthLine)
	s.down.conn.busy()
	if err == nil || isLineDefect(err) {
		s.role.heard()
		return line, err
	}
	return nil, s.noCommand(err)
}

// flush sends what has been said. The client has the time for a command to take
// it, however long we have waited for the backend before.
func (s *session) flush() error {
	s.down.conn.within(s.front.Timeouts.Command, time.Time{})
	if err := s.down.w.Flush(); err != nil {
		return lost(CauseSlow, err)
	}
	return nil
}

// noCommand says why a session is over when no command came.
func (s *session) noCommand(err error) error {
	switch {
	case !isTimeout(err):
		return lost(CauseClientGone, err)
	case s.srv.stopping():
		return end(CauseShutdown, replyShutdown)
	case !time.Now().Add(margin(s.front.Timeouts.Session)).Before(s.softEnd()):
		return end(CauseSession, replySessionLong)
	}
	return end(CauseTimeout, replyIdle)
}

func isLineDefect(err error) bool {
	_, ok := lineDefect(err)
	return ok
}

// lineDefect is the reply to a line that is none.
func lineDefect(err error) (smtpwire.Reply, bool) {
	switch {
	case errors.Is(err, smtpwire.ErrBareLF), errors.Is(err, smtpwire.ErrBareCR):
		return replyBareNewline, true
	case errors.Is(err, smtpwire.ErrLineTooLong), errors.Is(err, smtpwire.ErrEndlessLine):
		return replyLineTooLong, true
	}
	return smtpwire.Reply{}, false
}

// defect answers such a line. What came behind it in one segment is not
// trusted to be what it looks like.
func (s *session) defect(err error, r smtpwire.Reply) error {
	cause := CauseBareNewline
	if r.Code == replyLineTooLong.Code && !errors.Is(err, smtpwire.ErrBareLF) && !errors.Is(err, smtpwire.ErrBareCR) {
		cause = CauseLineTooLong
	}
	if errors.Is(err, smtpwire.ErrEndlessLine) || s.down.r.Buffered() > 0 {
		return s.refuse(cause, r)
	}
	s.front.Observer.Refused(s.front.Name, cause)
	s.push(own(r))
	return nil
}

// command checks whether a command may come here, and has it answered.
func (s *session) command(ctx context.Context, c smtpwire.Command) error {
	switch {
	case len(c.Line)+2 > smtpwire.MaxCommandLine && c.Verb != smtpwire.AUTH:
		if c.Verb == smtpwire.BDAT { // its chunk would be read as commands
			return s.refuse(CauseLineTooLong, replyLineTooLong)
		}
		return s.defect(smtpwire.ErrLineTooLong, replyLineTooLong)
	case c.Verb == smtpwire.HTTPVerb:
		return s.refuse(CauseHTTP, replyHTTP)
	case s.outOfTurn(c.Verb):
		if c.Verb == smtpwire.STARTTLS {
			return s.refuse(CauseInjection, replyInjection)
		}
		return s.refuse(CausePipelining, replyPipelining)
	case bytes.IndexByte(c.Line, 0) >= 0:
		if c.Verb == smtpwire.BDAT {
			return s.refuse(CauseNUL, replyNUL)
		}
		s.front.Observer.Refused(s.front.Name, CauseNUL)
		s.push(own(replyNUL))
		return nil
	}
	return s.role.dispatch(ctx, c)
}

// outOfTurn finds input where a reply had to be awaited (RFC 2920, 3.1; SEM 8):
// behind a command that must be the last of its group, or behind a message
// anything but the start of the next one or the end. A client that has not said
// EHLO may not pipeline at all.
func (s *session) outOfTurn(v smtpwire.Verb) bool {
	behind := s.tally.behind
	s.tally.behind = false
	switch {
	case v == smtpwire.QUIT:
		return false // what is behind it is ignored
	case behind && (!s.hello.esmtp || v != smtpwire.MAIL && v != smtpwire.RSET && v != smtpwire.BDAT):
		return true
	case s.down.r.Buffered() == 0, v == smtpwire.BDAT:
		return false
	case v == smtpwire.MAIL || v == smtpwire.RCPT || v == smtpwire.RSET:
		return !s.hello.esmtp
	}
	return true
}
