package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/resolve"
)

var refusesMAIL = smtptest.Script{Replies: map[string]string{"MAIL": "451 4.3.0 not now"}}

// RFC 5321, 5.1.
func TestExchangersAreTriedByPreference(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"a.example.com", "b.example.com", "c.example.com"} {
		w.place(name, fmt.Sprintf("192.0.2.%d", i+1))
	}
	w.exchangers("example.com", resolve.MX{Host: "c.example.com", Preference: 30}, resolve.MX{Host: "a.example.com", Preference: 5}, resolve.MX{Host: "b.example.com", Preference: 20})
	b := w.serve("192.0.2.3", smtptest.Script{})
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.wantWent("192.0.2.1", "192.0.2.2", "192.0.2.3")
	wantMessages(t, b, "Subject: x\r\n\r\nhello\r\n")
}

func TestExchangersOfOnePreferenceAreTriedInRandomOrder(t *testing.T) {
	w := newWorld(t)
	var records []resolve.MX
	for i := range 4 {
		name := fmt.Sprintf("mx%d.example.com", i)
		w.place(name, fmt.Sprintf("192.0.2.%d", i+1))
		records = append(records, resolve.MX{Host: name, Preference: 10})
	}
	w.place("last.example.com", "192.0.2.9")
	w.exchangers("example.com", append(records, resolve.MX{Host: "last.example.com", Preference: 11})...)
	e := newEgress(t, w)
	first := map[string]bool{}
	for range 200 { // that one of four is never first has odds of 1 : 10^24
		hosts, err := e.g.exchangers(t.Context(), "example.com")
		if err != nil || len(hosts) != 5 || hosts[4].name != "last.example.com" {
			t.Fatalf("%v %v", hosts, err)
		}
		first[hosts[0].name] = true
	}
	if len(first) != 4 {
		t.Errorf("first were only %v", first)
	}
}

