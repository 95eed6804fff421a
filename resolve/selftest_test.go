package resolve

import (
	"testing"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

func TestAResolverTestsWhetherDNSSECComesThrough(t *testing.T) {
	good := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	flat := dnstest.Start(t, "example.com. SOA ns. h. 1 1 1 1 1\nbare.com. SOA ns. h. 1 1 1 1 1\n. DNSKEY 257 3 13 AAAA")
	bad := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com", Flaws: map[string]dnstest.Flaw{"": dnstest.Expired}})...)
	dead := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	dead.Break("", "", dnstest.ServFail)
	flat.Anchors = good.Anchors
	for name, c := range map[string]struct {
		server       *dnstest.Server
		ok, stripped bool
	}{
		"all is well": {good, true, false}, "signatures are stripped": {flat, false, true},
		"a zone is broken": {bad, false, false}, "nothing answers": {dead, false, false},
	} {
		got := validating(t, c.server).SelfTest(t.Context())
		if got.OK != c.ok || got.Stripped != c.stripped || len(got.Findings) != 3 || got.Findings[0].Name != "." {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTheSelfTestDoesNotAskTheMemory(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	r := validating(t, s)
	first := r.SelfTest(t.Context())
	before := s.Count("", "")
	if second := r.SelfTest(t.Context()); !first.OK || !second.OK || s.Count("", "") != 2*before {
		t.Errorf("%+v, %+v; %d and %d questions", first, second, before, s.Count("", ""))
	}
	if got := over(t, s).SelfTest(t.Context()); got.OK || got.Findings != nil || s.Count("", "") != 2*before {
		t.Errorf("switched off: %+v", got)
	}
}

// TrustAD asks for the flag, and takes it.
func TestTheServersWordIsTakenIfThatIsWanted(t *testing.T) {
	s := dnstest.Start(t, "a.example. MX 1 mx.example.\nb.example. MX 1 mx.example.")
	s.Break("a.example", "", dnstest.Fault{Mangle: func(query, answer []byte) [][]byte {
		answer[3] |= query[3] & 0x20
		return [][]byte{answer}
	}})
	r := with(t, Options{Servers: []string{s.Address}, Hosts: "/none", DNSSEC: TrustAD})
	for name, want := range map[string]Security{"a.example": Secure, "b.example": Insecure} {
		if a, err := r.MX(t.Context(), name); err != nil || a.Security != want || a.Why == "" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if a, err := over(t, s).MX(t.Context(), "a.example"); err != nil || a.Security != Indeterminate || a.Why != "" {
		t.Errorf("switched off: %+v, %v", a, err)
	}
}

// STANDARDS 95.
func TestTheFlagsOfAQuestionFollowTheMode(t *testing.T) {
	for mode, want := range map[Mode][4]bool{Off: {true, false, false, false}, TrustAD: {true, true, false, false}, Validate: {true, false, true, true}} {
		q, err := question{"example.com", dns.TypeMX, mode}.pack(true, ednsSize)
		m := new(dns.Msg)
		if err != nil || m.Unpack(q.packed) != nil {
			t.Fatal(err)
		}
		if got := [4]bool{m.RecursionDesired, m.AuthenticatedData, m.CheckingDisabled, m.IsEdns0().Do()}; got != want || m.IsEdns0().UDPSize() != ednsSize {
			t.Errorf("mode %d: RD, AD, CD, DO are %v", mode, got)
		}
	}
}
