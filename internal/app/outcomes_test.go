package app

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dnstest"
	"postern/outcomes"
	"postern/proxy"
	"postern/store"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
	"postern/tls/report"
)

// counted are the outcomes in a state since a time, one line for each policy and one for each way to fail.
// A test may go on over midnight.
func counted(t *testing.T, s store.Store, since time.Time) (all []string) {
	t.Helper()
	sums := map[string][2]int64{}
	add := func(text string, successes, failures int64) {
		sums[text] = [2]int64{sums[text][0] + successes, sums[text][1] + failures}
	}
	day := 24 * time.Hour
	for at := since.Truncate(day); !at.After(time.Now()); at = at.Add(day) {
		for _, c := range must1(outcomes.New(outcomes.Options{Store: s}).Day(at)) {
			line := fmt.Sprintf("%s %s %s", c.Domain, c.Policy.Type, c.Policy.Domain)
			add(line, c.Successes, c.Failures)
			for _, d := range c.Details {
				add(fmt.Sprintf("%s: %s %s %s %s", line, d.Result, d.Reason, d.Host, d.Address), 0, d.Sessions)
			}
		}
	}
	for text, n := range sums {
		all = append(all, fmt.Sprintf("%s %d/%d", text, n[0], n[1]))
	}
	slices.Sort(all)
	return all
}

// TestOutcomesAreCountedOverRestartsAndReloads, by the whole of postern with real DNSSEC.
func TestOutcomesAreCountedOverRestartsAndReloads(t *testing.T) {
	since := time.Now()
	w := newWorld(t)
	w.signed(t, w.tlsa(true))
	text := w.kept() + w.resolverWith("") + w.outbound("reuse_idle = \"0s\"")
	for range 2 {
		p := w.begin(t, text)
		mail(t, p.at(t, "egress"), "example.com")
		p.write(hostnameOnly + text)
		p.reload()
		recipient(t, p.at(t, "egress"), "open.com", 250)
		must(p.stop())
	}
	s := must1(store.OpenBolt(store.BoltOptions{Path: filepath.Join(w.dir, "state", "state.db")}))
	defer s.Close()
	want := []string{"example.com tlsa mx.example.com 2/0", "open.com tlsa mx.example.com 2/0"}
	if diff := cmp.Diff(want, counted(t, s, since)); diff != "" {
		t.Error(diff)
	}
}

func TestATLSARecordThatDoesNotMatchIsCountedWithItsServer(t *testing.T) {
	since := time.Now()
	w := newWorld(t)
	w.signed(t, w.tlsa(false))
	p := w.begin(t, inMemory+adminPage+w.resolverWith("")+w.outbound(""))
	recipient(t, p.at(t, "egress"), "example.com", 451)
	must(p.outcomes.Flush())
	want := []string{"example.com tlsa mx.example.com 0/1", "example.com tlsa mx.example.com: validation-failure tlsa-mismatch mx.example.com 127.0.0.2 0/1"}
	if diff := cmp.Diff(want, counted(t, p.state, since)); diff != "" {
		t.Error(diff)
	}
	_, text := get(t, "http://"+p.admin.page.Addr().String()+"/metrics")
	wantWords(t, "/metrics", text, `postern_dane_result_total{listener="egress",result="mismatch"} 1`, `postern_dnssec_result_total{listener="egress",result="secure"} 2`)
}

