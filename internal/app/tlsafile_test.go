package app

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"strings"
	"testing"

	"postern/internal/catest"
)

// forms writes one key in every form that is read, and returns the files.
func forms(t *testing.T, d *domain, name string, kind catest.KeyType) (files []string) {
	t.Helper()
	c := d.spare(t, name, catest.Leaf{Names: []string{"mx1.example.org", "*.example.org"}, Key: kind})
	write := func(form, block string, der []byte) {
		file := d.path(name + "-" + form + ".pem")
		catest.Write(t, file, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}))
		files = append(files, file)
	}
	write("request", "CERTIFICATE REQUEST", must1(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: c.Leaf.DNSNames}, c.PrivateKey)))
	write("public", "PUBLIC KEY", c.Leaf.RawSubjectPublicKeyInfo)
	switch key := c.PrivateKey.(type) {
	case *rsa.PrivateKey:
		write("old", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	case *ecdsa.PrivateKey:
		write("old", "EC PRIVATE KEY", must1(x509.MarshalECPrivateKey(key)))
	}
	both := d.path(name + "-both.pem")
	catest.Write(t, both, append(must1(os.ReadFile(d.path(name+".key"))), must1(os.ReadFile(d.path(name+".pem")))...))
	return append(files, both, d.path(name+".pem"), d.path(name+".key"))
}

func TestEveryFormOfAKeyHasTheSameRecord(t *testing.T) {
	d := newDomain(t)
	for name, kind := range map[string]catest.KeyType{"ec": catest.ECDSA, "rs": catest.RSA2048, "ed": catest.Ed25519} {
		cert := must1(x509.ParseCertificate(must1(readPEM(d, t, name, kind))))
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		want := "_25._tcp.mx1.example.org. 3600 IN TLSA 3 1 1 " + hex.EncodeToString(sum[:])
		for _, file := range d.files {
			text, notes, err := printed(t, TLSAOptions{Files: []string{file}, Names: []string{"mx1.example.org"}})
			if err != nil || !strings.HasSuffix(strings.TrimSpace(text), want) || strings.Count(text, "TLSA") != 1 || notes != "" {
				t.Errorf("%s: %v\n%s%s", file, err, notes, text)
			}
		}
	}
}

// readPEM writes the forms of a key, for the files of d, and returns its certificate.
func readPEM(d *domain, t *testing.T, name string, kind catest.KeyType) ([]byte, error) {
	t.Helper()
	d.files = forms(t, d, name, kind)
	text, err := os.ReadFile(d.path(name + ".pem"))
	if err != nil {
		return nil, err
	}
	return pemBlocks(text)[0].Bytes, nil
}

func TestTheNameIsThatOfTheCertificate(t *testing.T) {
	d := newDomain(t)
	files := forms(t, d, "ec", catest.ECDSA)
	d.spare(t, "other", catest.Leaf{Names: []string{"mx.example.net"}})
	text, _, err := printed(t, TLSAOptions{Files: []string{files[0], d.path("other.pem"), d.path("rsa.pem")}})
	must(err)
	wantWords(t, "request and certificates", text,
		"_25._tcp.mx1.example.org. 3600 IN TLSA "+d.record("ec.pem"), "_25._tcp.mx.example.net. 3600 IN TLSA "+d.record("other.pem"), "_25._tcp.mx1.example.org. 3600 IN TLSA "+d.record("rsa.pem"))
	if strings.Contains(text, "*") || strings.Count(text, "TLSA") != 3 {
		t.Errorf("not these three:\n%s", text)
	}
}

