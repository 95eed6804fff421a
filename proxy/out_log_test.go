package proxy

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/resolve"
	"postern/tls/level"
	"postern/tls/policy"
)

// Postfix 3.11's words for the TLS of a delivery.
func TestTheWordForTheTLSOfADeliveryIsPostfixs(t *testing.T) {
	good := func(w *world) smtptest.Script {
		return smtptest.Script{TLS: w.cert("mx.example.com", "example.com")}
	}
	wrong := func(w *world) smtptest.Script { return smtptest.Script{TLS: w.cert("other.test")} }
	none := func(*world) smtptest.Script { return smtptest.Script{} }
	broken := func(w *world) smtptest.Script { return smtptest.Script{TLS: w.cert("x.test"), Die: "handshake"} }
	for name, c := range map[string]struct {
		level  level.Level
		script func(*world) smtptest.Script
		want   string
		code   int
		dsn    string
		cause  Cause
		clear  string
		trust  string
	}{
		"none":            {level.None, good, "none", 250, "2.0.0", "", "", ""},
		"may":             {level.May, good, "may", 250, "2.0.0", "", "", "Verified"},
		"may, other name": {level.May, wrong, "may", 250, "2.0.0", "", "", "Trusted"},
		"may, none there": {level.May, none, "may:none", 250, "2.0.0", "", "not_offered", ""},
		"may, broken":     {level.May, broken, "may:none", 250, "2.0.0", "", "failed", ""},
		"encrypt":         {level.Encrypt, wrong, "encrypt", 250, "2.0.0", "", "", "Trusted"},
		"encrypt, none":   {level.Encrypt, none, "encrypt/!starttls", 451, "4.7.5", CauseNoSTARTTLS, "", ""},
		"secure":          {level.Secure, good, "secure", 250, "2.0.0", "", "", "Verified"},
		"secure, none":    {level.Secure, none, "secure/!starttls", 451, "4.7.5", CauseNoSTARTTLS, "", ""},
		"secure, another": {level.Secure, wrong, "secure/!certificate", 451, "4.7.5", CauseCertificate, "", ""},
		"secure, broken":  {level.Secure, broken, "secure/!handshake", 451, "4.7.5", CauseTLS, "", ""},
		"verify, but full": {level.Verify, func(w *world) smtptest.Script {
			return smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"RCPT": "452 4.2.2 full"}}
		}, "verify", 452, "4.2.2", CauseUpstreamReply, "", "Verified"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.server("mx.example.com", c.script(w))
			w.domain("example.com", "mx.example.com")
			e := newEgress(t, w, func(p *layout) { p.own.Auto, p.own.Level, p.own.Place = false, c.level, "config.hcl:3" })
			e.deliver("b@example.com")
			d := e.delivery(0)
			if d.TLS != c.want || d.Code != c.code || d.DSN != c.dsn || d.Cause != c.cause || d.Clear != c.clear || d.Trust != c.trust {
				t.Errorf("delivery: %+v", d)
			}
			if d.Destination != "example.com" || d.Host != "mx.example.com" || d.Decision == nil || d.Decision.Level != c.level || (d.Version != 0) != (d.Trust != "") {
				t.Errorf("delivery: %+v", d)
			}
			log := e.logged("msg=delivery")
			for _, want := range []string{"outbound=egress", "destination=example.com", "host=mx.example.com", "tls=" + c.want + " ", "source=operator", "rule=config.hcl:3", "dsn=" + c.dsn, "dns=", "connect=", "smtp="} {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %s: %s", want, log)
				}
			}
			if said := strings.Contains(log, " handshake="); said != (d.Handshake > 0) {
				t.Errorf("of a handshake of %s the log says %s", d.Handshake, log)
			}
		})
	}
}

