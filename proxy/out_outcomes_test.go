package proxy

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/smtptest"
	"postern/peers"
	"postern/resolve"
	"postern/smtpwire"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
)

// outcomes are the session attempts so far, as in "no-policy-found example.com success".
func (w *watcher) outcomes() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.attempts {
		p, f, ok := a.Report()
		if !ok {
			all = append(all, "not reported")
			continue
		}
		if f.OK() {
			f.Result = "success"
		}
		all = append(all, strings.TrimSpace(string(p.Type)+" "+p.Domain+" "+string(f.Result)+" "+f.Reason))
	}
	return all
}

// wantOutcomes compares the session attempts so far.
func (e *egress) wantOutcomes(want ...string) {
	e.t.Helper()
	if diff := cmp.Diff(want, e.watch.outcomes()); diff != "" {
		e.t.Error(diff)
	}
}

// wantAny is wantOutcomes in any order.
func (e *egress) wantAny(want ...string) {
	e.t.Helper()
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(e.watch.outcomes()))); diff != "" {
		e.t.Error(diff)
	}
}

// published is what a domain and its hosts publish: the same for all.
type published struct {
	tlsa dane.Finding
	err  error
	sts  mtasts.Finding
}

func (p published) Find(context.Context, dane.MXInfo) (dane.Finding, error) { return p.tlsa, p.err }

// policies lets published be an STS too.
type policies struct{ mtasts.Finding }

func (p policies) Find(context.Context, string) mtasts.Finding    { return p.Finding }
func (p policies) Refresh(context.Context, string) mtasts.Finding { return p.Finding }

func (p published) layout(l *layout) { l.dane, l.sts = p, policies{p.sts} }

// promises is a policy of example.com.
func promises(mode mtasts.Mode, hosts ...string) published {
	return published{tlsa: dane.Finding{Status: dane.NoRecords}, sts: mtasts.Finding{Policy: &mtasts.Policy{Mode: mode, MX: hosts}}}
}

// withTLSA has TLSA records of mx.example.com.
func withTLSA(status dane.Status, all ...dane.Record) published {
	return published{tlsa: dane.Finding{Status: status, Base: "mx.example.com", Records: all, Names: dane.Names{"mx.example.com"}}}
}

// TestEachKindOfServerHasOneOutcome, whatever is tried with it, and whether the mail goes in clear in the end.
func TestEachKindOfServerHasOneOutcome(t *testing.T) {
	const none = "no-policy-found example.com "
	for name, want := range map[string]struct{ may, secure string }{
		"good":                    {"success", "success"},
		"no STARTTLS":             {"starttls-not-supported", "starttls-not-supported"},
		"STARTTLS refused":        {"starttls-not-supported starttls-refused", "starttls-not-supported starttls-refused"},
		"STARTTLS unanswered":     {"validation-failure starttls-no-reply", "validation-failure starttls-no-reply"},
		"injection":               {"validation-failure starttls-injection", "validation-failure starttls-injection"},
		"handshake broken":        {"validation-failure handshake-failed", "validation-failure handshake-failed"},
		"handshake stalled":       {"validation-failure handshake-stalled", "validation-failure handshake-stalled"},
		"closed at ClientHello":   {"validation-failure handshake-cut-off", "validation-failure handshake-cut-off"},
		"closed at ServerHello":   {"validation-failure handshake-cut-off", "validation-failure handshake-cut-off"},
		"dislikes a large hello":  {"success", "validation-failure handshake-failed"},
		"dislikes SNI":            {"success", "validation-failure handshake-failed"},
		"unparsable certificate":  {"validation-failure handshake-failed", "validation-failure handshake-failed"},
		"EHLO inside TLS refused": {"validation-failure ehlo-inside-tls-failed", "validation-failure ehlo-inside-tls-failed"},
		"EHLO inside TLS closed":  {"validation-failure ehlo-inside-tls-failed", "validation-failure ehlo-inside-tls-failed"},
		"expired":                 {"success", "certificate-expired"},
		"wrong name":              {"success", "certificate-host-mismatch"},
		"self-signed":             {"success", "certificate-not-trusted self-signed"},
	} {
		for lvl, want := range map[string]string{"may": want.may, "secure": want.secure} {
			t.Run(name+"/"+lvl, func(t *testing.T) {
				in(t, receivers[name], func(_ *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
					e.deliver("b@example.com")
					e.wantOutcomes(none + want)
				}, atLevel(lvl))
			})
		}
	}
}

