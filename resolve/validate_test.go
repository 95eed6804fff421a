package resolve

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// validating returns a Resolver that validates what these servers say.
func validating(t testing.TB, s ...*dnstest.Server) *Resolver {
	t.Helper()
	anchors, err := ParseAnchors(s[0].Anchors)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Hosts: filepath.Join(t.TempDir(), "none"), DNSSEC: Validate, Anchors: anchors, SignedName: "example.com", UnsignedName: "bare.com"}
	for _, server := range s {
		o.Servers = append(o.Servers, server.Address)
	}
	return with(t, o)
}

const content = `
@        MX 10 mail
mail     A 192.0.2.1
_25._tcp.mail TLSA 3 1 1 0011
www      CNAME mail
*.wild   A 192.0.2.3
*.wild   TXT "a b" "c\"\\\200"
out      CNAME mail.bare.com.
in.deep  A 192.0.2.4
tree     DNAME wild
`

// family is a root, com, and below it zones with these properties, beside one
// that is not signed.
func family(more ...dnstest.Zone) []dnstest.Zone {
	all := []dnstest.Zone{{Name: "."}, {Name: "com", Denial: dnstest.NSEC3}, {Name: "bare.com", Unsigned: true, Records: content + "back CNAME mail.example.com.\n"}}
	for _, z := range more {
		if z.Records == "" {
			z.Records = content
		}
		all = append(all, z)
	}
	return all
}

// judgement returns what is said of a name and type, as "secure", with " none" where
// there are no records.
func judgement(t testing.TB, r *Resolver, name string, kind uint16) (string, *answer) {
	t.Helper()
	a, err := r.lookup(t.Context(), r.about(name, kind))
	if err != nil {
		return a.security.String(), a
	}
	if a.status != found {
		return a.security.String() + " none", a
	}
	return a.security.String(), a
}

const (
	typeA, typeMX, typeTXT, typeTLSA = 1, 15, 16, 52
)

