package proxy

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"postern/smtpwire"
)

// parcel is the part of a transaction that goes to one destination.
type parcel struct {
	s      *outboundSession
	bundle string       // recipients of one bundle go the same way
	dest   *destination // nil: not looked up yet
	search *search
	leg    *outLeg // nil: not found yet, or lost

	refused   smtpwire.Reply // what all its recipients get; zero while there is hope
	accepted  int
	rejected  int            // recipients that this server refused
	rejection smtpwire.Reply // of the first of them
	moving    bool           // octets of the message may be on their way: only closing takes it back
	clean     bool           // the message was answered: the leg can take another
	took      time.Duration  // for the last block of a message to several
	late      time.Duration  // by which it has held up the others
	message
}

// what became of an envelope at one server.
type verdictOnEnvelope uint8

const (
	envelopeTaken   verdictOnEnvelope = iota // somebody was accepted
	envelopeRefused                          // for good
	envelopeNotHere                          // for now, or not by this server: another may take it
	envelopeStale                            // a kept connection was no good
)

// offer asks the destination for a batch of recipients, and fills their replies.
// Servers are tried until one takes a recipient, or refuses for good (SEM 18, 19).
func (p *parcel) offer(ctx context.Context, batch []*recipient) {
	for _, r := range batch {
		r.parcel = p
	}
	if p.refused.Code != 0 {
		reply(batch, p.refused)
		return
	}
	p.search.who.until = p.s.deadline()
	p.search.who.several = len(p.s.parcels) > 1
	if p.leg != nil {
		p.leg.until = p.search.who.until
		p.more(batch)
		return
	}
	for {
		leg, err := p.search.next(ctx)
		if err != nil {
			p.noServer(batch, err)
			return
		}
		p.leg = leg
		leg.cut(ctx)
		switch p.envelope(batch) {
		case envelopeTaken, envelopeRefused:
			p.s.out.Gateway.failed.works(p.dest, leg.host)
			return
		case envelopeStale:
			p.search.again()
		}
		p.leg = nil
	}
}

// noServer is the end of the search. The last word of a server stands, where there
// was one.
func (p *parcel) noServer(batch []*recipient, err error) {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{reply: replyBackendLost, cause: CauseRoute, err: err}
	}
	p.refused = f.reply
	if p.s.out.Gateway.o.Route == RouteOriginal && f.hostIsDead() { // SEM 20
		p.refused = smtpwire.NewReply(421, "4.4.1", f.text)
	}
	for _, r := range batch {
		if r.reply.Code == 0 || p.refused.Code == 421 {
			r.reply = p.refused
		}
	}
}

// more offers recipients to a server that has accepted MAIL.
func (p *parcel) more(batch []*recipient) {
	lines, asked := p.rcptLines(batch)
	if _, _, err := p.exchange(nil, lines, asked); err != nil {
		p.lost(err)
		for _, r := range batch {
			if r.reply.Code == 0 {
				r.reply = p.refused
			}
		}
	}
}

// envelope says MAIL and the RCPTs to a server that was just found.
func (p *parcel) envelope(batch []*recipient) verdictOnEnvelope {
	mail, refusal := p.mailLine()
	if refusal.Code != 0 { // the message needs what this server has not
		p.refused = refusal
		reply(batch, refusal)
		p.report(refusal, CauseNotCarried)
		p.settleLeg()
		return envelopeRefused
	}
	for _, r := range batch {
		r.reply = smtpwire.Reply{}
	}
	p.rejected, p.rejection = 0, smtpwire.Reply{}
	lines, asked := p.rcptLines(batch)
	mailed, first, err := p.exchange(mail, lines, asked)
	switch {
	case err != nil:
		return p.brokenOff(batch, err)
	case p.accepted > 0:
		return envelopeTaken
	case mailed.Class() == 4, first.Class() == 4, p.leg.reused > 0 && (mailed.Class() == 5 || first.Code == 503):
		return p.notHere(batch, mailed, first)
	case mailed.Class() != 2:
		p.refused = mailed
		reply(batch, mailed)
		p.report(mailed, CauseUpstreamReply)
		p.leg.shut(true) // who knows what it would say to the next
		p.leg = nil
	default:
		p.report(first, CauseUpstreamReply)
	}
	return envelopeRefused
}