func TestTheLineOfADeliverySaysWhatPeopleLookFor(t *testing.T) {
	w := newWorld(t)
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{".": "250 2.6.0 queued as 4bXz"}})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("secret.person@example.com"), "250")
	d := e.delivery(0)
	if d.Version != tls.VersionTLS13 || d.Cipher == "" || d.Group == 0 || d.Recipients != 1 || d.Bytes == 0 || d.DSN != "2.6.0" || d.Connect <= 0 || d.Handshake <= 0 || d.SMTP <= 0 || d.Address != "192.0.2.1:25" {
		t.Errorf("delivery: %+v", d)
	}
	log := e.logged("msg=delivery")
	for _, want := range []string{"level=INFO msg=delivery outbound=egress session=", "client=127.0.0.1:", "address=192.0.2.1:25", "version=TLSv1.3", "cipher=TLS_", "group=X25519", "size=", "recipients=1", `reply="250 2.6.0 queued as 4bXz"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s: %s", want, log)
		}
	}
	if strings.Contains(log, "secret.person") || strings.Contains(log, "sender.test") {
		t.Errorf("the log holds addresses: %s", log)
	}
}

// Each attempt has a line of its own, so that the way of a message can be followed.
func TestEveryAttemptIsTold(t *testing.T) {
	w := newWorld(t)
	w.place("dead.example.com", "192.0.2.200")
	w.server("full.example.com", smtptest.Script{Replies: map[string]string{"greeting": "421 4.3.2 full"}})
	w.server("grey.example.com", smtptest.Script{Replies: map[string]string{"RCPT": "451 4.7.1 greylisted"}})
	w.domain("example.com", "nowhere.example.com", "dead.example.com", "full.example.com", "grey.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "451 4.7.1 greylisted")
	var got []string
	for i := range 4 {
		d := e.delivery(i)
		got = append(got, d.Host+" "+string(d.Cause)+" "+d.DSN)
	}
	if want := []string{"nowhere.example.com dns 4.4.4", "dead.example.com dial 4.4.1", "full.example.com upstream_greeting 4.4.1", "grey.example.com upstream_reply 4.7.1"}; !slices.Equal(got, want) {
		t.Errorf("it told %q", got)
	}
}

func TestAMessageIsToldOnceOfEachSession(t *testing.T) {
	_, e := theDomain(t, smtptest.Script{})
	c := e.client()
	for range 2 {
		wantReply(t, offerMessage(c, "b@example.com"), "250")
	}
	c.Do("QUIT", "221")
	e.watch.until(t, "the end of the session", func() bool { return len(e.watch.sessions) == 1 })
	if s := e.watch.sessions[0]; s.Messages != 2 || s.Cause != "" || s.Secured {
		t.Errorf("session: %+v", s)
	}
	if n := len(e.watch.messages); n != 2 || e.watch.messages[0].Code != 250 || e.watch.messages[0].Recipients != 1 || e.watch.open != 0 {
		t.Errorf("messages: %+v", e.watch.messages)
	}
	e.delivery(1)
	if n := len(e.watch.tried); n != 2 {
		t.Errorf("%d deliveries", n)
	}
}

func TestExplainSaysWhatWouldBeDone(t *testing.T) {
	w := newWorld(t)
	w.place("a.example.com", "192.0.2.101")
	w.place("b.example.com", "192.0.2.102", "2001:db8::2")
	w.domain("example.com", "a.example.com", "b.example.com", "nowhere.example.com")
	w.domain("xn--bcher-kva.example", "a.example.com")
	e := newEgress(t, w, func(p *layout) {
		p.rules = []policy.Rule{{Pattern: "example.com", Level: level.Secure, Place: "config.hcl:9", Grade: p.own.Grade}}
		p.gateway.Own = func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("192.0.2.102") }
	})
	x := e.g.Explain(t.Context(), "Example.COM.")
	if x.Domain != "example.com" || x.Cause != "" || x.Refusal.Code != 0 || len(x.Hosts) != 3 {
		t.Fatalf("%+v", x)
	}
	a, b, c := x.Hosts[0], x.Hosts[1], x.Hosts[2]
	if a.Name != "a.example.com" || a.Port != 25 || a.Preference != 0 || a.Failed || a.Own || a.Decision.Level != level.Secure || a.Decision.Place != "config.hcl:9" || len(a.Addresses) != 1 || a.Proven {
		t.Errorf("%+v", a)
	}
	if b.Preference != 10 || !b.Own || !slices.Equal(b.Addresses, []netip.Addr{netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.102")}) {
		t.Errorf("%+v", b)
	}
	if c.AddressError == nil || len(c.Addresses) != 0 {
		t.Errorf("%+v", c)
	}
	w.wantWent()
	e.deliver("b@xn--bcher-kva.example") // fails, which shows
	if h := e.g.Explain(t.Context(), "bücher.example").Hosts; len(h) != 1 || !h[0].Failed || h[0].Decision.Level != level.May {
		t.Errorf("%+v", h)
	}
	if h := e.g.Explain(t.Context(), "example.com").Hosts; h[0].Name != "b.example.com" || h[2].Name != "a.example.com" {
		t.Errorf("the host that failed is not last: %+v", h)
	}
}

func TestExplainSaysWhyADomainCannotBeReached(t *testing.T) {
	w := newWorld(t)
	w.fault("null.test", &resolve.PermanentError{Name: "null.test", Type: "MX", Err: resolve.ErrNullMX})
	w.fault("broken.test", &resolve.TemporaryError{Name: "broken.test", Type: "MX"})
	e := newEgress(t, w)
	for domain, want := range map[string]struct {
		code  int
		cause Cause
	}{"null.test": {556, CauseNoDomain}, "broken.test": {451, CauseDNS}, "nothing.test": {550, CauseNoDomain}, "a..b": {553, CauseNoDomain}, "[300.0.0.1]": {553, CauseNoDomain}} {
		if x := e.g.Explain(t.Context(), domain); x.Refusal.Code != want.code || x.Cause != want.cause || len(x.Hosts) != 0 {
			t.Errorf("%s: %+v", domain, x)
		}
	}
}

func TestADestinationIsADomainOrAnAddressLiteral(t *testing.T) {
	for text, want := range map[string]bool{
		"example.com": true, "Example.COM.": true, "bücher.example": true, "localhost": true, "[192.0.2.1]": true, "[IPv6:2001:db8::1]": true,
		"": false, "not a domain": false, "a..b": false, "[300.0.0.1]": false, "[192.0.2.1": false, "x@example.com": false, "\x1b[31m.exa.mp": false,
		`"`: false, strings.Repeat("a", 64) + ".example": false,
	} {
		if got := IsDestination(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestExplainShowsTheSmarthostsForEveryDomain(t *testing.T) {
	w := newWorld(t)
	w.place("relay.test", "192.0.2.1")
	e := newEgress(t, w, smarthosts("relay.test", "tls:192.0.2.2"))
	x := e.g.Explain(t.Context(), "example.com")
	if len(x.Hosts) != 2 || x.Hosts[0].Name != "relay.test" || x.Hosts[0].Implicit || !x.Hosts[1].Implicit || !x.Hosts[0].Proven || x.Hosts[0].MXSecurity != "" || x.Hosts[1].AddressSecurity != "" || x.Hosts[1].Addresses[0] != netip.MustParseAddr("192.0.2.2") {
		t.Errorf("%+v", x)
	}
}

// An answer from a failure that is remembered is told as one that took no time.
func TestAnAnswerAtOnceIsTold(t *testing.T) {
	w := newWorld(t)
	w.place("mx.example.com", "192.0.2.200")
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	for range 2 {
		wantReply(t, e.deliver("b@example.com"), "451 4.4.1")
	}
	if d := e.delivery(1); d.Destination != "example.com" || d.Code != 451 || d.Cause != CauseDial || d.Connect > time.Millisecond {
		t.Errorf("delivery: %+v", d)
	}
}
