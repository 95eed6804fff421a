package probes

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/dnstest"
	"postern/test/harness"
)

// TestADomainWithDANE is a whole domain behind a signed root of its own: a good host, and one whose certificate is
// not the published one.
func TestADomainWithDANE(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	good, other := ca.Issue(t, harness.ECDSA, "mx.good.com"), ca.Issue(t, harness.ECDSA, "mx.bad.com")
	addr := harness.FreePort(t, "127.0.0.1")
	strict(t, addr, good, "may")
	_, port, _ := net.SplitHostPort(addr)
	zone := func(pair harness.Pair) string {
		return fmt.Sprintf("@ MX 10 mx\nmx A 127.0.0.1\n_%[1]s._tcp.mx TLSA 3 1 1 %[2]s\n_%[1]s._tcp.mx TLSA 3 1 1 %[3]s\n", port, keyHash(t, pair), strings.Repeat("ab", 32))
	}
	dns := dnstest.StartSigned(t, dnstest.Zone{Name: "."}, dnstest.Zone{Name: "good.com", Records: zone(good)}, dnstest.Zone{Name: "bad.com", Records: zone(other)},
		dnstest.Zone{Name: "open.com", Unsigned: true, Records: zone(good)})
	anchors := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(anchors, []byte(dns.Anchors), 0o600); err != nil {
		t.Fatal(err)
	}
	config := probing(t, ca, fmt.Sprintf("resolver {\n  servers = [%q]\n  trust_anchors = %q\n}\n", dns.Address, anchors))
	for _, c := range []struct {
		domain   string
		code     int
		level    string
		findings []string
	}{
		{"good.com", 0, "dane", []string{"dnssec good: the MX records are signed", "dnssec good: the addresses are signed", "tlsa good: 2 of 2", "rollover good", "dane good: matches TLSA 3 1 1",
			"certificate sufficient: for mx.good.com, trusted", "mta-sts note", "tlsrpt note"}},
		{"bad.com", 1, "dane", []string{"dane insufficient: certificate for mx.good.com: the server's certificate matches none of the TLSA records", "certificate note: certificate for mx.good.com"}},
		{"open.com", 1, "may", []string{"dnssec insufficient: the MX records are not signed", "tlsa insufficient: no DANE"}},
	} {
		r, code := probe(t, config, c.domain, "--port", port)
		if code != c.code || r.Kind != "domain" || !r.Complete || r.Hosts[0].Level != c.level {
			t.Errorf("%s: exit code %d, complete %v, hosts %+v:\n%s", c.domain, code, r.Complete, r.Hosts, r)
		}
		r.want(t, c.findings...)
	}
}

// keyHash is the SHA-256 of a public key, as a TLSA record 3 1 1 has it.
func keyHash(t *testing.T, p harness.Pair) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return harness.Sum(c.RawSubjectPublicKeyInfo)
}

// sameAsTestssl compares with an independent judge, testssl.sh.
func (r report) sameAsTestssl(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	p := harness.StartProcess(t, harness.Tool(t, "testssl"), "--starttls", "smtp", "--openssl", harness.Tool(t, "openssl"), "--warnings", "off", "--quiet", "--color", "0",
		"--nodns", "min", "--ip", "one", "-p", "-f", "-R", "--jsonfile", file, r.Target)
	if !p.Wait(10 * harness.Deadline) {
		t.Fatalf("testssl.sh hangs:\n%s", p.Out.String())
	}
	found := testsslFindings(t, file)
	for id, version := range map[string]string{"SSLv3": "SSL 3.0", "TLS1": "TLS 1.0", "TLS1_1": "TLS 1.1", "TLS1_2": "TLS 1.2", "TLS1_3": "TLS 1.3"} {
		if theirs, ours := strings.HasPrefix(found[id], "offered"), slices.Contains(r.Hosts[0].Addresses[0].Versions, version); theirs != ours {
			t.Errorf("%s: testssl says %q, probe %v", version, found[id], ours)
		}
	}
	if !strings.HasPrefix(found["secure_renego"], "supported") {
		t.Errorf("renegotiation: testssl says %q", found["secure_renego"])
	}
	r.want(t, "renegotiation good")
	curves := found["PFS_ECDHE_curves"] + " " + found["FS_ECDHE_curves"] // by the version of testssl.sh
	for openssl, name := range map[string]string{"prime256v1": "secp256r1", "secp384r1": "secp384r1", "secp521r1": "secp521r1", "X25519": "x25519", "X448": "x448"} {
		ours := false
		for _, g := range r.Hosts[0].Addresses[0].Groups {
			ours = ours || g.Name == name
		}
		if theirs := slices.Contains(strings.Fields(curves), openssl); theirs != ours {
			t.Errorf("%s: testssl says %q, probe %v", name, curves, ours)
		}
	}
}

// testsslFindings are those of a report, by their id.
func testsslFindings(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []struct{ ID, Finding string }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	found := map[string]string{}
	for _, f := range all {
		found[f.ID] = f.Finding
	}
	return found
}
