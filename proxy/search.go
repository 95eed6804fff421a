package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"postern/smtpwire"
	"postern/tls/level"
)

// The bounds of one search (SEM 19).
const (
	maxAddresses = 5 // that are connected to
	maxGreeted   = 2 // that were connected, and failed later
)

// sender is who we are for the server, and when the client must have its answer.
type sender struct {
	hello   string
	session string // of the client
	client  string // its address
	until   time.Time
	// several: the transaction goes to others too, whose places it holds meanwhile.
	several bool
}

// search goes through the servers of a destination until one takes the message. A
// server that was found and then refused is not the end of it: next goes on.
type search struct {
	g    *Gateway
	dest *destination
	who  sender

	order   []*host
	addrs   []netip.Addr // left, of order[0]
	looked  bool         // addrs are those of order[0]
	fresh   bool         // no connection that was used before is taken
	dialled int
	greeted int
	up      bool // some server was there, or a place was wanting: the next message may fare better
	took    phases
	last    *failure // of the last attempt
}

// phases are the parts of a delivery's time.
type phases struct {
	dns, connect, tls, smtp time.Duration
}

func (g *Gateway) search(dest *destination, who sender) *search {
	return &search{g: g, dest: dest, who: who, order: g.failed.lastTried(dest.hosts)}
}

// next gives a leg to the next server that can be used: TLS is as the decision asks,
// EHLO was answered. A *failure comes back when there is none left.
func (t *search) next(ctx context.Context) (*outLeg, error) {
	for {
		if leg := t.kept(); leg != nil {
			return leg, nil
		}
		if t.last == nil && !t.fresh {
			if f := t.g.failed.all(t.dest); f != nil {
				t.g.report(t.dest, nil, t.who, f, t.took)
				return nil, f
			}
		}
		h, addr, err := t.target(ctx)
		if err != nil {
			return nil, err
		}
		if h == nil {
			continue
		}
		leg, err := t.attempt(ctx, h, addr)
		if err == nil {
			return leg, nil
		}
		if ctx.Err() != nil {
			return nil, &failure{reply: replyShutdown, cause: CauseShutdown, err: err}
		}
	}
}

// kept takes a connection that was kept for the host that is next (SEM 23).
func (t *search) kept() *outLeg {
	if t.fresh || t.looked {
		return nil
	}
	for i, h := range t.order {
		if h.rank != t.order[0].rank {
			break
		}
		if leg := t.g.pool.take(t.g.poolKey(h, t.who)); leg != nil {
			t.order[0], t.order[i] = t.order[i], t.order[0]
			leg.reused++
			leg.host, leg.decision, leg.took = h, h.decision, phases{}
			leg.until = t.half()
			t.fresh = true // for what follows: it may have gone stale
			return leg
		}
	}
	return nil
}

// target says where to connect next. No host and no error: ask again.
func (t *search) target(ctx context.Context) (*host, netip.Addr, error) {
	if len(t.order) == 0 || t.dialled >= maxAddresses || t.greeted >= maxGreeted {
		return nil, netip.Addr{}, t.exhausted()
	}
	h := t.order[0]
	switch {
	case !time.Now().Before(t.who.until):
		return nil, netip.Addr{}, t.outOfTime()
	case h.decision.Err != nil: // SEM 26: never something weaker instead
		t.g.o.Observer.Attempt(t.g.o.Outbound, Attempt{Outcome: h.decision.Refused(), Host: h.name})
		t.fail(h, failing(CausePolicy, 451, "4.7.5", h.name+": "+h.decision.Err.Error(), h.decision.Err))
		t.skipHost()
		return nil, netip.Addr{}, nil
	case h.decision.NoAddress() && t.g.o.Route == RouteMX:
		t.fail(h, noAddress(h, nil))
		t.skipHost()
		return nil, netip.Addr{}, nil
	case !t.looked:
		return nil, netip.Addr{}, t.look(ctx, h)
	case len(t.addrs) == 0:
		t.skipHost()
		return nil, netip.Addr{}, nil
	}
	addr := t.addrs[0]
	t.addrs = t.addrs[1:]
	if t.g.ours(netip.AddrPortFrom(addr, h.port)) { // SEM 24
		t.fail(h, failing(CauseLoop, 451, "4.4.6", fmt.Sprintf("%s: mail for %s loops back to this gateway (%s)", h.name, t.dest.domain, addr), nil))
		return nil, netip.Addr{}, nil
	}
	return h, addr, nil
}

// look finds the addresses of a host. What it finds out is kept in t.
func (t *search) look(ctx context.Context, h *host) error {
	ctx, cancel := context.WithDeadline(ctx, t.who.until)
	defer cancel()
	start := time.Now()
	addrs, err := t.g.addresses(ctx, h)
	t.took.dns += time.Since(start)
	var f *failure
	if errors.As(err, &f) {
		t.fail(h, f)
	}
	t.addrs, t.looked = addrs, true
	return nil
}

