package certs_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"postern/internal/catest"
	"postern/tls/certs"
)

// Clients by what they can verify.
var (
	modern    = tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.Ed25519}}
	rsaOnly   = tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256}}
	ecdsaOnly = tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
	edOnly    = tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.Ed25519}}
	neither   = tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP521AndSHA512}}
	rsa12     = tls12(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	ecdsa12   = tls12(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
	both12    = tls12(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
)

func tls12(suites ...uint16) tls.ClientHelloInfo {
	return tls.ClientHelloInfo{
		SupportedVersions: []uint16{tls.VersionTLS12},
		CipherSuites:      suites,
		SupportedCurves:   []tls.CurveID{tls.X25519, tls.CurveP256},
		SupportedPoints:   []uint8{0},
		SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.PKCS1WithSHA256},
	}
}

func asking(h tls.ClientHelloInfo, name string) tls.ClientHelloInfo {
	h.ServerName = name
	return h
}

func TestTheRightCertificateIsChosen(t *testing.T) {
	ca := catest.New(t)
	made := map[*tls.Certificate]string{}
	source := func(label string, l catest.Leaf) *certs.Source {
		s := static(t, label, ca.Issue(t, l))
		made[s.Certificates()[0]] = label
		return s
	}
	mxRSA := source("mx/rsa", catest.Leaf{Names: []string{"mx.example.org"}, Key: catest.RSA2048})
	mxEC := source("mx/ec", catest.Leaf{Names: []string{"mx.example.org", "mx2.example.org"}})
	wildRSA := source("wild/rsa", catest.Leaf{Names: []string{"*.Example.net"}, Key: catest.RSA2048})
	wildEC := source("wild/ec", catest.Leaf{Names: []string{"*.example.net"}})
	exactEC := source("a/ec", catest.Leaf{Names: []string{"a.example.net"}})
	otherEC := source("other/ec", catest.Leaf{Names: []string{"other.example.com"}})
	otherRSA := source("other/rsa", catest.Leaf{Names: []string{"other.example.com"}, Key: catest.RSA2048})
	otherEd := source("other/ed", catest.Leaf{Names: []string{"other.example.com"}, Key: catest.Ed25519})
	oldRSA := source("old/rsa", catest.Leaf{CommonName: "old.example.com", Key: catest.RSA2048})

	pair := certs.NewSet(mxRSA, mxEC)
	many := certs.NewSet(mxRSA, mxEC, wildRSA, wildEC, exactEC)
	rsaFirst := certs.NewSet(mxRSA, otherEC)
	ecFirst := certs.NewSet(mxEC, otherRSA)
	three := certs.NewSet(otherRSA, otherEd, otherEC)
	cn := certs.NewSet(mxRSA, oldRSA)

	tests := []struct {
		name string
		set  *certs.Set
		from tls.ClientHelloInfo
		want string
	}{
		{"a pair gives ECDSA to who has both", pair, asking(modern, "mx.example.org"), "mx/ec"},
		{"a pair gives RSA to who has RSA", pair, asking(rsaOnly, "mx.example.org"), "mx/rsa"},
		{"a pair gives ECDSA to who has ECDSA", pair, asking(ecdsaOnly, "mx.example.org"), "mx/ec"},
		{"the same in TLS 1.2, by suites: both", pair, asking(both12, "mx.example.org"), "mx/ec"},
		{"the same in TLS 1.2, by suites: RSA", pair, asking(rsa12, "mx.example.org"), "mx/rsa"},
		{"the same in TLS 1.2, by suites: ECDSA", pair, asking(ecdsa12, "mx.example.org"), "mx/ec"},
		{"without a name the pair is the default: both", pair, modern, "mx/ec"},
		{"without a name the pair is the default: RSA", pair, rsaOnly, "mx/rsa"},
		{"an unknown name gets the default: both", pair, asking(modern, "unknown.example"), "mx/ec"},
		{"an unknown name gets the default: RSA", pair, asking(rsaOnly, "unknown.example"), "mx/rsa"},
		{"an unknown name gets the default: RSA in TLS 1.2", pair, asking(rsa12, "unknown.example"), "mx/rsa"},
		{"the case of a name does not matter", pair, asking(modern, "MX2.example.ORG"), "mx/ec"},
		{"a name that only ECDSA has, a client that has RSA", pair, asking(rsaOnly, "mx2.example.org"), "mx/rsa"},
		{"nothing fits: the first with the name", pair, asking(neither, "mx2.example.org"), "mx/ec"},
		{"nothing fits, no name: the default", pair, neither, "mx/ec"},

		{"the exact name goes before the wildcard", many, asking(modern, "a.example.net"), "a/ec"},
		{"the wildcard serves who cannot use the exact one", many, asking(rsaOnly, "a.example.net"), "wild/rsa"},
		{"a wildcard: both", many, asking(modern, "b.example.net"), "wild/ec"},
		{"a wildcard: RSA", many, asking(rsaOnly, "b.EXAMPLE.net"), "wild/rsa"},
		{"a wildcard is one label", many, asking(modern, "b.c.example.net"), "mx/ec"},
		{"a wildcard is not none", many, asking(modern, "example.net"), "mx/ec"},
		{"the wildcard itself is no name", many, asking(modern, ".example.net"), "mx/ec"},

		{"the default is the first, also against a faster one", rsaFirst, modern, "mx/rsa"},
		{"the default is the first, for an unknown name", rsaFirst, asking(modern, "unknown.example"), "mx/rsa"},
		{"another serves who cannot use the default", rsaFirst, ecdsaOnly, "other/ec"},
		{"another serves who cannot use the one asked for", rsaFirst, asking(ecdsaOnly, "mx.example.org"), "other/ec"},
		{"another serves who cannot use the default: RSA", ecFirst, asking(rsaOnly, "unknown.example"), "other/rsa"},
		{"the default serves who cannot use the one asked for", ecFirst, asking(ecdsaOnly, "other.example.com"), "mx/ec"},

		{"ECDSA goes before Ed25519 and RSA", three, asking(modern, "other.example.com"), "other/ec"},
		{"Ed25519 serves who has only that", three, asking(edOnly, "other.example.com"), "other/ed"},
		{"the common name stands in for missing names", cn, asking(modern, "old.example.com"), "old/rsa"},
		{"one certificate needs no choice", certs.NewSet(mxRSA), asking(ecdsaOnly, "unknown.example"), "mx/rsa"},
	}
	for _, tt := range tests {
		got, err := tt.set.GetCertificate(&tt.from)
		if err != nil || made[got] != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, made[got], err, tt.want)
		}
	}
	if pair.Usable() != true {
		t.Error("a set with certificates is not usable")
	}
}

