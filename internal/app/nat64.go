package app

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"

	"postern/resolve"
)

// through64 is for machines that reach IPv4 through NAT64 alone. A DNS64 server makes
// up no addresses for who asks with DNSSEC (RFC 6147, 5.5), so it is asked once more without; what it
// has made up counts if it holds a genuine address (RFC 6052, 2.2). How far the
// answer is believed stays the same: it is the genuine address that is reached.
func (n *lookup) through64(ctx context.Context, host string, f resolve.Family, a resolve.AddrAnswer) resolve.AddrAnswer {
	isV6 := func(addr netip.Addr) bool { return addr.Is6() }
	if !n.checks() || f != resolve.Both || len(a.Addrs) == 0 || slices.ContainsFunc(a.Addrs, isV6) || canReach(a.Addrs[0]) {
		return a
	}
	plain, err := n.plain.Addresses(ctx, host, resolve.IPv6Only)
	if err != nil {
		return a
	}
	made := slices.DeleteFunc(plain.Addrs, func(addr netip.Addr) bool {
		return !slices.ContainsFunc(a.Addrs, func(v4 netip.Addr) bool { return embeds(addr, v4) })
	})
	a.Addrs = append(made, a.Addrs...)
	return a
}

// canReach says whether there is a route. Nothing is sent.
var canReach = func(a netip.Addr) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 25)))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// embeds says whether v6 holds v4 behind a prefix of one of the lengths of RFC 6052,
// 2.2; the octet with bits 64 to 71 is left out.
func embeds(v6, v4 netip.Addr) bool {
	if !v6.Is6() || !v4.Is4() {
		return false
	}
	all, four := v6.As16(), v4.As4()
	for _, octets := range []int{4, 5, 6, 7, 8, 12} {
		var held []byte
		for i := octets; len(held) < 4; i++ {
			if i != 8 {
				held = append(held, all[i])
			}
		}
		if bytes.Equal(held, four[:]) {
			return true
		}
	}
	return false
}
