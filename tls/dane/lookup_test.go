package dane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/tls/dane"
)

var (
	errServfail = errors.New("SERVFAIL from 127.0.0.1:53")
	today       = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

// zone answers from two maps, and writes down what it was asked. What is not in it is an error.
type zone struct {
	addresses map[string]dane.Address
	tlsa      map[string]dane.Answer
	asked     []string
}

func (z *zone) Address(_ context.Context, host string) (dane.Address, error) {
	z.asked = append(z.asked, host)
	if host == "bare.example" {
		return dane.Address{}, fmt.Errorf("%w: NXDOMAIN", dane.ErrNoAddress)
	}
	if a, ok := z.addresses[host]; ok {
		return a, nil
	}
	return dane.Address{}, errServfail
}

func (z *zone) TLSA(_ context.Context, owner string) (dane.Answer, error) {
	z.asked = append(z.asked, owner)
	if a, ok := z.tlsa[owner]; ok {
		return a, nil
	}
	return dane.Answer{}, errServfail
}

// The answers that zones are made of.
var (
	signed   = dane.Address{Secure: true}
	unsigned = dane.Address{}
	none     = dane.Answer{Secure: true}
	insecure = dane.Answer{}
)

func alias(to string, secure, own bool) dane.Address {
	return dane.Address{Canonical: to, Secure: secure, AliasSecure: own}
}

// tlsa is a signed answer with records of these kinds.
func tlsa(kinds ...string) dane.Answer {
	a := dane.Answer{Secure: true}
	for i, k := range kinds {
		var r dane.Record
		if _, err := fmt.Sscan(k, &r.Usage, &r.Selector, &r.MatchingType); err != nil {
			panic(err)
		}
		r.Data = slices.Repeat([]byte{byte(i)}, 32)
		a.Records = append(a.Records, r)
	}
	return a
}

const (
	atHost  = "_25._tcp.mx.example.net"
	atAlias = "_25._tcp.real.example.org"
)

type lookupCase struct {
	standard, name string
	mx             dane.MXInfo // what is left out is that of a signed example.com with MX mx.example.net
	insecure       bool        // its MX records are not signed
	policy         dane.InsecureMX
	addr           dane.Address
	tlsa           map[string]dane.Answer // what is not in it fails

	status dane.Status
	base   string
	names  string
	asked  string // the look-ups behind the address
	err    string
}

func lookupCases() []lookupCase {
	const alias1, both = "real.example.org", atAlias + " " + atHost
	usual := tlsa("3 1 1")
	at := func(owner string, a dane.Answer) map[string]dane.Answer { return map[string]dane.Answer{owner: a} }
	two := func(a, b dane.Answer) map[string]dane.Answer {
		return map[string]dane.Answer{atAlias: a, atHost: b}
	}
	const mxNames = host + " example.com"
	return []lookupCase{
		{standard: "67", name: "all signed", addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: mxNames, asked: atHost},
		{standard: "67", name: "unsigned address", addr: unsigned, status: dane.NotApplicable},
		{standard: "67", name: "unsigned MX, signed host", insecure: true, addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: host, asked: atHost},
		{standard: "67", name: "unsigned MX, policy encrypt", insecure: true, policy: dane.InsecureEncrypt, addr: signed, tlsa: at(atHost, usual), status: dane.Unusable, base: host, names: host, asked: atHost},
		{standard: "67", name: "unsigned MX, policy encrypt, no records", insecure: true, policy: dane.InsecureEncrypt, addr: signed, tlsa: at(atHost, none), status: dane.NoRecords, base: host, asked: atHost},
		{standard: "67", name: "signed MX, policy encrypt", policy: dane.InsecureEncrypt, addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: mxNames, asked: atHost},
		{standard: "67", name: "signed MX, policy ignore", policy: dane.InsecureIgnore, addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: mxNames, asked: atHost},
		{standard: "67", name: "unsigned MX, policy ignore", insecure: true, policy: dane.InsecureIgnore, addr: signed, status: dane.NotApplicable, asked: "-"},
		{standard: "67", name: "unsigned MX, unsigned host", insecure: true, addr: unsigned, status: dane.NotApplicable},
		{standard: "69", name: "an unsigned host is not asked for TLSA records", addr: unsigned, tlsa: at(atHost, usual), status: dane.NotApplicable},
		{standard: "70", name: "TLSA look-up fails", addr: signed, err: "cannot look up the TLSA records of " + atHost + ": SERVFAIL", asked: atHost},
		{standard: "70", name: "TLSA look-up of the alias fails, the host has records", addr: alias(alias1, true, true), tlsa: at(atHost, usual), err: "cannot look up the TLSA records of " + atAlias + ": SERVFAIL", asked: atAlias},
		{standard: "70", name: "TLSA look-up of the host fails behind an alias without", addr: alias(alias1, true, true), tlsa: at(atAlias, none), err: "cannot look up the TLSA records of " + atHost + ": SERVFAIL", asked: both},
		{standard: "70", name: "address look-up fails", mx: dane.MXInfo{Host: "gone.example"}, err: "cannot look up the address of gone.example: SERVFAIL"},
		{standard: "69", name: "no address", mx: dane.MXInfo{Host: "bare.example"}, status: dane.NotApplicable},
		{standard: "71", name: "signed denial", addr: signed, tlsa: at(atHost, none), status: dane.NoRecords, base: host, asked: atHost},
		{standard: "72", name: "unsigned TLSA records below a signed host", addr: signed, tlsa: at(atHost, dane.Answer{Records: usual.Records}), status: dane.NotApplicable, asked: atHost},
		{standard: "72", name: "unsigned denial below a signed host", addr: signed, tlsa: at(atHost, insecure), status: dane.NotApplicable, asked: atHost},
		{standard: "73", name: "signed alias with records", addr: alias(alias1, true, true), tlsa: two(usual, usual), status: dane.Usable, base: alias1, names: alias1 + " example.com", asked: atAlias},
		{standard: "73", name: "signed alias without records, the host has", addr: alias(alias1, true, true), tlsa: two(none, usual), status: dane.Usable, base: host, names: mxNames, asked: both},
		{standard: "73", name: "signed alias, no records anywhere", addr: alias(alias1, true, true), tlsa: two(none, none), status: dane.NoRecords, base: host, asked: both},
		{standard: "73", name: "unsigned records at the alias, the host has", addr: alias(alias1, true, true), tlsa: two(insecure, usual), status: dane.Usable, base: host, names: mxNames, asked: both},
		{standard: "73", name: "unsigned records at the alias, none at the host", addr: alias(alias1, true, true), tlsa: two(insecure, none), status: dane.NoRecords, base: host, asked: both},
		{standard: "73", name: "alias into an unsigned zone", addr: alias(alias1, false, true), tlsa: at(atHost, usual), status: dane.Usable, base: host, names: mxNames, asked: atHost},
		{standard: "73", name: "unsigned alias", addr: alias(alias1, false, false), tlsa: two(usual, usual), status: dane.NotApplicable},
		{standard: "73", name: "an alias that is the host itself", addr: alias("MX.example.net.", true, false), tlsa: at(atHost, usual), status: dane.Usable, base: host, names: mxNames, asked: atHost},
		{standard: "73", name: "no alias, and a flag that means nothing then", addr: alias("", false, true), status: dane.NotApplicable},
		{standard: "74", name: "another port", mx: dane.MXInfo{Port: 2525}, addr: signed, tlsa: at("_2525._tcp."+host, usual), status: dane.Usable, base: host, names: mxNames, asked: "_2525._tcp." + host},
		{standard: "75", name: "an asterisk and an underscore in the MX name", mx: dane.MXInfo{Host: "*.my_mx.example"}, addr: signed, tlsa: at("_25._tcp.*.my_mx.example", usual), status: dane.Usable, base: "*.my_mx.example", names: "*.my_mx.example example.com", asked: "_25._tcp.*.my_mx.example"},
		{standard: "76", name: "no MX records", mx: dane.MXInfo{Host: "example.com", Implicit: true}, addr: signed, tlsa: at("_25._tcp.example.com", usual), status: dane.Usable, base: "example.com", names: "example.com", asked: "_25._tcp.example.com"},
		{standard: "76", name: "unsigned proof of no MX records", mx: dane.MXInfo{Host: "example.com", Implicit: true}, insecure: true, policy: dane.InsecureIgnore, addr: signed, status: dane.NotApplicable, asked: "-"},
		{standard: "77", name: "usage 0 and 1 only", addr: signed, tlsa: at(atHost, tlsa("0 1 1", "1 1 1")), status: dane.Unusable, base: host, names: mxNames, asked: atHost},
		{standard: "79", name: "none is usable", addr: signed, tlsa: at(atHost, tlsa("3 1 2", "3 9 1")), status: dane.Unusable, base: host, names: mxNames, asked: atHost},
		{standard: "79", name: "none is usable at the alias, the host is not asked", addr: alias(alias1, true, true), tlsa: two(tlsa("1 1 1"), usual), status: dane.Unusable, base: alias1, names: alias1 + " example.com", asked: atAlias},
		{standard: "80", name: "one of three is usable", addr: signed, tlsa: at(atHost, tlsa("1 1 1", "3 1 1", "3 1 2")), status: dane.Usable, base: host, names: mxNames, asked: atHost},
		{standard: "83", name: "the destination is an alias", mx: dane.MXInfo{Canonical: "alias.example"}, addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: mxNames + " alias.example", asked: atHost},
		{standard: "83", name: "the destination is an alias, and its MX unsigned", mx: dane.MXInfo{Canonical: "alias.example"}, insecure: true, addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: host, asked: atHost},
		{standard: "83", name: "no MX records, and the destination is an alias", mx: dane.MXInfo{Host: host, Implicit: true}, addr: alias(alias1, true, true), tlsa: at(atAlias, usual), status: dane.Usable, base: alias1, names: alias1 + " " + host, asked: atAlias},
		{standard: "83", name: "the destination is its own MX", mx: dane.MXInfo{Domain: "MX.example.net."}, addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: host, asked: atHost},
		{standard: "88", name: "final dot and capitals", mx: dane.MXInfo{Host: "MX.Example.NET."}, addr: signed, tlsa: at(atHost, usual), status: dane.Usable, base: host, names: mxNames, asked: atHost},
		{standard: "88", name: "an address", mx: dane.MXInfo{Host: "192.0.2.1"}, status: dane.NotApplicable, asked: "-"},
		{standard: "88", name: "an IPv6 address", mx: dane.MXInfo{Host: "2001:db8::1"}, status: dane.NotApplicable, asked: "-"},
		{standard: "88", name: "an address literal", mx: dane.MXInfo{Host: "[192.0.2.1]"}, status: dane.NotApplicable, asked: "-"},
	}
}

func TestEveryHostIsFoundAsTheStandardSays(t *testing.T) {
	for _, tt := range lookupCases() {
		t.Run("STANDARDS "+tt.standard+" "+tt.name, tt.run)
	}
}

func (tt lookupCase) run(t *testing.T) {
	mx := tt.mx
	mx.MXSecure = !tt.insecure
	if mx.Domain == "" {
		mx.Domain = "example.com"
	}
	if mx.Host == "" {
		mx.Host = host
	}
	if mx.Port == 0 {
		mx.Port = 25
	}
	z := &zone{addresses: map[string]dane.Address{}, tlsa: tt.tlsa}
	first := strings.ToLower(strings.TrimSuffix(mx.Host, "."))
	if first != "gone.example" {
		z.addresses[first] = tt.addr
	}
	f, err := (&dane.Lookup{Resolver: z, InsecureMX: tt.policy}).Find(context.Background(), mx)
	want := strings.Fields(first + " " + tt.asked)
	if tt.asked == "-" {
		want = nil
	}
	if !slices.Equal(z.asked, want) {
		t.Errorf("asked for %q, want %q", z.asked, want)
	}
	tt.check(t, f, err)
	if f.InsecureMX != tt.insecure && err == nil {
		t.Errorf("InsecureMX: %v", f.InsecureMX)
	}
}

func (tt lookupCase) check(t *testing.T, f dane.Finding, err error) {
	t.Helper()
	if tt.err != "" {
		var failed *dane.LookupError
		if !errors.As(err, &failed) || !errors.Is(err, errServfail) || !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("got %v", err)
		}
		if f.Status != dane.NotApplicable || f.Base != "" || f.Records != nil {
			t.Errorf("an error with a finding: %+v", f)
		}
		return
	}
	if err != nil || f.Status != tt.status || f.Base != tt.base || strings.Join(f.Names, " ") != tt.names || f.Why == "" {
		t.Fatalf("got %+v, %v", f, err)
	}
	if f.NoAddress != (tt.mx.Host == "bare.example") {
		t.Errorf("NoAddress: %v", f.NoAddress)
	}
	if len(f.Records) != f.Usable+len(f.Unusable) || (f.Status >= dane.Unusable) != (len(f.Records) > 0) {
		t.Errorf("does not add up: %+v", f)
	}
}

