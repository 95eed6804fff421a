package proxy

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"postern/internal/smtptest"
)

// circle has every connection that the gateway opens come to its own listener, as a
// firewall does that redirects them all.
func circle(t *testing.T) (e *egress, loops *Loops) {
	loops = NewLoops()
	e = newEgress(t, newWorld(t), redirected("192.0.2.7:25"), func(p *layout) { p.gateway.Loops = loops })
	e.dialing(func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", e.addr)
	})
	return e, loops
}

// SEM 24.
func TestAConnectionThatComesBackIsRefused(t *testing.T) {
	e, loops := circle(t)
	wantReply(t, e.deliver("b@example.com"), "4")
	e.logged("exempt the user that postern runs as")
	e.watch.until(t, "the end of the inner session", func() bool { return e.Sessions() == 0 })
	eventually(t, "nothing is kept", func() bool {
		loops.mu.Lock()
		defer loops.mu.Unlock()
		return len(loops.opened)+len(loops.came) == 0
	})
}

// Whichever side is noted first, the other finds it.
func TestALoopIsFoundFromEitherEnd(t *testing.T) {
	at, mx := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("192.0.2.7:25")
	redirected := func() (netip.AddrPort, bool) { return mx, true }
	here, other := net.TCPAddrFromAddrPort(at), netip.MustParseAddrPort("127.0.0.1:40001")
	l := NewLoops()
	end, loop := l.open(here, mx)
	if loop {
		t.Error("found where nothing has come")
	}
	if _, loop := l.arrive(other, redirected); loop {
		t.Error("found what another has opened")
	}
	if _, loop := l.arrive(at, redirected); !loop {
		t.Error("not found by the listener")
	}
	end()
	l = NewLoops()
	end, _ = l.arrive(at, redirected)
	if _, loop := l.open(here, mx); !loop {
		t.Error("not found by the one who has opened it")
	}
	end()
	l = NewLoops()
	end, _ = l.open(here, mx)
	end()
	if _, loop := l.arrive(at, redirected); loop {
		t.Error("found what was over")
	}
}

// Two connections of one machine to different places may have the same port.
func TestTheSamePortAloneIsNoLoop(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:40000")
	here := net.TCPAddrFromAddrPort(at)
	for name, to := range map[string]func() (netip.AddrPort, bool){
		"it came directly":             func() (netip.AddrPort, bool) { return netip.MustParseAddrPort("127.0.0.1:10025"), false },
		"it was to reach another host": func() (netip.AddrPort, bool) { return netip.MustParseAddrPort("192.0.2.8:25"), true },
	} {
		l := NewLoops()
		if _, loop := l.arrive(at, to); loop {
			t.Errorf("%s: found where nothing was opened", name)
		}
		if _, loop := l.open(here, netip.MustParseAddrPort("192.0.2.7:25")); loop {
			t.Errorf("%s: found by the one who has opened it", name)
		}
		l = NewLoops()
		l.open(here, netip.MustParseAddrPort("192.0.2.7:25"))
		if _, loop := l.arrive(at, to); loop {
			t.Errorf("%s: found by the listener", name)
		}
	}
}

// A mail server beside postern is no loop.
func TestOthersOfThisMachineAreServed(t *testing.T) {
	w := newWorld(t)
	w.serve("192.0.2.7", smtptest.Script{})
	e := newEgress(t, w, redirected("192.0.2.7:25"), func(p *layout) { p.gateway.Loops = NewLoops() })
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
}