// atLevel has an outbound ask for a level, for the name of the MX host where that asks for a name.
func atLevel(name string) func(*layout) {
	return func(p *layout) {
		p.own.Auto, p.own.Match = false, []string{"hostname"}
		p.own.Level, _ = level.Parse(name)
	}
}

// TestWhatSaysNothingOfTLSIsNoOutcome: nobody was there, it did not want us, or TLS was not tried.
func TestWhatSaysNothingOfTLSIsNoOutcome(t *testing.T) {
	skip := func(e *egress) { skipped(0)(e, e.memory.Outbound(peers.DefaultRules())) }
	for name, c := range map[string]struct {
		of     receiver
		before func(*egress)
		layout func(*layout)
	}{
		"nobody listens":   {says("greeting", ""), func(e *egress) { e.w.place("mx.example.com", "192.0.2.99") }, forget},
		"unwelcome":        {says("greeting", "421 4.3.2 full"), func(*egress) {}, forget},
		"EHLO refused":     {says("EHLO", "421 4.3.2 full"), func(*egress) {}, forget},
		"gone before EHLO": {behaves(func(s *smtptest.Script) { s.Die = "EHLO" }), func(*egress) {}, forget},
		"level none":       {receivers["good"], func(*egress) {}, atLevel("none")},
		"skipped":          {receivers["good"], skip, forget},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, c.of, func(_ *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
				c.before(e)
				e.deliver("b@example.com")
				e.wantOutcomes()
			}, c.layout)
		})
	}
}