func TestEachKindOfAnswerIsValidated(t *testing.T) {
	for name, c := range map[string]struct {
		zone dnstest.Zone
		name string
		kind uint16
		want string
	}{
		"records":                            {dnstest.Zone{}, "mail.example.com", typeA, "secure"},
		"a CNAME":                            {dnstest.Zone{}, "www.example.com", typeA, "secure"},
		"a DNAME (STANDARDS 113)":            {dnstest.Zone{}, "x.tree.example.com", typeA, "secure"},
		"a CNAME into an unsigned zone":      {dnstest.Zone{}, "out.example.com", typeA, "insecure"},
		"a CNAME out of an unsigned zone":    {dnstest.Zone{}, "back.bare.com", typeA, "insecure"},
		"a wildcard (STANDARDS 108)":         {dnstest.Zone{}, "a.b.wild.example.com", typeA, "secure"},
		"wildcard, no data (STANDARDS 109)":  {dnstest.Zone{}, "a.wild.example.com", typeMX, "secure none"},
		"no data (STANDARDS 107)":            {dnstest.Zone{}, "mail.example.com", typeMX, "secure none"},
		"empty name (STANDARDS 107)":         {dnstest.Zone{}, "deep.example.com", typeA, "secure none"},
		"no name (STANDARDS 106)":            {dnstest.Zone{}, "x.y.example.com", typeA, "secure none"},
		"NSEC3, records":                     {dnstest.Zone{Denial: dnstest.NSEC3}, "mail.example.com", typeA, "secure"},
		"NSEC3, wildcard":                    {dnstest.Zone{Denial: dnstest.NSEC3}, "a.b.wild.example.com", typeA, "secure"},
		"NSEC3, wildcard, no data":           {dnstest.Zone{Denial: dnstest.NSEC3}, "a.wild.example.com", typeMX, "secure none"},
		"NSEC3, no data":                     {dnstest.Zone{Denial: dnstest.NSEC3}, "mail.example.com", typeMX, "secure none"},
		"NSEC3, empty name":                  {dnstest.Zone{Denial: dnstest.NSEC3}, "deep.example.com", typeA, "secure none"},
		"NSEC3, no name":                     {dnstest.Zone{Denial: dnstest.NSEC3}, "x.y.example.com", typeA, "secure none"},
		"opt-out, no name (STANDARDS 111)":   {dnstest.Zone{Denial: dnstest.OptOut}, "x.y.example.com", typeA, "insecure none"},
		"opt-out, wildcard":                  {dnstest.Zone{Denial: dnstest.OptOut}, "a.wild.example.com", typeA, "insecure"},
		"opt-out, no data":                   {dnstest.Zone{Denial: dnstest.OptOut}, "mail.example.com", typeMX, "secure none"},
		"100 iterations (STANDARDS 112)":     {dnstest.Zone{Denial: dnstest.NSEC3, Iterations: 100}, "x.example.com", typeA, "secure none"},
		"101 iterations":                     {dnstest.Zone{Denial: dnstest.NSEC3, Iterations: 101}, "x.example.com", typeA, "insecure none"},
		"101 iterations, records":            {dnstest.Zone{Denial: dnstest.NSEC3, Iterations: 101}, "mail.example.com", typeA, "secure"},
		"2500 iterations, wildcard":          {dnstest.Zone{Denial: dnstest.NSEC3, Iterations: 2500}, "a.wild.example.com", typeA, "insecure"},
		"compact, no name (STANDARDS 121)":   {dnstest.Zone{Denial: dnstest.Compact}, "x.y.example.com", typeA, "secure none"},
		"compact, no data":                   {dnstest.Zone{Denial: dnstest.Compact}, "mail.example.com", typeMX, "secure none"},
		"algorithm 5 (STANDARDS 102)":        {dnstest.Zone{Algorithm: 5}, "mail.example.com", typeA, "secure"},
		"algorithm 7":                        {dnstest.Zone{Algorithm: 7}, "mail.example.com", typeA, "secure"},
		"algorithm 8":                        {dnstest.Zone{Algorithm: 8}, "mail.example.com", typeA, "secure"},
		"algorithm 10":                       {dnstest.Zone{Algorithm: 10}, "mail.example.com", typeA, "secure"},
		"algorithm 14":                       {dnstest.Zone{Algorithm: 14}, "mail.example.com", typeA, "secure"},
		"algorithm 15":                       {dnstest.Zone{Algorithm: 15}, "mail.example.com", typeA, "secure"},
		"algorithm 16 is not supported":      {dnstest.Zone{Algorithm: 16}, "mail.example.com", typeA, "insecure"},
		"algorithm 12 is not supported":      {dnstest.Zone{Algorithm: 12}, "mail.example.com", typeMX, "insecure none"},
		"RSA of 1024 bits (STANDARDS 103)":   {dnstest.Zone{Algorithm: 8, Bits: 1024}, "mail.example.com", typeA, "secure"},
		"SHA-1 alone (STANDARDS 101)":        {dnstest.Zone{Digests: []uint8{1}}, "mail.example.com", typeA, "secure"},
		"SHA-384":                            {dnstest.Zone{Digests: []uint8{4}}, "mail.example.com", typeA, "secure"},
		"an unknown digest":                  {dnstest.Zone{Digests: []uint8{99}}, "mail.example.com", typeA, "insecure"},
		"an unknown digest beside":           {dnstest.Zone{Digests: []uint8{99, 2}}, "mail.example.com", typeA, "secure"},
		"an algorithm without key (104)":     {broken(dnstest.OddAlgo), "mail.example.com", typeA, "secure"},
		"signed without DS (STANDARDS 105)":  {dnstest.Zone{Island: true}, "mail.example.com", typeA, "insecure"},
		"upper case":                         {broken(dnstest.RepeatedName), "mail.example.com", typeA, "secure"},
		"one wrong signature (104)":          {broken(dnstest.OneBadFirst), "mail.example.com", typeA, "secure"},
		"two wrong signatures (114)":         {broken(dnstest.TwoBadFirst), "mail.example.com", typeA, "indeterminate"},
		"expired (STANDARDS 97)":             {broken(dnstest.Expired), "mail.example.com", typeA, "bogus"},
		"not yet valid":                      {broken(dnstest.NotYet), "mail.example.com", typeA, "bogus"},
		"the wrong key":                      {broken(dnstest.WrongKey), "mail.example.com", typeA, "bogus"},
		"no signature":                       {broken(dnstest.NoSignature), "mail.example.com", typeA, "bogus"},
		"a CNAME without signature":          {broken(dnstest.NoSignature), "www.example.com", typeA, "bogus"},
		"signed by the parent":               {broken(dnstest.ForeignName), "mail.example.com", typeA, "bogus"},
		"more labels":                        {broken(dnstest.TooManyOnes), "mail.example.com", typeA, "bogus"},
		"the original TTL":                   {broken(dnstest.WrongTTL), "mail.example.com", typeA, "bogus"},
		"altered":                            {broken(dnstest.AlteredData), "mail.example.com", typeA, "bogus"},
		"no proof of no data":                {broken(dnstest.NoProof), "mail.example.com", typeMX, "bogus"},
		"no proof of no name":                {broken(dnstest.NoProof), "x.example.com", typeMX, "bogus"},
		"no proof for a wildcard":            {broken(dnstest.NoProof), "a.wild.example.com", typeA, "bogus"},
		"another proof":                      {broken(dnstest.WrongProof), "x.example.com", typeMX, "bogus"},
		"another proof for a wildcard":       {broken(dnstest.WrongProof), "a.wild.example.com", typeA, "bogus"},
		"a bitmap that says otherwise":       {broken(dnstest.BitmapLies), "mail.example.com", typeMX, "bogus"},
		"another key than the DS says (100)": {broken(dnstest.WrongDS), "mail.example.com", typeA, "bogus"},
		"another tag":                        {broken(dnstest.OtherTag), "mail.example.com", typeA, "bogus"},
		"revoked keys (STANDARDS 97)":        {broken(dnstest.Revoked), "mail.example.com", typeA, "bogus"},
		"keys without the zone flag":         {broken(dnstest.NoZoneFlag), "mail.example.com", typeA, "bogus"},
		"keys of another protocol":           {broken(dnstest.BadProtocol), "mail.example.com", typeA, "bogus"},
		"keys that are not signed":           {broken(dnstest.BareKeys), "mail.example.com", typeA, "bogus"},
		"keys signed by no DS's (100)":       {broken(dnstest.ZoneKeyOnly), "mail.example.com", typeA, "bogus"},
		"no keys":                            {broken(dnstest.NoKeys), "mail.example.com", typeA, "bogus"},
		"no proof of no DS (STANDARDS 105)":  {broken(dnstest.HidDS), "mail.example.com", typeA, "bogus"},
		"keys not to be had (STANDARDS 115)": {broken(dnstest.LameKeys), "mail.example.com", typeA, "indeterminate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.zone.Name = "example.com"
			r := validating(t, dnstest.StartSigned(t, family(c.zone)...))
			if got, a := judgement(t, r, c.name, c.kind); got != c.want || a.why == "" {
				t.Errorf("got %s (%s), want %s", got, a.why, c.want)
			}
		})
	}
}

