package proxy

import (
	"context"
	"errors"

	"postern/smtpwire"
)

// dispatch has one command answered.
func (s *inboundSession) dispatch(ctx context.Context, c smtpwire.Command) error {
	if s.in.Mode == TLSRequire && !s.sec.active() && !allowedInClear(c.Verb) {
		return s.refuseInClear(c)
	}
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
func (s *inboundSession) single(ctx context.Context, c smtpwire.Command) (answer, error) {
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

// refuseInClear answers a command that has to wait for TLS. The octets of a
// chunk are read all the same (RFC 3030, 2).
func (s *inboundSession) refuseInClear(c smtpwire.Command) error {
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

// greeting answers EHLO and HELO. Inside TLS, and wherever the backend is
// connected already, the answer is what this session's backend can do; in clear
// it is what all backends could do last, so that scanners and failed handshakes
// cost the backend nothing (SEM 1).
func (s *inboundSession) greeting(ctx context.Context, c smtpwire.Command) (answer, error) {
	name := string(c.Args)
	if !validHello(name) {
		return own(replyHelloName), nil
	}
	if err := s.dropMessage(); err != nil {
		return answer{}, err
	}
	s.tx = transaction{}
	s.hello = greeted{name: name, esmtp: c.Verb == smtpwire.EHLO}
	s.tally.story = nil
	if s.live() {
		if r, err := s.helloAgain(name); err != nil || r.Class() != 2 {
			s.hello = greeted{}
			return own(r), err
		}
	} else if s.up == nil && (s.sec.active() || !s.in.Backends.known()) {
		if _, err := s.connect(ctx); err != nil {
			return answer{}, err
		}
		if s.up == nil {
			return answer{}, end(s.tally.failure, replyNoBackend)
		}
	}
	s.judgeName()
	if !s.hello.esmtp {
		return own(smtpwire.Reply{Code: 250, Lines: []byte("250 " + s.in.Hostname + "\r\n")}), nil
	}
	s.hello.offer = s.in.Backends.offerFor(s.offerKey())
	return own(s.hello.offer.reply), nil
}

// helloAgain tells a backend that is connected of another EHLO: it resets the
// transaction (RFC 5321, 4.1.4), and may change the capabilities.
func (s *inboundSession) helloAgain(name string) (smtpwire.Reply, error) {
	if err := s.inStep(); err != nil {
		return smtpwire.Reply{}, err
	}
	s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
	r, err := s.in.Backends.hello(s.up, introduction{hello: name, esmtp: s.hello.esmtp})
	switch {
	case err != nil:
		return r, s.backendGone(err)
	case r.Code == 421:
		return r, end(CauseBackendGone, r.Clone())
	}
	return r.Clone(), nil
}

// validHello wants a name, of visible characters. What kind of name is the
// backend's business.
func validHello(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f {
			return false
		}
	}
	return name != "" && len(name) <= 1024
}

func (s *inboundSession) offerKey() offerKey {
	caps := s.in.Backends.common.Load()
	if s.live() {
		caps = s.up.caps
	}
	return offerKey{backend: caps, hostname: s.in.Hostname, maxSize: s.in.Message.MaxSize, trace: s.in.Message.TraceHeader,
		starttls: s.offersTLS(), tls: s.sec.active(), auth: s.mayAuth()}
}

// offersTLS: RFC 3207, 4: STARTTLS is offered where TLS can be had and is not
// there yet. A client whose handshakes keep failing is spared it (SEM 31).
func (s *inboundSession) offersTLS() bool {
	if s.sec.active() || s.in.Mode != TLSOffer && s.in.Mode != TLSRequire || !s.in.TLS.certificates.Usable() {
		return false
	}
	s.hello.avoid = s.in.Mode == TLSOffer && s.in.Handshake.Avoid(s.who.Client.Addr(), s.hello.name)
	if s.hello.avoid {
		s.in.Observer.Refused(s.in.Name, CauseTLSWithheld)
	}
	return !s.hello.avoid
}

// mayAuth: passwords go over TLS only, but for the networks that the operator
// named (SEM 37).
func (s *inboundSession) mayAuth() bool {
	return s.sec.active() || contains(s.in.Networks.AuthPlaintext, s.who.Client.Addr())
}

// startTLS answers STARTTLS. Its 220 is the last octet in clear (RFC 3207, 4).
func (s *inboundSession) startTLS(c smtpwire.Command) (answer, error) {
	switch {
	case s.sec.active():
		return own(replyTLSAlready), nil
	case s.in.Mode == TLSOff:
		return own(replyNotHere), nil
	case len(c.Args) > 0:
		return own(replyNoArguments), nil
	case !s.hello.esmtp:
		return own(replyHelloFirst), nil
	case s.hello.avoid || !s.in.TLS.certificates.Usable():
		s.in.Observer.Refused(s.in.Name, CauseTLSUnavailable)
		return own(replyTLSNot), nil
	case !s.srv.clients.mayHandshake(s.who.Client.Addr(), s.front):
		s.in.Observer.Refused(s.in.Name, CauseHandshakeRate)
		return own(replyTLSNot), nil
	}
	s.say(replyReadyForTLS)
	if err := s.flush(); err != nil {
		return answer{}, err
	}
	return answer{}, errStartTLS
}

// noop keeps a connected backend from falling asleep, and never dials.
func (s *inboundSession) noop(c smtpwire.Command) answer {
	if !s.live() || s.tx.chunks != nil || len(c.Line) > maxPassedOn {
		return own(replyOK)
	}
	return s.relay(c)
}

// rset drops the transaction.
func (s *inboundSession) rset(c smtpwire.Command) (answer, error) {
	if len(c.Args) > 0 {
		return own(replyNoArguments), nil
	}
	if s.tx.inMessage() {
		if err := s.settle(); err != nil {
			return answer{}, err
		}
		return own(replyOK), s.dropMessage()
	}
	if s.tx.asked || s.tx.awaited > 0 { // their replies must not count for what follows
		if err := s.settle(); err != nil {
			return answer{}, err
		}
	}
	s.giveUp(CauseClientGone)
	s.tx = transaction{}
	if !s.live() {
		return own(replyOK), nil
	}
	return s.relay(c), nil
}

// dropMessage takes back a message whose last chunk has not come. The error, if
// the session cannot go on, has the reply for the client.
func (s *inboundSession) dropMessage() error {
	s.giveUp(CauseClientGone)
	if !s.tx.inMessage() {
		return nil
	}
	if s.abandonMessage(CauseBackendGone) != nil {
		return end(CauseBackendGone, replyBackendClosed)
	}
	return nil
}

// maxPassedOn is the length of a command line that every server reads as one (RFC
// 5321, 4.5.3.1.4), without CRLF.
const maxPassedOn = 510

// passOn answers VRFY, EXPN, HELP and ETRN with what the backend says.
func (s *inboundSession) passOn(ctx context.Context, c smtpwire.Command) (answer, error) {
	if len(c.Line) > maxPassedOn {
		return own(replyLineTooLong), nil
	}
	if s.tx.chunks != nil { // where they go out with DATA, it would become part of the message
		return own(replyInChunks), nil
	}
	if r, err := s.connect(ctx); err != nil || !s.live() {
		return own(r), err
	}
	return s.relay(c), nil
}

// relay queues a command for the backend as it came.
func (s *inboundSession) relay(c smtpwire.Command) answer {
	s.up.w.Line(c.Line)
	return answer{verb: c.Verb, relay: true}
}

// connect makes sure that the session has an upstream leg. Where it has no live
// one afterwards, the reply is what the client gets instead. An error ends the
// session: who the client is could not be conveyed (SEM 9).
//
// A worker dials, so that the session's stack does not grow.
func (s *inboundSession) connect(ctx context.Context) (smtpwire.Reply, error) {
	if s.up == nil {
		_, done := s.in.Observer.Step(ctx, s.in.Name, StepDial)
		type result struct {
			up  *backendLeg
			err error
		}
		ch := make(chan result, 1)
		who := introduction{client: s.who.Client, local: s.who.Local, hello: s.hello.name, esmtp: s.hello.esmtp, secured: s.sec}
		s.srv.deepStack.do(func() {
			r := result{err: errPanic}
			defer func() { ch <- r }()
			defer s.srv.caught(&s.session)
			r.up, r.err = s.in.Backends.dial(s.srv.ctx, who)
		})
		r := <-ch
		done(r.err)
		if r.err != nil {
			return s.unreachable(r.err)
		}
		s.up = r.up
		s.up.conn.over(s.srv.sweeper)
		s.tally.backend, s.tally.story = s.up.address, nil
	}
	return s.up.verdict, nil
}

// errPanic stands for a defect of ours, which is in the log.
var errPanic = errors.New("internal error")

// unreachable is what the client gets when there is no backend for it.
func (s *inboundSession) unreachable(err error) (smtpwire.Reply, error) {
	s.logBackend(err)
	s.tally.failure = causeOf(err)
	if s.srv.ctx.Err() != nil {
		return replyShutdown, end(CauseShutdown, replyShutdown)
	}
	var r refusal
	if errors.As(err, &r) && (r.cause == CauseBackendXCLIENT || r.reply.Class() == 5) {
		return replyNoBackend, &ending{reply: replyNoBackend, cause: r.cause, err: err}
	}
	return replyNoBackendNow, nil
}
