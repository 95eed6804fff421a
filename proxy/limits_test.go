package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"postern/internal/smtptest"
)

// SEM 13: over a limit 421 4.7.0, never a reset.
func TestConnectionsOverALimitAreTold421(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		cause  Cause
	}{
		"in total":   {Limits{Connections: 2}, CauseConnections},
		"per client": {Limits{PerClient: 2}, CausePerClient},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := one(t, smtptest.Script{}, func(p *plan) { p.Limits = c.limits })
			first := e.connect()
			e.connect()
			for range 3 {
				k := smtptest.Dial(t, e.addr)
				k.Expect("421 4.7.0")
				k.ExpectClose()
				k.Close()
			}
			e.wantRefused(c.cause)
			first.Do("QUIT", "221")
			e.logged("outcome=quit")
			e.connect().Do("NOOP", "250")
		})
	}
}

func TestExemptNetworksAreNotLimitedPerClient(t *testing.T) {
	_, e := one(t, smtptest.Script{}, func(p *plan) {
		p.Limits = Limits{PerClient: 1, HandshakesPerClient: 1}
		p.Networks.Exempt = p.loopback()
	})
	for range 3 {
		e.secure()
	}
}

// SEM 13: a host has the 2^64 addresses of its /64.
func TestClientsAreCountedByAddressAndIPv6By64(t *testing.T) {
	in := &Front{Limits: Limits{PerClient: 1}}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false}, {"::ffff:192.0.2.1", "192.0.2.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true}, {"2001:db8:1:2::1", "2001:db8:1:3::1", false}, {"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		k := newClients()
		a, b := netip.MustParseAddr(c.a), netip.MustParseAddr(c.b)
		if !k.enter(a, in) || k.enter(b, in) == c.same {
			t.Errorf("%s and %s: counted as one is %v, want %v", c.a, c.b, !c.same, c.same)
		}
		k.leave(a)
		if !c.same {
			k.leave(b)
		}
		if len(k.open) != 0 {
			t.Errorf("%s and %s: %v is left", c.a, c.b, k.open)
		}
	}
}

// SEM 13: the client behind a balancer is counted, not the balancer.
func TestClientsBehindABalancerAreCountedApart(t *testing.T) {
	_, e := one(t, smtptest.Script{}, func(p *plan) { p.Limits.PerClient = 1; p.Networks.Proxy = p.loopback() })
	for addr, want := range map[string]string{"192.0.2.1": "220", "192.0.2.2": "220"} {
		c := smtptest.Dial(t, e.addr)
		c.Send("PROXY TCP4 " + addr + " 192.0.2.9 1000 25\r\n")
		c.Expect(want)
	}
	c := smtptest.Dial(t, e.addr)
	c.Send("PROXY TCP4 192.0.2.1 192.0.2.9 1001 25\r\n")
	c.Expect("421 4.7.0")
	c.ExpectClose()
}

func TestHandshakesOverTheRateAreRefusedAndTheSessionGoesOnInClear(t *testing.T) {
	for name, limits := range map[string]Limits{"per client": {HandshakesPerClient: 0.001}, "in total": {Handshakes: 0.001}} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{}, func(p *plan) { p.Limits = limits })
			e.secure()
			c := e.hello()
			c.Do("STARTTLS", "454 4.7.0")
			deliver(c)
			e.wantRefused(CauseHandshakeRate)
			wantMessages(t, b, "Subject: x\r\n\r\nbody\r\n")
		})
	}
}

func TestTheRatesOfManyClientsAreForgottenBeforeTheyFillTheMemory(t *testing.T) {
	k, in := newClients(), &Front{Limits: Limits{HandshakesPerClient: 1}}
	addr := netip.MustParseAddr("10.0.0.0")
	for range 3 * maxRates {
		addr = addr.Next()
		k.mayHandshake(addr, in)
	}
	if n := k.rates.Len(); n > maxRates {
		t.Errorf("%d clients are remembered", n)
	}
}

// STANDARDS 30.
func TestShutdownTellsIdleSessions421AtOnce(t *testing.T) {
	_, e := one(t, smtptest.Script{})
	sessions := []*smtptest.Client{e.connect(), e.hello(), e.secure(), e.begun()}
	done := make(chan error)
	go func() { done <- e.Shutdown(context.Background()) }()
	for _, c := range sessions {
		c.Expect("421 4.3.2")
		c.ExpectClose()
		c.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	late := smtptest.Dial(t, e.addr)
	late.Expect("421 4.3.2")
	late.ExpectClose()
}

func TestShutdownLetsTheMessageInFlightFinish(t *testing.T) {
	hold := make(chan struct{})
	b, e := one(t, smtptest.Script{Hold: map[string]<-chan struct{}{".": hold}})
	in, after, idle := e.begun(), e.secure(), e.connect()
	in.Do("DATA", "354")
	after.Do(envelope, "250", "250", "354")
	after.Send("waits\r\n.\r\n")
	b.Connection(1).WaitFor("waits\r\n.\r\n")
	done := make(chan error)
	go func() { done <- e.Shutdown(context.Background()) }()
	idle.Expect("421 4.3.2") // it has begun
	idle.Close()
	in.Send("half\r\n.\r\n")
	close(hold)
	for _, c := range []*smtptest.Client{in, after} {
		c.Expect("250 2.0.0 queued")
		c.Expect("421 4.3.2")
		c.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	got := b.Messages()
	slices.Sort(got)
	if !slices.Equal(got, []string{"half\r\n", "waits\r\n"}) {
		t.Errorf("the backend got %q", got)
	}
}

func TestShutdownCutsOffWhatIsLeftWhenItsTimeIsUp(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.begun()
	c.Do("DATA", "354")
	c.Send("half\r\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c.ExpectClose()
	b.Connection(0).WaitOver()
	wantMessages(t, b)
}

// A dial that is under way must not hold up the end.
func TestShutdownEndsADialThatIsUnderWay(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	b.Play(smtptest.Script{Hold: map[string]<-chan struct{}{"greeting": make(chan struct{})}})
	c := e.hello()
	c.Send("MAIL FROM:<a@b.test>\r\n")
	b.Connection(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = e.Shutdown(ctx) // one session is cut off
	e.ended(0)
}
