package proxy

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Loops knows the connections that the outbounds of this process open and those that
// come to them, by the address and port that they are opened from and the ones that they were
// to reach. One that is both was redirected back to us by the kernel (SEM 24): our own connections are not
// exempt from the redirect. The first pair alone says nothing: a mail server beside us may
// have the same port for a connection to us as we have for one to elsewhere. All outbounds share one Loops, because
// it may come to another than has opened it. A nil Loops finds none.
type Loops struct {
	mu     sync.Mutex
	opened map[netip.AddrPort][]*leaving
	came   map[netip.AddrPort][]*leaving
}

// leaving is a connection, and finds out what it was to reach.
type leaving struct{ to func() (netip.AddrPort, bool) }

// NewLoops makes a Loops.
func NewLoops() *Loops {
	return &Loops{opened: make(map[netip.AddrPort][]*leaving), came: make(map[netip.AddrPort][]*leaving)}
}

// open notes a connection that we have opened, until end is called, which must not be
// before the other end has said something. loop says that it has come back to us. Whichever
// of open and arrive is called second finds it.
func (l *Loops) open(local net.Addr, to netip.AddrPort) (end func(), loop bool) {
	if l == nil {
		return func() {}, false
	}
	return l.note(l.opened, l.came, addrPort(local), func() (netip.AddrPort, bool) { return to, true })
}

// arrive notes a connection that has come to us, until end is called. loop says that we
// have opened it ourselves. to is asked only where that may be, and says what the connection
// was to reach before it was redirected, if it was.
func (l *Loops) arrive(peer netip.AddrPort, to func() (netip.AddrPort, bool)) (end func(), loop bool) {
	if l == nil {
		return func() {}, false
	}
	return l.note(l.came, l.opened, peer, to)
}

func (l *Loops) note(here, there map[netip.AddrPort][]*leaving, at netip.AddrPort, to func() (netip.AddrPort, bool)) (end func(), loop bool) {
	mine := &leaving{to}
	l.mu.Lock()
	defer l.mu.Unlock()
	here[at] = append(here[at], mine)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if here[at] = slices.DeleteFunc(here[at], func(c *leaving) bool { return c == mine }); len(here[at]) == 0 {
			delete(here, at)
		}
	}, slices.ContainsFunc(there[at], mine.same)
}

func (c *leaving) same(other *leaving) bool {
	a, ok := c.to()
	b, known := other.to()
	return ok && known && a.Addr().Unmap() == b.Addr().Unmap() && a.Port() == b.Port()
}