// brokenOff is a server that ended the connection within the envelope.
func (p *parcel) brokenOff(batch []*recipient, err error) verdictOnEnvelope {
	leg := p.leg
	leg.shut(false)
	if leg.reused > 0 && p.accepted == 0 {
		return envelopeStale
	}
	f := leg.gone(err)
	p.accepted = 0
	for _, r := range batch {
		r.reply = smtpwire.Reply{}
	}
	p.search.took = leg.took
	p.search.fail(leg.host, f)
	p.search.greeted++
	p.search.up = true // it was there: another message may fare better
	p.search.skipHost()
	return envelopeNotHere
}

// notHere is a server that does not take the envelope now. On a connection that was
// kept, it may be the connection that it has had enough of, whatever it calls that
// (SEM 23): a fresh one tells.
func (p *parcel) notHere(batch []*recipient, mailed, first smtpwire.Reply) verdictOnEnvelope {
	said := first
	if mailed.Class() == 4 {
		said = mailed
		reply(batch, mailed)
	}
	leg := p.leg
	leg.shut(true)
	if leg.reused > 0 {
		return envelopeStale
	}
	p.report(said, CauseUpstreamReply)
	p.search.refused(said)
	return envelopeNotHere
}

// mailLine is MAIL as this server can take it.
func (p *parcel) mailLine() ([]byte, smtpwire.Reply) {
	m := p.s.mail
	line, dropped, refusal := without(m.line, m.envelope, func(q smtpwire.Param) (bool, smtpwire.Reply) { return p.carried(q, mailParams) })
	p.tellDropped(dropped)
	return line, refusal
}

// carried decides on a parameter (SEM 5). What a server lacks is not always a reason to
// refuse: most of them take the octets all the same.
func (p *parcel) carried(q smtpwire.Param, known map[string]param) (bool, smtpwire.Reply) {
	caps, where := p.leg.caps, p.leg.where()
	limit := caps.Size()
	switch {
	case q.Is("SIZE") && limit > 0 && p.s.mail.size > limit:
		return false, smtpwire.NewReply(554, "5.3.4", where+": message too big for the server")
	case q.Is("BODY") && strings.EqualFold(string(q.Value), "8BITMIME") && !caps.Has("8BITMIME") && p.s.out.Gateway.o.RefuseBits:
		return false, smtpwire.NewReply(554, "5.6.3", where+": 8BITMIME is not supported by the server")
	case q.Is("SMTPUTF8") && !caps.Has("SMTPUTF8"):
		return false, smtpwire.NewReply(553, "5.6.7", where+": SMTPUTF8 is not supported by the server")
	}
	return carried(q, known, caps)
}

// tellDropped notes in the log that a promise of DSN ends here (RFC 3461, 5.2.1).
func (p *parcel) tellDropped(names []string) {
	for _, n := range names {
		switch n {
		case "RET", "ENVID", "NOTIFY", "ORCPT":
			p.s.front.Log.Info("DSN parameter dropped, the server does not know it", p.s.front.named(), "session", p.s.id, "host", p.leg.host.name, "parameter", n)
		}
	}
}

// rcptLines are the RCPTs of a batch as this server can take them.
func (p *parcel) rcptLines(batch []*recipient) (lines [][]byte, asked []*recipient) {
	for _, r := range batch {
		line, dropped, refusal := without(r.line, r.envelope, func(q smtpwire.Param) (bool, smtpwire.Reply) { return p.carried(q, rcptParams) })
		if refusal.Code != 0 {
			r.reply = refusal
			continue
		}
		p.tellDropped(dropped)
		lines, asked = append(lines, line), append(asked, r)
	}
	return lines, asked
}

