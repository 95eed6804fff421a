package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/catest"
	"postern/tls/certs"
)

func TestKeysOfEveryKindAreRead(t *testing.T) {
	ca := catest.New(t)
	for name, l := range map[string]catest.Leaf{"EC": {}, "RSA": {Key: catest.RSA2048}, "Ed25519": {Key: catest.Ed25519}} {
		pair := ca.Issue(t, l)
		certPEM, pkcs8 := catest.PEM(t, pair)
		for form, keyPEM := range keyForms(t, pair, pkcs8) {
			s, err := certs.FromFiles("mx", write(t, "cert", certPEM), write(t, "key", keyPEM))
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
				continue
			}
			if got := s.Certificates(); len(got) != 1 || !got[0].Leaf.Equal(pair.Leaf) {
				t.Errorf("%s, %s: got %d certificates", name, form, len(got))
			}
		}
		both := write(t, "both", slices.Concat(pkcs8, certPEM))
		if _, err := certs.FromFiles("mx", both, both); err != nil {
			t.Errorf("%s in one file: %v", name, err)
		}
	}
}

func keyForms(t *testing.T, pair tls.Certificate, pkcs8 []byte) map[string][]byte {
	forms := map[string][]byte{"PKCS #8": pkcs8}
	switch key := pair.PrivateKey.(type) {
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
		forms["SEC 1"] = slices.Concat(params, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	case *rsa.PrivateKey:
		forms["PKCS #1"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	}
	return forms
}

func TestABadPairNamesTheRemedy(t *testing.T) {
	ca := catest.New(t)
	certPEM, keyPEM := catest.PEM(t, ca.Intermediate(t).Issue(t, catest.Leaf{}))
	_, otherKey := catest.PEM(t, ca.Issue(t, catest.Leaf{}))
	_, rsaKey := catest.PEM(t, ca.Issue(t, catest.Leaf{Key: catest.RSA2048}))
	leaf, rest := pem.Decode(certPEM)
	reversed := slices.Concat(rest, pem.EncodeToMemory(leaf))
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	encryptedOld := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}})
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	tests := []struct {
		name      string
		cert, key []byte // nil: no such file
		want      string
	}{
		{"no certificate file", nil, keyPEM, "does not exist: correct the path"},
		{"no key file", certPEM, nil, "does not exist: correct the path"},
		{"another key", certPEM, otherKey, "the other file is still missing"},
		{"a key of another kind", certPEM, rsaKey, "the other file is still missing"},
		{"exchanged", keyPEM, certPEM, "are exchanged"},
		{"a key twice", keyPEM, keyPEM, "holds no certificate in PEM form"},
		{"a certificate twice", certPEM, certPEM, "holds no private key in PEM form"},
		{"the leaf last", reversed, keyPEM, "belongs to its certificate number 2, which must be the first"},
		{"an encrypted key", certPEM, encrypted, "encrypted with a passphrase: write it without one"},
		{"an encrypted key, old form", certPEM, encryptedOld, "encrypted with a passphrase: write it without one"},
		{"DER", leaf.Bytes, keyPEM, "convert DER"},
		{"empty files", []byte{}, []byte{}, "holds no certificate in PEM form"},
		{"half a certificate", certPEM[:100], keyPEM, "holds no certificate in PEM form"},
		{"half a key", certPEM, keyPEM[:100], "holds no private key in PEM form"},
		{"garbage in PEM", broken, keyPEM, "the first certificate cannot be read"},
	}
	for _, tt := range tests {
		_, err := certs.FromFiles("mx", write(t, "cert.pem", tt.cert), write(t, "key.pem", tt.key))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), `certificate "mx": `) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestAFileThatMayNotBeReadNamesTheUser(t *testing.T) {
	certFile, keyFile := catest.New(t).Files(t, catest.Leaf{})
	if err := os.Chmod(keyFile, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(certFile, 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	unprivileged(t, filepath.Dir(keyFile), func() { _, err = certs.FromFiles("mx", certFile, keyFile) })
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "key_file "+keyFile+" may not be read by user") {
		t.Errorf("got %v", err)
	}
}

// unprivileged calls f without what root may do with files, on a thread that is
// not used again. Everybody may enter dir then.
func unprivileged(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		const nobody = 65534
		err := unix.Setfsuid(nobody)
		if err == nil {
			f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func TestAFolderInsteadOfAFile(t *testing.T) {
	certFile, _ := catest.New(t).Files(t, catest.Leaf{})
	if _, err := certs.FromFiles("mx", certFile, t.TempDir()); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("got %v", err)
	}
}

func TestReloadTakesANewPair(t *testing.T) {
	ca := catest.New(t)
	certFile, keyFile := ca.Files(t, catest.Leaf{})
	s := fromFiles(t, certFile, keyFile)
	set := certs.NewSet(s)
	expectReload(t, s, false, "")
	next := ca.Issue(t, catest.Leaf{})
	writePair(t, certFile, keyFile, next)
	expectReload(t, s, true, "")
	expectReload(t, s, false, "")
	if c, _ := set.GetCertificate(&modern); !c.Leaf.Equal(next.Leaf) {
		t.Error("the set shows the old certificate")
	}
}

func TestHalfAPairKeepsTheOldUntilTheOtherHalfArrives(t *testing.T) {
	ca := catest.New(t)
	certFile, keyFile := ca.Files(t, catest.Leaf{})
	s := fromFiles(t, certFile, keyFile)
	old := s.Certificates()[0]
	next := ca.Issue(t, catest.Leaf{})
	certPEM, keyPEM := catest.PEM(t, next)

	catest.Write(t, certFile, certPEM)
	expectReload(t, s, false, "the other file is still missing")
	if s.Certificates()[0] != old {
		t.Fatal("the old certificate has gone")
	}
	catest.Write(t, keyFile, keyPEM)
	expectReload(t, s, true, "")
	if !s.Certificates()[0].Leaf.Equal(next.Leaf) {
		t.Error("the new certificate has not come")
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	expectReload(t, s, false, "does not exist")
	if !s.Certificates()[0].Leaf.Equal(next.Leaf) {
		t.Error("a missing file has taken the certificate away")
	}
}

// TestHandshakesGoOnWhileCertificatesChange: each sees the old or the new pair, and
// none fails.
func TestHandshakesGoOnWhileCertificatesChange(t *testing.T) {
	ca := catest.New(t)
	certFile, keyFile := ca.Files(t, catest.Leaf{})
	changing := fromFiles(t, certFile, keyFile)
	set := certs.NewSet(changing, static(t, "rsa", ca.Issue(t, catest.Leaf{Key: catest.RSA2048})))
	server := &tls.Config{GetCertificate: set.GetCertificate}
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}

	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				if _, err := handshake(server, client); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		writePair(t, certFile, keyFile, ca.Issue(t, catest.Leaf{}))
		expectReload(t, changing, true, "")
	}
	close(stop)
	clients.Wait()
	if c, _ := set.GetCertificate(&modern); c != changing.Certificates()[0] {
		t.Error("the last certificate is not the one shown")
	}
}

func TestSelfSignedServesTwoKindsOfKeys(t *testing.T) {
	s, err := certs.SelfSigned("demo", []string{"MX1.example.org.", "*.example.net", "192.0.2.1", "2001:db8::1"})
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{GetCertificate: certs.NewSet(s).GetCertificate}
	for suite, kind := range map[uint16]x509.PublicKeyAlgorithm{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: x509.ECDSA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   x509.RSA,
	} {
		roots := x509.NewCertPool()
		for _, c := range s.Certificates() {
			roots.AddCert(c.Leaf)
		}
		state, err := handshake(server, &tls.Config{
			RootCAs: roots, ServerName: "mx1.example.org", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite},
		})
		if err != nil {
			t.Fatal(err)
		}
		leaf := state.PeerCertificates[0]
		if leaf.PublicKeyAlgorithm != kind {
			t.Errorf("got a key of %v, want %v", leaf.PublicKeyAlgorithm, kind)
		}
		// Clients that use RSA key exchange look for the bit, and ECDSA keys have no use for it.
		if (leaf.KeyUsage&x509.KeyUsageKeyEncipherment != 0) != (kind == x509.RSA) {
			t.Errorf("%v: key usage %b", kind, leaf.KeyUsage)
		}
		for _, host := range []string{"mx1.example.org", "a.example.net", "192.0.2.1", "2001:db8::1"} {
			if err := leaf.VerifyHostname(host); err != nil {
				t.Error(err)
			}
		}
		if life := leaf.NotAfter.Sub(leaf.NotBefore); life < 360*24*time.Hour || life > 398*24*time.Hour {
			t.Errorf("valid for %v", life)
		}
	}
	expectReload(t, s, false, "")
}

