package resolve

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// twin returns a key with the same tag as k: the tag is a mere sum.
func twin(t testing.TB, k *dns.DNSKEY) *dns.DNSKEY {
	t.Helper()
	other, raw := *k, make([]byte, 32)
	for range 100000 {
		_, _ = rand.Read(raw) // never fails
		raw[30], raw[31] = 0, 0
		other.PublicKey = base64.StdEncoding.EncodeToString(raw)
		missing := k.KeyTag() - other.KeyTag()
		raw[30], raw[31] = byte(missing>>8), byte(missing)
		other.PublicKey = base64.StdEncoding.EncodeToString(raw)
		if other.KeyTag() == k.KeyTag() {
			return &other
		}
	}
	t.Fatal("no key with that tag")
	return nil
}

// STANDARDS 114: KeyTrap is many keys with one tag, times many signatures. What
// counts is how often a signature is computed.
func TestManyKeysAndSignaturesCostNoMoreThanTheBudget(t *testing.T) {
	s := newSigner(t, "example.com")
	var twins []key
	for range 100 {
		k := twin(t, s.key)
		twins = append(twins, key{k, k.KeyTag()})
	}
	wrong := func(n int, sig *dns.RRSIG) (all []*dns.RRSIG) {
		for range n {
			raw := make([]byte, 64)
			_, _ = rand.Read(raw) // never fails
			other := *sig
			other.Signature = base64.StdEncoding.EncodeToString(raw)
			all = append(all, &other)
		}
		return all
	}
	set := rrset{name: "example.com", kind: dns.TypeA, records: records("example.com. 300 IN A 192.0.2.1")}
	right := s.sign(t, set.records, nil)
	for name, c := range map[string]struct {
		keys []key
		sigs []*dns.RRSIG
		want Security
		cost int
	}{
		"the right one":                {s.keys(), []*dns.RRSIG{right}, Secure, 1},
		"one wrong signature":          {s.keys(), append(wrong(1, right), right), Secure, 2},
		"one twin":                     {append(twins[:1:1], s.keys()...), []*dns.RRSIG{right}, Secure, 2},
		"two wrong signatures":         {s.keys(), append(wrong(2, right), right), Indeterminate, 2},
		"nothing but two wrong ones":   {s.keys(), wrong(2, right), Bogus, 2},
		"a thousand wrong signatures":  {s.keys(), wrong(1000, right), Indeterminate, 2},
		"four twins":                   {twins[:4], []*dns.RRSIG{right}, Indeterminate, 2},
		"five twins":                   {twins[:5], []*dns.RRSIG{right}, Indeterminate, 0},
		"a hundred, and as many wrong": {twins, wrong(100, right), Indeterminate, 0},
	} {
		spent := new(effort)
		set.sigs = c.sigs
		if _, v := set.verify("example.com", c.keys, noon().Time, spent.budget()); v.security != c.want || spent.verified != c.cost {
			t.Errorf("%s: %v after %d signatures (%s)", name, v.security, spent.verified, v.why)
		}
	}
}

func TestAThousandCollidingKeysAreNotTried(t *testing.T) {
	s := newSigner(t, "example.com")
	for n, want := range map[int]string{4: "more than 4 keys", 1000: "more than 256 records"} {
		set := rrset{name: "example.com", kind: dns.TypeDNSKEY, records: []dns.RR{s.key}}
		k := twin(t, s.key)
		for range n {
			set.records = append(set.records, k)
		}
		spent := new(effort)
		if _, v := trusted(set, []*dns.DS{s.key.ToDS(dns.SHA256)}, noon().Time, spent.budget()); v.security != Indeterminate || spent.verified > 0 || !strings.Contains(v.why, want) {
			t.Errorf("%d: %v after %d signatures (%s)", n, v.security, spent.verified, v.why)
		}
	}
}

func TestAMessageAndAQuestionHaveBudgetsToo(t *testing.T) {
	spent := new(effort)
	for range maxAllVerified / maxVerified {
		b := spent.budget()
		for i := range maxVerified {
			if !b.verify() {
				t.Fatalf("no more after %d", i)
			}
		}
		if b.verify() {
			t.Error("more than a message may cost")
		}
	}
	if spent.budget().verify() {
		t.Error("more than a question may cost")
	}
}

// A name of many labels without signatures is looked for a cut at each: that has
// an end.
func TestALongNameIsNotFollowedToItsEnd(t *testing.T) {
	long := strings.TrimSuffix(strings.Repeat("a.", 60), ".")
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com", Records: long + " A 192.0.2.1", Flaws: map[string]dnstest.Flaw{long: dnstest.NoSignature}})...)
	got, a := judgement(t, validating(t, s), long+".example.com", typeA)
	if got != "indeterminate" || s.Count("", "") > maxAllAsked+1 {
		t.Errorf("%s after %d questions (%s)", got, s.Count("", ""), a.why)
	}
}

// A CNAME where a zone might begin is not waited for by itself.
func TestCNAMEsThatLeadInCirclesEnd(t *testing.T) {
	text := "a CNAME b\nb CNAME a\nx CNAME y.x\ny.x CNAME x\n"
	for name, zone := range map[string]dnstest.Zone{
		"signed": {}, "stripped": broken(dnstest.NoSignature), "compact": {Denial: dnstest.Compact}, "not signed": {Unsigned: true},
	} {
		zone.Name, zone.Records = "example.com", text
		r := validating(t, dnstest.StartSigned(t, family(zone)...))
		for _, asked := range []string{"a.example.com", "x.example.com", "y.x.example.com"} {
			if a, err := r.MX(t.Context(), asked); err == nil {
				t.Errorf("%s: %+v", name, a)
			}
		}
	}
}

// A CNAME that says to be signed by a zone of its own name asks for that zone
// while it is looked for.
func TestACNAMESignedByItselfEnds(t *testing.T) {
	s := newSigner(t, "a.example.com")
	set := records("a.example.com. 300 IN CNAME b.example.com.")
	sig := s.sign(t, set, nil)
	server := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	server.Break("a.example.com", "", dnstest.Fault{Mangle: func(query, _ []byte) [][]byte {
		m := new(dns.Msg)
		if err := m.Unpack(query); err != nil {
			return nil
		}
		m.SetReply(m)
		m.RecursionAvailable, m.Answer = true, append(set, sig)
		packed, err := m.Pack()
		if err != nil {
			return nil
		}
		return [][]byte{packed}
	}})
	if got, a := judgement(t, validating(t, server), "a.example.com", typeA); got != "bogus" {
		t.Errorf("%s (%s)", got, a.why)
	}
}

// BenchmarkHostile is the dearest message that is looked into: as many records
// as are verified, with wrong signatures by the right key.
func BenchmarkHostile(b *testing.B) {
	s, text := newSigner(b, "example.com"), ""
	for i := range maxSet {
		text += fmt.Sprintf("example.com. 300 IN A 10.0.%d.%d\n", i/256, i%256)
	}
	set := rrset{name: "example.com", kind: dns.TypeA, records: records(text)}
	for range maxPerSet {
		sig := s.sign(b, set.records[:1], nil)
		set.sigs = append(set.sigs, sig)
	}
	for b.Loop() {
		if _, v := set.verify("example.com", s.keys(), noon().Time, new(effort).budget()); v.security != Indeterminate {
			b.Fatal(v.why)
		}
	}
}
