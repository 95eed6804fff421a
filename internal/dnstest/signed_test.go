package dnstest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// kinds is what a message holds, such as "A RRSIG | SOA RRSIG NSEC RRSIG".
func kinds(m *dns.Msg) string {
	var all []string
	for _, section := range [][]dns.RR{m.Answer, {nil}, m.Ns} {
		for _, rr := range section {
			if rr == nil {
				all = append(all, "|")
			} else {
				all = append(all, dns.TypeToString[rr.Header().Rrtype])
			}
		}
	}
	return strings.TrimSpace(strings.Join(all, " "))
}

func signing(m *dns.Msg) { m.SetEdns0(4096, true) }

func TestSignedZonesProveWhatTheyHaveAndHaveNot(t *testing.T) {
	const records = "mail A 192.0.2.1\nwww CNAME mail\n*.wild A 192.0.2.2\ntree DNAME wild\na.deep A 192.0.2.3"
	s := dnstest.StartSigned(t, dnstest.Zone{Name: "."}, dnstest.Zone{Name: "one", Records: records}, dnstest.Zone{Name: "two", Records: records, Denial: dnstest.NSEC3},
		dnstest.Zone{Name: "three", Records: records, Denial: dnstest.Compact}, dnstest.Zone{Name: "four", Records: records, Unsigned: true})
	for _, c := range []struct{ name, kind, want string }{
		{"mail.one.", "A", "NOERROR A RRSIG |"},
		{"www.one.", "A", "NOERROR CNAME RRSIG A RRSIG |"},
		{"a.wild.one.", "A", "NOERROR A RRSIG | NSEC RRSIG"},
		{"b.tree.one.", "A", "NOERROR DNAME RRSIG CNAME A RRSIG | NSEC RRSIG"},
		{"mail.one.", "MX", "NOERROR | SOA RRSIG NSEC RRSIG"},
		{"deep.one.", "MX", "NOERROR | SOA RRSIG NSEC RRSIG"},
		{"none.one.", "MX", "NXDOMAIN | SOA RRSIG NSEC RRSIG NSEC RRSIG"},
		{"none.two.", "MX", "NXDOMAIN | SOA RRSIG NSEC3 RRSIG NSEC3 RRSIG"},
		{"a.wild.two.", "A", "NOERROR A RRSIG | NSEC3 RRSIG"},
		{"none.three.", "MX", "NOERROR | SOA RRSIG NSEC RRSIG"},
		{"mail.four.", "A", "NOERROR A |"},
		{"one.", "DNSKEY", "NOERROR DNSKEY DNSKEY RRSIG |"},
		{"one.", "DS", "NOERROR DS RRSIG |"},
		{"four.", "DS", "NOERROR | SOA RRSIG NSEC RRSIG"},
	} {
		m, err := ask(t, s, "tcp", c.name, c.kind, signing)
		if err != nil {
			t.Fatal(err)
		}
		if got := dns.RcodeToString[m.Rcode] + " " + kinds(m); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.kind, c.name, got, c.want)
		}
		for _, rr := range m.Answer {
			if sig, ok := rr.(*dns.RRSIG); ok {
				verify(t, s, m, sig)
			}
		}
	}
	if m, err := ask(t, s, "udp", "mail.one.", "A"); err != nil || kinds(m) != "A |" {
		t.Errorf("not asked for signatures: %v, %v", m, err)
	}
}

// verify checks a signature with the keys that the server says are the zone's.
func verify(t *testing.T, s *dnstest.Server, m *dns.Msg, sig *dns.RRSIG) {
	t.Helper()
	var set []dns.RR
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == sig.TypeCovered && rr.Header().Name == sig.Hdr.Name {
			set = append(set, rr)
		}
	}
	keys, err := ask(t, s, "tcp", sig.SignerName, "DNSKEY")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(keys.Answer, func(rr dns.RR) bool { k, ok := rr.(*dns.DNSKEY); return ok && sig.Verify(k, set) == nil }) {
		t.Errorf("no key verifies %v", sig)
	}
}

func TestAForestHasAllKindsOfZones(t *testing.T) {
	zones, questions := dnstest.Forest()
	s, err := dnstest.NewSigned(zones...)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if len(zones) < 200 || len(questions) < 5000 || !strings.Contains(s.Anchors, "DS") {
		t.Errorf("%d zones, %d questions, anchors %q", len(zones), len(questions), s.Anchors)
	}
	if _, err := dnstest.NewSigned(dnstest.Zone{Name: "com"}); err == nil {
		t.Error("a tree without root")
	}
	if _, err := dnstest.NewSigned(dnstest.Zone{Name: ".", Records: "nonsense"}); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestAResolverIsAskedWhatItThinks(t *testing.T) {
	s := dnstest.Start(t, "a. A 192.0.2.1\n")
	s.Set("long. TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 10)) // asked again over TCP
	s.Break("b", "", dnstest.ServFail)
	for name, want := range map[string]dnstest.Reply{"a": {Rcode: "NOERROR", Answers: 1}, "b": {Rcode: "SERVFAIL"}, "c": {Rcode: "NXDOMAIN"}} {
		if got, err := dnstest.Ask(s.Address, name, "A", false); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := dnstest.Ask(s.Address, "long", "TXT", true); err != nil || got.Answers != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
