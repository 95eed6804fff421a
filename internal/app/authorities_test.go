package app

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/config"
	"postern/proxy"
	"postern/resolve"
	"postern/store"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

func TestMTASTSIsAskedForUnlessItIsSwitchedOff(t *testing.T) {
	w := newWorld(t)
	for more, want := range map[string]int{"": 1, "mta_sts = false": 0, `level = "may"`: 0} {
		before := w.dns.Count("_mta-sts.example.com", "TXT")
		p := w.begin(t, inMemory+w.resolver()+w.outbound(more))
		mail(t, p.at(t, "egress"), "example.com")
		if n := w.dns.Count("_mta-sts.example.com", "TXT") - before; n != want {
			t.Errorf("%q: asked %d times", more, n)
		}
		must(p.stop())
	}
}

func TestExplainLooksForAPolicyItself(t *testing.T) {
	w := newWorld(t)
	text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: w.written(t, inMemory+w.resolver()+w.outbound(""))})
	must(err)
	wantWords(t, "explain", text, "MTA-STS", "no policy: _mta-sts.example.com has no TXT record")
	if w.dns.Count("_mta-sts.example.com", "TXT") == 0 || strings.Contains(text, errStarting.Error()) {
		t.Errorf("it was not asked for:\n%s", text)
	}
}

func TestAnExplanationHasWhatTheDomainPublishes(t *testing.T) {
	sts := must1(mtasts.ParsePolicy([]byte("version: STSv1\r\nmode: enforce\r\nmx: *.example.com\r\nmax_age: 86400\r\n")))
	issuer, old := dane.Record{Usage: 2, Selector: 0, MatchingType: 1, Data: make([]byte, 32)}, dane.Record{Usage: 1, Selector: 1, MatchingType: 1}
	d := decision(level.DANE)
	d.Host, d.TLSA, d.DANENames, d.STS = "mx.example.com", []dane.Record{issuer}, []string{"mx.example.com"}, sts
	d.Found.DANE = &dane.Finding{Status: dane.Usable, Base: "mx.example.com", Records: []dane.Record{issuer, old}, Why: "1 of 2", Expires: noon}
	d.Found.STS = &mtasts.Finding{Policy: sts, ID: "7", Source: mtasts.SourceCache, Fetched: noon, Age: time.Hour, Expires: noon.Add(24 * time.Hour), Result: mtasts.FetchError, Trouble: "HTTP 500", Why: "policy 7"}
	d.Found.Remembered = &policy.Remembered{Host: true, Sessions: 3, Since: noon}
	out := &outbound{cfg: config.Outbound{}}
	got := out.explainHost(proxy.HostExplanation{Decision: d, MXSecurity: "insecure", MXWhy: "no DS", AddressSecurity: "secure", AddressWhy: "signed by com"})
	if got.MXSecurity != "insecure" || got.MXWhy != "no DS" || got.AddressSecurity != "secure" || got.AddressWhy != "signed by com" {
		t.Errorf("%+v", got)
	}
	zeros := strings.Repeat("00", 32)
	want := ExplainedDecision{
		Level: "dane", Grade: got.Decision.Grade, TrustedRoots: "system", TLSA: []string{"2 0 1 " + zeros}, TLSANames: []string{"mx.example.com"}, Reasons: []ExplainedReason{},
		DANE: &ExplainedDANE{Status: "usable", Base: "mx.example.com", Why: "1 of 2", Expires: noon, Records: []ExplainedRecord{
			{Record: "2 0 1 " + zeros, Usable: true}, {Record: "1 1 1 ", Why: "usage 1 needs public authorities and is not for SMTP"}}},
		MTASTS: &ExplainedPolicy{Mode: "enforce", MX: []string{"*.example.com"}, NamesHost: true, ID: "7", MaxAgeSeconds: 86400, Fetched: noon, AgeSeconds: 3600,
			Source: "cache", Expires: noon.Add(24 * time.Hour), Result: "sts-policy-fetch-error", Trouble: "HTTP 500", Why: "policy 7"},
		Remembered: &ExplainedMemory{Host: true, Since: noon, Sessions: 3},
	}
	if diff := cmp.Diff(want, got.Decision); diff != "" {
		t.Error(diff)
	}
}

func TestPoliciesAreKeptInTheState(t *testing.T) {
	s := store.NewMemory(time.Now)
	c := policyCache{s}
	if _, ok, err := c.Get("example.com"); ok || err != nil {
		t.Fatalf("there is one: %v", err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	want := mtasts.Entry{ID: "1", Policy: "version: STSv1\r\n", Fetched: now, Used: now}
	must(c.Put("example.com", want, now.Add(time.Hour)))
	must(c.Put("over.example", want, now.Add(-time.Hour)))
	must(s.Write(store.Change{Key: "sts/bad.example", Value: []byte("{")}, store.Change{Key: "host/x", Value: []byte("{}")}))
	got, ok, err := c.Get("example.com")
	if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
		t.Error(diff, ok, err)
	}
	if _, ok, err := c.Get("bad.example"); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
	var all []string
	must(c.Each(func(domain string, e mtasts.Entry) { all = append(all, domain+" "+e.ID) }))
	if diff := cmp.Diff([]string{"example.com 1"}, all); diff != "" {
		t.Error(diff)
	}
}

func TestAPolicyHostIsFoundByTheNamesOfTheConfiguration(t *testing.T) {
	w := newWorld(t)
	l := new(latest)
	if _, err := l.dial(t.Context(), "tcp", "mx.example.com:25"); err == nil {
		t.Error("dialled without a configuration")
	}
	l.names.Store(&lookup{plain: resolve.New([]string{w.dns.Address})})
	conn, err := l.dial(t.Context(), "tcp", "mx.example.com:"+w.port)
	must(err)
	conn.Close()
	if _, err := l.dial(t.Context(), "tcp", "nobody.example.com:"+w.port); err == nil {
		t.Error("dialled a host that does not exist")
	}
}
