package resolve

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

func TestTheRootHasItsTwoKeys(t *testing.T) { // STANDARDS 94
	all := IANA().zones
	if len(all) != 1 || len(all[""]) != 2 || all[""][0].KeyTag != 20326 || all[""][1].KeyTag != 38696 {
		t.Errorf("%v", all)
	}
}

func TestAnchorsAreReadFromFiles(t *testing.T) {
	const key = "DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="
	const ds = "DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000"
	for name, c := range map[string]struct {
		text string
		want int    // anchors of the root
		err  string // or what the error says
	}{
		"DS":                         {". IN " + ds, 1, ""},
		"DNSKEY":                     {". 172800 IN " + key, 1, ""},
		"both, and comments":         {"; roots\n. " + ds + " ; one\n\n. " + key + "\n", 2, ""},
		"of Unbound, valid":          {". 86400 IN " + key + " ;{id = 1 (ksk), size = 0b} ;;state=2 [  VALID  ] ;;count=0 ;;lastchange=1 ;;Mon", 1, ""},
		"of Unbound, not yet":        {". 86400 IN " + key + " ;;state=1 [ ADDPEND ]\n. " + ds, 1, ""},
		"of Unbound, revoked":        {". 86400 IN " + key + " ;;state=4 [ REVOKED ]\n. " + ds, 1, ""},
		"an algorithm nobody knows":  {". DS 1 16 2 00\n. " + ds, 1, ""},
		"no algorithm that is known": {". DS 1 16 2 00", 0, "the algorithm or digest of none is supported"},
		"a key of a zone":            {". " + strings.Replace(key, "257", "0", 1), 0, "of none is supported"},
		"a key of no base64":         {". DNSKEY 257 3 13 0", 0, "the key of . is not base64"},
		"a digest cut short":         {". " + ds[:len(ds)-2], 0, "the DS record of . has a digest of 31 octets instead of 32"},
		"half a digit":               {". " + ds[:len(ds)-1], 0, "a digest of 31 octets instead of 32"},
		"nothing":                    {"; nothing\n", 0, "write at least one"},
		"another record":             {". A 192.0.2.1", 0, "a A record is none"},
		"not a zone file":            {"<xml>", 0, "trust anchors: "},
		"binary":                     {"\x00\xff", 0, "trust anchors: "},
	} {
		a, err := ParseAnchors(c.text)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || len(a.zones[""]) != c.want {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

func TestWhatHasNoAnchorIsInsecure(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	r := validating(t, s)
	k := newSigner(t, "corp").key
	r.anchors = Anchors{zones: map[string][]*dns.DS{"corp": {k.ToDS(dns.SHA256)}}}
	if got, a := judgement(t, r, "mail.example.com", typeA); got != "insecure" || !strings.Contains(a.why, "no trust anchor") {
		t.Errorf("%s (%s)", got, a.why)
	}
	if got, a := judgement(t, r, "mail.corp", typeA); got == "secure" || got == "insecure none" {
		t.Errorf("%s (%s)", got, a.why)
	}
}

// Who writes down the key of a zone of his own keeps what all others have signed.
func TestTheKeysOfZonesOfOnesOwnStandBesideThoseOfTheRoot(t *testing.T) {
	own := newSigner(t, "corp").key.ToDS(dns.SHA256)
	a, err := ParseAnchors(own.String())
	if err != nil {
		t.Fatal(err)
	}
	with := a.WithRoot()
	if len(with.zones["corp"]) != 1 || len(with.zones[""]) != len(IANA().zones[""]) || !with.isPublic() || len(a.zones) != 1 {
		t.Errorf("%v, of %v", with, a)
	}
	root := Anchors{zones: map[string][]*dns.DS{"": {newSigner(t, "").key.ToDS(dns.SHA256)}}}
	if got := root.WithRoot(); len(got.zones[""]) != 1 || got.isPublic() {
		t.Errorf("a root of one's own has become %v", got)
	}
	r, err := NewWith(Options{Servers: []string{"127.0.0.1"}, DNSSEC: Validate, Anchors: with})
	if err != nil {
		t.Fatal(err)
	}
	for name, exempt := range map[string]bool{"mail.corp": false, "corp": false, "mail.lan": true, "com": true, "example.com": false} {
		if why := r.exempt(name); (why != "") != exempt {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// STANDARDS 94: a root with another key is not the one of the anchor, though all
// else is right.
func TestAnotherRootIsBogus(t *testing.T) {
	s, other := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...), dnstest.StartSigned(t, dnstest.Zone{Name: "."})
	other.Address = s.Address
	if got, a := judgement(t, validating(t, other), "mail.example.com", typeA); got != "bogus" {
		t.Errorf("%s (%s)", got, a.why)
	}
}
