package catest_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"postern/internal/catest"
)

func TestIssuedCertificatesVerifyUnderTheRoot(t *testing.T) {
	root := catest.New(t)
	for name, ca := range map[string]*catest.CA{"root": root, "intermediate": root.Intermediate(t)} {
		for _, key := range []catest.KeyType{catest.ECDSA, catest.RSA2048, catest.Ed25519} {
			pair := ca.Issue(t, catest.Leaf{Names: []string{"mx.example.org", "*.example.net"}, IPs: []string{"192.0.2.1"}, Key: key})
			for _, host := range []string{"mx.example.org", "a.example.net", "192.0.2.1"} {
				if err := verify(root.Pool(), pair, host); err != nil {
					t.Errorf("%s, key %d, %s: %v", name, key, host, err)
				}
			}
		}
	}
}

func TestTheZeroLeafServesLocalhost(t *testing.T) {
	ca := catest.New(t)
	if err := verify(ca.Pool(), ca.Issue(t, catest.Leaf{}), "localhost"); err != nil {
		t.Error(err)
	}
	if err := verify(catest.New(t).Pool(), ca.Issue(t, catest.Leaf{}), "localhost"); err == nil {
		t.Error("another root verified it")
	}
}

func TestFilesLoadAsAPair(t *testing.T) {
	until := time.Now().Add(90 * time.Minute).UTC().Truncate(time.Second)
	certFile, keyFile := catest.New(t).Intermediate(t).Files(t, catest.Leaf{CommonName: "only.example.org", NotAfter: until})
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(pair.Certificate) != 2 || !pair.Leaf.NotAfter.Equal(until) || len(pair.Leaf.DNSNames) != 0 {
		t.Errorf("chain of %d, until %v, names %v", len(pair.Certificate), pair.Leaf.NotAfter, pair.Leaf.DNSNames)
	}
}

func verify(roots *x509.CertPool, pair tls.Certificate, host string) error {
	chain := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain.AddCert(c)
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: chain})
	return err
}
