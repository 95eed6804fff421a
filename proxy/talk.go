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
		if err == nil && s.in.Limits.Errors > 0 && s.tally.errors >= s.in.Limits.Errors {
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
		s.down.conn.waiting(s.in.Timeouts.Command, s.softEnd())
	}
	line, err := s.down.r.ReadLine(smtpwire.MaxAuthLine)
	s.down.conn.busy()
	if err == nil || isLineDefect(err) {
		s.prove()
		return line, err
	}
	return nil, s.noCommand(err)
}

// flush sends what has been said. The client has the time for a command to take
// it, however long we have waited for the backend before.
func (s *session) flush() error {
	s.down.conn.within(s.in.Timeouts.Command, time.Time{})
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
	case !time.Now().Add(margin(s.in.Timeouts.Session)).Before(s.softEnd()):
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
	s.in.Observer.Refused(s.in.Name, cause)
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
		s.in.Observer.Refused(s.in.Name, CauseNUL)
		s.push(own(replyNUL))
		return nil
	case s.in.Mode == TLSRequire && !s.sec.active() && !allowedInClear(c.Verb):
		return s.refuseInClear(c)
	}
	return s.dispatch(ctx, c)
}

// refuseInClear answers a command that has to wait for TLS. The octets of a
// chunk are read all the same (RFC 3030, 2).
func (s *session) refuseInClear(c smtpwire.Command) error {
	s.in.Observer.Refused(s.in.Name, CauseTLSRequired)
	if c.Verb != smtpwire.BDAT {
		s.push(own(replyTLSFirst))
		return nil
	}
	size, last, err := smtpwire.ParseChunk(c.Args)
	if err != nil { // where the next command begins is unknown
		return s.refuse(CausePipelining, replySyntax)
	}
	a, err := s.discardChunk(size, last, replyTLSFirst)
	s.push(a)
	return err
}

// allowedInClear: RFC 3207, 4.
func allowedInClear(v smtpwire.Verb) bool {
	return v == smtpwire.NOOP || v == smtpwire.EHLO || v == smtpwire.STARTTLS || v == smtpwire.QUIT
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

// dispatch has one command answered.
func (s *session) dispatch(ctx context.Context, c smtpwire.Command) error {
	var a answer
	var err error
	switch c.Verb {
	case smtpwire.MAIL:
		a, err = s.mail(ctx, c)
	case smtpwire.RCPT:
		a = s.rcpt(c)
	case smtpwire.RSET:
		a, err = s.rset(c)
	case smtpwire.DATA:
		return s.data(ctx, c)
	default:
		if err = s.settle(); err == nil {
			a, err = s.single(ctx, c)
		}
	}
	if err != nil {
		return err
	}
	s.push(a)
	if a.relay && !s.up.pipelining() {
		return s.settle()
	}
	return nil
}

// single answers the commands that are the last of their group; all before them
// have their answers.
func (s *session) single(ctx context.Context, c smtpwire.Command) (answer, error) {
	switch c.Verb {
	case smtpwire.EHLO, smtpwire.HELO:
		return s.greeting(ctx, c)
	case smtpwire.STARTTLS:
		return s.startTLS(c)
	case smtpwire.BDAT:
		return s.bdat(ctx, c)
	case smtpwire.AUTH:
		return s.authenticate(ctx, c)
	case smtpwire.NOOP:
		return s.noop(c), nil
	case smtpwire.VRFY, smtpwire.EXPN, smtpwire.HELP, smtpwire.ETRN:
		return s.passOn(ctx, c)
	case smtpwire.QUIT:
		return answer{}, end("", replyBye)
	case smtpwire.XCLIENT, smtpwire.XFORWARD:
		s.in.Observer.Refused(s.in.Name, CauseXCLIENT)
		return own(replyNotForClients), nil
	}
	return own(replyUnknown), nil
}
