package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/internal/dnstest"
	"postern/resolve"
	"postern/store"
	"postern/tls/dane"
)

// signed gives the world's domain a signed DNS. The records are those that stand in
// example.com besides.
func (w *world) signed(t *testing.T, records string) {
	t.Helper()
	w.dns = dnstest.StartSigned(t,
		dnstest.Zone{Name: ".", Records: "www A 127.0.0.9"},
		dnstest.Zone{Name: "com"},
		dnstest.Zone{Name: "example.com", Records: "@ MX 10 mx\nmx A 127.0.0.2\n" + records},
		dnstest.Zone{Name: "open.com", Records: "@ MX 10 mx.example.com.\nmx A 127.0.0.2\n_25._tcp.mx TLSA 3 1 1 " + strings.Repeat("ab", 32), Unsigned: true},
	)
	must(os.WriteFile(w.anchors(), []byte(w.dns.Anchors), 0o600))
}

// bare is a DNS of the same names without any signatures.
func bare(t *testing.T) *dnstest.Server {
	return dnstest.Start(t, "example.com. IN MX 10 mx.example.com.\nmx.example.com. IN A 127.0.0.2\n")
}

func (w *world) anchors() string { return filepath.Join(w.dir, "root.key") }

// resolverWith is HCL of a resolver that believes the keys of the signed root.
func (w *world) resolverWith(more string) string {
	return fmt.Sprintf("resolver {\n  servers = [%q]\n  trust_anchors = %q\n  %s\n}\n", w.dns.Address, w.anchors(), more)
}

// tlsa is a TLSA record of the world's mail server: the right one, or another.
func (w *world) tlsa(right bool) string {
	cert := must1(x509.ParseCertificate(w.cert.Certificate[0]))
	r := dane.From(cert, dane.UsageEE, dane.SelectorSPKI, dane.MatchingSHA256)
	if !right {
		r.Data[0]++
	}
	return dane.Zone(dane.Owner("mx.example.com", must1(parsePort(w.port))), 300, []dane.Record{r})
}

func parsePort(text string) (n uint16, err error) {
	_, err = fmt.Sscan(text, &n)
	return n, err
}

// recipient asks an outbound to take a recipient, and returns the reply.
func recipient(t *testing.T, address, domain string, code int) string {
	t.Helper()
	c := dial(t, address)
	c.do(250, "EHLO mta.test")
	c.do(250, "MAIL FROM:<a@b.test>")
	reply := c.do(code, "RCPT TO:<c@"+domain+">")
	c.do(221, "QUIT")
	return reply
}

