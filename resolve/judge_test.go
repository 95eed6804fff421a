package resolve

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// judged is what is said of a message that was signed by example.com.
func judged(t *testing.T, text string, rcode int, q question) (*answer, error) {
	t.Helper()
	s, m := fixed(), new(dns.Msg)
	if err := m.Unpack(message(t, s, text, rcode)); err != nil {
		t.Fatal(err)
	}
	a, why := read(m, q, noon().Time)
	if why != "" {
		t.Fatal(why)
	}
	return a, (&validator{r: knowing(s), spent: new(effort)}).judge(t.Context(), m, a)
}

const soaRecord = "example.com. 300 IN SOA ns.example.com. h.example.com. 1 1 1 1 300\n"

func TestAMessageIsJudgedByWhatWasSigned(t *testing.T) {
	const ok, no = dns.RcodeSuccess, dns.RcodeNameError
	for name, c := range map[string]struct {
		records string
		rcode   int
		kind    uint16
		want    Security
		status  status
	}{
		"records":                        {"a.example.com. 300 IN MX 1 mx.example.com.", ok, dns.TypeMX, Secure, found},
		"a wildcard":                     {"*.example.com. 300 IN MX 1 mx.example.com.\nexample.com. 300 IN NSEC b.example.com. NS SOA RRSIG NSEC", ok, dns.TypeMX, Secure, found},
		"a wildcard without proof (108)": {"*.example.com. 300 IN MX 1 mx.example.com.", ok, dns.TypeMX, Bogus, found},
		"a wildcard's DS":                {"*.example.com. 300 IN DS 1 13 2 00\nexample.com. 300 IN NSEC b.example.com. NS SOA RRSIG NSEC", ok, dns.TypeDS, Bogus, found},
		"no data":                        {soaRecord + "a.example.com. 300 IN NSEC b.example.com. A RRSIG NSEC", ok, dns.TypeMX, Secure, noRecords},
		"a wildcard's NSEC":              {soaRecord + "*.example.com. 300 IN NSEC b.example.com. A RRSIG NSEC", ok, dns.TypeMX, Bogus, noRecords},
		"NXDOMAIN, and the name exists":  {soaRecord + "a.example.com. 300 IN NSEC b.example.com. A RRSIG NSEC", no, dns.TypeMX, Secure, noRecords},
		"NXDOMAIN":                       {soaRecord + "example.com. 300 IN NSEC b.example.com. NS SOA RRSIG NSEC", no, dns.TypeMX, Secure, noName},
		"NXNAME (121)":                   {soaRecord + `a.example.com. 300 IN NSEC \000.a.example.com. RRSIG NSEC NXNAME`, ok, dns.TypeMX, Secure, noRecords},
	} {
		a, err := judged(t, c.records, c.rcode, question{"a.example.com", c.kind, Validate})
		got := a.security
		if d, doubted := err.(*doubt); doubted {
			got = d.security
		}
		if got != c.want || a.status != c.status {
			t.Errorf("%s: %v, status %d, %v (%s)", name, got, a.status, err, a.why)
		}
	}
}

// STANDARDS 98: a signature that does not verify, with the labels of the name
// itself, stands before the right one, which is a wildcard's.
func TestTheSignatureThatVerifiedSaysWhatItIs(t *testing.T) {
	s, m := fixed(), new(dns.Msg)
	if err := m.Unpack(message(t, s, "*.example.com. 300 IN MX 1 mx.example.com.", dns.RcodeSuccess)); err != nil {
		t.Fatal(err)
	}
	right := m.Answer[1].(*dns.RRSIG)
	false1 := *right
	false1.Labels++
	m.Answer = []dns.RR{m.Answer[0], &false1, right}
	a, _ := read(m, question{"a.example.com", dns.TypeMX, Validate}, noon().Time)
	if err := (&validator{r: knowing(s), spent: new(effort)}).judge(t.Context(), m, a); err == nil {
		t.Errorf("%v (%s)", a.security, a.why)
	}
}

// STANDARDS 99, 117.
func TestAnAnswerIsKeptNoLongerThanItsSignatures(t *testing.T) {
	s := fixed()
	for name, c := range map[string]struct {
		original uint32
		want     time.Duration
	}{"the TTL": {300, 300 * time.Second}, "the original TTL": {60, time.Minute}} {
		set := records("a.example.com. 300 IN MX 1 mx.example.com.")
		m := &dns.Msg{Answer: append(set, s.sign(t, set, func(r *dns.RRSIG) { r.OrigTtl = c.original }))}
		a, _ := read(m, question{"a.example.com", dns.TypeMX, Validate}, noon().Time)
		if err := (&validator{r: knowing(s), spent: new(effort)}).judge(t.Context(), m, a); err != nil || a.expires.Sub(a.since) != c.want {
			t.Errorf("%s: kept for %v, %v", name, a.expires.Sub(a.since), err)
		}
	}
}

