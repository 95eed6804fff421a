package sees

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
	"postern/tls/hello"
)

// The OpenSSL of 2013 and 2018 is asked for one suite at a time by a client of the
// same OpenSSL: there is no other judge for SSLv3, export, DES, IDEA, SEED.
func TestOldOpenSSL(t *testing.T) {
	t.Parallel()
	pair, short := harness.NewCA(t).Issue(t, harness.RSA, "mx.test"), shortKey(t)
	params := dhParams(t)
	for _, c := range []struct {
		name, node string
		pair       harness.Pair
		params     string
		ciphers    string
		order      hello.Order
		versions   string // in which the server must accept anything
	}{
		{"1.0.1e, all", "0.10.24", pair, "", "ALL:COMPLEMENTOFALL", hello.ByServer, "TLSv1 SSLv3"},
		{"1.0.1e, all, the client's order", "0.10.24", pair, "", "ALL:COMPLEMENTOFALL", hello.ByClient, "TLSv1 SSLv3"},
		{"1.0.1e, export with a key of 512 bits", "0.10.24", short, "", "EXP:LOW", hello.ByServer, "TLSv1 SSLv3"},
		{"1.0.2o, all", "4.9.1", pair, params, "ALL:COMPLEMENTOFALL", hello.ByServer, "TLSv1_2 TLSv1_1 TLSv1"},
		{"1.0.2o, all, the client's order", "4.9.1", pair, params, "ALL:COMPLEMENTOFALL", hello.ByClient, "TLSv1_2 TLSv1_1 TLSv1"},
		{"1.0.2o, DHE alone", "4.9.1", pair, params, "kEDH", hello.ByServer, "TLSv1_2 TLSv1_1 TLSv1"},
		{"1.0.2o, AEAD alone", "4.9.1", pair, "", "AESGCM", hello.ByServer, "TLSv1_2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			node := harness.Cached(t, "node-"+c.node+"/bin/node")
			addr, p := serve(t, node, "testdata/server.js", "PORT", c.pair.CertFile, c.pair.KeyFile, c.params, c.ciphers, c.order.String())
			harness.Eventually(t, "the client has asked for every suite", func() bool { return strings.Contains(p.Out.String(), "READY") })
			truth := accepted(t, p.Out.String())
			for _, v := range []struct {
				name string
				id   uint16
			}{{"TLSv1_2", tls.VersionTLS12}, {"TLSv1_1", tls.VersionTLS11}, {"TLSv1", tls.VersionTLS10}, {"SSLv3", hello.VersionSSL30}} {
				if c.node == "0.10.24" && v.id > tls.VersionTLS10 {
					continue // its client cannot ask for these alone
				}
				got, f := suites(t, addr, v.id)
				same(t, got, truth[v.name])
				if any := len(truth[v.name]) > 0; any != slices.Contains(strings.Fields(c.versions), v.name) {
					t.Errorf("%s: the client gets %d suites", v.name, len(truth[v.name]))
				}
				if len(got) > 1 && f.Order != c.order {
					t.Errorf("%s: the order is the %s's", v.name, f.Order)
				}
			}
		})
	}
}

// accepted reads what server.js prints.
func accepted(t *testing.T, out string) map[string][]uint16 {
	all := map[string][]uint16{}
	for line := range strings.Lines(out) {
		version, id, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && (strings.HasPrefix(version, "TLSv") || version == "SSLv3") {
			all[version] = append(all[version], parse(t, id))
		}
	}
	return all
}

// shortKey makes a certificate with a key that export suites use as it is.
func shortKey(t *testing.T) harness.Pair {
	t.Helper()
	dir := t.TempDir()
	p := harness.Pair{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	out, code := harness.Run(t, "", harness.Tool(t, "openssl"), "req", "-x509", "-newkey", "rsa:512", "-noenc",
		"-keyout", p.KeyFile, "-out", p.CertFile, "-subj", "/CN=mx.test", "-days", "2")
	if code != 0 {
		t.Fatal(out)
	}
	return p
}

// dhParams makes parameters of 1024 bits of Diffie-Hellman (PKCS #3).
func dhParams(t *testing.T) string {
	t.Helper()
	prime, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct{ P, G *big.Int }{prime, big.NewInt(2)})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dh.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