// exchange says MAIL, unless that is nil, and the RCPTs, and reads the replies: those
// to the RCPTs into asked. A kept leg is reset in the same breath.
func (p *parcel) exchange(mail []byte, lines [][]byte, asked []*recipient) (mailed, first smtpwire.Reply, err error) {
	l := p.leg
	start := time.Now()
	defer func() { l.took.smtp += time.Since(start) }()
	commands := make([]command, 0, len(lines)+2)
	if mail != nil {
		if l.reused > 0 && (l.dirty || l.session != p.s.id) {
			commands = append(commands, command{smtpwire.RSET, resetLine, func(r smtpwire.Reply) bool {
				if r.Class() != 2 {
					err = smtpwire.ErrReplySyntax
				}
				return err == nil
			}})
		}
		commands = append(commands, command{smtpwire.MAIL, mail, func(r smtpwire.Reply) bool {
			if err != nil { // the connection was not reset: what is said of the rest means nothing
				return false
			}
			mailed = p.needsTLS(r.Bounded(maxRelayed))
			l.dirty = r.Class() == 2
			return l.dirty
		}})
	}
	for i, line := range lines {
		commands = append(commands, command{smtpwire.RCPT, line, func(r smtpwire.Reply) bool {
			if err != nil || mail != nil && !l.dirty || r.Code == 421 {
				return false // without MAIL it means nothing
			}
			asked[i].reply = p.needsTLS(r.Bounded(maxRelayed))
			if i == 0 {
				first = asked[i].reply
			}
			if r.Class() == 2 {
				p.accepted++
			} else if p.rejected++; p.rejection.Code == 0 {
				p.rejection = asked[i].reply
			}
			return true
		}})
	}
	if broken := l.converse(l.until, commands); err == nil {
		err = broken
	}
	return mailed, first, err
}

var resetLine = []byte("RSET")

// needsTLS keeps a server's demand for TLS from bouncing a message that goes in clear
// only because TLS failed (SEM 29).
func (p *parcel) needsTLS(r smtpwire.Reply) smtpwire.Reply {
	l := p.leg
	if l.sec.active() || l.clear == "" || l.clear == clearNotOffered || r.Class() != 5 || !asksForTLS(r) {
		return r
	}
	l.g.o.Peers.AskedForTLS(l.host.peer())
	l.g.failed.settled(l.host)
	return smtpwire.NewReply(451, "4.7.5", l.where()+": it wants TLS, which failed ("+l.clear+"); it is tried again: "+r.Quote())
}

func asksForTLS(r smtpwire.Reply) bool {
	return r.Code == 530 || enhancedOf(r) == "5.7.10" || bytes.Contains(bytes.ToUpper(r.Lines), []byte("STARTTLS"))
}

// lost notes that the server is gone.
func (p *parcel) lost(err error) {
	f := p.leg.gone(err)
	p.refused, p.message.reply = f.reply, f.reply
	p.report(f.reply, f.cause)
	p.drop()
}

// settleLeg gives the leg back: to the pool where it is in step, else it is closed.
func (p *parcel) settleLeg() {
	l := p.leg
	if l == nil {
		return
	}
	if p.leg = nil; p.moving && !p.clean {
		l.shut(false)
		return
	}
	l.messages++
	if l.worn() || l.g.places.wanted(l.domain) { // who comes next would take it before who waits
		l.shut(true)
		return
	}
	l.safe()
	l.session = p.s.id
	l.g.pool.put(l)
}

// abandoned reports a delivery that had begun and came to nothing.
func (p *parcel) abandoned(why Cause) {
	if p.leg != nil && p.accepted > 0 && !p.clean && why != "" {
		p.report(smtpwire.Reply{}, why)
	}
}

func reply(batch []*recipient, r smtpwire.Reply) {
	for _, one := range batch {
		one.reply = r
	}
}