func broken(f dnstest.Flaw) dnstest.Zone { return dnstest.Zone{Flaws: map[string]dnstest.Flaw{"": f}} }

// STANDARDS 115: what is bogus is an error that says so, and never an answer.
func TestABogusAnswerIsATemporaryError(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com", Flaws: map[string]dnstest.Flaw{"": dnstest.Expired}}, dnstest.Zone{Name: "lame.com", Flaws: map[string]dnstest.Flaw{"": dnstest.LameKeys}})...)
	r := validating(t, s)
	for name, want := range map[string]struct {
		security Security
		why      string
	}{
		"example.com": {Bogus, "the signature for MX of example.com expired on "},
		"lame.com":    {Indeterminate, "SERVFAIL from "},
	} {
		_, err := r.MX(t.Context(), name)
		e, ok := err.(*TemporaryError)
		if !ok || e.Security != want.security || !strings.Contains(e.Why, want.why) || !strings.Contains(e.Error(), want.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFreshNameCostsFewQuestions(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "other.com"}, dnstest.Zone{Name: "example.com"}, dnstest.Zone{Name: "n3.com", Denial: dnstest.NSEC3})...)
	for name, most := range map[string]int{"mail.example.com": 3, "mail.n3.com": 3, "x.n3.com": 3, "a.wild.example.com": 3, "mail.bare.com": 2, "www.example.com": 3, "out.example.com": 4} {
		r := validating(t, s)
		judgement(t, r, "other.com", typeMX) // the root and com are known then
		before := s.Count("", "")
		got, a := judgement(t, r, name, typeA)
		if cost := s.Count("", "") - before; cost > most || strings.HasPrefix(got, "bogus") {
			t.Errorf("%s: %d questions, %s (%s)", name, cost, got, a.why)
		}
	}
}

