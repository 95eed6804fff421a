package app

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// ownAddresses are those that our outbounds listen on: mail for them would go
// round in circles (SEM 24).
type ownAddresses struct {
	now atomic.Pointer[[]ownAddress]
}

// ownAddress is a listener of an outbound.
type ownAddress struct {
	netip.AddrPort      // unspecified: any address of this machine
	both           bool // unspecified, of both families
}

// ownAddressOf tells what a listener covers: host is as in net.Listen, empty
// for both families.
func ownAddressOf(host string, at netip.AddrPort) ownAddress {
	return ownAddress{netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), host == ""}
}

func (o *ownAddresses) set(all []ownAddress) { o.now.Store(&all) }

// has says whether a connection to an address would come to one of our
// outbounds.
func (o *ownAddresses) has(to netip.AddrPort) bool {
	all := o.now.Load()
	if all == nil {
		return false
	}
	for _, a := range *all {
		if a.Port() == to.Port() && a.covers(to.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// covers says whether a connection to an address comes to this listener, if the
// port is the same. A connection to the unspecified address comes to loopback.
func (a ownAddress) covers(to netip.Addr) bool {
	to = to.WithZone("")
	if to.IsUnspecified() {
		to = loopbackOf(to)
	}
	if !a.Addr().IsUnspecified() {
		return a.Addr().WithZone("") == to
	}
	return (a.both || a.Addr().Is4() == to.Is4()) && ofThisHost(to)
}

func loopbackOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// ownOf lists the listeners of the outbounds of a plan.
func ownOf(p *plan, all []*listener) (own []ownAddress) {
	for _, l := range all {
		if p.outbound(l.front) == nil {
			continue
		}
		t, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		host, _, _ := net.SplitHostPort(l.address) // a socket of systemd's has none: by default it is of both families
		own = append(own, ownAddressOf(host, t.AddrPort()))
	}
	return own
}

// ownAsWritten lists what the outbounds of a plan would listen on.
func ownAsWritten(p *plan) (own []ownAddress) {
	for _, out := range p.outbounds {
		for _, address := range out.listen {
			host, _, _ := net.SplitHostPort(address)
			a, err := netip.ParseAddr(host)
			if err != nil {
				a = netip.IPv6Unspecified()
			}
			own = append(own, ownAddressOf(host, netip.AddrPortFrom(a, uint16(port(address)))))
		}
	}
	return own
}