func TestAFindingIsForPeopleToo(t *testing.T) {
	for name, tt := range map[string]struct {
		addr  dane.Address
		tlsa  dane.Answer
		mx    dane.MXInfo
		texts []string
	}{
		"unsigned":   {unsigned, none, dane.MXInfo{MXSecure: true}, []string{"the address of mx.example.net is not signed"}},
		"no records": {signed, none, dane.MXInfo{MXSecure: true}, []string{"no TLSA records at " + atHost}},
		"insecure":   {signed, insecure, dane.MXInfo{MXSecure: true}, []string{"the answer for " + atHost + " is not signed"}},
		"some":       {signed, tlsa("3 1 1", "1 1 1", "3 1 2"), dane.MXInfo{MXSecure: true}, []string{"1 of 3 TLSA records at " + atHost + " can be used", "1 1 1 0101", "usage 1 needs public authorities", "32 octets and should have 64"}},
		"alias":      {signed, dane.Answer{Records: tlsa("3 1 1").Records, Secure: true, Owner: "_dane.example.org"}, dane.MXInfo{MXSecure: true}, []string{"(an alias of _dane.example.org)"}},
		"half":       {signed, tlsa("3 1 1"), dane.MXInfo{Domain: "example.com"}, []string{"the MX records of example.com are not signed"}},
	} {
		tt.mx.Host, tt.mx.Port = host, 25
		z := &zone{addresses: map[string]dane.Address{host: tt.addr}, tlsa: map[string]dane.Answer{atHost: tt.tlsa}}
		f, err := (&dane.Lookup{Resolver: z}).Find(context.Background(), tt.mx)
		if err != nil {
			t.Fatal(err)
		}
		text := f.Why + "; " + strings.Join(f.Unusable, "; ")
		for _, part := range tt.texts {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q does not say %q", name, text, part)
			}
		}
	}
}

