package proxy

import (
	"net"
	"net/netip"
	"sync"
)

// Loops knows the connections that the outbounds of this process open and those that
// come to them, by the address and port that they are opened from. One that is both was
// redirected back to us by the kernel (SEM 24): our own connections are not exempt from
// the redirect. All outbounds share one, because it may come to another than has opened
// it. A nil Loops finds none.
type Loops struct {
	mu     sync.Mutex
	opened map[netip.AddrPort]int
	came   map[netip.AddrPort]int
}

// NewLoops makes a Loops.
func NewLoops() *Loops {
	return &Loops{opened: make(map[netip.AddrPort]int), came: make(map[netip.AddrPort]int)}
}

// open notes a connection that we have opened, until end is called, which must not be
// before the other end has said something. loop says that it has come back to us. Whichever
// of open and arrive is called second finds it.
func (l *Loops) open(local net.Addr) (end func(), loop bool) {
	if l == nil {
		return func() {}, false
	}
	return l.note(l.opened, l.came, addrPort(local))
}

// arrive notes a connection that has come to us, until end is called. loop says that we
// have opened it ourselves.
func (l *Loops) arrive(peer netip.AddrPort) (end func(), loop bool) {
	if l == nil {
		return func() {}, false
	}
	return l.note(l.came, l.opened, peer)
}

func (l *Loops) note(here, there map[netip.AddrPort]int, at netip.AddrPort) (end func(), loop bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	here[at]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if here[at]--; here[at] == 0 {
			delete(here, at)
		}
	}, there[at] > 0
}
