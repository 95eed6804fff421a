package probe

import (
	"context"
	"net/netip"
	"sync"
)

// meetings are the addresses that were looked at. Domains share servers: none is asked twice for the
// same, and none by two at a time.
type meetings struct {
	mu    sync.Mutex
	known map[meeting]*visited
	turns map[netip.AddrPort]chan struct{}
}

// meeting is what makes two visits the same.
type meeting struct {
	name, sni string
	addr      netip.AddrPort
	implicit  bool
}

// visited is what came of it, once ready is closed.
type visited struct {
	ready chan struct{}
	v     *visitor
}

func newMeetings() *meetings {
	return &meetings{known: map[meeting]*visited{}, turns: map[netip.AddrPort]chan struct{}{}}
}

// visitor returns what was seen at an address, by whoever was there first.
func (p *Prober) visitor(ctx context.Context, domain string, s server, a netip.Addr) *visitor {
	addr := netip.AddrPortFrom(a, s.port)
	key := meeting{s.name, s.decision.SNI, addr, s.implicit}
	p.met.mu.Lock()
	one, known := p.met.known[key]
	if !known {
		one = &visited{ready: make(chan struct{})}
		p.met.known[key] = one
	}
	turn := p.met.turns[addr]
	if turn == nil {
		turn = make(chan struct{}, 1)
		p.met.turns[addr] = turn
	}
	p.met.mu.Unlock()
	if known {
		select {
		case <-one.ready:
			return one.v
		case <-ctx.Done():
			return p.newVisitor(ctx, domain, s, addr) // who has seen nothing
		}
	}
	defer close(one.ready)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
	}
	one.v = p.newVisitor(ctx, domain, s, addr)
	one.v.look(ctx)
	return one.v
}
