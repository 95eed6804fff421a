package resolve

import (
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// signer is a zone with one key.
type signer struct {
	zone    string
	key     *dns.DNSKEY
	private crypto.Signer
}

func newSigner(t testing.TB, zone string) signer {
	t.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone + ".", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 257, Protocol: 3, Algorithm: dns.ED25519}
	private, err := k.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return signer{zone, k, private.(crypto.Signer)}
}

func (s signer) keys() []key { return []key{{s.key, s.key.KeyTag()}} }

// sign signs a set of records at noon, after change had its way with the
// signature: it verifies, whatever it says.
func (s signer) sign(t testing.TB, set []dns.RR, change func(*dns.RRSIG)) *dns.RRSIG {
	t.Helper()
	at := noon().Unix()
	sig := &dns.RRSIG{Hdr: dns.RR_Header{Ttl: 300}, Algorithm: s.key.Algorithm, KeyTag: s.key.KeyTag(), SignerName: s.zone + ".", Inception: uint32(at - 3600), Expiration: uint32(at + 3600)}
	if change != nil {
		change(sig)
	}
	if err := sig.Sign(s.private, set); err != nil {
		t.Fatal(err)
	}
	return sig
}

// STANDARDS 97: the signature is right as a signature each time; the rules around
// it decide.
func TestASignatureHoldsOnlyWhereItMay(t *testing.T) {
	s, at := newSigner(t, "example.com"), uint32(noon().Unix())
	for name, c := range map[string]struct {
		owner  string
		change func(*dns.RRSIG)
		keys   func(k *dns.DNSKEY)
		want   string // "" is secure
	}{
		"as it should be":           {"a.example.com", nil, nil, ""},
		"at the apex":               {"example.com", nil, nil, ""},
		"in the first second":       {"a.example.com", func(r *dns.RRSIG) { r.Inception = at }, nil, ""},
		"one second early":          {"a.example.com", func(r *dns.RRSIG) { r.Inception = at + 1 }, nil, "is valid from 2026-11-23 only"},
		"in the last second":        {"a.example.com", func(r *dns.RRSIG) { r.Expiration = at }, nil, ""},
		"one second late":           {"a.example.com", func(r *dns.RRSIG) { r.Expiration = at - 1 }, nil, "expired on 2026-11-23"},
		"from 68 years ago":         {"a.example.com", func(r *dns.RRSIG) { r.Inception = at - 1<<31 + 7200 }, nil, ""},
		"ends before it begins":     {"a.example.com", func(r *dns.RRSIG) { r.Inception, r.Expiration = at+10, at-10 }, nil, "ends before it begins"},
		"a signer of other letters": {"a.example.com", func(r *dns.RRSIG) { r.SignerName = "EXAMPLE.com." }, nil, ""},
		"a name with the same end":  {"evilexample.com", nil, nil, "is by a zone that it is not in"},
		"another signer":            {"a.example.com", func(r *dns.RRSIG) { r.SignerName = "com." }, nil, "no signature by example.com"},
		"a key not for zones":       {"a.example.com", nil, func(k *dns.DNSKEY) { k.Flags &^= dns.ZONE }, "no key"},
		"a revoked key":             {"a.example.com", nil, func(k *dns.DNSKEY) { k.Flags |= dns.REVOKE }, "no key"},
		"a key of protocol 2":       {"a.example.com", nil, func(k *dns.DNSKEY) { k.Protocol = 2 }, "no key"},
		"a key of Ed448":            {"a.example.com", nil, func(k *dns.DNSKEY) { k.Algorithm = dns.ED448 }, "no key"},
		"a signature of Ed448":      {"a.example.com", func(r *dns.RRSIG) { r.Algorithm = dns.ED448 }, nil, "algorithm 16"},
		"another tag":               {"a.example.com", func(r *dns.RRSIG) { r.KeyTag++ }, nil, "no signature"},
	} {
		t.Run(name, func(t *testing.T) {
			k := *s.key
			if c.keys != nil {
				c.keys(&k)
			}
			with := signer{s.zone, &k, s.private}
			set := rrset{name: c.owner, kind: dns.TypeA, records: records(c.owner + ". 300 IN A 192.0.2.1")}
			if name == "a signature of Ed448" {
				sig := with.sign(t, set.records, nil)
				sig.Algorithm = dns.ED448
				set.sigs = []*dns.RRSIG{sig}
			} else if name == "a key of Ed448" {
				set.sigs = []*dns.RRSIG{s.sign(t, set.records, nil)}
			} else {
				set.sigs = []*dns.RRSIG{with.sign(t, set.records, c.change)}
			}
			keys := keysOf([]dns.RR{&k})
			if len(keys) == 0 && c.want == "no key" {
				return
			}
			sig, v := set.verify("example.com", keys, noon().Time, new(effort).budget())
			if (sig != nil) != (c.want == "") || (v.security == Secure) != (c.want == "") || !strings.Contains(v.why, c.want) {
				t.Errorf("%v %s", v.security, v.why)
			}
		})
	}
}