func TestTheNextAddressAndThenTheNextHostIsTried(t *testing.T) {
	w := newWorld(t)
	w.place("a.example.com", "192.0.2.1", "192.0.2.2")
	w.place("b.example.com", "192.0.2.3", "192.0.2.4")
	w.serve("192.0.2.2", smtptest.Script{Replies: map[string]string{"greeting": "421 4.3.2 full"}})
	good := w.serve("192.0.2.4", smtptest.Script{})
	w.domain("example.com", "a.example.com", "b.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.wantWent("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
	wantMessages(t, good, "Subject: x\r\n\r\nhello\r\n")
}

func TestTheFamiliesTakeTurnsUnlessOneIsPreferred(t *testing.T) {
	all := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"}
	for name, c := range map[string]struct {
		preference Preference
		want       []string
	}{
		"none": {PreferNone, []string{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"}},
		"IPv4": {PreferIPv4, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"}},
		"IPv6": {PreferIPv6, []string{"2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.place("mx.example.com", all...)
			w.domain("example.com", "mx.example.com")
			e := newEgress(t, w, func(p *layout) { p.gateway.Preference = c.preference })
			wantReply(t, e.deliver("b@example.com"), "451 4.4.1 mx.example.com [")
			w.wantWent(c.want...)
		})
	}
}

// SEM 19.
func TestNoMoreThanFiveAddressesAreConnectedTo(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 4 {
		names = append(names, fmt.Sprintf("mx%d.example.com", i))
		w.place(names[i], fmt.Sprintf("192.0.2.%d", 10*i+1), fmt.Sprintf("192.0.2.%d", 10*i+2))
	}
	w.domain("example.com", names...)
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "451 4.4.1 mx2.example.com")
	w.wantWent("192.0.2.1", "192.0.2.2", "192.0.2.11", "192.0.2.12", "192.0.2.21")
}

func TestNoMoreThanTwoServersThatGreetedAreTried(t *testing.T) {
	for name, s := range map[string]smtptest.Script{
		"greylisting": {Replies: map[string]string{"RCPT": "451 4.7.1 greylisted"}},
		"MAIL":        refusesMAIL,
		"greeting":    {Replies: map[string]string{"greeting": "554 5.7.1 no"}},
		"EHLO":        {Replies: map[string]string{"EHLO": "421 4.3.2 no"}},
		"dies":        {Die: "MAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var names []string
			for i := range 4 {
				names = append(names, fmt.Sprintf("mx%d.example.com", i))
				w.server(names[i], s)
			}
			w.domain("example.com", names...)
			e := newEgress(t, w)
			wantReply(t, e.deliver("b@example.com"), "45")
			w.wantWent("192.0.2.1", "192.0.2.2")
			e.wantNothingLeft()
		})
	}
}

// A machine without IPv6 must not use up its attempts on addresses that it cannot
// reach anyway.
func TestAddressesOfAFamilyThatIsNotThereDoNotCount(t *testing.T) {
	w := newWorld(t)
	var v6 []string
	for i := range 8 {
		v6 = append(v6, fmt.Sprintf("2001:db8::%d", i+1))
	}
	w.place("a.example.com", append(v6, "192.0.2.1", "192.0.2.2")...)
	w.place("b.example.com", "192.0.2.3")
	w.serve("192.0.2.3", smtptest.Script{})
	w.domain("example.com", "a.example.com", "b.example.com")
	e := newEgress(t, w, func(p *layout) { p.gateway.Preference = PreferIPv6 })
	e.dialing(noIPv6(w))
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	if got := w.went(); len(got) != 11 {
		t.Errorf("it dialled %v", got)
	}
}

func TestAHostWithoutAnExchangerIsItsOwn(t *testing.T) {
	w := newWorld(t)
	b := w.server("example.com", smtptest.Script{TLS: w.cert("example.com")})
	w.domain("example.com", "example.com") // as package resolve gives an implicit MX
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	if s := b.Connection(0).Secured(); s == nil || s.ServerName != "example.com" {
		t.Errorf("TLS: %+v", s)
	}
}

// What the DNS says of a domain, and what the client hears. Nothing is dialled.
func TestADomainThatCannotBeRoutedIsRefusedAsItShouldBe(t *testing.T) {
	servfail := &resolve.TemporaryError{Name: "example.com", Type: "MX", Failures: []resolve.Failure{{Server: "127.0.0.1:53", Why: "SERVFAIL"}}}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"null MX":  {&resolve.PermanentError{Name: "example.com", Type: "MX", Err: resolve.ErrNullMX}, "556 5.1.10 example.com"},
		"NXDOMAIN": {&resolve.PermanentError{Name: "example.com", Type: "MX", Err: resolve.ErrNoDomain}, "550 5.1.2 domain example.com does not exist"},
		"SERVFAIL": {servfail, "451 4.4.3 "},
		"other":    {errors.New("broken"), "451 4.4.3 "},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fault("example.com", c.err)
			e := newEgress(t, w)
			wantReply(t, e.deliver("b@example.com"), c.want)
			w.wantWent()
			k := e.client()
			k.Do("MAIL FROM:<a@sender.test>", "250")
			k.Do("RCPT TO:<b@example.com>", c.want)
			k.Do("DATA", "554 5.5.1")
			k.Do("QUIT", "221")
			d := e.delivery(0)
			if d.Destination != "example.com" || d.Host != "" || d.Code == 0 || d.Cause == "" {
				t.Errorf("delivery: %+v", d)
			}
		})
	}
}

func TestAHostWithoutAddressIsLeftOut(t *testing.T) {
	w := newWorld(t)
	w.fault("broken.example.com", &resolve.TemporaryError{Name: "broken.example.com", Type: "A"})
	w.server("mx.example.com", smtptest.Script{})
	w.domain("example.com", "nothing.example.com", "broken.example.com", "mx.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.wantWent("192.0.2.1")
}

func TestADomainWhoseHostsHaveNoAddressIsDeferred(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"none":     {nil, "451 4.4.4 nothing.example.com"},
		"NXDOMAIN": {&resolve.PermanentError{Name: "nothing.example.com", Type: "A", Err: resolve.ErrNoDomain}, "451 4.4.4 nothing.example.com"},
		"SERVFAIL": {&resolve.TemporaryError{Name: "nothing.example.com", Type: "A"}, "451 4.4.3 nothing.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.domain("example.com", "nothing.example.com")
			w.fault("nothing.example.com", c.err)
			wantReply(t, newEgress(t, w).deliver("b@example.com"), c.want)
			w.wantWent()
		})
	}
}

