package proxy

import (
	"errors"
	"io"

	"postern/smtpwire"
)

// forward sends what is queued for the backend.
func (s *inboundSession) forward() error {
	if s.up == nil || s.up.w.Pending() == 0 {
		return nil
	}
	if err := s.inStep(); err != nil {
		return err
	}
	s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
	s.up.w.Flush() // a failure shows when the reply is read, and there may be one
	return nil
}

// relayed reads the backend's reply to one command of the group.
func (s *inboundSession) relayed(a answer, buf []byte) (r smtpwire.Reply, silent bool, err error) {
	if s.up.r.Buffered() == 0 { // each reply has its time
		s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
	}
	r, err = smtpwire.ReadReply(&s.up.r, buf)
	if err == nil && !expected(a.verb, r) {
		err = smtpwire.ErrReplySyntax
	}
	if err != nil {
		if err := s.flush(); err != nil { // the client held us up, not the backend
			return smtpwire.Reply{}, false, err
		}
		return smtpwire.Reply{}, false, s.backendGone(err)
	}
	if s.note(a.verb, r); s.tx.goAhead {
		return r, true, nil // data answers, when it has seen the recipients
	}
	return r, false, goneWith(r)
}

// inStep ends a session whose backend has said something that nobody asked for.
// Only 421 may be that (RFC 5321, 3.8); anything else would be taken for the
// answer to what comes next, and in the end for that to a message.
//
// A look at the socket costs a system call, so it is taken where the next reply
// will count: before DATA, BDAT, AUTH and EHLO.
func (s *inboundSession) inStep() error {
	if s.up.r.Buffered() == 0 && (!s.mattersNext() || !s.up.conn.unread()) {
		return nil
	}
	s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
	s.group = s.group[:0]
	r, err := s.up.reply()
	if err == nil && r.Code == 421 {
		return end(CauseBackendGone, r.Clone())
	}
	return s.backendGone(smtpwire.ErrReplySyntax)
}

// mattersNext says whether the reply to what is queued is one that counts.
func (s *inboundSession) mattersNext() bool {
	n := len(s.group)
	return n == 0 || s.group[n-1].verb == smtpwire.DATA
}

// expected says whether a reply can be one to the verb: there is no
// intermediate reply but to DATA and AUTH, and DATA is not answered with success
// (RFC 5321, 4.3.2). Anything else would have the client believe something that
// nobody said.
func expected(v smtpwire.Verb, r smtpwire.Reply) bool {
	switch r.Class() {
	case 2:
		return v != smtpwire.DATA
	case 3:
		return v == smtpwire.DATA && r.Code == 354
	}
	return true
}

// backendGone ends a session whose backend is lost between commands.
func (s *inboundSession) backendGone(err error) error {
	cause := CauseBackendGone
	if errors.Is(err, smtpwire.ErrReplySyntax) || errors.Is(err, smtpwire.ErrReplyTooBig) {
		cause = CauseBackendReply
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the backend closed the connection")
	}
	s.in.Observer.BackendFailed(s.in.Name, s.up.address, cause)
	s.giveUp(cause)
	s.abandon()
	return &ending{reply: replyBackendClosed, cause: cause, err: err}
}

// note keeps what a reply of the backend means for the transaction.
func (s *inboundSession) note(v smtpwire.Verb, r smtpwire.Reply) {
	ok := r.Class() == 2
	if r.Class() > 3 {
		s.tally.refused++
	}
	switch v {
	case smtpwire.MAIL:
		s.tx.asked = false
		s.tx.open = ok
	case smtpwire.RCPT:
		s.tx.awaited--
		if ok {
			s.tx.recipients++
		}
	case smtpwire.DATA:
		s.tx.goAhead = r.Code == 354
	}
}
