package dane_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

const host = "mx.example.net"

// actor is a certificate of testdata/setups.txt with its key.
type actor struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// cast is all of them, by name. They are made once per process, and the same for every test.
type cast map[string]actor

var players = sync.OnceValues(func() (cast, error) {
	c := cast{}
	for _, r := range roles() {
		if err := c.play(r); err != nil {
			return nil, err
		}
	}
	return c, nil
})

func newCast(t testing.TB) cast {
	t.Helper()
	c, err := players()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// chain returns the certificates of these names, in order.
func (c cast) chain(t testing.TB, names string) (all []*x509.Certificate) {
	t.Helper()
	for _, n := range strings.Fields(names) {
		if c[n].cert == nil {
			t.Fatalf("there is no certificate %q", n)
		}
		all = append(all, c[n].cert)
	}
	return all
}

// serving is a server that sends them.
func (c cast) serving(t testing.TB, names string) *tls.Config {
	t.Helper()
	pair := tls.Certificate{PrivateKey: c[strings.Fields(names)[0]].key}
	for _, cert := range c.chain(t, names) {
		pair.Certificate = append(pair.Certificate, cert.Raw)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// role is how an actor is made: a server's certificate for mx.example.net by "sub", unless said otherwise.
type role struct {
	name   string
	by     string // the issuer; the actor itself if it is its own name
	keyOf  string // has the key of this actor; "rsa" and "ed25519" are kinds
	adjust func(*x509.Certificate)
}

const day = 24 * time.Hour

func names(n ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = n }
}

func commonName(cn string, n ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = cn, n }
}

func dates(from, until time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(until) }
}

// authority makes a template that of an authority with a subject of its own.
func authority(cn string, more ...func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames, c.ExtKeyUsage = cn, nil, nil
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		for _, f := range more {
			f(c)
		}
	}
}

func roles() []role {
	return append(append(authorities(), servers()...), odd()...)
}

func authorities() []role {
	clients := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	mute := func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }
	noBC := func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }
	noExt := func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid, c.KeyUsage = false, false, 0 }
	short := func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }
	only := func(d string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{d}, true }
	}
	not := func(d string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExcludedDNSDomains, c.PermittedDNSDomainsCritical = []string{d}, true }
	}
	return []role{
		{"root", "root", "", authority("Root")},
		{"ca", "root", "", authority("Authority 1")},
		{"sub", "ca", "", authority("Authority 2")},
		{"sub-renewed", "ca", "sub", authority("Authority 2")},
		{"sub-forged", "sub-forged", "", authority("Authority 2")},
		{"stranger", "stranger", "", authority("Stranger")},
		{"rsa-root", "rsa-root", "rsa", authority("RSA Root")},
		{"ed-root", "ed-root", "ed25519", authority("Ed25519 Root")},
		{"expired", "root", "", authority("Expired", dates(-9*day, -day))},
		{"old-root", "old-root", "", authority("Old Root", dates(-9*day, -day))},
		{"client-ca", "root", "", authority("Authority for Clients", clients)},
		{"mute", "root", "", authority("Mute", mute)},
		{"no-bc", "root", "", authority("No Basic Constraints", noBC)},
		{"no-ext", "root", "", authority("No Extensions", noExt)},
		{"short", "root", "", authority("Short", short)},
		{"below-short", "short", "", authority("Below Short")},
		{"net", "root", "", authority("Authority for example.net", only("example.net"))},
		{"org", "root", "", authority("Authority for example.org", only("example.org"))},
		{"ample", "root", "", authority("Authority for ample.net", only("ample.net"))},
		{"not-net", "root", "", authority("Authority for others", not("example.net"))},
	}
}

