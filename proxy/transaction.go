package proxy

import (
	"context"
	"sync"
	"time"

	"postern/smtpwire"
)

// forward finds the replies to the RCPTs of the group.
func (s *outboundSession) forward() error {
	asked := s.asked
	if s.asked = nil; len(asked) == 0 {
		return nil
	}
	ctx := s.srv.ctx
	s.until = time.Now().Add(s.front.Timeouts.Route) // for all: the client waits for the first
	if s.out.LMTP {
		s.spread(ctx, asked)
	} else {
		s.bind(ctx, asked)
	}
	for _, r := range asked {
		switch r.reply.Class() {
		case 2:
			s.rcpts = append(s.rcpts, r)
		case 0:
			r.reply = replyBackendLost // a defect of ours, which is in the log
		}
	}
	return nil
}

// bind takes the recipients of an SMTP client, which can have one reply to its message
// only, and so one destination: that of the first recipient who is accepted (SEM 18).
func (s *outboundSession) bind(ctx context.Context, asked []*recipient) {
	for i, r := range asked {
		if r.reply.Code != 0 || r.parcel != nil {
			continue
		}
		if bound := s.bound(); bound != nil && s.out.Gateway.oneDomain() && bound.bundle != s.out.Gateway.bundle(r.domain) {
			s.otherDestination(r) // where it would go need not be known
			continue
		}
		p, f := s.parcelFor(ctx, r.domain)
		if f != nil {
			r.reply = f.reply
			continue
		}
		if bound := s.bound(); bound != nil && bound != p {
			s.otherDestination(r)
			continue
		}
		s.leaveOthers(p)
		batch := asked[i : i+1 : i+1]
		for _, other := range asked[i+1:] {
			if other.reply.Code == 0 && other.parcel == nil && s.out.Gateway.bundle(other.domain) == s.out.Gateway.bundle(r.domain) {
				batch = append(batch, other)
			}
		}
		p.offer(ctx, batch)
	}
}

// bound is the part that has a recipient, or nil.
func (s *outboundSession) bound() *parcel {
	for _, p := range s.parcels {
		if p.accepted > 0 {
			return p
		}
	}
	return nil
}

// leaveOthers gives up what came to nothing, when another destination has its turn.
func (s *outboundSession) leaveOthers(keep *parcel) {
	for _, p := range s.parcels {
		if p != keep {
			p.settleLeg()
		}
	}
	s.parcels = append(s.parcels[:0], keep)
}

// otherDestination is the answer to a recipient who has to come in a transaction of
// its own.
func (s *outboundSession) otherDestination(r *recipient) {
	r.reply = replyOtherDestination
	s.front.Observer.Refused(s.front.Name, CauseOtherDestination)
	if s.out.Gateway.warnOnce() {
		s.front.Log.Warn("a message for several destinations had to be split: use protocol = \"lmtp\", or let the mail server send one destination at a time", s.front.named(), "session", s.id)
	}
}

// parcelFor finds the part of the transaction for a domain, or begins it.
func (s *outboundSession) parcelFor(ctx context.Context, domain string) (*parcel, *failure) {
	g := s.out.Gateway
	bundle := g.bundle(domain)
	if p := s.parcelOf(bundle); p != nil {
		return p, nil
	}
	p := &parcel{s: s, bundle: bundle}
	if f := p.find(ctx, domain); f != nil {
		return nil, f
	}
	for _, other := range s.parcels { // of another domain, that goes the same way
		if other.dest.key == p.dest.key && g.o.Route == RouteOriginal {
			return other, nil
		}
	}
	s.parcels = append(s.parcels, p)
	return p, nil
}

// spread takes the recipients of an LMTP client. Every destination has its own leg;
// they are found side by side.
func (s *outboundSession) spread(ctx context.Context, asked []*recipient) {
	batches := make(map[*parcel][]*recipient)
	for _, r := range asked {
		p := s.bundled(s.out.Gateway.bundle(r.domain))
		if p == nil {
			r.reply = replyTooManyDomains
			continue
		}
		batches[p] = append(batches[p], r)
	}
	if len(batches) == 1 {
		for p, batch := range batches {
			p.findAndOffer(ctx, batch)
		}
		return
	}
	var all sync.WaitGroup
	for p, batch := range batches {
		all.Go(func() {
			defer s.srv.caught(&s.session)
			p.findAndOffer(ctx, batch)
		})
	}
	all.Wait()
}

// bundled is the part of the transaction for a bundle, or nil when there are too many.
func (s *outboundSession) bundled(bundle string) *parcel {
	if p := s.parcelOf(bundle); p != nil || len(s.parcels) >= maxDestinations {
		return p
	}
	p := &parcel{s: s, bundle: bundle}
	s.parcels = append(s.parcels, p)
	return p
}

// maxDestinations bounds the connections of one transaction. As many recipients have to be
// taken (RFC 5321, 4.5.3.1.8).
const maxDestinations = 100

// parcelOf is the part that was begun for a bundle, or nil.
func (s *outboundSession) parcelOf(bundle string) *parcel {
	for _, p := range s.parcels {
		if p.bundle == bundle {
			return p
		}
	}
	return nil
}

// findAndOffer is offer for a part whose destination may not be known yet.
func (p *parcel) findAndOffer(ctx context.Context, batch []*recipient) {
	if p.dest == nil {
		if f := p.find(ctx, batch[0].domain); f != nil {
			p.refused = f.reply
		}
	}
	if p.offer(ctx, batch); p.leg != nil && p.accepted == 0 { // there is nothing to keep it for
		p.settleLeg()
		p.dest = nil
	}
}

// find looks up where the part goes.
func (p *parcel) find(ctx context.Context, domain string) *failure {
	g, s := p.s.out.Gateway, p.s
	who := sender{hello: g.helloFor(s.hello.name), session: s.id, client: s.who.Client.String(), until: s.deadline()}
	dest, took, err := g.find(ctx, domain, s.original, who)
	if err != nil {
		return err
	}
	p.dest = dest
	p.search = g.search(dest, who)
	p.search.took.dns = took
	return nil
}

// live are the parts that still have a recipient and a server.
func (s *outboundSession) live() []*parcel {
	var all []*parcel
	for _, p := range s.parcels {
		if p.leg != nil && p.accepted > 0 {
			all = append(all, p)
		}
	}
	return all
}

// answerAll gives one reply to the message: to each recipient in LMTP (RFC 2033, 4.2).
func (s *outboundSession) answerAll(r smtpwire.Reply) {
	n := 1
	if s.out.LMTP {
		n = len(s.rcpts)
	}
	for range n {
		s.say(r)
	}
}
