package app

import (
	"net/netip"
	"testing"

	"postern/internal/dnstest"
	"postern/resolve"
)

// RFC 6052, 2.4.
func TestAnAddressHoldsAnother(t *testing.T) {
	for v6, want := range map[string]bool{
		"2001:db8:c000:221::": true, "2001:db8:1c0:2:21::": true, "2001:db8:122:c000:2:2100::": true,
		"2001:db8:122:3c0:0:221::": true, "2001:db8:122:344:c0:2:2100::": true, "2001:db8:122:344::192.0.2.33": true,
		"64:ff9b::192.0.2.33": true, "64:ff9b::192.0.2.34": false, "2001:db8::1": false, "::": false,
	} {
		if got := embeds(netip.MustParseAddr(v6), netip.MustParseAddr("192.0.2.33")); got != want {
			t.Errorf("%s: %v", v6, got)
		}
	}
	if embeds(netip.MustParseAddr("192.0.2.33"), netip.MustParseAddr("192.0.2.33")) {
		t.Error("an IPv4 address holds none")
	}
}

// RFC 6147, 5.5.
func TestWithoutIPv4AddressesComeFromDNS64(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "four A 192.0.2.33\nfour A 192.0.2.34\n")
	made := dnstest.Start(t, "four.example.com. AAAA 64:ff9b::192.0.2.33\nfour.example.com. AAAA 2001:db8::bad")
	w.dns.Break("four.example.com", "AAAA", dnstest.Fault{Mangle: func(query, answer []byte) [][]byte {
		if query[3]&0x10 != 0 { // CD
			return [][]byte{answer}
		}
		return dnstest.Instead(made).Mangle(query, answer)
	}})
	n := testTrial(t, w.dns, w.dns.Anchors)
	defer func(f func(netip.Addr) bool) { canReach = f }(canReach)
	for reachable, want := range map[bool][]string{true: {"192.0.2.33", "192.0.2.34"}, false: {"64:ff9b::c000:221", "192.0.2.33", "192.0.2.34"}} {
		canReach = func(netip.Addr) bool { return reachable }
		a, err := n.Addresses(t.Context(), "four.example.com", resolve.Both)
		if err != nil || a.Security != resolve.Secure || len(a.Addrs) != len(want) {
			t.Fatalf("%+v, %v", a, err)
		}
		for i, addr := range a.Addrs {
			if addr.String() != want[i] {
				t.Errorf("IPv4 reachable: %v: %v", reachable, a.Addrs)
			}
		}
	}
}
