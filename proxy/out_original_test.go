package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"postern/internal/smtptest"
	"postern/resolve"
	"postern/tls/level"
	"postern/tls/policy"
)

// redirected is a route to the address that clients were redirected from.
func redirected(to string) func(*layout) {
	return func(p *layout) {
		p.gateway.Route = RouteOriginal
		p.redirected = func(Accepted, *conn) (netip.AddrPort, bool) { return netip.MustParseAddrPort(to), true }
	}
}

// choice is an address that clients choose in turn.
type choice struct{ atomic.Pointer[netip.AddrPort] }

func (c *choice) is(address string) {
	a := netip.MustParseAddrPort(address)
	c.Store(&a)
}

func (c *choice) redirected(Accepted, *conn) (netip.AddrPort, bool) { return *c.Load(), true }

func secureEverywhere(p *layout) { p.own.Auto, p.own.Level = false, level.Secure }

// SEM 16 d, and its last sentence.
func TestRedirectedMailGoesWhereItWasGoing(t *testing.T) {
	for _, to := range []string{"192.0.2.7:25", "[2001:db8::7]:25"} {
		t.Run(to, func(t *testing.T) {
			w := newWorld(t)
			addr := netip.MustParseAddrPort(to).Addr().String()
			b := w.serve(addr, smtptest.Script{TLS: w.cert("other.test")})
			e := newEgress(t, w, redirected(to), func(p *layout) { p.remember = policy.Off })
			c := e.client()
			wantReply(t, offerMessage(c, "b@example.com"), "250 2.0.0 queued")
			w.wantWent(addr)
			if w.asked != 0 {
				t.Errorf("the DNS was asked %d times", w.asked)
			}
			if got := b.Commands()[0]; got != "EHLO mta.test" { // SEM 14
				t.Errorf("it said %q", got)
			}
			e.logged("tls=may source=default peer=Trusted")
			c.Do("QUIT", "221")
			e.logged("original=" + to)
		})
	}
}

// SEM 16 a: the certificate is asked for the name that the address belongs to.
func TestTheAddressOfAnExchangerHasItsName(t *testing.T) {
	w := newWorld(t)
	b := w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com", "example.com")})
	w.domain("example.com", "other.example.com", "mx.example.com")
	w.place("other.example.com", "192.0.2.200")
	e := newEgress(t, w, redirected("192.0.2.1:25"), secureEverywhere)
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	if s := b.Connection(0).Secured(); s == nil || s.ServerName != "mx.example.com" {
		t.Errorf("TLS: %+v", s)
	}
	e.logged("host=mx.example.com address=192.0.2.1:25 tls=secure source=operator")
}

// Who can name a host of his own for an address does not choose what is asked there.
func TestAnAddressOfSeveralExchangersHasTheStrictestOfThem(t *testing.T) {
	may, secure, doubt := &policy.Decision{Level: level.May}, &policy.Decision{Level: level.Secure}, &policy.Decision{Err: errors.New("SERVFAIL")}
	for _, c := range []struct {
		all  []*policy.Decision
		want *policy.Decision
	}{{[]*policy.Decision{may, secure}, secure}, {[]*policy.Decision{secure, may}, secure}, {[]*policy.Decision{doubt, secure}, doubt}, {[]*policy.Decision{may, doubt}, doubt}} {
		if got := strictest(c.all); got != c.want {
			t.Errorf("of %+v: %+v", c.all, got)
		}
	}
	w := newWorld(t)
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com", "example.com")})
	w.domain("example.com", "mx.example.com", "backup.example.com")
	w.place("backup.example.com", "192.0.2.1")
	e := newEgress(t, w, redirected("192.0.2.1:25"), secureEverywhere)
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	e.logged("address=192.0.2.1:25 tls=secure source=operator")
}

func TestAnAddressThatAnExchangerHadADayAgoKeepsItsName(t *testing.T) {
	w := newWorld(t)
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("example.com")})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w, redirected("192.0.2.1:25"), secureEverywhere, forget)
	wantReply(t, e.deliver("b@example.com"), "250")
	w.place("mx.example.com", "192.0.2.99") // the DNS has changed meanwhile
	wantReply(t, e.deliver("b@example.com"), "250")
	w.fault("example.com", &resolve.TemporaryError{Name: "example.com", Type: "MX"}) // or fails
	wantReply(t, e.deliver("b@example.com"), "250")
	if d := e.delivery(2); d.Host != "mx.example.com" {
		t.Errorf("delivery: %+v", d)
	}
}

