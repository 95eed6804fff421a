package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"postern/smtpwire"
)

// The times of SEM 21, where one of several servers holds up the others.
const (
	fanPatience = time.Minute     // for the reply to DATA, and for each block
	fanFinal    = 9 * time.Minute // for the reply to the message
)

// data answers DATA, and carries the message.
func (s *outboundSession) data(ctx context.Context, c smtpwire.Command) (answer, error) {
	if len(c.Args) > 0 {
		return own(replyNoArguments), nil
	}
	if r := s.mayBegin(); r.Code != 0 {
		return own(r), nil
	}
	to, refusal := s.askData()
	if refusal.Code != 0 {
		s.reset()
		return own(refusal), nil
	}
	s.say(replyGoAhead)
	if err := s.flush(); err != nil {
		return answer{}, err
	}
	m := s.beginMessage(ctx, len(s.rcpts))
	body, w := s.newBody(to), s.writerTo(to)
	s.startMoving(to)
	if s.front.Message.TraceHeader {
		w.Raw(smtpwire.StuffDots(s.traceHeader(m.start, s.protocol())))
	}
	bad, err := body.CopyDots(w, &s.down.r)
	s.stopMoving(to)
	m.Bytes = body.Size()
	return answer{}, s.endMessage(m, bad, err)
}

// mayBegin says why a message cannot come now, if so.
func (s *outboundSession) mayBegin() smtpwire.Reply {
	switch {
	case s.chunks != nil:
		return replyInChunks // RFC 3030, 2
	case s.mail == nil:
		return replyMailFirst
	case len(s.rcpts) > 0:
		return smtpwire.Reply{}
	case s.out.LMTP: // RFC 2033, 4.2
		return replyNoRecipientsLMTP
	}
	return replyNoRecipients
}

// protocol is the word for the "with" clause.
func (s *outboundSession) protocol() string {
	switch {
	case s.mail.utf8 && s.out.LMTP:
		return "UTF8LMTP"
	case s.mail.utf8:
		return "UTF8SMTP"
	case s.out.LMTP:
		return "LMTP"
	case s.hello.esmtp:
		return "ESMTP"
	}
	return "SMTP"
}

// askData says DATA to all servers, and waits for their answers. Of several, those who
// refuse or are late are left behind, and their recipients hear of it in the end. Where
// there is one only, or none is left, its refusal comes back.
func (s *outboundSession) askData() (to []*parcel, refusal smtpwire.Reply) {
	patience := s.front.Timeouts.Command
	all := s.live()
	if s.out.LMTP {
		patience = min(patience, fanPatience)
	}
	inParallel(s, all, func(p *parcel) { p.askData(patience) })
	for _, p := range all {
		if p.leg != nil && p.moving {
			to = append(to, p)
		}
	}
	if len(to) == 0 && (!s.out.LMTP || len(s.parcels) == 1) {
		refusal = s.rcpts[0].parcel.reply
		if refusal.Code == 0 {
			refusal = replyBackendLost
		}
	}
	return to, refusal
}

// inParallel does something with each part, at the same time where there are several.
func inParallel(s *outboundSession, all []*parcel, do func(*parcel)) {
	if len(all) == 1 {
		do(all[0])
		return
	}
	var group sync.WaitGroup
	for _, p := range all {
		group.Go(func() {
			defer s.srv.caught(&s.session)
			do(p)
		})
	}
	group.Wait()
}

// askData says DATA to one server.
func (p *parcel) askData(patience time.Duration) {
	l := p.leg
	p.moving = true // whatever becomes of this
	l.conn.within(patience, time.Time{})
	r, err := l.ask("DATA")
	if err == nil && (!expected(smtpwire.DATA, r) || r.Code == 354 && l.answeredEarly()) {
		err = smtpwire.ErrReplySyntax
	}
	switch {
	case err != nil:
		p.message.reply = l.gone(err).reply
		p.report(p.message.reply, CauseUpstreamGone)
		p.drop()
	case r.Code == 354:
	default:
		p.moving = false
		p.message.reply = l.notAs421(p.needsTLS(r.Bounded(maxRelayed)))
		p.report(p.message.reply, CauseUpstreamReply)
		p.accepted = 0
		p.settleLeg()
	}
}

// drop closes the leg: what was sent of the message is taken back (SEM 22).
func (p *parcel) drop() {
	if p.leg != nil {
		p.leg.shut(false)
		p.leg = nil
	}
}

// newBody makes the Body of a message. Its end is not written to a server that has
// spoken already: what it said would be taken for the answer.
func (s *outboundSession) newBody(to []*parcel) *smtpwire.Body {
	body := smtpwire.NewBody(s.newlines(), s.front.Message.MaxSize)
	body.AskBeforeEnd(func() error {
		left := 0
		for _, p := range to {
			if p.leg == nil {
				continue
			}
			if err := p.leg.quiet(); err != nil {
				p.failed(err)
				continue
			}
			left++
		}
		if left == 0 {
			return errNobodyLeft
		}
		return nil
	})
	return body
}

