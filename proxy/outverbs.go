package proxy

import (
	"bytes"
	"context"

	"postern/smtpwire"
)

// dispatch implements role.
func (s *outboundSession) dispatch(ctx context.Context, c smtpwire.Command) error {
	var a answer
	var err error
	switch c.Verb {
	case smtpwire.MAIL:
		a, err = s.hold(c)
	case smtpwire.RCPT:
		a = s.ask(c)
	case smtpwire.RSET:
		a, err = s.rset(c)
	default:
		if err = s.settle(); err == nil {
			a, err = s.single(ctx, c)
		}
	}
	if err == nil {
		s.push(a)
	}
	return err
}

// single answers the commands that are the last of their group.
func (s *outboundSession) single(ctx context.Context, c smtpwire.Command) (answer, error) {
	switch c.Verb {
	case smtpwire.EHLO, smtpwire.HELO, smtpwire.LHLO:
		return s.hi(c)
	case smtpwire.DATA:
		return s.data(ctx, c)
	case smtpwire.BDAT:
		return s.bdat(ctx, c)
	case smtpwire.NOOP:
		return own(replyOK), nil
	case smtpwire.VRFY: // SEM 6: there is no destination to ask
		return own(replyCannotVerify), nil
	case smtpwire.EXPN, smtpwire.HELP, smtpwire.ETRN, smtpwire.AUTH, smtpwire.STARTTLS:
		return own(replyNotHere), nil
	case smtpwire.QUIT:
		return answer{}, end("", replyBye)
	case smtpwire.XCLIENT, smtpwire.XFORWARD:
		s.front.Observer.Refused(s.front.Name, CauseXCLIENT)
		return own(replyNotForClients), nil
	}
	return own(replyUnknown), nil
}

// hi answers EHLO and HELO, or LHLO where LMTP is spoken, which knows no other (RFC
// 2033, 4.1).
//
// A client that speaks the other one is told to come back: the two of us were not
// configured at the same instant, and a refusal for good would bounce all that waits.
func (s *outboundSession) hi(c smtpwire.Command) (answer, error) {
	name := string(c.Args)
	switch {
	case s.out.LMTP && c.Verb != smtpwire.LHLO:
		return answer{}, s.otherProtocol(replyLMTP)
	case !s.out.LMTP && c.Verb == smtpwire.LHLO:
		return answer{}, s.otherProtocol(replySMTP)
	case !validHello(name):
		return own(replyHelloName), nil
	}
	s.abandonAll(CauseClientGone)
	s.hello = greeted{name: name, esmtp: c.Verb != smtpwire.HELO}
	s.tally.story = nil
	if !s.hello.esmtp {
		return own(smtpwire.Reply{Code: 250, Lines: []byte("250 " + s.front.Hostname + "\r\n")}), nil
	}
	s.hello.offer = s.out.offer
	return own(s.hello.offer.reply), nil
}

func (s *outboundSession) otherProtocol(r smtpwire.Reply) error {
	s.front.Log.Warn("the client and this listener do not speak the same protocol, its mail waits until they do", s.front.named(), "client", s.who.Client.String(), "reply", r.Text())
	return s.refuse(CauseProtocol, r)
}

// hold answers MAIL, and keeps it for the destinations (SEM 6).
func (s *outboundSession) hold(c smtpwire.Command) (answer, error) {
	if s.mail != nil {
		return own(replyNestedMail), nil
	}
	if err := s.overdue(); err != nil {
		return answer{}, err
	}
	m := &heldMail{line: bytes.Clone(c.Line)}
	var err error
	if m.envelope, err = smtpwire.ParseEnvelope(smtpwire.ParseCommand(m.line).Args, "FROM:"); err != nil {
		return own(replySyntax), nil
	}
	if r := notOffered(m.envelope, mailParams, s.out.offer.caps); r.Code != 0 {
		return own(r), nil
	}
	m.envelope.Each(func(p smtpwire.Param) bool {
		if p.Is("SIZE") {
			m.size, _ = smtpwire.ParseSize(p.Value)
		}
		m.utf8 = m.utf8 || p.Is("SMTPUTF8")
		return true
	})
	if !m.utf8 && !smtpwire.IsASCII(m.envelope.Path) {
		return own(replySenderUTF8), nil
	}
	s.mail = m
	return own(replySenderHeld), nil
}

// ask takes a RCPT. It is answered when the group is settled, so that recipients of
// one destination cost one round trip there.
func (s *outboundSession) ask(c smtpwire.Command) answer {
	switch {
	case s.chunks != nil:
		return own(replyInChunks)
	case s.mail == nil:
		return own(replyMailFirst)
	}
	r := &recipient{line: bytes.Clone(c.Line)}
	var err error
	if r.envelope, err = smtpwire.ParseEnvelope(smtpwire.ParseCommand(r.line).Args, "TO:"); err != nil {
		return own(replySyntax)
	}
	if refusal := notOffered(r.envelope, rcptParams, s.out.offer.caps); refusal.Code != 0 {
		return own(refusal)
	}
	if !s.mail.utf8 && !smtpwire.IsASCII(r.envelope.Path) {
		return own(replyRcptUTF8)
	}
	var refusal smtpwire.Reply
	if r.domain, refusal = domainOf(r.envelope.Path); refusal.Code != 0 {
		return own(refusal)
	}
	s.asked = append(s.asked, r)
	return answer{verb: smtpwire.RCPT, later: &r.reply}
}

// rset drops the transaction.
func (s *outboundSession) rset(c smtpwire.Command) (answer, error) {
	if len(c.Args) > 0 {
		return own(replyNoArguments), nil
	}
	if err := s.settle(); err != nil {
		return answer{}, err
	}
	s.abandonAll(CauseClientGone)
	return own(replyOK), nil
}