func TestSelfSignedRefusesWhatIsNoHost(t *testing.T) {
	for _, hosts := range [][]string{nil, {""}, {"mx1.example.org", "müller.example"}, {"mx 1"}, {strings.Repeat("a", 254)}} {
		if _, err := certs.SelfSigned("demo", hosts); err == nil || !strings.Contains(err.Error(), "self_signed") {
			t.Errorf("%q: got %v", hosts, err)
		}
	}
	if _, err := certs.SelfSigned("demo", []string{strings.Repeat("a", 63) + ".example.org"}); err != nil {
		t.Errorf("a long name: %v", err)
	}
}

func TestStaticRefusesWhatCannotBeServed(t *testing.T) {
	good := catest.New(t).Issue(t, catest.Leaf{})
	for name, list := range map[string][]tls.Certificate{
		"nothing":     nil,
		"no key":      {{Certificate: good.Certificate}},
		"no content":  {{PrivateKey: good.PrivateKey}},
		"bad content": {{PrivateKey: good.PrivateKey, Certificate: [][]byte{{1}}}},
	} {
		if _, err := certs.Static("x", list...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := static(t, "x", tls.Certificate{Certificate: good.Certificate, PrivateKey: good.PrivateKey})
	if !s.Certificates()[0].Leaf.Equal(good.Leaf) || s.Name() != "x" {
		t.Error("the leaf was not parsed")
	}
	expectReload(t, s, false, "")
}

func TestWarningsNameWhatAVerifierWouldSee(t *testing.T) {
	ca := catest.New(t)
	now := time.Now()
	chain := ca.Intermediate(t).Issue(t, catest.Leaf{})
	stray := ca.Issue(t, catest.Leaf{})
	stray.Certificate = append(stray.Certificate, catest.New(t).Intermediate(t).Cert.Raw, chain.Certificate[1])
	selfSigned, err := certs.SelfSigned("x", []string{"mx.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		source *certs.Source
		want   []string
	}{
		{"good", static(t, "x", ca.Issue(t, catest.Leaf{}), ca.Issue(t, catest.Leaf{Key: catest.RSA2048})), nil},
		{"a good chain", static(t, "x", chain), nil},
		{"expired", static(t, "x", ca.Issue(t, catest.Leaf{NotAfter: now.Add(-time.Minute)})), []string{`certificate "x" (ECDSA P-256): expired on `}},
		{"too early", static(t, "x", ca.Issue(t, catest.Leaf{NotBefore: now.Add(time.Hour)})), []string{"not valid before "}},
		{"short key", static(t, "x", ca.Issue(t, catest.Leaf{Key: catest.RSA1024})), []string{`certificate "x" (RSA 1024): its RSA key has 1024 bits`}},
		{"no names", static(t, "x", ca.Issue(t, catest.Leaf{CommonName: "mx.example.org"})), []string{"names no host"}},
		{"SHA-1", static(t, "x", signedWithSHA1(t)), []string{"self-signed", "certificate 1 of the chain is signed with SHA1-RSA"}},
		{"a chain in disorder", static(t, "x", stray), []string{"certificate 2 of the chain (CN=Test Intermediate) did not issue the one before it (CN=localhost)",
			"certificate 3 of the chain"}},
		{"self-signed", selfSigned, []string{`(ECDSA P-256): self-signed`, `(RSA 2048): self-signed`}},
	}
	for _, tt := range tests {
		got := tt.source.Warnings(now)
		if len(got) != len(tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], tt.want[i]) {
				t.Errorf("%s: got %q, want %q", tt.name, got[i], tt.want[i])
			}
		}
	}
}

// signedWithSHA1 replaces the algorithm in a certificate, because crypto/x509 makes
// none with SHA-1. Its signature is not valid, and nothing here looks at it.
func signedWithSHA1(t *testing.T) tls.Certificate {
	t.Helper()
	pair := catest.New(t).Issue(t, catest.Leaf{Key: catest.RSA2048})
	key := pair.PrivateKey.(*rsa.PrivateKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, DNSNames: []string{"old.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), SignatureAlgorithm: x509.SHA256WithRSA}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sha256WithRSA := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}
	sha1WithRSA := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5}
	return tls.Certificate{Certificate: [][]byte{bytes.ReplaceAll(der, sha256WithRSA, sha1WithRSA)}, PrivateKey: key}
}

func fromFiles(t *testing.T, certFile, keyFile string) *certs.Source {
	t.Helper()
	s, err := certs.FromFiles("mx", certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expectReload(t *testing.T, s *certs.Source, changed bool, errText string) {
	t.Helper()
	got, err := s.Reload()
	if got != changed || (err != nil) != (errText != "") || err != nil && !strings.Contains(err.Error(), errText) {
		t.Errorf("reload: got %v, %v, want %v, %q", got, err, changed, errText)
	}
}

func writePair(t *testing.T, certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	certPEM, keyPEM := catest.PEM(t, pair)
	catest.Write(t, certFile, certPEM)
	catest.Write(t, keyFile, keyPEM)
}

// write writes a file with that content and returns its name; nil writes none.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if data != nil {
		catest.Write(t, file, data)
	}
	return file
}
