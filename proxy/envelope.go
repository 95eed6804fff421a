package proxy

import (
	"bytes"
	"context"
	"strings"
	"time"

	"postern/smtpwire"
)

// transaction is one mail transaction (RFC 5321, 3.3).
type transaction struct {
	asked      bool // MAIL is queued, its reply not here yet
	open       bool // MAIL was accepted
	utf8       bool // with SMTPUTF8
	awaited    int  // RCPTs queued
	recipients int  // accepted
	goAhead    bool // 354 came
	chunks     *chunked
}

// inMessage says whether a message has begun to move that DATA carries, so that
// only closing the upstream leg can take it back.
func (t *transaction) inMessage() bool { return t.chunks != nil && t.chunks.dots && !t.chunks.dead }

// mail answers MAIL. The backend is dialled here at the latest.
func (s *inboundSession) mail(ctx context.Context, c smtpwire.Command) (answer, error) {
	if s.tx.asked { // a second one in the same group: first see how the first went
		if err := s.settle(); err != nil {
			return answer{}, err
		}
	}
	if s.tx.open {
		return own(replyNestedMail), nil
	}
	if err := s.overdue(); err != nil {
		return answer{}, err
	}
	e, err := smtpwire.ParseEnvelope(c.Args, "FROM:")
	if err != nil {
		return own(replySyntax), nil
	}
	if r, err := s.connect(ctx); err != nil || !s.live() {
		return own(r), err
	}
	utf8 := hasParam(e, "SMTPUTF8")
	line, refusal := s.adapt(c, e, mailParams)
	switch {
	case refusal.Code != 0:
		return own(refusal), nil
	case !utf8 && !smtpwire.IsASCII(e.Path):
		return own(replySenderUTF8), nil
	}
	s.up.w.Line(line)
	s.tx = transaction{asked: true, utf8: utf8}
	return answer{verb: smtpwire.MAIL, relay: true}, nil
}

// overdue ends a session whose time is up also where the client never pauses
// between its commands (RFC 5321, 3.8).
func (s *session) overdue() error {
	switch {
	case s.srv.stopping():
		return end(CauseShutdown, replyShutdown)
	case !time.Now().Before(s.softEnd()):
		return end(CauseSession, replySessionLong)
	}
	return nil
}

// rcpt answers RCPT.
func (s *inboundSession) rcpt(c smtpwire.Command) answer {
	switch {
	case s.tx.chunks != nil:
		return own(replyInChunks)
	case !s.tx.open && !s.tx.asked || !s.live():
		return own(replyMailFirst)
	}
	e, err := smtpwire.ParseEnvelope(c.Args, "TO:")
	if err != nil {
		return own(replySyntax)
	}
	line, refusal := s.adapt(c, e, rcptParams)
	switch {
	case refusal.Code != 0:
		return own(refusal)
	case !s.tx.utf8 && !smtpwire.IsASCII(e.Path):
		return own(replyRcptUTF8)
	}
	s.up.w.Line(line)
	s.tx.awaited++
	return answer{verb: smtpwire.RCPT, relay: true}
}

// param is what is known of a parameter: the capability that it belongs to,
// and whether the message is as good without it.
type param struct {
	capability string
	droppable  bool
}

// The parameters that we carry (STANDARDS 37). BODY tells nothing that the
// octets don't; SIZE is a hint; DSN can be dropped by RFC 3461, 5.2.1.
var (
	mailParams = map[string]param{
		"SIZE": {"SIZE", true}, "BODY": {"8BITMIME", true}, "SMTPUTF8": {"SMTPUTF8", false}, "RET": {"DSN", true}, "ENVID": {"DSN", true},
		"AUTH": {"AUTH", true}, "BY": {"DELIVERBY", false}, "MT-PRIORITY": {"MT-PRIORITY", false},
		"HOLDFOR": {"FUTURERELEASE", false}, "HOLDUNTIL": {"FUTURERELEASE", false}, "REQUIRETLS": {"REQUIRETLS", false},
	}
	rcptParams = map[string]param{"NOTIFY": {"DSN", true}, "ORCPT": {"DSN", true}, "RRVS": {"RRVS", false}}
)

func hasParam(e smtpwire.Envelope, name string) (found bool) {
	e.Each(func(p smtpwire.Param) bool {
		found = p.Is(name)
		return !found
	})
	return found
}

// adapt gives the line for the backend: as the client sent it where the backend
// has all that we offered, else without the parameters that it lacks (SEM 2).
// A refusal comes back for a parameter that was not offered, or that the
// message is not the same without.
func (s *inboundSession) adapt(c smtpwire.Command, e smtpwire.Envelope, known map[string]param) (line []byte, refusal smtpwire.Reply) {
	offered := s.up.caps
	if s.hello.offer != nil {
		offered = s.hello.offer.caps
	}
	if refusal = notOffered(e, known, offered); refusal.Code != 0 {
		return nil, refusal
	}
	line, _, refusal = without(c.Line, e, func(p smtpwire.Param) (bool, smtpwire.Reply) { return carried(p, known, s.up.caps) })
	return line, refusal
}

// notOffered refuses parameters that were not offered (STANDARDS 37).
func notOffered(e smtpwire.Envelope, known map[string]param, offered *smtpwire.Capabilities) (refusal smtpwire.Reply) {
	e.Each(func(p smtpwire.Param) bool {
		what, ok := known[strings.ToUpper(string(p.Keyword))]
		switch {
		case !ok || !offered.Has(what.capability):
			refusal = replyParamUnknown
		case p.Is("SIZE"):
			refusal = judgeSize(p, offered.Size())
		case p.Is("BODY") && !strings.EqualFold(string(p.Value), "8BITMIME") && !strings.EqualFold(string(p.Value), "7BIT"):
			refusal = replyParamUnknown
		}
		return refusal.Code == 0
	})
	return refusal
}

// without is line less the parameters that drop says are to go, and the names of
// those. A refusal of drop ends it.
func without(line []byte, e smtpwire.Envelope, drop func(smtpwire.Param) (bool, smtpwire.Reply)) (out []byte, dropped []string, refusal smtpwire.Reply) {
	if len(e.Params) == 0 {
		return line, nil, refusal
	}
	var keep []byte
	e.Each(func(p smtpwire.Param) bool {
		var gone bool
		if gone, refusal = drop(p); gone {
			dropped = append(dropped, strings.ToUpper(string(p.Keyword)))
		} else {
			keep = append(append(keep, ' '), p.Text...)
		}
		return refusal.Code == 0
	})
	if len(dropped) == 0 {
		return line, nil, refusal
	}
	head := bytes.TrimRight(line[:bytes.LastIndex(line, e.Params)], " ")
	return append(bytes.Clone(head), keep...), dropped, refusal
}

// carried decides on one parameter that was offered, for a server that may lack
// it.
func carried(p smtpwire.Param, known map[string]param, caps *smtpwire.Capabilities) (drop bool, refusal smtpwire.Reply) {
	what := known[strings.ToUpper(string(p.Keyword))]
	switch {
	case caps.Has(what.capability):
		return false, refusal
	case what.droppable:
		return true, refusal
	case what.capability == "SMTPUTF8":
		return false, replyUTF8Gone
	}
	return false, replyParamUnknown
}

// judgeSize: RFC 1870, 6.1.
func judgeSize(p smtpwire.Param, limit int64) smtpwire.Reply {
	n, ok := smtpwire.ParseSize(p.Value)
	switch {
	case !ok:
		return replySyntax
	case limit > 0 && n > limit:
		return replyTooBig
	}
	return smtpwire.Reply{}
}
