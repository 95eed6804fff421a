package resolve

import (
	"crypto"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// hostile is a zone that is made to cost as much as it can, and a question for it.
type hostile struct {
	tape    *tape
	anchors Anchors
	now     func() time.Time
	asked   string
	kind    uint16
}

// ask puts the question to a resolver that has never seen the zone.
func (h hostile) ask(tb testing.TB) (*answer, effort) {
	r, spent := h.tape.play(tb, h.anchors, h.now), effort{}
	a := r.follow(tb.Context(), question{h.asked, h.kind, Validate}, &spent)
	return a, spent
}

// published is a zone of a real tree, which was asked once.
func published(tb testing.TB, asked string, kind uint16, zones ...dnstest.Zone) hostile {
	tb.Helper()
	s := dnstest.StartSigned(tb, family(zones...)...)
	h := hostile{record(s), must(ParseAnchors(s.Anchors)), time.Now, asked, kind}
	judgement(tb, validating(tb, s), asked, kind)
	return h
}

// handmade is a zone "evil" that has an anchor, with these keys and answers.
func handmade(tb testing.TB, s signer, keys []dns.RR, answers map[string][]dns.RR) hostile {
	tb.Helper()
	server := dnstest.Start(tb, "")
	t := record(server)
	t.forge(server, "evil", "DNSKEY", &dns.Msg{Answer: keys})
	for name, answer := range answers {
		t.forge(server, name, "TXT", &dns.Msg{Answer: answer})
	}
	h := hostile{t, Anchors{zones: map[string][]*dns.DS{"evil": {s.key.ToDS(dns.SHA256)}}}, noon().now, "a.evil", typeTXT}
	o := over(tb, server)
	o.mode, o.anchors = Validate, h.anchors
	judgement(tb, noon().in(o), h.asked, h.kind)
	return h
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// slowSigner is a zone whose key is of the algorithm that takes longest to verify.
func slowSigner(tb testing.TB, zone string) signer {
	tb.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone + ".", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP384SHA384}
	return signer{zone, k, must(k.Generate(384)).(crypto.Signer)}
}

// bulky is a set of as many records as are verified, and as long as fit into an answer with n
// signatures over another set.
func (s signer) bulky(tb testing.TB, name string, n int) []dns.RR {
	text := ""
	for i := range maxSet {
		text += fmt.Sprintf("%s. 300 IN TXT \"%03d%s\"\n", name, i, strings.Repeat("x", 150))
	}
	all := records(text)
	for range n {
		all = append(all, s.sign(tb, all[:1], nil))
	}
	return all
}

// hostileZones are those of STANDARDS 114 and what else came up since.
func hostileZones(tb testing.TB) map[string]hostile {
	evil, slow := newSigner(tb, "evil"), slowSigner(tb, "evil")
	own := func(s signer, more ...dns.RR) []dns.RR {
		set := append([]dns.RR{s.key}, more...)
		return append(set, s.sign(tb, set, nil))
	}
	var three, thousand []dns.RR
	for len(three) < 3 {
		three = append(three, twin(tb, evil.key))
	}
	for range 1000 {
		thousand = append(thousand, twin(tb, evil.key))
	}
	// As many links as are followed, each with a wrong signature before the right one.
	chain, zones := "c10 TXT end\n", []dnstest.Zone{}
	wrong := map[string]dnstest.Flaw{"": dnstest.OneBadFirst}
	for i := range maxLinks {
		chain += fmt.Sprintf("c%d CNAME c%d\n", i, i+1)
		zones = append(zones, dnstest.Zone{Name: fmt.Sprintf("z%d.com", i), Algorithm: dns.ECDSAP384SHA384, Flaws: wrong, Records: fmt.Sprintf("a CNAME a.z%d.com.", i+1)})
	}
	zones = append(zones, dnstest.Zone{Name: "z10.com", Algorithm: dns.ECDSAP384SHA384, Flaws: wrong, Records: "a TXT end"})
	return map[string]hostile{
		"KeyTrap, 100 signatures with 4 keys each": handmade(tb, evil, own(evil, three...), map[string][]dns.RR{"a.evil": evil.bulky(tb, "a.evil", 100)}),
		"KeyTrap, the slowest algorithm":           handmade(tb, slow, own(slow), map[string][]dns.RR{"a.evil": slow.bulky(tb, "a.evil", 100)}),
		"1,000 colliding keys":                     handmade(tb, evil, own(evil, thousand...), map[string][]dns.RR{"a.evil": evil.bulky(tb, "a.evil", 1)}),
		"NSEC3 with 2,500 iterations":              published(tb, "a.b.c.d.e.f.example.com", typeTXT, dnstest.Zone{Name: "example.com", Denial: dnstest.NSEC3, Iterations: 2500, Salt: strings.Repeat("ab", 100)}),
		"a chain of 11 CNAMEs":                     published(tb, "x.example.com", typeTXT, dnstest.Zone{Name: "example.com", Records: "x CNAME c0\n" + chain}),
		"a chain of 10 CNAMEs":                     published(tb, "c0.example.com", typeTXT, dnstest.Zone{Name: "example.com", Algorithm: dns.ECDSAP384SHA384, Flaws: wrong, Records: chain}),
		"a chain of 10 CNAMEs, a zone each":        published(tb, "a.z0.com", typeTXT, zones...),
	}
}

// What counts is how often a signature is verified and a name hashed, and what is asked.
func TestHostileZonesCostNoMoreThanTheBudget(t *testing.T) {
	zones := hostileZones(t)
	for name, want := range map[string]struct {
		security                Security
		verified, hashed, asked int
		why                     string
	}{
		"KeyTrap, 100 signatures with 4 keys each": {Indeterminate, 4, 0, 1, "it takes more work to validate than any honest zone does"},
		"KeyTrap, the slowest algorithm":           {Indeterminate, 4, 0, 1, "it takes more work to validate than any honest zone does"},
		"1,000 colliding keys":                     {Indeterminate, 0, 0, 1, "more than 256 records"},
		"NSEC3 with 2,500 iterations":              {Insecure, 12, 0, 6, "hashes its names 2500 times"},
		"a chain of 11 CNAMEs":                     {Indeterminate, 0, 0, 0, "a chain of more than 10 CNAMEs"},
		"a chain of 10 CNAMEs":                     {Indeterminate, maxVerified + 8, 0, 5, "it takes more work to validate than any honest zone does"},
		"a chain of 10 CNAMEs, a zone each":        {Indeterminate, maxAllVerified, 0, maxAllAsked, "it takes more work to validate than any honest zone does"},
	} {
		a, spent := zones[name].ask(t)
		t.Logf("%s: %v, %d signatures, %d hashes, %d questions", name, a.security, spent.verified, spent.hashed, spent.asked+1)
		if a.security != want.security || !strings.Contains(a.why, want.why) && !strings.Contains(fmt.Sprint(a.failure), want.why) {
			t.Errorf("%s: %v (%s) %v", name, a.security, a.why, a.failure)
		}
		if spent.verified > want.verified || spent.hashed > want.hashed || spent.asked > want.asked {
			t.Errorf("%s: %+v", name, spent)
		}
	}
}

// BenchmarkHostileZone prints what one question costs, in CPU, with all that has to be asked.
func BenchmarkHostileZone(b *testing.B) {
	for name, h := range hostileZones(b) {
		b.Run(name, func(b *testing.B) {
			before := used(b)
			for b.Loop() {
				if a, _ := h.ask(b); a.security > Insecure {
					b.Fatal(a.security)
				}
			}
			b.ReportMetric(float64((used(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// used is the CPU time of this process so far.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