// RFC 5321, 4.1.3.
func TestAnAddressLiteralIsDialledAsItIs(t *testing.T) {
	for domain, addr := range map[string]string{"[192.0.2.7]": "192.0.2.7", "[IPv6:2001:db8::7]": "2001:db8::7", "[ipv6:2001:DB8::7]": "2001:db8::7"} {
		t.Run(domain, func(t *testing.T) {
			w := newWorld(t)
			w.serve(addr, smtptest.Script{TLS: w.cert("x.test")})
			e := newEgress(t, w)
			wantReply(t, e.deliver("b@"+domain), "250 2.0.0 queued")
			w.wantWent(addr)
			if w.asked != 0 {
				t.Errorf("the DNS was asked %d times", w.asked)
			}
		})
	}
}

func TestAddressesThatCannotBeRoutedAreRefusedAtOnce(t *testing.T) {
	w := newWorld(t)
	e := newEgress(t, w)
	c := e.client()
	c.Do("MAIL FROM:<a@sender.test>", "250")
	for address, want := range map[string]string{
		"postmaster":            "550 5.1.3",
		`"b@example.com"`:       "550 5.1.3",
		"b@[300.0.0.1]":         "553 5.1.2",
		"b@[192.0.2.1":          "553 5.1.2",
		"b@[IPv6:fe80::1%eth0]": "553 5.1.2",
		"b@":                    "553 5.1.2",
		"b@.":                   "553 5.1.2",
		"b@a..b":                "553 5.1.2",
		"b@-.example.com":       "5",
		"b@" + strings.Repeat("a", 64) + ".example.com":       "553 5.1.2",
		"b@" + strings.Repeat("abcdefg.", 40) + "example.com": "553 5.1.2",
		"b@exa mple.com": "501",
	} {
		r := c.Do("RCPT TO:<"+address+">", "5")
		if !strings.HasPrefix(r, want) {
			t.Errorf("%s got %q, want %s", address, r, want)
		}
	}
	w.wantWent()
}

func TestADomainIsTheSameHoweverItIsWritten(t *testing.T) {
	for name, c := range map[string]struct{ domain, params, want string }{
		"upper case": {"EXAMPLE.com", "", "example.com"},
		"final dot":  {"example.com.", "", "example.com"},
		"U-label":    {"bücher.example", " SMTPUTF8", "xn--bcher-kva.example"},
		"A-label":    {"XN--BCHER-KVA.example", "", "xn--bcher-kva.example"},
		"wide dots":  {"bücher。example", " SMTPUTF8", "xn--bcher-kva.example"},
		"underscore": {"a_b.example", "", "a_b.example"},
		"quoted":     {"example.com", "", "example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.server("mx.test", smtptest.Script{})
			w.domain(c.want, "mx.test")
			e := newEgress(t, w)
			k := e.client()
			local := "b"
			if name == "quoted" {
				local = `"b@other.test"`
			}
			k.Do("MAIL FROM:<a@sender.test>"+c.params, "250")
			k.Do("RCPT TO:<"+local+"@"+c.domain+">", "250")
			k.Do("QUIT", "221")
			wantCommands(t, b, "EHLO gateway.test", "MAIL FROM:<a@sender.test>"+c.params, "RCPT TO:<"+local+"@"+c.domain+">")
		})
	}
}

func TestADomainOfWhichEveryHostIsDownIsAnsweredAtOnceForAMinute(t *testing.T) {
	w := newWorld(t)
	w.place("a.example.com", "192.0.2.1")
	w.place("b.example.com", "192.0.2.2")
	w.domain("example.com", "a.example.com", "b.example.com")
	w.domain("example.net", "a.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "451 4.4.1 b.example.com [192.0.2.2]: connection refused")
	w.wantWent("192.0.2.1", "192.0.2.2")
	for range 3 {
		wantReply(t, e.deliver("b@example.com"), "451 4.4.1 b.example.com [192.0.2.2]: connection refused")
	}
	w.wantWent()
	wantReply(t, e.deliver("b@example.net"), "451 4.4.1 a.example.com") // another destination is tried
	w.wantWent("192.0.2.1")
	w.serve("192.0.2.9", smtptest.Script{})
	w.place("c.example.com", "192.0.2.9")
	w.domain("example.com", "a.example.com", "b.example.com", "c.example.com") // the DNS has changed: it is another one
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.wantWent("192.0.2.9")
}

func TestAServerThatTurnsUsAwayIsADomainThatIsDown(t *testing.T) {
	for name, s := range map[string]smtptest.Script{
		"greeting 4xx": {Replies: map[string]string{"greeting": "421 4.3.2 full"}},
		"greeting 5xx": {Replies: map[string]string{"greeting": "554 5.7.1 no"}},
		"EHLO":         {Replies: map[string]string{"EHLO": "421 4.3.2 no"}},
		"garbage":      {Replies: map[string]string{"greeting": "hello"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := theDomain(t, s)
			for range 3 {
				wantReply(t, e.deliver("b@example.com"), "451 4.4.")
			}
			e.w.wantWent("192.0.2.1")
		})
	}
}

// A server that greylists is up: the next message may pass.
func TestAServerThatDefersAMessageIsNotDown(t *testing.T) {
	for _, phase := range []string{"MAIL", "RCPT"} {
		t.Run(phase, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Replies: map[string]string{phase: "450 4.7.1 later"}})
			wantReply(t, e.deliver("b@example.com"), "450 4.7.1 later")
			b.Play(smtptest.Script{})
			wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
		})
	}
}