// TestWhatIsPublishedHasItsOutcomes has each result of RFC 8460, 4.3, that a policy can cause, from a real session.
func TestWhatIsPublishedHasItsOutcomes(t *testing.T) {
	const tlsa, sts, none = "tlsa mx.example.com ", "sts example.com ", "no-policy-found example.com "
	bogus := &dane.LookupError{Name: "_25._tcp.mx.example.com", Type: "TLSA", Err: &resolve.TemporaryError{Security: resolve.Bogus}}
	unsupported := dane.Record{Usage: 1, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}
	other := dane.Record{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}
	fails := func(r mtasts.Result) published { return published{sts: mtasts.Finding{Result: r, Why: "wrong"}} }
	for name, c := range map[string]struct {
		published
		server string
		want   string
		code   string // of the message
	}{
		"another key":               {withTLSA(dane.Usable, other), "good", tlsa + "validation-failure tlsa-mismatch", "451"},
		"DANE and no STARTTLS":      {withTLSA(dane.Usable, other), "no STARTTLS", tlsa + "starttls-not-supported", "451"},
		"unusable records":          {withTLSA(dane.Unusable, unsupported), "good", tlsa + "tlsa-invalid", "250"},
		"unusable and no STARTTLS":  {withTLSA(dane.Unusable, unsupported), "no STARTTLS", tlsa + "starttls-not-supported", "451"},
		"bogus records":             {published{err: bogus}, "good", tlsa + "dnssec-invalid bogus", "451"},
		"SERVFAIL":                  {published{err: &dane.LookupError{Err: errors.New("SERVFAIL")}}, "good", tlsa + "dnssec-invalid lookup-failed", "451"},
		"enforced":                  {promises(mtasts.Enforce, "mx.example.com"), "good", sts + "success", "250"},
		"enforced, expired":         {promises(mtasts.Enforce, "mx.example.com"), "expired", sts + "certificate-expired", "451"},
		"enforced, wrong name":      {promises(mtasts.Enforce, "mx.example.com"), "wrong name", sts + "certificate-host-mismatch", "451"},
		"enforced, self-signed":     {promises(mtasts.Enforce, "mx.example.com"), "self-signed", sts + "certificate-not-trusted self-signed", "451"},
		"enforced, no STARTTLS":     {promises(mtasts.Enforce, "mx.example.com"), "no STARTTLS", sts + "starttls-not-supported", "451"},
		"enforced for others":       {promises(mtasts.Enforce, "mx.other.test"), "good", sts + "validation-failure mx-not-in-policy", "451"},
		"testing":                   {promises(mtasts.Testing, "mx.example.com"), "good", sts + "success", "250"},
		"testing, expired":          {promises(mtasts.Testing, "mx.example.com"), "expired", sts + "certificate-expired", "250"},
		"testing, wrong name":       {promises(mtasts.Testing, "mx.example.com"), "wrong name", sts + "certificate-host-mismatch", "250"},
		"testing, self-signed":      {promises(mtasts.Testing, "mx.example.com"), "self-signed", sts + "certificate-not-trusted self-signed", "250"},
		"testing, no STARTTLS":      {promises(mtasts.Testing, "mx.example.com"), "no STARTTLS", sts + "starttls-not-supported", "250"},
		"testing, handshake broken": {promises(mtasts.Testing, "mx.example.com"), "handshake broken", sts + "validation-failure handshake-failed", "250"},
		"testing, too weak":         {promises(mtasts.Testing, "mx.example.com"), "RSA key exchange only", sts + "validation-failure tls-too-weak", "250"},
		"testing for others":        {promises(mtasts.Testing, "mx.other.test"), "good", sts + "validation-failure mx-not-in-policy", "250"},
		"mode none":                 {promises(mtasts.None), "wrong name", none + "success", "250"},
		"policy not to be had":      {fails(mtasts.FetchError), "good", sts + "sts-policy-fetch-error", "250"},
		"policy invalid":            {fails(mtasts.PolicyInvalid), "good", sts + "sts-policy-invalid", "250"},
		"policy host not trusted":   {fails(mtasts.WebPKIInvalid), "good", sts + "sts-webpki-invalid", "250"},
		"TXT record not to be had":  {fails(mtasts.TXTError), "good", none + "success", "250"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, receivers[c.server], func(t *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
				wantReply(t, e.deliver("b@example.com"), c.code)
				e.wantOutcomes(c.want)
			}, c.layout)
		})
	}
}

func TestDANEThatIsInsistedOnAndNotThereIsAnOutcome(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
		wantReply(t, e.deliver("b@example.com"), "451")
		e.wantOutcomes("tlsa mx.example.com dane-required")
	}, withTLSA(dane.NoRecords).layout, atLevel("dane-only"))
}

func TestTLSARecordsThatAreMetAreASuccess(t *testing.T) {
	w := signed(newWorld(t))
	cert := w.cert("whatever.test")
	w.server("mx.example.com", smtptest.Script{TLS: cert})
	w.domain("example.com", "mx.example.com")
	record := dane.From(cert.Certificates[0].Leaf, 3, 1, 1)
	e := newEgress(t, w, withTLSA(dane.Usable, record).layout)
	wantReply(t, e.deliver("b@example.com"), "250")
	e.wantOutcomes("tlsa mx.example.com success")
	p, _, _ := e.watch.attempts[0].Report()
	if diff := cmp.Diff([]string{record.String()}, p.Strings); diff != "" || e.watch.attempts[0].DANE() != "ok" {
		t.Error(diff, e.watch.attempts[0].DANE())
	}
}

