package policy_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"postern/tls/policy"
)

// connect runs a handshake with a server over TCP, reads one octet, which brings TLS 1.3's
// tickets along, and returns what the client made of it.
func connect(t testing.TB, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if s, err := l.Accept(); err == nil {
			s.Write([]byte("x"))
			s.Close()
		}
	}()
	raw, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, client)
	_, err = io.ReadFull(c, make([]byte, 1))
	state := c.ConnectionState()
	c.Close()
	<-served
	return state, err
}

// outcome is one handshake under a decision.
type outcome struct {
	verdict policy.Verdict
	state   tls.ConnectionState
	saw     bool
	err     error
}

func under(t testing.TB, d *policy.Decision, server *tls.Config, o policy.ConfigOptions) (out outcome) {
	t.Helper()
	o.Verdict, o.SawCertificate = &out.verdict, &out.saw
	out.state, out.err = connect(t, server, d.Config(o))
	return out
}

// serving is a server with one certificate and everything that crypto/tls can do.
func serving(cert tls.Certificate) *tls.Config {
	all := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10}
	for _, s := range all {
		c.CipherSuites = append(c.CipherSuites, s.ID)
	}
	return c
}

// issue signs a certificate that catest has no words for. Without a parent it signs itself.
func issue(t testing.TB, c *x509.Certificate, parent *x509.Certificate, signer crypto.Signer) (tls.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, key
}

func selfSigned(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	cert, _ := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, nil, nil)
	return cert
}

// authority is a root, for what catest's authorities do not do.
func authority(t testing.TB, c x509.Certificate) (tls.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	c.Subject.CommonName = "Other Root"
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	return issue(t, &c, nil, nil)
}

func poolOf(cert tls.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(cert.Leaf)
	return p
}

// negativeSerial sets the sign of the serial number, which crypto/x509 refuses to parse.
func negativeSerial(t testing.TB, issue func() tls.Certificate) tls.Certificate {
	t.Helper()
	cert := issue()
	for cert.Leaf.SerialNumber.BitLen()%8 == 0 { // its first octet is a zero, for the sign
		cert = issue()
	}
	serial := cert.Leaf.SerialNumber.Bytes()
	der := bytes.Clone(cert.Certificate[0])
	der[bytes.Index(der, serial)] |= 0x80
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: cert.PrivateKey}
}