// STANDARDS 116: one server that strips the signatures, or lies, decides nothing
// while another is there; whichever is asked first.
func TestABadServerDecidesNothing(t *testing.T) {
	good, bad := family(dnstest.Zone{Name: "example.com"}), family(dnstest.Zone{Name: "example.com"})
	one, err := dnstest.NewSigned(good...)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.Close)
	other := dnstest.StartSigned(t, bad...) // its keys are others
	plain := dnstest.Start(t, "mail.example.com. A 192.0.2.66\nexample.com. SOA ns. h. 1 1 1 1 1")
	other.Anchors, plain.Anchors = one.Anchors, one.Anchors
	for name, servers := range map[string][]*dnstest.Server{
		"other keys first": {other, one}, "other keys last": {one, other}, "stripping first": {plain, one}, "stripping last": {one, plain},
	} {
		if got, a := judgement(t, validating(t, servers...), "mail.example.com", typeA); got != "secure" {
			t.Errorf("%s: %s (%s)", name, got, a.why)
		}
	}
	for name, servers := range map[string][]*dnstest.Server{"other keys": {other}, "stripping": {plain}, "both": {other, plain}, "both, turned round": {plain, other}} {
		if got, a := judgement(t, validating(t, servers...), "mail.example.com", typeA); got != "bogus" {
			t.Errorf("%s: %s (%s)", name, got, a.why)
		}
	}
}

// STANDARDS 117: bogus for a minute at most, failures for five seconds.
func TestWhatFailsIsAskedAgainSoon(t *testing.T) {
	for flaw, keep := range map[dnstest.Flaw]time.Duration{dnstest.WrongKey: keepBogus, dnstest.LameKeys: keepFailure} {
		at := &clock{time.Now()}
		s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com", Flaws: map[string]dnstest.Flaw{"": flaw}})...)
		r := at.in(validating(t, s))
		ask := func() int { judgement(t, r, "mail.example.com", typeA); return s.Count("mail.example.com", "A") }
		for _, step := range []struct {
			passes time.Duration
			asked  int
		}{{0, 1}, {keep - 1, 1}, {1, 2}} {
			at.pass(step.passes)
			if got := ask(); got != step.asked {
				t.Errorf("%s, %v later: asked %d times", flaw, step.passes, got)
			}
		}
	}
}