// RFC 7672, 2.1.2: mail waits where the MX records do not validate.
func TestMXRecordsThatDoNotValidateAreAnOutcomeOfTheDomain(t *testing.T) {
	for security, want := range map[resolve.Security][]string{resolve.Bogus: {"tlsa example.com dnssec-invalid bogus"}, resolve.Indeterminate: nil} {
		w := newWorld(t)
		w.fault("example.com", &resolve.TemporaryError{Name: "example.com", Type: "MX", Security: security})
		e := newEgress(t, w)
		wantReply(t, e.deliver("b@example.com"), "451 ")
		e.wantOutcomes(want...)
		if got := e.watch.resolved; !slices.Equal(got, []string{security.String()}) {
			t.Errorf("%v: it told of %v", security, got)
		}
	}
}

// STANDARDS 140: a connection that is used again was counted when it was made.
func TestAConnectionThatIsUsedAgainIsNoAttempt(t *testing.T) {
	_, e := theDomain(t, smtptest.Script{})
	for range 3 {
		wantReply(t, e.deliver("b@example.com"), "250")
	}
	e.wantOutcomes("no-policy-found example.com starttls-not-supported")
}

// A TLS session that is resumed is on a connection of its own, and counts.
func TestASessionThatIsResumedIsAnAttempt(t *testing.T) {
	in(t, receivers["wrong name"], func(t *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
		for range 3 {
			wantReply(t, e.deliver("b@example.com"), "250")
		}
		const failed = "sts example.com certificate-host-mismatch"
		e.wantOutcomes(failed, failed, failed)
		if !e.delivery(2).Resumed {
			t.Error("the last one was not resumed")
		}
	}, promises(mtasts.Testing, "mx.example.com").layout, forget)
}

func TestEachServerThatIsTriedIsAnAttempt(t *testing.T) {
	w := newWorld(t)
	w.place("gone.example.com", "192.0.2.99")
	w.server("old.example.com", smtptest.Script{})
	w.server("other.example.com", smtptest.Script{TLS: w.cert("www.example.org")})
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com")})
	w.domain("example.com", "gone.example.com", "old.example.com", "forbidden.test", "other.example.com", "mx.example.com")
	e := newEgress(t, w, promises(mtasts.Enforce, "*.example.com").layout)
	const sts = "sts example.com "
	wantReply(t, e.deliver("b@example.com"), "451") // SEM 19: two that greeted are enough
	e.wantOutcomes(sts+"starttls-not-supported", sts+"validation-failure mx-not-in-policy", sts+"certificate-host-mismatch")
	wantReply(t, e.deliver("b@example.com"), "250") // those that failed come last
	if got := e.watch.outcomes()[3:]; !slices.Equal(got, []string{sts + "success"}) {
		t.Errorf("the second message: %v", got)
	}
}

func TestEachDestinationOfAMessageIsAnAttempt(t *testing.T) {
	fanned(t, 4, func(_ *testing.T, x *fanOut) {
		c := x.client()
		defer c.Close()
		for range 2 { // on the same connections
			x.begin(c, 0, 1, 2, 3, 0)
			c.Do(letter+".", "250", "250", "250", "250", "250")
		}
		x.wantAny("no-policy-found d0.test success", "no-policy-found d1.test success", "no-policy-found d2.test success", "no-policy-found d3.test success")
	})
}

// A kept connection that has gone stale is followed by a new one, which is an attempt.
func TestAConnectionInThePlaceOfAStaleOneIsAnAttempt(t *testing.T) {
	var last *smtptest.Conn
	s := smtptest.Script{Answer: func(c *smtptest.Conn, phase, _ string) string {
		again := phase == "RSET" && (last == nil || last == c)
		if last = c; again {
			return "421 4.3.2 enough"
		}
		return ""
	}}
	_, e := theDomain(t, s)
	for range 2 {
		wantReply(t, e.deliver("b@example.com"), "250")
	}
	const clear = "no-policy-found example.com starttls-not-supported"
	e.wantOutcomes(clear, clear)
}