// While it is looked for the zone of a name, nothing at or below it may be
// needed: flights would wait for themselves.
func TestAZoneIsFoundFromAboveAlone(t *testing.T) {
	r, name := knowing(fixed()), "a.example.com"
	v := &validator{r: r, spent: new(effort), apex: &name}
	for other, want := range map[string]zoneKind{"example.com": signed, "a.example.com": lost, "x.a.example.com": lost, "bare.com": lost} {
		if z := v.zone(t.Context(), other); z.kind != want {
			t.Errorf("%s: %d (%s)", other, z.kind, z.why)
		}
	}
}

func TestQuestionsOnTheWayAreCounted(t *testing.T) {
	v := &validator{r: knowing(fixed()), spent: &effort{asked: maxAllAsked - 1}}
	q := question{"x.example.com", dns.TypeDS, Validate}
	if a := v.ask(t.Context(), q, v.judge); a.why == "" || a.why == v.ask(t.Context(), q, v.judge).why {
		t.Errorf("the last question that is allowed: %s", a.why)
	}
}

func TestPartsOfAChainAddUp(t *testing.T) {
	link := func(security Security) *answer {
		return &answer{question: question{name: "a"}, server: "s", trust: trust{security: security, first: security, chain: security, why: security.String()}}
	}
	end := func(security Security) *answer {
		a := link(security)
		a.chain = Secure // no CNAME in this part
		return a
	}
	for name, c := range map[string]struct {
		parts                  []*answer
		security, first, chain Security
	}{
		"all signed":           {[]*answer{link(Secure), end(Secure)}, Secure, Secure, Secure},
		"the end is not":       {[]*answer{link(Secure), end(Insecure)}, Insecure, Secure, Secure},
		"the beginning is not": {[]*answer{link(Insecure), end(Secure)}, Insecure, Insecure, Insecure},
		"the middle is not":    {[]*answer{link(Secure), link(Insecure), end(Secure)}, Insecure, Secure, Insecure},
	} {
		all := &answer{trust: trust{security: Secure, first: Secure, chain: Secure}}
		for _, part := range c.parts {
			all.join(part)
		}
		if all.security != c.security || all.first != c.first || all.chain != c.chain || all.why != c.security.String() {
			t.Errorf("%s: %+v", name, all.trust)
		}
	}
}

func TestQuestionsOfEachModeAreDifferent(t *testing.T) {
	seen := map[string]bool{}
	for mode := Off; mode <= Validate; mode++ {
		seen[question{"example.com", dns.TypeMX, mode}.String()] = true
	}
	if len(seen) != 3 {
		t.Errorf("%v: flights are told apart by them", seen)
	}
}

func TestKeysAreKnownNoLongerThanTheirDSRecord(t *testing.T) {
	r := validating(t, dnstest.StartSigned(t, family()...))
	v := &validator{r: r, spent: new(effort)}
	if z := v.signed(t.Context(), "", r.anchors.zones[""], 5*time.Second); z.kind != signed || z.keep != 5*time.Second {
		t.Errorf("%v for %v (%s)", z.kind, z.keep, z.why)
	}
}

func TestTenThousandDomainsStaySmall(t *testing.T) {
	s, r := fixed(), knowing(fixed())
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 10000 {
		name := fmt.Sprintf("d%d.example.com", i)
		set := records(fmt.Sprintf("%[1]s. 300 IN MX 10 mx1.%[1]s.\n%[1]s. 300 IN MX 20 mx2.%[1]s.", name))
		m := &dns.Msg{Answer: append(set, s.sign(t, set, nil))}
		q := question{name, dns.TypeMX, Validate}
		a, _ := read(m, q, noon().Time)
		if err := (&validator{r: r, spent: new(effort)}).judge(t.Context(), m, a); err != nil {
			t.Fatal(err)
		}
		r.cache.put(q, a)
		k := *s.key
		r.zones.put(&zone{name: name, kind: signed, keys: []key{{&k, 1}, {&k, 1}}, since: noon().Time, expires: noon().Add(time.Hour)})
	}
	if grown := (heap() - before) >> 20; grown > 40 {
		t.Errorf("%d MiB", grown)
	} else {
		t.Logf("%d MiB", grown)
	}
	runtime.KeepAlive(r)
}

// The keys of a zone are asked for again when they, or the DS record, have lived
// out their time.
func TestZonesAreForgottenInTime(t *testing.T) {
	at, z := noon(), newZones()
	z.put(&zone{name: "a", since: at.Time, expires: at.Add(time.Minute)})
	for _, step := range []struct {
		passes time.Duration
		known  bool
	}{{0, true}, {time.Minute - 1, true}, {1, false}, {-time.Minute, true}, {-1, false}} {
		at.pass(step.passes)
		if got := z.get("a", at.Time) != nil; got != step.known {
			t.Errorf("%v: known is %v", at, got)
		}
	}
}