func (t *search) skipHost() {
	t.order, t.addrs, t.looked, t.fresh = t.order[1:], nil, false, false
}

// fail notes why a host could not be used.
func (t *search) fail(h *host, f *failure) {
	t.last = f
	if f.cause != CauseConcurrency {
		t.g.failed.host(h)
	}
	t.up = t.up || !f.hostIsDown()
	t.g.report(t.dest, h, t.who, f, t.took)
}

// again puts the host that a kept connection led to back to the front: the
// connection had gone stale, which says nothing about the host (SEM 23).
func (t *search) again() { t.fresh = true }

// refused notes that a server was reached and did not take the message, not because
// of what the message is: the next one may (SEM 19).
func (t *search) refused(r smtpwire.Reply) {
	t.last = &failure{reply: r.Clone(), cause: CauseUpstreamReply}
	t.greeted++
	t.up = true
	t.skipHost()
}

// exhausted is the end of a search without success.
func (t *search) exhausted() *failure {
	if t.last == nil {
		t.last = failing(CauseNoHost, 451, "4.4.4", "no mail exchanger of "+t.dest.domain+" can be used: "+hostNames(t.dest.hosts), nil)
	}
	if t.triedAll() && !t.up && !t.g.places.inUse(t.dest.domain) { // else it is up, and wants no more of us at once
		t.g.failed.noted(t.dest, t.last)
	}
	return t.last
}

// triedAll says whether every host had its turn, with some of its addresses at least.
// The others come first next time, because those that failed are tried last.
func (t *search) triedAll() bool { return len(t.order) == 0 || len(t.order) == 1 && t.looked }

func (t *search) outOfTime() *failure {
	text := t.dest.domain + ": no server answered in time"
	if t.last != nil {
		text += "; last: " + t.last.reply.Text()
	}
	f := failing(CauseRoute, 451, "4.4.1", text, nil)
	t.g.report(t.dest, nil, t.who, f, t.took)
	return f
}

// attempt connects to one address, as often as SEM 28 and 29 allow.
func (t *search) attempt(ctx context.Context, h *host, addr netip.Addr) (*outLeg, error) {
	release, f := t.place(ctx)
	if f != nil {
		t.fail(h, f)
		t.order = nil // every other host would meet the same limit
		return nil, f
	}
	settled := false
	defer func() {
		if !settled { // a defect of ours must not cost the destination a place for ever
			release()
		}
	}()
	who := t.who
	who.until = t.share()
	a := &attempt{g: t.g, dest: t.dest, host: h, addr: netip.AddrPortFrom(addr, h.port), who: who}
	leg, f := a.run(ctx)
	if !a.unroutable {
		t.dialled++
	}
	if f != nil {
		f.address = a.addr.String()
		if a.greeted {
			t.greeted++
		}
		took := a.took
		took.dns, t.took.dns = t.took.dns, 0
		t.last = f
		if ctx.Err() == nil {
			t.took = took
			t.fail(h, f)
			t.took = phases{}
		}
		return nil, f
	}
	leg.release, settled = release, true
	leg.until = who.until
	leg.took = a.took
	leg.took.dns, t.took.dns = t.took.dns, 0
	return leg, nil
}

// share is how long the next attempt may take: where there is more to try, half of
// what is left, so that one server that stalls does not keep the mail from the others.
func (t *search) share() time.Time {
	if len(t.addrs) == 0 && len(t.order) <= 1 || t.dialled+1 >= maxAddresses {
		return t.who.until
	}
	return t.half()
}

// leastShare is how long an attempt gets in any case.
const leastShare = 20 * time.Second

func (t *search) half() time.Time {
	left := time.Until(t.who.until)
	return time.Now().Add(min(left, max(left/2, leastShare)))
}

// place waits for a place among the connections to the destination.
func (t *search) place(ctx context.Context) (func(), *failure) {
	until := t.who.until
	if soon := time.Now().Add(placePatience); t.who.several && soon.Before(until) {
		until = soon
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if t.g.places.full(t.dest.domain) { // of what is not in use, perhaps
		t.g.pool.endOne(t.dest.domain)
	}
	release, ok := t.g.places.take(ctx, t.dest.domain)
	if !ok {
		return nil, failing(CauseConcurrency, 451, "4.4.5", fmt.Sprintf("%s: too many connections to it at once", t.dest.domain), nil)
	}
	if t.g.o.Places.take() {
		return func() { t.g.o.Places.giveBack(); release() }, nil
	}
	release()
	t.g.pool.endAll() // for the next who asks
	return nil, failing(CauseConcurrency, 451, "4.3.1", "too many connections here", nil)
}

// placePatience is how long a transaction waits for a place that holds others: two that
// wait for each other would do so until their time is over.
const placePatience = 10 * time.Second

// unroutable tells a family that this machine does not have from a server that is
// down: the first is none of the few that may be tried.
func unroutable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EHOSTUNREACH)
}

// mandatory says whether this host may not be spoken to in clear.
func (h *host) mandatory() bool { return h.decision.Level > level.May }