func TestOfAFallbackOnlyTheFailureCounts(t *testing.T) {
	const broken = "no-policy-found example.com validation-failure handshake-failed"
	for fallback, codes := range map[Fallback][]string{FallbackSameSession: {"250", "250"}, FallbackNextSession: {"451", "250"}} {
		in(t, receivers["handshake broken"], func(t *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
			for _, code := range codes {
				wantReply(t, e.deliver("b@example.com"), code)
			}
			e.wantOutcomes(broken)
		}, func(p *layout) { p.gateway.Fallback = fallback })
	}
}

// A server that is busy inside TLS has shown that its TLS works.
func TestAServerThatIsBusyInsideTLSIsASuccess(t *testing.T) {
	in(t, says("TLS EHLO", "421 4.3.2 busy"), func(t *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
		wantReply(t, e.deliver("b@example.com"), "451 4.4.1")
		e.wantOutcomes("sts example.com success")
	}, promises(mtasts.Enforce, "mx.example.com").layout)
	in(t, presentsBusy, func(t *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
		wantReply(t, e.deliver("b@example.com"), "451 4.4.1")
		e.wantOutcomes("sts example.com certificate-expired")
	}, promises(mtasts.Testing, "mx.example.com").layout)
}

// presentsBusy has an expired certificate, and is busy.
func presentsBusy(w *world) (smtptest.Script, *x509.Certificate) {
	s, leaf := receivers["expired"](w)
	s.Replies = map[string]string{"TLS EHLO": "421 4.3.2 busy"}
	return s, leaf
}

func TestASmarthostIsCountedUnderItsName(t *testing.T) {
	w := newWorld(t)
	w.server("relay.example.net", smtptest.Script{TLS: w.cert("relay.example.net"), Implicit: true})
	e := newEgress(t, w, smarthosts("tls:relay.example.net"))
	wantReply(t, e.deliver("b@example.com"), "250")
	e.wantOutcomes("no-policy-found relay.example.net success")
}

func TestAnAttemptTellsWhoSpokeToWhom(t *testing.T) {
	w := newWorld(t)
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"greeting": "220 mail7.example.net ESMTP at your service"}})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "250")
	a := e.watch.attempts[0]
	if a.Host != "mx.example.com" || a.Address != netip.MustParseAddr("192.0.2.1") || a.Sender != netip.MustParseAddr("127.0.0.1") || a.Hello != "mail7.example.net" {
		t.Errorf("%+v", a)
	}
}

func TestAGreetingWithoutANameTellsNone(t *testing.T) {
	for greeting, want := range map[string]string{
		"220 mx.example.com": "mx.example.com", "220 ": "", "220": "", "220 [192.0.2.1] hello": "[192.0.2.1]",
		"220 \x01mx": "", "220 m\xffx": "", "220 " + strings.Repeat("x", 256): "", "220-mx.example.com one\r\n220 two": "mx.example.com",
	} {
		if got := helloOf(smtpwire.Reply{Code: 220, Lines: []byte(greeting + "\r\n")}); got != want {
			t.Errorf("%q: %q", greeting, got)
		}
	}
}

func TestWhatDNSSECSaysOfEachAnswerIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"signed MX records": {func(w *world) { w.security = resolve.Secure }, []string{"secure", "secure"}},
		"a signed denial": {func(w *world) {
			w.fault("example.com", &resolve.PermanentError{Err: resolve.ErrNoDomain, Security: resolve.Secure})
		}, []string{"secure"}},
		"a bogus address": {func(w *world) {
			w.fault("mx.example.com", &resolve.TemporaryError{Type: "A", Security: resolve.Bogus})
		}, []string{"indeterminate", "bogus"}},
		"no answer": {func(w *world) { w.fault("example.com", &resolve.TemporaryError{Type: "MX"}) }, []string{"indeterminate"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.server("mx.example.com", smtptest.Script{})
			w.domain("example.com", "mx.example.com")
			c.change(w)
			e := newEgress(t, w)
			e.deliver("b@example.com")
			if diff := cmp.Diff(c.want, e.watch.resolved); diff != "" {
				t.Error(diff)
			}
		})
	}
}