// SEM 16 b: this is how a relayhost is declared.
func TestAnOperatorsRuleForTheAddressStandsInForTheDomains(t *testing.T) {
	for _, pattern := range []string{"192.0.2.7", "192.0.2.0/24"} {
		t.Run(pattern, func(t *testing.T) {
			w := newWorld(t)
			w.serve("192.0.2.7", smtptest.Script{TLS: w.cert("relay.test")})
			w.domain("example.com", "mx.example.com")
			w.place("mx.example.com", "192.0.2.200")
			e := newEgress(t, w, redirected("192.0.2.7:25"), secureEverywhere, func(p *layout) {
				p.rules = []policy.Rule{{Pattern: pattern, Level: level.Verify, Match: []string{"relay.test"}, Grade: p.own.Grade, Place: "config.hcl:7"}}
			})
			wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
			e.logged("tls=verify source=operator rule=config.hcl:7 peer=Verified")
		})
	}
}

// SEM 16 c: an address that nobody knows, of a domain that must be safe.
func TestAnUnknownAddressMustHaveTheCertificateOfAnExchanger(t *testing.T) {
	for name, c := range map[string]struct {
		cert []string
		want string
	}{
		"of an exchanger": {[]string{"example.com"}, "250 2.0.0 queued"},
		"of another":      {[]string{"relay.test"}, `451 4.7.5 192.0.2.7 [192.0.2.7]: level secure asked by operator`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("192.0.2.7", smtptest.Script{TLS: w.cert(c.cert...)})
			w.domain("example.com", "mx.example.com")
			w.place("mx.example.com", "192.0.2.200")
			e := newEgress(t, w, redirected("192.0.2.7:25"), secureEverywhere)
			r := e.deliver("b@example.com")
			wantReply(t, r, c.want)
			if c.want[0] == '4' && !strings.Contains(r, `if this is a relay, write destination "192.0.2.7" { level = `) {
				t.Errorf("it does not say what to write: %q", r)
			}
		})
	}
}

func TestADomainThatMustBeSafeAndCannotBeLookedUpIsDeferred(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"SERVFAIL": {&resolve.TemporaryError{Name: "example.com", Type: "MX"}, "451 4.4.3"},
		"other":    {errors.New("broken"), "451 4.4.3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("192.0.2.7", smtptest.Script{TLS: w.cert("example.com")})
			w.fault("example.com", c.err)
			wantReply(t, newEgress(t, w, redirected("192.0.2.7:25"), secureEverywhere).deliver("b@example.com"), c.want)
			w.wantWent()
		})
	}
}

// A client may know the way to a domain that the DNS does not have: it was asked before us.
func TestADomainThatOnlyTheClientKnowsGoesWhereItWasGoing(t *testing.T) {
	for _, err := range []error{resolve.ErrNoDomain, resolve.ErrNullMX} {
		for name, c := range map[string]struct {
			change func(*layout)
			cert   string
			want   string
		}{
			"auto":                  {func(*layout) {}, "other.test", "250 2.0.0 queued"},
			"secure, as it must be": {secureEverywhere, "corp.test", "250 2.0.0 queued"},
			"secure, and is not":    {secureEverywhere, "other.test", "451 4.7.5"},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				w.serve("192.0.2.7", smtptest.Script{TLS: w.cert(c.cert)})
				w.fault("corp.test", &resolve.PermanentError{Name: "corp.test", Type: "MX", Err: err})
				r := newEgress(t, w, redirected("192.0.2.7:25"), c.change).deliver("b@corp.test")
				wantReply(t, r, c.want)
				if c.want[0] == '4' && !strings.Contains(r, `destination "192.0.2.7"`) {
					t.Errorf("it does not say what to write: %q", r)
				}
			})
		}
	}
}

// An address has no domain to ask for: what holds for the address counts.
func TestARecipientWithoutADomainGoesWhereItWasGoing(t *testing.T) {
	for _, to := range []string{"postmaster", "b@[192.0.2.7]"} {
		w := newWorld(t)
		w.serve("192.0.2.7", smtptest.Script{})
		wantReply(t, newEgress(t, w, redirected("192.0.2.7:25")).deliver(to), "250 2.0.0 queued")
	}
}