// Signatures count seconds in 32 bits: after 2106 they begin anew (RFC 4034,
// 3.1.5).
func TestSignaturesOutliveTheir32Bits(t *testing.T) {
	s, at := newSigner(t, "example.com"), time.Date(2106, 2, 7, 6, 28, 10, 0, time.UTC) // six seconds before
	set := rrset{name: "example.com", kind: dns.TypeA, records: records("example.com. 300 IN A 192.0.2.1")}
	set.sigs = []*dns.RRSIG{s.sign(t, set.records, func(r *dns.RRSIG) { r.Inception, r.Expiration = 4294967000, 100 })}
	for passed, want := range map[time.Duration]Security{0: Secure, 10 * time.Second: Secure, 106 * time.Second: Secure, 107 * time.Second: Bogus, -time.Hour: Bogus} {
		if _, v := set.verify("example.com", s.keys(), at.Add(passed), new(effort).budget()); v.security != want {
			t.Errorf("%v later: %v (%s)", passed, v.security, v.why)
		}
	}
}

// STANDARDS 99.
func TestASignatureLimitsHowLongRecordsAreKept(t *testing.T) {
	s := newSigner(t, "example.com")
	for name, c := range map[string]struct {
		sent, original uint32
		left           time.Duration // of the signature
		want           time.Duration
	}{
		"the TTL":          {100, 300, time.Hour, 100 * time.Second},
		"the original TTL": {900, 300, time.Hour, 300 * time.Second},
		"the expiry":       {300, 300, 30 * time.Second, 30 * time.Second},
	} {
		set := rrset{name: "example.com", kind: dns.TypeA, records: records("example.com. 300 IN A 192.0.2.1\nexample.com. 300 IN A 192.0.2.2")}
		set.sigs = []*dns.RRSIG{s.sign(t, set.records, func(r *dns.RRSIG) {
			r.OrigTtl, r.Expiration = c.original, uint32(noon().Add(c.left).Unix())
		})}
		for _, rr := range set.records {
			rr.Header().Ttl = c.sent
		}
		if _, v := set.verify("example.com", s.keys(), noon().Time, new(effort).budget()); v.security != Secure || v.keep != c.want {
			t.Errorf("%s: %v for %v (%s)", name, v.security, v.keep, v.why)
		}
	}
}

func TestASetOfTooManyRecordsIsNotComputed(t *testing.T) {
	s, text := newSigner(t, "example.com"), ""
	for i := range maxSet + 1 {
		text += fmt.Sprintf("example.com. 300 IN A 10.0.%d.%d\n", i/256, i%256)
	}
	for n, want := range map[int]Security{maxSet: Secure, maxSet + 1: Indeterminate} {
		set := rrset{name: "example.com", kind: dns.TypeA, records: records(text)[:n]}
		set.sigs = []*dns.RRSIG{s.sign(t, set.records, nil)}
		if _, v := set.verify("example.com", s.keys(), noon().Time, new(effort).budget()); v.security != want {
			t.Errorf("%d records: %v (%s)", n, v.security, v.why)
		}
	}
}

