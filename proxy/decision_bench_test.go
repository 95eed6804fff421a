package proxy

import (
	"net/netip"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/peers"
	"postern/resolve"
	"postern/store"
	"postern/tls/policy"
)

// Where a message for a known destination goes and what is asked of the connection:
// the real resolver with its cache, the real policy, the real memory. It must take
// less than 20 µs.
func BenchmarkRouteAndDecisionOfACachedDestination(b *testing.B) {
	dns := dnstest.Start(b, `
example.com.     3600 IN MX 10 mx1.example.com.
example.com.     3600 IN MX 10 mx2.example.com.
example.com.     3600 IN MX 20 mx3.example.com.
`)
	memory := peers.New(peers.Options{Store: store.NewMemory(time.Now), Now: time.Now})
	out := memory.Outbound(peers.DefaultRules())
	for range 3 {
		out.Secured("example.com", peers.Host{Name: "mx1.example.com", Port: 25}, peers.Facts{Version: 0x0304, Trust: "Verified", Valid: true})
	}
	g := NewGateway(GatewayOptions{MXPort: 25, Resolver: resolve.New([]string{dns.Address}), Peers: out,
		Policy: policy.New(policy.Options{Default: policy.Rule{Auto: true}, Memory: remembered{out}, Grace: policy.DefaultGrace})})
	defer g.Close()
	if _, err := g.route(b.Context(), "example.com", netip.AddrPort{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		d, err := g.route(b.Context(), "example.com", netip.AddrPort{})
		if err != nil || len(d.hosts) != 3 {
			b.Fatal(err)
		}
		g.o.Peers.Standing(d.hosts[0].peer())
	}
}