func TestAKeyInTwoFilesHasOneRecord(t *testing.T) {
	d := newDomain(t)
	text, _, err := printed(t, TLSAOptions{Files: []string{d.path("rsa.pem"), d.path("ecdsa.pem"), d.path("rsa.key")}, Names: []string{"mx1.example.org"}})
	if err != nil || strings.Count(text, d.record("rsa.pem")) != 1 || strings.Count(text, "TLSA") != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestAFileThatHasNoKeyIsRefused(t *testing.T) {
	d := newDomain(t)
	noSigner := must1(x509.MarshalPKCS8PrivateKey(must1(ecdh.X25519().GenerateKey(rand.Reader))))
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for content, want := range map[string]string{
		"":                                        "holds no certificate and no key",
		"nothing of the kind":                     "holds no certificate and no key",
		block("DH PARAMETERS", []byte{1}):         "holds no certificate and no key",
		block("CERTIFICATE", []byte{1}):           "malformed certificate",
		block("PRIVATE KEY", []byte{1}):           "asn1",
		block("PUBLIC KEY", []byte{1}):            "asn1",
		block("CERTIFICATE REQUEST", []byte{1}):   "asn1",
		block("PRIVATE KEY", noSigner):            "signs nothing",
		block("ENCRYPTED PRIVATE KEY", []byte{1}): "passphrase",
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n": "passphrase",
	} {
		catest.Write(t, d.path("bad.pem"), []byte(content))
		text, _, err := printed(t, TLSAOptions{Files: []string{d.path("bad.pem")}, Names: []string{"mx.example.org"}})
		if err == nil || text != "" || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bad.pem") || Hint(err) == "" {
			t.Errorf("%.40q: %v, %q", content, err, text)
		}
	}
	for name, o := range map[string]TLSAOptions{
		"names no host":              {Files: []string{d.path("rsa.key")}},
		"missing.pem":                {Files: []string{d.path("missing.pem")}},
		"holds no certificate":       {Files: []string{d.path("rsa.pem")}, IssuerFile: d.path("rsa.key")},
		"none.pem":                   {Files: []string{d.path("rsa.pem")}, Next: []string{d.path("none.pem")}},
		"absent.pem":                 {Files: []string{d.path("rsa.pem")}, IssuerFile: d.path("absent.pem")},
		"not a domain name":          {Files: []string{d.path("rsa.pem")}, Names: []string{"a b"}},
		`there is no inbound "away"`: {Config: d.config(t, inMemory), Inbound: "away"},
	} {
		if text, _, err := printed(t, o); err == nil || text != "" || !strings.Contains(err.Error(), name) || Hint(err) == "" {
			t.Errorf("%s: %v, %q", name, err, text)
		}
	}
}

// What is written in the zone is compared with what an administrator would type without postern.
func TestOpenSSLComputesTheSameRecords(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("POSTERN_CI") == "1" {
			t.Fatal("openssl must not be missing with POSTERN_CI=1")
		}
		t.Skip("there is no openssl")
	}
	d := newDomain(t)
	catest.Write(t, d.path("ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.ca.Cert.Raw}))
	const sum = " | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -c 1-64"
	for file, command := range map[string]string{
		"ecdsa.pem": "openssl x509 -in $0 -noout -pubkey" + sum,
		"rsa.pem":   "openssl x509 -in $0 -noout -pubkey" + sum,
		"rsa.key":   "openssl pkey -in $0 -pubout" + sum,
		"ec.csr":    "openssl req -in $0 -noout -pubkey" + sum,
		"ca.pem":    "openssl x509 -in $0 -noout -pubkey" + sum,
	} {
		if file == "ec.csr" {
			must(exec.Command("openssl", "req", "-new", "-key", d.path("ecdsa.key"), "-subj", "/CN=mx1.example.org", "-out", d.path(file)).Run())
		}
		out, err := exec.Command("sh", "-c", command, d.path(file)).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		o, want := TLSAOptions{Files: []string{d.path(file)}}, "TLSA 3 1 1 "
		if file == "ca.pem" {
			o, want = TLSAOptions{Files: []string{d.path("rsa.pem")}, IssuerFile: d.path(file)}, "TLSA 2 1 1 "
		}
		o.Names = []string{"mx1.example.org"}
		text, _, err := printed(t, o)
		if want += string(out); err != nil || len(out) != 65 || !strings.HasSuffix(text, want) {
			t.Errorf("%s: %v\n%swant: %s", file, err, text, want)
		}
	}
}
