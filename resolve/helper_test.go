package resolve

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/dnstest"
)

// over returns a Resolver that asks these servers over loopback, on a machine
// without a hosts file.
func over(t testing.TB, servers ...*dnstest.Server) *Resolver {
	t.Helper()
	o := Options{Hosts: filepath.Join(t.TempDir(), "none")}
	for _, s := range servers {
		o.Servers = append(o.Servers, s.Address)
	}
	return with(t, o)
}

func with(t testing.TB, o Options) *Resolver {
	t.Helper()
	r, err := NewWith(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// piped returns a Resolver that asks 192.0.2.1, 192.0.2.2 … through pipes: the
// servers live in a bubble where time passes only when everybody waits.
func piped(servers ...*dnstest.Server) *Resolver {
	o, at := Options{Hosts: "/none"}, map[string]*dnstest.Server{}
	for i, s := range servers {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}).String()
		o.Servers = append(o.Servers, addr)
		at[addr+":53"] = s
	}
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return at[address].Dial(ctx, network, address)
	}
	return build(o)
}

// script returns a server that is only reached through pipes.
func script(zone string) *dnstest.Server {
	s, err := dnstest.New(zone)
	if err != nil {
		panic(err)
	}
	return s
}

// stuck returns a script that answers no question of that type.
func stuck(zone, kind string) *dnstest.Server {
	s := script(zone)
	s.Break("", kind, dnstest.Silent)
	return s
}

// clock is turned by hand.
type clock struct{ time.Time }

func noon() *clock { return &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time           { return c.Time }
func (c *clock) pass(d time.Duration)     { c.Time = c.Add(d) }
func (c *clock) in(r *Resolver) *Resolver { r.cache.now, r.servers.now = c.now, c.now; return r }

func addrs(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// settle lets the time of a bubble pass until the look-ups that nobody waits
// for any more have run out.
func settle() { <-time.After(time.Minute) }