func TestAFindingExpiresWithItsFirstAnswer(t *testing.T) {
	for _, tt := range []struct{ address, records, want time.Duration }{
		{time.Hour, time.Minute, time.Minute},
		{time.Minute, time.Hour, time.Minute},
	} {
		addr, answer := signed, tlsa("3 1 1")
		addr.Expires, answer.Expires = today.Add(tt.address), today.Add(tt.records)
		z := &zone{addresses: map[string]dane.Address{host: addr}, tlsa: map[string]dane.Answer{atHost: answer}}
		f, err := (&dane.Lookup{Resolver: z}).Find(context.Background(), dane.MXInfo{Host: host, Port: 25, MXSecure: true})
		if err != nil || !f.Expires.Equal(today.Add(tt.want)) {
			t.Errorf("%+v: expires %v, %v", tt, f.Expires, err)
		}
	}
}

// TestTheOrderOfAnswersDoesNotShow: a decision that is made of a finding is the same whatever
// server was asked, and the answer, which may be in a cache, is left alone.
func TestTheOrderOfAnswersDoesNotShow(t *testing.T) {
	answer := tlsa("2 1 1", "3 1 1", "3 1 1", "3 0 1")
	answer.Records = append(answer.Records, answer.Records[1])
	var texts []string
	for range 2 {
		slices.Reverse(answer.Records)
		before := fmt.Sprint(answer.Records)
		z := &zone{addresses: map[string]dane.Address{host: signed}, tlsa: map[string]dane.Answer{atHost: answer}}
		f, err := (&dane.Lookup{Resolver: z}).Find(context.Background(), dane.MXInfo{Host: host, Port: 25, MXSecure: true})
		if err != nil || len(f.Records) != 4 || f.Records[0].Usage != 3 || f.Records[3].Usage != 2 {
			t.Fatalf("got %+v, %v", f, err)
		}
		if fmt.Sprint(answer.Records) != before {
			t.Error("the answer was changed")
		}
		texts = append(texts, fmt.Sprint(f.Records))
	}
	if texts[0] != texts[1] {
		t.Errorf("%s is not %s", texts[0], texts[1])
	}
}

func TestPortZeroIsAMistake(t *testing.T) {
	z := &zone{}
	var failed *dane.LookupError
	if _, err := (&dane.Lookup{Resolver: z}).Find(context.Background(), dane.MXInfo{Host: host, MXSecure: true}); !errors.As(err, &failed) || z.asked != nil {
		t.Errorf("got %v after %q", err, z.asked)
	}
}

func TestAStatusHasAWord(t *testing.T) {
	for s, want := range map[dane.Status]string{dane.NotApplicable: "not_applicable", dane.NoRecords: "no_records", dane.Unusable: "unusable", dane.Usable: "usable", 9: "Status(9)"} {
		if s.String() != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
}