// TestWhatDoesNotValidateIsCountedForTheDomain, with the resolver's own errors.
func TestWhatDoesNotValidateIsCountedForTheDomain(t *testing.T) {
	w := newWorld(t)
	for owner, want := range map[string]string{
		"_" + w.port + "._tcp.mx": "tlsa mx.example.com: dnssec-invalid bogus mx.example.com invalid IP",
		"mx":                      "tlsa mx.example.com: dnssec-invalid bogus mx.example.com invalid IP",
		"@":                       "tlsa example.com: dnssec-invalid bogus  invalid IP",
	} {
		t.Run(owner, func(t *testing.T) {
			since := time.Now()
			w.dns = dnstest.StartSigned(t, dnstest.Zone{Name: ".", Records: "www A 127.0.0.9"}, dnstest.Zone{Name: "com"},
				dnstest.Zone{Name: "example.com", Records: "@ MX 10 mx\nmx A 127.0.0.2\n" + w.tlsa(true), Flaws: map[string]dnstest.Flaw{owner: dnstest.Expired}})
			must(os.WriteFile(w.anchors(), []byte(w.dns.Anchors), 0o600))
			p := w.begin(t, inMemory+adminPage+w.resolverWith("")+w.outbound(""))
			recipient(t, p.at(t, "egress"), "example.com", 451)
			must(p.outcomes.Flush())
			if got := counted(t, p.state, since); len(got) != 2 || got[1] != "example.com "+want+" 0/1" {
				t.Errorf("got %q", got)
			}
			_, text := get(t, "http://"+p.admin.page.Addr().String()+"/metrics")
			wantWords(t, "/metrics", text, `postern_dane_result_total{listener="egress",result="tempfail"} 1`)
			if bogus := strings.Contains(text, `postern_dnssec_result_total{listener="egress",result="bogus"} 1`); bogus != (owner == "@") {
				t.Errorf("bogus MX records are counted: %v", bogus)
			}
		})
	}
}

func TestWhatIsNotToBeReportedIsNotCounted(t *testing.T) {
	since, s := time.Now(), store.NewMemory(time.Now)
	c := counting{proxy.NoObserver{}, outcomes.New(outcomes.Options{Store: s})}
	c.Attempt("egress", proxy.Attempt{Outcome: policy.Outcome{Decision: &policy.Decision{Domain: "[192.0.2.1]", Level: level.May}}})
	c.Attempt("egress", proxy.Attempt{Outcome: policy.Outcome{Decision: &policy.Decision{Domain: "example.com", Level: level.None}}})
	must(c.outcomes.Flush())
	if got := counted(t, s, since); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// attempts are what BenchmarkAnAttempt counts.
func attempts() map[string]proxy.Attempt {
	attempt := func(p policy.Findings, sts *mtasts.Policy, f report.Failure) proxy.Attempt {
		d := &policy.Decision{Domain: "example.com", Host: "mx.example.com", Port: 25, Level: level.Secure, Found: p, STS: sts, Source: policy.SourceMTASTS}
		return proxy.Attempt{Outcome: policy.Outcome{Decision: d, Failure: f}, Host: d.Host, Hello: d.Host,
			Address: netip.MustParseAddr("192.0.2.1"), Sender: netip.MustParseAddr("192.0.2.2")}
	}
	record := dane.Record{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}
	enforced := &mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"*.example.com"}, Lines: strings.Split("version: STSv1,mode: enforce,mx: *.example.com,max_age: 604800", ",")}
	return map[string]proxy.Attempt{
		"none": attempt(policy.Findings{}, nil, report.Failure{}),
		"tlsa": attempt(policy.Findings{DANE: &dane.Finding{Status: dane.Usable, Base: "mx.example.com", Records: []dane.Record{record, record}}}, nil, report.Failure{}),
		"sts":  attempt(policy.Findings{STS: &mtasts.Finding{Policy: enforced}}, enforced, report.Failure{Result: report.CertificateExpired}),
	}
}

// What a session attempt costs for being counted, beside its TCP and TLS handshakes: about a microsecond, and never the
// store.
func BenchmarkAnAttempt(b *testing.B) {
	for name, a := range attempts() {
		b.Run(name, func(b *testing.B) {
			c := counting{proxy.NoObserver{}, outcomes.New(outcomes.Options{Log: slog.New(slog.DiscardHandler)})} // without a store
			b.ReportAllocs()
			for b.Loop() {
				c.Attempt("egress", a)
			}
		})
	}
}
