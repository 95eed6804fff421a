package harness

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/catest"
)

// The keys that mail servers have.
const (
	ECDSA = catest.ECDSA // P-256
	RSA   = catest.RSA2048
)

// CA is a throw-away certification authority whose files live as long as the
// test.
type CA struct {
	Pool *x509.CertPool
	File string // PEM, for clients that read one

	ca *catest.CA
}

// Pair is a certificate and its key in files, as postern reads them.
type Pair struct{ CertFile, KeyFile string }

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := catest.New(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, string(ca.PEM()), 0o644)
	return &CA{Pool: ca.Pool(), File: file, ca: ca}
}

// Issue makes a certificate of a server with the names.
func (ca *CA) Issue(t testing.TB, key catest.KeyType, names ...string) Pair {
	t.Helper()
	cert, private := ca.ca.Files(t, catest.Leaf{Names: names, Key: key})
	return Pair{CertFile: cert, KeyFile: private}
}

// IssueClient makes a certificate of a client with the name.
func (ca *CA) IssueClient(t testing.TB, name string) tls.Certificate {
	t.Helper()
	return ca.ca.Issue(t, catest.Leaf{Names: []string{name}, Client: true})
}

// Replace puts another pair into the files of p, each atomically, as a renewal
// does.
func (p Pair) Replace(t testing.TB, with Pair) {
	t.Helper()
	for dst, src := range map[string]string{p.KeyFile: with.KeyFile, p.CertFile: with.CertFile} {
		data, err := os.ReadFile(src)
		must(t, err)
		write(t, dst+".new", string(data), 0o600)
		must(t, os.Rename(dst+".new", dst))
	}
}

// Trusting is the TLS of a client that wants a certificate of ca for the name.
func Trusting(ca *CA, name string) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool, ServerName: name}
}