var errNobodyLeft = errors.New("no server is left that takes the message")

// maxRelayed is how much of a reply of a stranger reaches our mail server, in octets:
// some give up a connection for more, and with it the replies of all others.
const maxRelayed = 2048

// failed notes that a server did not take the message to its end.
func (p *parcel) failed(err error) {
	p.leg.conn.moving(0, time.Time{}) // its last words have a time of their own
	p.message.reply = p.leg.lastWords().Bounded(maxRelayed)
	cause := CauseUpstreamReply
	if p.message.reply = p.leg.notAs421(p.message.reply); p.message.reply.Code == 0 {
		p.message.reply, cause = p.leg.gone(err).reply, CauseUpstreamGone
	}
	p.report(p.message.reply, cause)
	p.drop()
}

// endMessage answers a message that was read to its end, or not: bad says why it was
// not passed on, err why the client's octets ended.
func (s *outboundSession) endMessage(m *message, bad, err error) error {
	if err != nil {
		cause := CauseClientGone
		if isTimeout(err) {
			cause = CauseSlow
		}
		s.dropAll(smtpwire.Reply{}, cause, m.Bytes)
		return s.cutShort(m, err)
	}
	if r, cause := faulty(bad); cause != "" {
		s.front.Observer.Refused(s.front.Name, cause)
		s.dropAll(r, cause, m.Bytes)
		m.reply, m.Cause = r, cause
		s.answerAll(r)
	} else {
		s.finals(m, bad)
	}
	m.Code = m.reply.Code
	if m.reply.Class() == 2 {
		s.tally.messages++
	}
	s.reportMessage(m)
	s.tally.behind = s.down.r.Buffered() > 0
	s.reset()
	return nil
}

// dropAll takes the message back from every server.
func (s *outboundSession) dropAll(r smtpwire.Reply, cause Cause, size int64) {
	for _, p := range s.live() {
		p.message.Bytes = size
		p.report(r, cause)
		p.drop()
	}
}

// finals waits for the servers' replies to the message and says them: one, or in LMTP
// one for each recipient in the order of the RCPTs, as they become known (SEM 21).
func (s *outboundSession) finals(m *message, bad error) {
	live := s.live()
	done := make(map[*parcel]chan struct{}, len(live))
	limits := s.front.Timeouts
	if s.out.LMTP {
		limits.Final = min(limits.Final, fanFinal)
	}
	for _, p := range live {
		p.message.Bytes = m.Bytes
		if len(s.parcels) == 1 { // there is nobody else to hear of meanwhile
			p.final(limits, bad)
			continue
		}
		over := make(chan struct{})
		done[p] = over
		go func() {
			defer close(over)
			defer s.srv.caught(&s.session)
			p.final(limits, bad)
		}()
	}
	for _, r := range s.rcpts {
		if over := done[r.parcel]; over != nil {
			s.waitFor(over)
		}
		one := r.parcel.message.reply
		if one.Code == 0 {
			one = replyBackendLost
		}
		if m.reply.Code < one.Code {
			m.reply = one
		}
		if s.out.LMTP {
			s.say(one)
		}
	}
	if !s.out.LMTP {
		s.say(m.reply)
	}
}

// waitFor says what is known already before it waits.
func (s *outboundSession) waitFor(over <-chan struct{}) {
	select {
	case <-over:
		return
	default:
	}
	_ = s.flush() // a client that is gone is noticed later: the servers' answers count
	<-over
}

// final waits for one server's reply to the message. Behind the dot nobody knows what
// became of it: 4xx, never 250 (RFC 5321, 6.1).
func (p *parcel) final(limits Timeouts, bad error) {
	if bad != nil {
		p.failed(bad)
		return
	}
	start := time.Now()
	r, err := p.leg.finalReply(limits, p.s.down.conn.hungUp)
	p.leg.took.smtp += time.Since(start)
	if err != nil {
		cause := CauseUpstreamGone
		if isClientGone(err) {
			cause = CauseClientGone
		}
		p.message.reply = p.leg.gone(err).reply
		p.report(p.message.reply, cause)
		p.s.front.Log.Warn("no reply to a message that was sent whole: it may be delivered twice", p.s.front.named(), "session", p.s.id,
			"destination", p.dest.domain, "host", p.leg.host.name)
		p.drop()
		return
	}
	p.clean = r.Code != 421
	p.message.reply = p.leg.notAs421(r.Bounded(maxRelayed))
	p.leg.dirty = false
	cause := Cause("")
	if r.Class() != 2 {
		cause = CauseUpstreamReply
	}
	p.report(p.message.reply, cause)
}