// STANDARDS 101.
func TestTheStrongestDigestCounts(t *testing.T) {
	ds := func(algorithm, digest uint8) *dns.DS {
		return &dns.DS{KeyTag: 1, Algorithm: algorithm, DigestType: digest, Digest: "00"}
	}
	for name, c := range map[string]struct {
		all  []*dns.DS
		want int
	}{
		"SHA-1 alone":                   {[]*dns.DS{ds(13, 1)}, 1},
		"SHA-1 beside SHA-256":          {[]*dns.DS{ds(13, 1), ds(13, 2)}, 1},
		"SHA-256 and SHA-384":           {[]*dns.DS{ds(13, 2), ds(13, 4)}, 2},
		"GOST":                          {[]*dns.DS{ds(13, 3)}, 0},
		"SHA-256 of an unknown alg.":    {[]*dns.DS{ds(16, 2)}, 0},
		"SHA-1, and SHA-256 of unknown": {[]*dns.DS{ds(13, 1), ds(16, 2)}, 1},
		"the same twice":                {[]*dns.DS{ds(13, 2), ds(13, 2)}, 1},
	} {
		if got := usableDS(c.all); len(got) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// STANDARDS 103.
func TestRSAKeysOfOddSizesAreNotComputable(t *testing.T) {
	rsa := func(exponent, modulus int) *dns.DNSKEY {
		raw := append([]byte{byte(exponent)}, make([]byte, exponent+modulus)...)
		raw[1], raw[1+exponent] = 1, 0x80
		if exponent == 4 {
			raw[1] = 0x40
		}
		return &dns.DNSKEY{Algorithm: dns.RSASHA256, PublicKey: toBase64(raw)}
	}
	for name, c := range map[string]struct {
		key  *dns.DNSKEY
		want bool
	}{
		"1024 bits": {rsa(3, 128), true}, "4096 bits": {rsa(3, 512), true}, "an exponent of 31 bits": {rsa(4, 256), true},
		"1016 bits": {rsa(3, 127), false}, "4104 bits": {rsa(3, 513), false}, "an exponent of 33 bits": {rsa(5, 256), false},
		"nothing": {&dns.DNSKEY{Algorithm: dns.RSASHA256}, false}, "no base64": {&dns.DNSKEY{Algorithm: 8, PublicKey: "!"}, false},
		"an exponent alone": {&dns.DNSKEY{Algorithm: 8, PublicKey: toBase64([]byte{3, 1, 0, 1})}, false},
		"Ed25519":           {&dns.DNSKEY{Algorithm: 15}, true},
	} {
		if got := computable(c.key); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAZoneOfOddKeysIsInsecureAndNotBogus(t *testing.T) {
	raw := append([]byte{3, 1, 0, 1}, make([]byte, 64)...)
	raw[4] = 0x80
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET}, Flags: 257, Protocol: 3, Algorithm: 8, PublicKey: toBase64(raw)}
	set := rrset{name: "example.com", kind: dns.TypeDNSKEY, records: []dns.RR{k}}
	for name, c := range map[string]struct {
		ds   []*dns.DS
		want Security
	}{
		"its own DS record":         {[]*dns.DS{k.ToDS(2)}, Insecure},
		"another key's beside it":   {[]*dns.DS{k.ToDS(2), newSigner(t, "example.com").key.ToDS(2)}, Bogus},
		"another key's DS record":   {[]*dns.DS{newSigner(t, "example.com").key.ToDS(2)}, Bogus},
		"another digest by its tag": {[]*dns.DS{{KeyTag: k.KeyTag(), Algorithm: 8, DigestType: 2, Digest: strings.Repeat("0", 64)}}, Bogus},
	} {
		if _, v := trusted(set, c.ds, noon().Time, new(effort).budget()); v.security != c.want {
			t.Errorf("%s: %v (%s)", name, v.security, v.why)
		}
	}
}

func TestNamesAreOrderedByLabelsFromTheRight(t *testing.T) {
	// The example of RFC 4034, 6.1.
	ordered := []string{"", "example", "a.example", "yljkjljk.a.example", "z.a.example", "zabc.a.example", "z.example", `\001.z.example`, "*.z.example", `\200.z.example`}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareNames(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
	for name, want := range map[string]int{"": 0, "com": 1, "*.com": 1, "*": 0, "a.*.com": 3, `a\.b.com`: 2} {
		if got := countLabels(name); got != want {
			t.Errorf("%q has %d labels", name, got)
		}
	}
	if a, b, c := parentOf("a.b"), parentOf("b"), parentOf(""); a != "b" || b != "" || c != "" {
		t.Errorf("%q %q %q", a, b, c)
	}
	if within("evilexample.com", "example.com") || !within("a.example.com", "example.com") || !within("x", "") || below("x", "x") {
		t.Error("within and below go by labels")
	}
}
