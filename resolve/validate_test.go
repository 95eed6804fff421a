package resolve

import (
	"path/filepath"
	"testing"

	"postern/internal/dnstest"
)

// validating returns a Resolver that validates what these zones say.
func validating(t testing.TB, s ...*dnstest.Server) *Resolver {
	t.Helper()
	anchors, err := ParseAnchors(s[0].Anchors)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Hosts: filepath.Join(t.TempDir(), "none"), DNSSEC: Validate, Anchors: anchors}
	for _, server := range s {
		o.Servers = append(o.Servers, server.Address)
	}
	return with(t, o)
}

func TestSmoke(t *testing.T) {
	s := dnstest.StartSigned(t, dnstest.Zone{Name: "."}, dnstest.Zone{Name: "com", Denial: dnstest.NSEC3}, dnstest.Zone{Name: "example.com", Records: "@ MX 10 mail\nmail A 192.0.2.1\n*.w A 192.0.2.3"},
		dnstest.Zone{Name: "bare.com", Unsigned: true, Records: "@ MX 10 mail\nmail A 192.0.2.1\n"})
	r := validating(t, s)
	for _, name := range []string{"example.com", "bare.com", "none.example.com", "mail.example.com"} {
		a, err := r.MX(t.Context(), name)
		t.Log(a, err)
	}
	a, err := r.Addresses(t.Context(), "x.w.example.com", IPv4Only)
	t.Log(a, err)
	t.Log(r.TLSA(t.Context(), "_25._tcp.mail.example.com"))
	t.Log(s.Asked())
}
