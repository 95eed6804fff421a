package proxy

import (
	"context"
	"sync"
)

// places are the connections that may be open to one destination at once.
type places struct {
	most int // 0: no limit

	mu    sync.Mutex
	taken map[string]*seats
}

type seats struct {
	free  chan struct{}
	users int // who hold one, or wait
}

func newPlaces(most int) *places { return &places{most: most, taken: make(map[string]*seats)} }

// full says whether take would wait.
func (p *places) full(destination string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.taken[destination]
	return p.most > 0 && s != nil && len(s.free) == cap(s.free)
}

// inUse says whether there is a connection to the destination.
func (p *places) inUse(destination string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken[destination] != nil
}

// wanted says whether somebody waits for a place.
func (p *places) wanted(destination string) bool {
	if p.most <= 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.taken[destination]
	return s != nil && s.users > cap(s.free)
}

// take waits for a place until ctx ends.
func (p *places) take(ctx context.Context, destination string) (release func(), ok bool) {
	p.mu.Lock()
	s := p.taken[destination]
	if s == nil {
		s = &seats{free: make(chan struct{}, max(p.most, 0))}
		p.taken[destination] = s
	}
	s.users++
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(p.taken, destination)
		}
	}
	if p.most <= 0 {
		return leave, true
	}
	select {
	case s.free <- struct{}{}:
		return func() { <-s.free; leave() }, true
	default:
	}
	select {
	case s.free <- struct{}{}:
		return func() { <-s.free; leave() }, true
	case <-ctx.Done():
		leave()
		return nil, false
	}
}
