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
	wantWords(t, "explain", text, "mta-sts: no policy")
	if w.dns.Count("_mta-sts.example.com", "TXT") == 0 || strings.Contains(text, errStarting.Error()) {
		t.Errorf("it was not asked for:\n%s", text)
	}
}

func TestAnExplanationHasWhatTheDomainPublishes(t *testing.T) {
	policy := must1(mtasts.ParsePolicy([]byte("version: STSv1\r\nmode: enforce\r\nmx: *.example.com\r\nmax_age: 86400\r\n")))
	d := decision(level.DANE)
	d.TLSA, d.DANENames, d.STS = []dane.Record{{Usage: 2, Selector: 0, MatchingType: 1, Data: []byte{0xab}}}, []string{"mx.example.com"}, policy
	out := &outbound{cfg: config.Outbound{}}
	got := out.explainHost(proxy.HostExplanation{Decision: d, MXSecurity: "insecure", MXWhy: "no DS"})
	e := got.Decision
	if diff := cmp.Diff([]string{"2 0 1 ab"}, e.TLSA); diff != "" || e.TLSANames[0] != "mx.example.com" || got.MXSecurity != "insecure" || got.MXWhy != "no DS" {
		t.Errorf("%s %+v", diff, got)
	}
	if diff := cmp.Diff(&ExplainedPolicy{Mode: "enforce", MX: []string{"*.example.com"}}, e.MTASTS); diff != "" {
		t.Error(diff)
	}
	if text := certificateText(e); text != "as a TLSA record says: 2 0 1 ab" {
		t.Error(text)
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
