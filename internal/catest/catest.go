// Package catest is a throw-away certificate authority for tests. Nothing that
// it makes is worth keeping: every CA lives as long as its test, and the RSA
// keys, which are slow to make, are shared by the whole test process.
//
//	ca := catest.New(t)
//	pair := ca.Issue(t, catest.Leaf{Names: []string{"mx.example.org"}})
//	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "mx.example.org"}
//
// The zero Leaf is a valid ECDSA P-256 server certificate for "localhost",
// 127.0.0.1 and ::1. Files writes the same as PEM files, for the code that reads
// them from disk.
package catest

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
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// KeyType says which kind of key a leaf has. The zero value is ECDSA.
type KeyType int

// The kinds of keys. RSA2048 and RSA1024 keys are made once per process: two
// leaves of the same kind have the same key.
const (
	ECDSA   KeyType = iota // P-256
	RSA2048                // what most mail servers have
	RSA1024                // too short, for warnings
	Ed25519                // what few clients can verify
)

// Leaf describes a certificate. The zero value is valid: see the package comment.
type Leaf struct {
	Names      []string      // DNS names, wildcards included
	IPs        []string      // IP literals
	CommonName string        // default: the first of Names
	Key        KeyType       // default: ECDSA P-256
	Signer     crypto.Signer // this key instead of one of type Key
	NotBefore  time.Time     // default: an hour ago
	NotAfter   time.Time     // default: a day ahead
	Client     bool          // for client authentication rather than for servers
}

// CA is a certificate authority: a root, or an intermediate made by Intermediate.
type CA struct {
	Cert  *x509.Certificate
	key   crypto.Signer
	chain [][]byte // DER of what a server sends behind the leaf: intermediates, no root
	root  *x509.Certificate
}

// New makes a root.
func New(t testing.TB) *CA {
	t.Helper()
	key := ecdsaKey(t)
	cert := sign(t, caTemplate("Test Root"), nil, key.Public(), key)
	return &CA{Cert: cert, key: key, root: cert}
}

// Intermediate makes an authority below ca. Certificates that it issues carry
// it in their chain; its Pool and PEM are still those of the root.
func (ca *CA) Intermediate(t testing.TB) *CA {
	t.Helper()
	key := ecdsaKey(t)
	cert := sign(t, caTemplate("Test Intermediate"), ca.Cert, key.Public(), ca.key)
	chain := append([][]byte{cert.Raw}, ca.chain...)
	return &CA{Cert: cert, key: key, chain: chain, root: ca.root}
}

// Pool returns the root as trusted roots for a client.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.root)
	return pool
}

// PEM returns the root as the content of a file of trusted roots.
func (ca *CA) PEM() []byte { return encodePEM("CERTIFICATE", ca.root.Raw) }

// Issue makes a certificate with its chain and key, Leaf set.
func (ca *CA) Issue(t testing.TB, l Leaf) tls.Certificate {
	t.Helper()
	key := l.Signer
	if key == nil {
		key = newKey(t, l.Key)
	}
	cert := sign(t, l.template(t), ca.Cert, key.Public(), ca.key)
	return tls.Certificate{
		Certificate: append([][]byte{cert.Raw}, ca.chain...),
		PrivateKey:  key,
		Leaf:        cert,
	}
}

// Files issues a certificate and writes it, with its chain and its key, into a
// new temporary folder: cert.pem and key.pem.
func (ca *CA) Files(t testing.TB, l Leaf) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM, keyPEM := PEM(t, ca.Issue(t, l))
	Write(t, certFile, certPEM)
	Write(t, keyFile, keyPEM)
	return certFile, keyFile
}

// PEM returns the two texts that a certificate's files hold; the key is PKCS #8.
func PEM(t testing.TB, c tls.Certificate) (certPEM, keyPEM []byte) {
	t.Helper()
	for _, der := range c.Certificate {
		certPEM = append(certPEM, encodePEM("CERTIFICATE", der)...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(t, err)
	return certPEM, encodePEM("PRIVATE KEY", der)
}

// Write writes a file that only its owner can read.
func Write(t testing.TB, file string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(file, data, 0o600))
}

func (l Leaf) template(t testing.TB) *x509.Certificate {
	if len(l.Names)+len(l.IPs) == 0 && l.CommonName == "" {
		l.Names, l.IPs = []string{"localhost"}, []string{"127.0.0.1", "::1"}
	}
	if l.CommonName == "" && len(l.Names) > 0 {
		l.CommonName = l.Names[0]
	}
	c := template(l.CommonName)
	c.DNSNames = l.Names
	for _, ip := range l.IPs {
		if c.IPAddresses = append(c.IPAddresses, net.ParseIP(ip)); net.ParseIP(ip) == nil {
			t.Fatalf("catest: %q is not an IP address", ip)
		}
	}
	c.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if l.Client {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if !l.NotBefore.IsZero() {
		c.NotBefore = l.NotBefore
	}
	if !l.NotAfter.IsZero() {
		c.NotAfter = l.NotAfter
	}
	return c
}

func template(commonName string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
	}
}

func caTemplate(commonName string) *x509.Certificate {
	c := template(commonName)
	c.IsCA = true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return c
}

// sign makes a certificate; without a parent it signs itself.
func sign(t testing.TB, c, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

var (
	rsa2048 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	rsa1024 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 1024) })
)

func newKey(t testing.TB, k KeyType) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch k {
	case RSA2048:
		key, err = rsa2048()
	case RSA1024:
		key, err = rsa1024()
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key = ecdsaKey(t)
	}
	must(t, err)
	return key
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("catest: %v", err)
	}
}