func TestOnlyHostsThatWereTriedAreTakenToBeDown(t *testing.T) {
	w := newWorld(t)
	w.place("a.example.com", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5")
	w.place("b.example.com", "192.0.2.6")
	w.serve("192.0.2.6", smtptest.Script{})
	w.domain("example.com", "a.example.com", "b.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "451 4.4.1 a.example.com")
	w.went()
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued") // its turn has come
	w.wantWent("192.0.2.6")
}

func TestAHostThatFailedIsTriedLast(t *testing.T) {
	w := newWorld(t)
	w.place("a.example.com", "192.0.2.1")
	w.place("b.example.com", "192.0.2.2")
	w.serve("192.0.2.2", smtptest.Script{})
	w.domain("example.com", "a.example.com", "b.example.com")
	w.domain("example.net", "a.example.com", "b.example.com")
	e := newEgress(t, w, forget)
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.wantWent("192.0.2.1", "192.0.2.2")
	for _, domain := range []string{"example.com", "example.net"} {
		wantReply(t, e.deliver("b@"+domain), "250 2.0.0 queued")
		w.wantWent("192.0.2.2")
	}
}

// SEM 24.
func TestOurOwnListenersAreNeverDialled(t *testing.T) {
	own := func(p *layout) {
		p.gateway.Own = func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("192.0.2.1:25") }
	}
	t.Run("alone", func(t *testing.T) {
		w := newWorld(t)
		w.place("mx.example.com", "192.0.2.1")
		w.domain("example.com", "mx.example.com")
		e := newEgress(t, w, own)
		wantReply(t, e.deliver("b@example.com"), "451 4.4.6 mx.example.com")
		wantReply(t, e.deliver("b@[192.0.2.1]"), "451 4.4.6 192.0.2.1")
		w.wantWent()
		if d := e.delivery(0); d.Cause != CauseLoop || d.DSN != "4.4.6" {
			t.Errorf("delivery: %+v", d)
		}
	})
	t.Run("beside another", func(t *testing.T) {
		w := newWorld(t)
		w.place("mx.example.com", "192.0.2.1", "192.0.2.2")
		w.serve("192.0.2.2", smtptest.Script{})
		w.domain("example.com", "mx.example.com")
		wantReply(t, newEgress(t, w, own).deliver("b@example.com"), "250 2.0.0 queued")
		w.wantWent("192.0.2.2")
	})
	t.Run("as a smarthost", func(t *testing.T) {
		w := newWorld(t)
		w.place("relay.test", "192.0.2.1")
		wantReply(t, newEgress(t, w, own, smarthosts("relay.test")).deliver("b@example.com"), "451 4.4.6 relay.test")
		w.wantWent()
	})
}

// The family is the resolver's business: what it is asked for is what was configured.
func TestOnlyTheConfiguredFamilyIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.server("mx.example.com", smtptest.Script{})
	w.domain("example.com", "mx.example.com")
	families := &familiesAsked{world: w}
	e := newEgress(t, w, func(p *layout) { p.gateway.Resolver, p.gateway.Family = families, resolve.IPv4Only })
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	if len(families.asked) != 1 || families.asked[0] != resolve.IPv4Only {
		t.Errorf("it asked for %v", families.asked)
	}
}

// A source address of one family is used for that family alone.
func TestTheSourceAddressIsThatOfTheFamily(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := NewGateway(GatewayOptions{Source: []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("2001:db8::9")}, Timeouts: patient})
	c, err := g.dial(t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().String(); got != "127.0.0.9" {
		t.Errorf("it came from %s", got)
	}
}
