package proxy

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/resolve"
)

// serve starts a server at an address, where w may be asked to dial.
func (w *world) serve(addr string, s smtptest.Script) *smtptest.Backend {
	b := w.start(s)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[netip.MustParseAddrPort(net.JoinHostPort(addr, "25"))] = b
	return b
}

// place gives a host addresses, in that order. Nobody has to be there.
func (w *world) place(name string, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addrs[name] = nil
	for _, a := range addrs {
		w.addrs[name] = append(w.addrs[name], netip.MustParseAddr(a))
	}
}

// exchangers gives a domain MX records as they are.
func (w *world) exchangers(domain string, records ...resolve.MX) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mx[domain] = records
}

// fault is what a question for the name is answered from now on; nil ends it.
func (w *world) fault(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[name] = err
}

// went are the addresses that were dialled since the last call, in order.
func (w *world) went() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.dialled {
		all = append(all, a.Addr().String())
	}
	w.dialled = nil
	return all
}

func (w *world) wantWent(want ...string) {
	w.t.Helper()
	if got := w.went(); !slices.Equal(got, want) {
		w.t.Errorf("it dialled %v, want %v", got, want)
	}
}

// theDomain is a domain with one exchanger, which does as the script says, behind a
// gateway.
func theDomain(t testing.TB, s smtptest.Script, change ...func(*layout)) (*smtptest.Backend, *egress) {
	t.Helper()
	w := newWorld(t)
	b := w.server("mx.example.com", s)
	w.domain("example.com", "mx.example.com")
	return b, newEgress(t, w, change...)
}

func route(r Route) func(*layout) { return func(p *layout) { p.gateway.Route = r } }

func forget(p *layout) { p.gateway.ReuseIdle = 0 }

// smarthosts is a route to hosts, as "name:port" with "tls:" in front for TLS from the
// first octet.
func smarthosts(hosts ...string) func(*layout) {
	return func(p *layout) {
		p.gateway.Route = RouteSmarthost
		for _, h := range hosts {
			name, implicit := strings.CutPrefix(h, "tls:")
			p.gateway.Smarthosts = append(p.gateway.Smarthosts, Smarthost{Host: name, Port: 25, Implicit: implicit})
		}
	}
}

func (e *egress) dialing(dial func(context.Context, netip.AddrPort) (net.Conn, error)) {
	e.g.dialTCP = dial
}

func wantReply(t testing.TB, got, want string) {
	t.Helper()
	if !strings.HasPrefix(got, want) {
		t.Errorf("it got %q, want %q", got, want)
	}
}

// delivery waits for the n-th delivery that the Observer was told of, counted from 0.
func (e *egress) delivery(n int) (d Delivery) {
	e.t.Helper()
	e.watch.until(e.t, "a delivery", func() bool {
		if len(e.watch.tried) <= n {
			return false
		}
		d = e.watch.tried[n]
		return true
	})
	return d
}

// eventually asks until ok says yes, for what nobody tells of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(smtptest.Patience); !ok(); runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// wantNothingLeft closes the gateway, and wants every place free and no connection kept.
func (e *egress) wantNothingLeft() {
	e.t.Helper()
	e.watch.until(e.t, "the end of all sessions", func() bool { return e.Sessions() == 0 })
	e.g.Close()
	eventually(e.t, "the end of all connections, with every place free", func() bool {
		e.g.places.mu.Lock()
		defer e.g.places.mu.Unlock()
		e.g.pool.mu.Lock()
		defer e.g.pool.mu.Unlock()
		e.g.sweeper.mu.Lock()
		defer e.g.sweeper.mu.Unlock()
		return len(e.g.places.taken) == 0 && e.g.pool.count == 0 && len(e.g.pool.kept) == 0 && len(e.g.sweeper.timers) == 0
	})
}

// noIPv6 is the network of a machine that has none.
func noIPv6(w *world) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if !to.Addr().Is6() {
			return w.dial(ctx, to)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dialled = append(w.dialled, to)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	}
}

// familiesAsked notes which addresses were asked for.
type familiesAsked struct {
	*world
	asked []resolve.Family
}

func (f *familiesAsked) Addresses(ctx context.Context, host string, family resolve.Family) (resolve.AddrAnswer, error) {
	f.asked = append(f.asked, family)
	return f.world.Addresses(ctx, host, family)
}