func servers() []role {
	return []role{
		{"leaf", "sub", "", commonName("Leaf", host)}, // a name of its own: it has issued, too
		{"other", "ca", "", names("www.example.org")},
		{"leaf-renewed", "sub", "leaf", nil},
		{"leaf-rsa", "sub", "rsa", nil},
		{"leaf-expired", "sub", "", dates(-9*day, -day)},
		{"leaf-future", "sub", "", dates(day, 9*day)},
		{"leaf-by-rsa", "rsa-root", "", nil},
		{"leaf-by-ed", "ed-root", "", nil},
		{"leaf-of-expired", "expired", "", nil},
		{"leaf-of-old-root", "old-root", "", nil},
		{"leaf-of-client-ca", "client-ca", "", nil},
		{"leaf-of-leaf", "leaf", "", nil},
		{"leaf-of-mute", "mute", "", nil},
		{"leaf-of-no-bc", "no-bc", "", nil},
		{"leaf-of-no-ext", "no-ext", "", nil},
		{"leaf-of-short", "short", "", nil},
		{"leaf-below-short", "below-short", "", nil},
		{"leaf-of-net", "net", "", nil},
		{"leaf-of-org", "org", "", nil},
		{"cn-of-net", "net", "", commonName(host)},
		{"cn-of-org", "org", "", commonName(host)},
		{"cn-of-ample", "ample", "", commonName(host)},
		{"cn-of-not-net", "not-net", "", commonName(host)},

		{"leaf-other", "sub", "", commonName("www.example.org", "www.example.org")},
		{"leaf-domain", "sub", "", commonName("Mail", "example.com")},
		{"leaf-alias", "sub", "", commonName("Mail", "alias.example")},
		{"leaf-capital", "sub", "", commonName("Mail", "MX.Example.Net")},
		{"leaf-wild", "sub", "", commonName("Mail", "*.example.net")},
		{"leaf-wild-part", "sub", "", commonName("Mail", "m*.example.net")},
		{"leaf-wild-inner", "sub", "", commonName("Mail", "mx.*.example.net")},
		{"leaf-wild-top", "sub", "", commonName("Mail", "*.net")},
		{"leaf-underscore", "sub", "", commonName("Mail", "my_mx.example.net")},
		{"leaf-many", "sub", "", commonName("Mail", "a.example", "b.example", host, "c.example")},
		{"cn", "sub", "", commonName(host)},
		{"cn-wild", "sub", "", commonName("*.example.net")},
		{"cn-ip", "sub", "", func(c *x509.Certificate) {
			c.Subject.CommonName, c.DNSNames, c.IPAddresses = host, nil, []net.IP{{192, 0, 2, 1}}
		}},
		{"cn-address", "sub", "", commonName("192.0.2.1")},
		{"cn-san", "sub", "", commonName(host, "www.example.org")},
	}
}

func odd() []role {
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	return []role{
		{"nameless", "nameless", "", func(c *x509.Certificate) {
			*c = x509.Certificate{SerialNumber: c.SerialNumber, NotBefore: time.Now(), NotAfter: time.Now().Add(-day)}
		}},
		{"self", "self", "", nil},
		{"self-ca", "self-ca", "", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign }},
		{"self-other", "self-other", "", commonName("www.example.org", "www.example.org")},
		{"self-expired", "self-expired", "", dates(-9*day, -day)},
		{"self-client", "self-client", "", usage(x509.ExtKeyUsageClientAuth)},
		{"leaf-client", "sub", "", usage(x509.ExtKeyUsageClientAuth)},
		{"leaf-any", "sub", "", usage(x509.ExtKeyUsageAny)},
		{"leaf-plain", "sub", "", usage()},
		{"leaf-signs", "sub", "", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }},
		{"leaf-aia", "sub", "", func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://127.0.0.1:9/sub.crt"} }},
		{"leaf-critical", "sub", "", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
		}},
	}
}

func (c cast) play(r role) error {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(int64(len(c)) + 1),
		Subject:               pkix.Name{CommonName: "Mail"},
		DNSNames:              []string{host},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(day),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if r.adjust != nil {
		r.adjust(template)
	}
	key, err := c.key(r.keyOf)
	if err != nil {
		return err
	}
	parent, signer := template, key
	if r.by != r.name {
		parent, signer = c[r.by].cert, c[r.by].key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	c[r.name] = actor{cert, key}
	return err
}

func (c cast) key(of string) (crypto.Signer, error) {
	switch of {
	case "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return c[of].key, nil
}