// STANDARDS 120: a second look-up, from the cache, says the same.
func TestTheCacheKeepsTheSecurity(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	r := validating(t, s)
	for range 2 {
		a, err := r.TLSA(t.Context(), "_25._tcp.mail.example.com")
		if err != nil || a.Security != Secure || len(a.Records) != 1 || a.Why == "" || a.Expires.IsZero() || a.Owner != "_25._tcp.mail.example.com" {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if n := s.Count("", "TLSA"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// Whoever waits until all caches have forgotten a record must know its TTL, and not
// what is left of it in the cache that was asked.
func TestTheTTLIsThatOfTheZone(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	s.Break("", "TLSA", dnstest.Fault{Mangle: func(_, answer []byte) [][]byte {
		m := new(dns.Msg)
		if err := m.Unpack(answer); err != nil {
			panic(err)
		}
		for _, rr := range m.Answer {
			rr.Header().Ttl = 7
		}
		aged, err := m.Pack()
		if err != nil {
			panic(err)
		}
		return [][]byte{aged}
	}})
	for _, c := range []struct {
		r    *Resolver
		want time.Duration
	}{{validating(t, s), time.Minute}, {over(t, s), 7 * time.Second}} {
		a, err := c.r.TLSA(t.Context(), "_25._tcp.mail.example.com")
		if err != nil || a.TTL != c.want || time.Until(a.Expires) > 7*time.Second {
			t.Errorf("%+v, %v", a, err)
		}
	}
}

// STANDARDS 118.
func TestAClockBeforeThisProgramWasBuiltValidatesNothing(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	at := &clock{born.Add(-time.Second)}
	if got, a := judgement(t, at.in(validating(t, s)), "mail.example.com", typeA); got != "indeterminate" || !strings.Contains(a.why, "the clock says 2026-10-31 23:59:59") {
		t.Errorf("%s (%s)", got, a.why)
	}
}

func TestAClockThatIsAYearAheadIsNamed(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	at := &clock{time.Now().AddDate(1, 0, 0)}
	if got, a := judgement(t, at.in(validating(t, s)), "mail.example.com", typeA); got != "bogus" || !strings.Contains(a.why, "is the clock right that says") {
		t.Errorf("%s (%s)", got, a.why)
	}
}

func TestTheSecurityOfEachHopIsTold(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	r := validating(t, s)
	for name, want := range map[string]AddrAnswer{
		"mail.example.com": {Security: Secure, ChainSecure: true, FirstSecurity: Secure, Canonical: "mail.example.com"},
		"www.example.com":  {Security: Secure, ChainSecure: true, FirstSecurity: Secure, Canonical: "mail.example.com"},
		"out.example.com":  {Security: Insecure, ChainSecure: true, FirstSecurity: Secure, Canonical: "mail.bare.com"},
		"back.bare.com":    {Security: Insecure, ChainSecure: false, FirstSecurity: Insecure, Canonical: "mail.example.com"},
		"mail.bare.com":    {Security: Insecure, ChainSecure: false, FirstSecurity: Insecure, Canonical: "mail.bare.com"},
	} {
		a, err := r.Addresses(t.Context(), name, IPv4Only)
		if err != nil || a.Security != want.Security || a.ChainSecure != want.ChainSecure || a.FirstSecurity != want.FirstSecurity || a.Canonical != want.Canonical || a.Why == "" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	_, err := r.Addresses(t.Context(), "none.example.com", IPv4Only)
	if nothing, ok := err.(*PermanentError); !ok || nothing.Security != Secure || nothing.Why == "" {
		t.Errorf("%#v", err)
	}
}

func TestTextsAreJoined(t *testing.T) {
	r := validating(t, dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...))
	a, err := r.TXT(t.Context(), "a.wild.example.com")
	if want := []string{"a bc\"\\\xc8"}; err != nil || !slices.Equal(a.Texts, want) || a.Security != Secure {
		t.Errorf("%+q, %v", a, err)
	}
	if a, err := r.TXT(t.Context(), "none.example.com"); err != nil || a.Texts != nil || a.Security != Secure {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := r.TXT(t.Context(), "a b"); err == nil {
		t.Error("no name, and no error")
	}
}

// What makes a server be asked without EDNS elsewhere would strip the signatures.
func TestSignaturesAreAskedForEachTime(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	s.Break("www.example.com", "", dnstest.Fault{Rcode: "FORMERR", EDNS: true})
	r := validating(t, s)
	for name, want := range map[string]string{"www.example.com": "bogus", "mail.example.com": "secure"} {
		if got, a := judgement(t, r, name, typeA); got != want {
			t.Errorf("%s: %s (%s)", name, got, a.why)
		}
	}
}

func TestClientsAreNamedWithoutValidation(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "2.0.192.in-addr.arpa", Records: "1 PTR mail.example.com.", Flaws: map[string]dnstest.Flaw{"": dnstest.WrongKey}}, dnstest.Zone{Name: "example.com"})...)
	if got := validating(t, s).ClientName(t.Context(), v4); got != isFound("mail.example.com") {
		t.Errorf("%+v", got)
	}
	if n := s.Count("", ""); n != 2 {
		t.Errorf("asked %q", s.Asked())
	}
}