func TestMailGoesToWhomTheTLSARecordsName(t *testing.T) {
	w := newWorld(t)
	w.signed(t, w.tlsa(true))
	p := w.begin(t, w.kept()+w.admin()+w.resolverWith("")+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	p.log.await(t, "msg=delivery", "source=dane", "tls=dane", "peer=Verified")
	p.log.await(t, "DNSSEC: the resolver lets signatures through", w.dns.Address)
	for _, where := range []string{"beside it", "without it"} {
		text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
		must(err)
		wantWords(t, "explain "+where, text, "MX records     signed", "dane, because of its TLSA records (until", "as the TLSA records below say", "3 1 1 ", ": can be used", "1 of 1 TLSA records")
		if !p.done {
			must(p.stop())
		}
	}
}

func TestMailWaitsForWhomTheTLSARecordsName(t *testing.T) {
	w := newWorld(t)
	w.signed(t, w.tlsa(false))
	p := w.begin(t, inMemory+w.resolverWith("")+w.outbound(""))
	recipient(t, p.at(t, "egress"), "example.com", 451)
	p.log.await(t, "msg=delivery", "source=dane", "cause=certificate")
	if n := len(w.mx.Messages()); n != 0 {
		t.Errorf("%d messages were delivered", n)
	}
	// The same host, but nobody has signed that it takes the mail of this domain.
	recipient(t, p.at(t, "egress"), "open.com", 451)
}

func TestWithoutDNSSECNobodyAsksForTLSA(t *testing.T) {
	w := newWorld(t)
	w.signed(t, w.tlsa(false))
	p := w.begin(t, inMemory+w.resolverWith(`dnssec = "off"`)+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	if n := w.dns.Count("", "TLSA") + w.dns.Count("", "DNSKEY"); n != 0 {
		t.Errorf("%d questions that are DNSSEC's", n)
	}
}

// SEM 27.
func TestAResolverThatNeverKnewDNSSECIsNoneTheWorse(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	w.dns = bare(t)
	p := w.begin(t, inMemory+adminPage+w.resolverWith("")+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	p.log.await(t, "level=WARN", "DNSSEC is not available", "no DANE")
	page := "http://" + p.admin.page.Addr().String()
	if status, text := get(t, page+"/readyz"); status != 200 {
		t.Errorf("/readyz: %d %s", status, text)
	}
	_, text := get(t, page+"/metrics")
	wantWords(t, "/metrics", text, "postern_dnssec_validates 0")
}

// SEM 27.
func TestAResolverThatShouldKnowDNSSECIsNotBelievedWithoutIt(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	w.dns = bare(t)
	for _, c := range []struct {
		what, written string
		before        bool
	}{
		{"the operator wants it", `dnssec = "validate"`, false},
		{"it has known it before", "", true},
	} {
		if c.before {
			must(os.MkdirAll(filepath.Join(w.dir, "state"), 0o700))
			s := must1(store.OpenBolt(store.BoltOptions{Path: filepath.Join(w.dir, "state", "state.db")}))
			must(s.Write(store.Change{Key: proofOf(w.dns.Address), Value: []byte("x")}))
			must(s.Close())
		}
		p := w.begin(t, w.kept()+adminPage+w.resolverWith(c.written)+w.outbound(""))
		p.log.await(t, "level=ERROR", "holds DNSSEC signatures back")
		recipient(t, p.at(t, "egress"), "example.com", 451)
		status, text := get(t, "http://"+p.admin.page.Addr().String()+"/readyz")
		if status != 503 || !strings.Contains(text, "DNSSEC signatures are held back") {
			t.Errorf("%s: /readyz: %d %s", c.what, status, text)
		}
		must(p.stop())
	}
}

// SEM 27: who takes the machine to a network without DNSSEC does not take away the
// TLSA records of those that have had them.
func TestAHostThatHadTLSARecordsHasThemWhereThereIsNoDNSSEC(t *testing.T) {
	w := newWorld(t)
	w.signed(t, w.tlsa(true))
	p := w.begin(t, w.kept()+w.resolverWith("")+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	must(p.stop())
	w.dns = bare(t)
	p = w.begin(t, w.kept()+w.resolverWith("")+w.outbound(""))
	if reply := recipient(t, p.at(t, "egress"), "example.com", 451); !strings.Contains(reply, "in the last 30 days") {
		t.Error(reply)
	}
	p.log.await(t, "DNSSEC is not available")
}

func TestThatAResolverKnowsDNSSECIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	p := w.begin(t, w.kept()+w.resolverWith("")+w.outbound(""))
	p.log.await(t, "DNSSEC: the resolver lets signatures through")
	must(p.stop())
	s := must1(store.OpenBolt(store.BoltOptions{Path: filepath.Join(w.dir, "state", "state.db")}))
	defer s.Close()
	if _, err := s.Get(proofOf(w.dns.Address)); err != nil {
		t.Error(err)
	}
}

func TestAReloadCanBeginAndEndWithDNSSEC(t *testing.T) {
	w := newWorld(t)
	w.signed(t, w.tlsa(true))
	begin := "hostname = \"gw.test\"\n" + inMemory
	p := w.begin(t, inMemory+w.resolverWith(`dnssec = "off"`)+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	p.log.await(t, "msg=delivery", "source=default")
	p.write(begin + w.resolverWith("") + w.outbound(""))
	p.reload()
	p.log.await(t, "DNSSEC: the resolver lets signatures through")
	mail(t, p.at(t, "egress"), "example.com")
	p.log.await(t, "msg=delivery", "source=dane")
	kept := p.plan.names
	p.write(begin + w.resolverWith("") + w.outbound("dsn = true"))
	p.reload()
	if p.plan.names != kept {
		t.Error("the same resolver, read again, made another")
	}
	must(os.WriteFile(w.anchors(), []byte(dnssecRoot), 0o600))
	p.reload()
	if p.plan.names == kept {
		t.Error("other trust anchors did not make another resolver")
	}
	must(os.Remove(w.anchors()))
	p.reload()
	p.log.await(t, "configuration not reloaded", "trust_anchors")
}

// testTrial is of a resolver that asks s; what it has found is up to the test.
func testTrial(t *testing.T, s *dnstest.Server, anchors string) *lookup {
	t.Helper()
	file := filepath.Join(t.TempDir(), "root.key")
	must(os.WriteFile(file, []byte(anchors), 0o600))
	cfg := config.Default()
	cfg.Resolver.Servers, cfg.Resolver.TrustAnchors = []string{s.Address}, file
	cfg.Outbounds = []config.Outbound{config.DefaultOutbound("egress")}
	return must1(builder{cfg: cfg, lasting: forNow(cfg, emptyMemory())}.resolver())
}

func TestAResolverThatCannotBeReachedIsNotJudged(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	n := testTrial(t, w.dns, w.dns.Anchors)
	w.dns.Break("", "", dnstest.ServFail)
	n.trial.try(t.Context())
	if !n.trial.known(untested) || n.trial.doubt() != "" {
		t.Errorf("found %d, %q", n.trial.found, n.trial.last.why)
	}
	w.dns.Mend()
	n.trial.try(t.Context())
	w.dns.Break("", "", dnstest.ServFail)
	n.trial.try(t.Context())
	if !n.trial.known(validates) {
		t.Errorf("found %d, %q", n.trial.found, n.trial.last.why)
	}
}

func TestATrialNamesACauseOnce(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	w.dns.Break("", "DNSKEY", dnstest.ServFail)
	n := testTrial(t, w.dns, w.dns.Anchors)
	n.trial.try(t.Context())
	if got, want := n.trial.last.why, ". is indeterminate: SERVFAIL from "+w.dns.Address+" for DNSKEY .; ietf.org likewise; google.com likewise"; got != want {
		t.Errorf("got %q", got)
	}
}

// SEM 27: a network of its own has no way to the root.
func TestWhereTheRootCannotBeReachedMailGoesAsWithoutDNSSEC(t *testing.T) {
	for written, code := range map[string]int{"": 250, `dnssec = "validate"`: 451} {
		w := newWorld(t)
		w.signed(t, "")
		w.dns = bare(t)
		w.dns.Break(".", "", dnstest.ServFail)
		w.dns.Break(trialProbe, "", dnstest.ServFail)
		p := w.begin(t, inMemory+w.resolverWith(written)+w.outbound(""))
		recipient(t, p.at(t, "egress"), "example.com", code)
		if code == 250 {
			p.log.await(t, "level=WARN", "DNSSEC is not available")
			recipient(t, p.at(t, "egress"), "example.com", code)
		}
		must(p.stop())
	}
}

// SEM 27: caches and load balancers that know no DNSSEC let signatures through, and leave the proofs out.
func TestAResolverThatLeavesProofsOutIsOneWithoutDNSSEC(t *testing.T) {
	w := newWorld(t)
	w.signed(t, w.tlsa(true))
	w.dns.Break("", "", dnstest.Unproved)
	p := w.begin(t, inMemory+w.resolverWith("")+w.outbound(""))
	p.log.await(t, "level=WARN", "DNSSEC is not available")
	recipient(t, p.at(t, "egress"), "open.com", 250)
	recipient(t, p.at(t, "egress"), "example.com", 250)
}

// SEM 27: the proof is each server's own.
func TestAServerAmongOthersIsTheSameServer(t *testing.T) {
	memory := store.NewMemory(time.Now)
	known := &trial{memory: memory}
	known.prove("192.0.2.1:53 192.0.2.2:53")
	cfg := config.Default()
	for servers, want := range map[string]bool{"192.0.2.2:53": true, "192.0.2.3:53 192.0.2.1:53": true, "192.0.2.3:53": false} {
		cfg.Resolver.Servers = strings.Fields(servers)
		again := &trial{memory: memory, lookup: &lookup{plain: resolve.New(strings.Fields(servers)), from: lookupOf{cfg: cfg.Resolver}}}
		if got := again.expected(servers); got != want {
			t.Errorf("%s: %v", servers, got)
		}
	}
}

// SEM 27: what has been reached once is not believed when it cannot be reached any more.
func TestThatTheRootCannotBeReachedAnyMoreEndsNothing(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	n := testTrial(t, w.dns, w.dns.Anchors)
	n.trial.try(t.Context())
	w.dns.Break(".", "", dnstest.ServFail)
	n.trial.try(t.Context())
	if n.trial.unavailable(t.Context()) {
		t.Error("DNSSEC counts as unavailable")
	}
}

func TestNobodyWaitsForATrialLongerThanHeCan(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	n := testTrial(t, w.dns, w.dns.Anchors)
	answer := make(chan struct{})
	w.dns.Break("", "DNSKEY", dnstest.Fault{Hold: answer})
	running := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { n.trial.try(ctx); close(running) }()
	eventually(t, "a trial runs", func() bool { n.trial.mu.Lock(); defer n.trial.mu.Unlock(); return n.trial.running != nil })
	done, gone := context.WithCancel(t.Context())
	gone()
	n.trial.try(done) // and returns
	cancel()
	close(answer)
	<-running
}

func TestASmarthostMayBeInTheHostsFileAlone(t *testing.T) {
	n := testTrial(t, bare(t), dnssecRoot)
	a, err := tlsaNames{n, true}.Address(t.Context(), "localhost")
	if err != nil || a.Secure {
		t.Errorf("%+v, %v", a, err)
	}
}

// dnssecRoot is a key that nobody has signed with.
const dnssecRoot = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"

// What is known of one family counts when the other cannot be had.
func TestAHostIsAsSecureAsTheFamilyThatAnswered(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	n := testTrial(t, w.dns, w.dns.Anchors)
	if a, err := (tlsaNames{lookup: n}).Address(t.Context(), "mx.open.com"); err != nil || a.Secure || a.AliasSecure {
		t.Errorf("of an unsigned zone: %+v, %v", a, err)
	}
	if a, err := (tlsaNames{lookup: n}).TLSA(t.Context(), "_25._tcp.mx.open.com"); err != nil || a.Secure || len(a.Records) != 1 {
		t.Errorf("of an unsigned zone: %+v, %v", a, err)
	}
	w.dns.Break("mx.example.com", "AAAA", dnstest.ServFail)
	a, err := tlsaNames{lookup: n}.Address(t.Context(), "mx.example.com")
	if err != nil || !a.Secure || a.Canonical != "mx.example.com" {
		t.Errorf("%+v, %v", a, err)
	}
	w.dns.Break("mx.example.com", "", dnstest.ServFail)
	n = testTrial(t, w.dns, w.dns.Anchors)
	if a, err := (tlsaNames{lookup: n}).Address(t.Context(), "mx.example.com"); err == nil {
		t.Errorf("no error where nobody can tell: %+v", a)
	}
}

func TestCheckReadsTheTrustAnchors(t *testing.T) {
	w := newWorld(t)
	for text, want := range map[string]string{
		"": "write at least one DS or DNSKEY record", "example.com. IN A 192.0.2.1": "write DS or DNSKEY records", dnssecRoot: "",
	} {
		must(os.WriteFile(w.anchors(), []byte(text), 0o600))
		file := w.written(t, inMemory+w.resolverWith("")+w.outbound(""))
		var out bytes.Buffer
		err := Check(t.Context(), CheckOptions{Config: file, Out: &out})
		if (err == nil) != (want == "") || !strings.Contains(out.String(), want) {
			t.Errorf("%q: %v\n%s", text, err, &out)
		}
	}
	must(os.Remove(w.anchors()))
	var out bytes.Buffer
	if err := Check(t.Context(), CheckOptions{Config: filepath.Join(w.dir, "config.hcl"), Out: &out}); err == nil || !strings.Contains(out.String(), "trust_anchors: open") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestTrustAnchorsOfOneZoneLeaveTheRootsKeys(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "") // by another root
	n := testTrial(t, w.dns, strings.Replace(dnssecRoot, ".", "corp.example.", 1))
	if a, err := n.checked.MX(t.Context(), "example.com"); !isTemporary(err) || !strings.Contains(err.Error(), "bogus") {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestOnlyOutboundsWantDNSSEC(t *testing.T) {
	out := func(level string, to ...string) (o config.Outbound) {
		o.Level = level
		for _, l := range to {
			o.Destinations = append(o.Destinations, config.Destination{Level: l})
		}
		return o
	}
	for _, c := range []struct {
		written bool
		out     []config.Outbound
		want    bool
	}{
		{false, nil, false}, {true, nil, false},
		{false, []config.Outbound{out("may", "secure")}, false}, {true, []config.Outbound{out("may")}, true},
		{false, []config.Outbound{out("auto")}, true}, {false, []config.Outbound{out("may"), out("may", "dane-only")}, true},
	} {
		cfg := &config.Config{Resolver: config.Resolver{DNSSECWritten: c.written}, Outbounds: c.out}
		if got := wantsDNSSEC(cfg); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