func TestAnEmptySetOffersNothing(t *testing.T) {
	for name, set := range map[string]*certs.Set{"zero": {}, "new": certs.NewSet()} {
		if set.Usable() {
			t.Errorf("%s: usable", name)
		}
		if _, err := set.GetCertificate(&modern); !errors.Is(err, certs.ErrNoCertificate) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestEveryClientHandshakes does with crypto/tls on both sides what the table above
// does with crafted hellos.
func TestEveryClientHandshakes(t *testing.T) {
	ca := catest.New(t)
	names := []string{"mx.example.org"}
	set := certs.NewSet(
		static(t, "rsa", ca.Issue(t, catest.Leaf{Names: names, Key: catest.RSA2048})),
		static(t, "ec", ca.Issue(t, catest.Leaf{Names: names})))
	server := &tls.Config{GetCertificate: set.GetCertificate}
	clients := map[string]struct {
		max    uint16
		suites []uint16
		want   string
	}{
		"TLS 1.3":       {tls.VersionTLS13, nil, "ECDSA"},
		"TLS 1.2":       {tls.VersionTLS12, nil, "ECDSA"},
		"TLS 1.2 ECDSA": {tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}, "ECDSA"},
		"TLS 1.2 RSA":   {tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}, "RSA"},
	}
	for name, cl := range clients {
		for _, sni := range []string{"mx.example.org", "unknown.example", "192.0.2.1"} {
			state, err := handshake(server, &tls.Config{
				InsecureSkipVerify: true, // what is verified here is which certificate came
				ServerName:         sni, MaxVersion: cl.max, CipherSuites: cl.suites,
			})
			if err != nil {
				t.Errorf("%s asking for %s: %v", name, sni, err)
			} else if got := state.PeerCertificates[0].PublicKeyAlgorithm.String(); got != cl.want {
				t.Errorf("%s asking for %s: got %s, want %s", name, sni, got, cl.want)
			}
		}
	}
}

func BenchmarkGetCertificate(b *testing.B) {
	ca := catest.New(b)
	names := []string{"mx.example.org"}
	rsa := static(b, "rsa", ca.Issue(b, catest.Leaf{Names: names, Key: catest.RSA2048}))
	ec := static(b, "ec", ca.Issue(b, catest.Leaf{Names: names}))
	for name, set := range map[string]*certs.Set{"one": certs.NewSet(ec), "pair": certs.NewSet(ec, rsa)} {
		for client, hello := range map[string]tls.ClientHelloInfo{"modern": modern, "rsa12": rsa12} {
			b.Run(name+"/"+client, func(b *testing.B) {
				h := asking(hello, "mx.example.org")
				b.ReportAllocs()
				for b.Loop() {
					if _, err := set.GetCertificate(&h); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestOneCertificateIsChosenWithoutAllocating(t *testing.T) {
	set := certs.NewSet(static(t, "one", catest.New(t).Issue(t, catest.Leaf{})))
	hello := asking(modern, "localhost")
	if n := testing.AllocsPerRun(100, func() { set.GetCertificate(&hello) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func static(t testing.TB, name string, c ...tls.Certificate) *certs.Source {
	t.Helper()
	s, err := certs.Static(name, c...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// handshake runs one over an in-memory connection, with one byte from the server
// behind it, and returns the client's view.
func handshake(server, client *tls.Config) (tls.ConnectionState, error) {
	a, b := net.Pipe()
	defer b.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer a.Close()
		tls.Server(a, server).Write([]byte("x"))
	}()
	c := tls.Client(b, client)
	_, err := io.ReadFull(c, make([]byte, 1))
	state := c.ConnectionState()
	b.Close()
	<-done
	return state, err
}