// SEM 20: the client has the list of exchangers, so it is told to try its next one.
func TestOnRouteOriginalADeadHostIsA421(t *testing.T) {
	for name, c := range map[string]struct {
		s    *smtptest.Script
		want string
	}{
		"dead":         {nil, "421 4.4.1 192.0.2.7 [192.0.2.7]: connection refused"},
		"greeting 4xx": {&smtptest.Script{Replies: map[string]string{"greeting": "450 4.3.2 no"}}, "421 4.4.1"},
		"greeting 5xx": {&smtptest.Script{Replies: map[string]string{"greeting": "554 5.7.1 no"}}, "421 4.4.1"},
		"garbage":      {&smtptest.Script{Replies: map[string]string{"greeting": "hello"}}, "421 4.4.1"},
		"EHLO":         {&smtptest.Script{Replies: map[string]string{"EHLO": "421 4.3.2 no"}}, "421 4.4.1"},
		"MAIL 421":     {&smtptest.Script{Replies: map[string]string{"MAIL": "421 4.3.2 no"}}, "421 4.4.1"},
		"RCPT dies":    {&smtptest.Script{Die: "RCPT"}, "421 4.4.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.s != nil {
				w.serve("192.0.2.7", *c.s)
			}
			e := newEgress(t, w, redirected("192.0.2.7:25"))
			k := e.client()
			k.Do(fromA+"\r\n"+rcpts("b@example.com", "c@example.com"), "250", c.want)
			k.ExpectClose()
			e.wantNothingLeft()
		})
	}
}

func TestOnRouteOriginalWhatTheServerSaysOfTheMessageIsTheAnswer(t *testing.T) {
	for phase, r := range map[string]string{"MAIL": "451 4.3.0 not now", "RCPT": "450 4.7.1 greylisted", "DATA": "452 4.3.1 full", ".": "451 4.3.0 later"} {
		t.Run(phase, func(t *testing.T) {
			w := newWorld(t)
			w.serve("192.0.2.7", smtptest.Script{Replies: map[string]string{phase: r}})
			wantReply(t, newEgress(t, w, redirected("192.0.2.7:25")).deliver("b@example.com"), r)
		})
	}
}

// Another address of the same exchanger is another try.
func TestOnRouteOriginalOneDeadAddressSaysNothingOfAnother(t *testing.T) {
	w := newWorld(t)
	w.place("mx.example.com", "192.0.2.7", "192.0.2.8")
	w.domain("example.com", "mx.example.com")
	b := w.serve("192.0.2.8", smtptest.Script{TLS: w.cert("example.com")})
	to := new(choice)
	to.is("192.0.2.7:25")
	e := newEgress(t, w, route(RouteOriginal), secureEverywhere, func(p *layout) { p.redirected = to.redirected })
	wantReply(t, e.deliver("b@example.com"), "421 4.4.1")
	to.is("192.0.2.8:25")
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.serve("192.0.2.7", smtptest.Script{TLS: w.cert("example.com")})
	to.is("192.0.2.7:25") // its failure is remembered
	wantReply(t, e.deliver("b@example.com"), "421 4.4.1")
	wantMessages(t, b, "Subject: x\r\n\r\nhello\r\n")
	w.wantWent("192.0.2.7", "192.0.2.8")
}

func TestOnRouteOriginalAKeptConnectionIsOneToTheSameAddress(t *testing.T) {
	w := newWorld(t)
	w.place("mx.example.com", "192.0.2.7", "192.0.2.8")
	w.domain("example.com", "mx.example.com")
	one, two := w.serve("192.0.2.7", smtptest.Script{TLS: w.cert("example.com")}), w.serve("192.0.2.8", smtptest.Script{TLS: w.cert("example.com")})
	to := new(choice)
	to.is("192.0.2.7:25")
	e := newEgress(t, w, route(RouteOriginal), secureEverywhere, func(p *layout) { p.redirected = to.redirected })
	for _, address := range []string{"192.0.2.7:25", "192.0.2.8:25", "192.0.2.7:25"} {
		to.is(address)
		wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	}
	w.wantWent("192.0.2.7", "192.0.2.8")
	if len(one.Messages()) != 2 || len(two.Messages()) != 1 {
		t.Errorf("%d and %d messages", len(one.Messages()), len(two.Messages()))
	}
}

