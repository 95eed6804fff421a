package resolve

import (
	"context"
	"net/netip"
	"testing"

	"postern/internal/dnstest"
)

// BenchmarkCached is what a delivery to a known destination asks for: the MX of
// its domain and the addresses of the first.
func BenchmarkCached(b *testing.B) {
	r := over(b, dnstest.Start(b, "example.com. 86400 IN MX 10 mx.example.com.\nmx.example.com. 86400 IN A 192.0.2.1\nmx.example.com. 86400 IN AAAA 2001:db8::1"))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		mx, err := r.MX(ctx, "example.com")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Addresses(ctx, mx.Hosts[0].Host, Both); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCachedClientName is what a session of a known client asks for.
func BenchmarkCachedClientName(b *testing.B) {
	r := over(b, dnstest.Start(b, reverse4+". 86400 IN PTR mail.example.org.\nmail.example.org. 86400 IN A 192.0.2.1"))
	client := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if got := r.ClientName(context.Background(), client); got.NameStatus != Found {
			b.Fatal(got)
		}
	}
}

// BenchmarkFresh asks a server on loopback each time.
func BenchmarkFresh(b *testing.B) {
	r := over(b, dnstest.Start(b, "example.com. 0 IN MX 10 mx.example.com."))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.MX(context.Background(), "example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