// All domains share the address: several of them are one destination where they are
// decided alike.
func TestOnRouteOriginalDomainsThatAreDecidedAlikeGoTogether(t *testing.T) {
	w := newWorld(t)
	b := w.serve("192.0.2.7", smtptest.Script{})
	e := newEgress(t, w, redirected("192.0.2.7:25"), func(p *layout) {
		p.rules = []policy.Rule{{Pattern: "plain.test", Level: level.None}}
	})
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@one.test", "b@two.test", "b@plain.test", "c@one.test"), "250", "250", "250", "452 4.5.3", "250")
	c.Do("DATA", "354")
	c.Do(".", "250")
	c.Do("QUIT", "221")
	if n := len(b.Conns()); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestAConnectionThatWasNotRedirectedIsTurnedAway(t *testing.T) {
	for name, change := range map[string]func(*layout){
		"not redirected": func(p *layout) {
			p.gateway.Route = RouteOriginal
			p.redirected = func(Accepted, *conn) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
		},
		"as it is": route(RouteOriginal), // the real question, about a connection over loopback
		"to us": func(p *layout) {
			redirected("192.0.2.7:25")(p)
			p.gateway.Own = func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("192.0.2.7") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := newEgress(t, w, change)
			c := e.connect()
			c.Expect("421 4.3.2")
			c.ExpectClose()
			e.watch.until(t, "the refusal", func() bool { return slices.Contains(e.watch.refused, CauseNotRedirected) })
			w.wantWent()
		})
	}
}

func TestSmarthostsAreTriedInTheirOrder(t *testing.T) {
	w := newWorld(t)
	w.place("a.test", "192.0.2.101")
	b := w.server("b.test", smtptest.Script{Replies: map[string]string{"greeting": "421 4.3.2 no"}})
	c := w.server("c.test", smtptest.Script{TLS: w.cert("c.test")})
	e := newEgress(t, w, smarthosts("a.test", "b.test", "c.test"))
	k := e.client()
	k.Do(fromA+"\r\n"+rcpts("b@one.test", "b@two.test", "postmaster", "b@[192.0.2.250]")+"\r\nDATA", "250", "250", "250", "250", "250", "354")
	k.Do(".", "250 2.0.0 queued")
	w.wantWent("192.0.2.101", "192.0.2.1", "192.0.2.2")
	if len(b.Messages()) != 0 || len(c.Messages()) != 1 || c.Connection(0).Secured().ServerName != "c.test" {
		t.Error("it went another way")
	}
}

func TestASmarthostMayWantTLSFromTheFirstOctet(t *testing.T) {
	for _, lvl := range []level.Level{level.May, level.Secure} {
		t.Run(lvl.String(), func(t *testing.T) {
			w := newWorld(t)
			b := w.server("relay.test", smtptest.Script{TLS: w.cert("relay.test"), Implicit: true})
			e := newEgress(t, w, smarthosts("tls:relay.test"), func(p *layout) { p.own.Auto, p.own.Level = false, lvl })
			wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
			if got := b.Commands(); !slices.Equal(got, []string{"EHLO gateway.test", fromA, "RCPT TO:<b@example.com>", "DATA"}) {
				t.Errorf("it executed %q", got)
			}
			e.logged("peer=Verified")
		})
	}
}

// TLS from the first octet never falls back: the port has nothing else.
func TestASmarthostWithoutItsTLSIsNeverSpokenToInClear(t *testing.T) {
	w := newWorld(t)
	b := w.server("relay.test", smtptest.Script{})
	e := newEgress(t, w, smarthosts("tls:relay.test"))
	wantReply(t, e.deliver("b@example.com"), "451 4.7.5 relay.test")
	if got := b.Commands(); slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "EHLO") || strings.HasPrefix(l, "MAIL") }) {
		t.Errorf("it executed %q", got)
	}
}

func TestASmarthostMayBeAnAddress(t *testing.T) {
	w := newWorld(t)
	b := w.serve("192.0.2.7", smtptest.Script{})
	wantReply(t, newEgress(t, w, smarthosts("192.0.2.7")).deliver("b@example.com"), "250")
	if w.asked != 0 || len(b.Messages()) != 1 {
		t.Errorf("the DNS was asked %d times", w.asked)
	}
}

func TestTheNamesOfSmarthostsComeFromTheHostsFileFirst(t *testing.T) {
	w := newWorld(t)
	w.server("relay.test", smtptest.Script{})
	h := &hostsFile{world: w}
	e := newEgress(t, w, smarthosts("relay.test"), func(p *layout) { p.gateway.Resolver = h })
	wantReply(t, e.deliver("b@example.com"), "250")
	if h.asked != 1 {
		t.Errorf("the hosts file was asked %d times", h.asked)
	}
}

type hostsFile struct {
	*world
	asked int
}

func (h *hostsFile) HostAddresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error) {
	h.asked++
	return h.world.HostAddresses(ctx, host, f)
}
