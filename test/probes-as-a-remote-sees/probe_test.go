// Package probes proves that postern probe sees of real mail servers what is
// there: postern's own grades, Postfix, Exim, OpenSMTPD, and servers with the
// OpenSSL of 2010.
package probes

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
)

// report is what is read of the JSON.
type report struct {
	Target, Kind, Grade string
	Complete            bool
	Findings            []struct{ Check, Host, Address, Grade, Text string }
	Hosts               []struct {
		Name, Level string
		Addresses   []struct {
			Versions []string
			Suites   []struct{ Version, Name, Grade string }
			Groups   []struct{ Name, Grade string }
			Order    string
		}
	}
}

// probing is a configuration that trusts the authority, and nothing else.
func probing(t *testing.T, ca *harness.CA, resolver string) (config string) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "config.hcl")
	text := fmt.Sprintf("hostname = \"probe.test\"\nstate \"memory\" {}\n%soutbound \"egress\" {\n  listen = [\"127.0.0.1:10025\"]\n  trusted_roots = %q\n}\n", resolver, ca.File)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// probe runs the command on a target.
func probe(t *testing.T, config, target string, more ...string) (r report, code int) {
	t.Helper()
	p := harness.StartProcess(t, harness.Binary(t), append([]string{"probe", target, "--json", "--time-limit", "10m", "--config", config}, more...)...)
	if !p.Wait(10 * harness.Deadline) { // a loaded machine makes some hundred handshakes
		t.Fatalf("probe hangs: %s", p.Out.String())
	}
	if err := json.Unmarshal([]byte(p.Out.String()), &r); err != nil {
		t.Fatalf("%v: %s", err, p.Out.String())
	}
	return r, p.ExitCode()
}

// want is a list of findings, "check grade: words of the text".
func (r report) want(t *testing.T, findings ...string) {
	t.Helper()
	for _, want := range findings {
		head, words, _ := strings.Cut(want, ": ")
		found := false
		for _, f := range r.Findings {
			found = found || f.Check+" "+f.Grade == head && strings.Contains(f.Text, words)
		}
		if !found {
			t.Errorf("no finding %q of %s in:\n%s", want, r.Target, r)
		}
	}
}

func (r report) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s: %s\n", f.Check, f.Grade, f.Text)
	}
	return b.String()
}

// versions are those of the first host.
func (r report) versions() string {
	if len(r.Hosts) == 0 || len(r.Hosts[0].Addresses) == 0 {
		return ""
	}
	return strings.Join(r.Hosts[0].Addresses[0].Versions, ", ")
}

// suites are those of the first host and one version, sorted.
func (r report) suites(version string) (all []string) {
	for _, s := range r.Hosts[0].Addresses[0].Suites {
		if s.Version == version {
			all = append(all, s.Name)
		}
	}
	slices.Sort(all)
	return all
}

// TestTheGradesOfPosternComeOutAsTheyAreDefined has a server for each of postern's own grades.
func TestTheGradesOfPosternComeOutAsTheyAreDefined(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	ca := harness.NewCA(t)
	config := probing(t, ca, "")
	for _, c := range []struct {
		grade, all, versions string
		code                 int
		findings             []string
	}{
		{"modern", "sufficient", "TLS 1.3", 0, []string{"versions good", "suites sufficient: 3 suites", "forward-secrecy good"}},
		{"intermediate", "sufficient", "TLS 1.3, TLS 1.2", 0, []string{"versions sufficient", "suites sufficient: 6 suites", "forward-secrecy good", "extended-master-secret good", "renegotiation good", "compression good", "signatures good"}},
		{"mail", "insufficient", "TLS 1.3, TLS 1.2", 1, []string{"versions sufficient", "suites insufficient: insufficient: TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "order good"}},
		{"legacy", "insufficient", "TLS 1.3, TLS 1.2, TLS 1.1, TLS 1.0", 1, []string{"versions insufficient"}},
	} {
		t.Run(c.grade, func(t *testing.T) {
			edge := harness.Edge{Backend: backend.Addr, Grade: c.grade, CA: ca}.Start(t)
			r, code := probe(t, config, edge.Addr)
			if r.Grade != c.all || code != c.code || r.versions() != c.versions || !r.Complete {
				t.Errorf("%s, exit code %d, %s, complete %v:\n%s", r.Grade, code, r.versions(), r.Complete, r)
			}
			r.want(t, append(c.findings, "starttls good: STARTTLS works", "injection good", "groups good", "groups note: hybrid", "key good: ECDSA P-256", "certificate note: for mx.test")...)
		})
	}
}

func TestTheLegacyGradeShowsItsOldSuites(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr, CA: ca, Grade: "legacy",
		Certificates: []harness.Pair{ca.Issue(t, harness.RSA, "mx.test")}, Inbound: "  forward_secrecy = \"prefer\""}.Start(t)
	r, _ := probe(t, probing(t, ca, ""), edge.Addr)
	r.want(t, "forward-secrecy insufficient: TLS_RSA_WITH_AES_128_GCM_SHA256", "key phase-out: RSA 2048 bits")
	for _, name := range []string{"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"} {
		if !slices.Contains(r.suites("TLS 1.2"), name) {
			t.Errorf("%s is not in %q", name, r.suites("TLS 1.2"))
		}
	}
}

func TestTLSFromTheFirstOctetOfPostern(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr, TLS: "implicit", Grade: "modern", CA: ca}.Start(t)
	r, code := probe(t, probing(t, ca, ""), edge.Addr, "--implicit-tls")
	if r.want(t, "starttls good: TLS from the first octet", "versions good"); code != 0 {
		t.Errorf("exit code %d:\n%s", code, r)
	}
}

// everything is the Postfix of an administrator who has let everything in.
const everything = "smtpd_tls_protocols = >=SSLv3\nsmtpd_tls_ciphers = medium\ntls_medium_cipherlist = ALL:aNULL:@SECLEVEL=0\nsmtpd_tls_eecdh_grade = auto\n"

func TestAPostfixThatLetsEverythingIn(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	pair := ca.Issue(t, harness.RSA, "mx.test")
	addr := harness.FreePort(t, "127.0.0.1")
	harness.NewPostfixMX(t, addr, &pair, strings.Split(strings.TrimSpace(everything), "\n")...)
	r, code := probe(t, probing(t, ca, ""), addr)
	if code != 1 || !r.Complete || r.versions() != "TLS 1.3, TLS 1.2, TLS 1.1, TLS 1.0" {
		t.Errorf("exit code %d, complete %v, %s:\n%s", code, r.Complete, r.versions(), r)
	}
	r.want(t, "versions insufficient", "suites insufficient", "forward-secrecy insufficient", "groups insufficient", "order phase-out: the client chooses",
		"signatures note: SHA-1", "extended-master-secret good", "injection good", "plaintext note: mail is taken in clear too", "tickets note: sessions are resumed")
	for _, kind := range []string{"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDH_anon_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"} {
		if !slices.Contains(r.suites("TLS 1.2"), kind) {
			t.Errorf("%s is not in %q", kind, r.suites("TLS 1.2"))
		}
	}
	r.sameAsTestssl(t)
}

// strict is a Postfix with which nothing is wrong.
func strict(t *testing.T, addr string, pair harness.Pair, level string) {
	t.Helper()
	harness.NewPostfixAt(t, addr, harness.Accepting, "smtpd_tls_security_level = "+level, "smtpd_tls_cert_file = "+pair.CertFile, "smtpd_tls_key_file = "+pair.KeyFile,
		"smtpd_tls_protocols = >=TLSv1.2", "smtpd_tls_mandatory_protocols = >=TLSv1.2", "smtpd_tls_ciphers = high", "smtpd_tls_mandatory_ciphers = high",
		"tls_high_cipherlist = ECDHE+AESGCM:ECDHE+CHACHA20", "tls_preempt_cipherlist = yes")
}

func TestAPostfixThatWantsTLS(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	pair := ca.Issue(t, harness.ECDSA, "mx.test")
	addr := harness.FreePort(t, "127.0.0.1")
	strict(t, addr, pair, "encrypt")
	r, code := probe(t, probing(t, ca, ""), addr)
	if code != 0 || r.Grade != "sufficient" || r.versions() != "TLS 1.3, TLS 1.2" {
		t.Errorf("exit code %d, %s, %s:\n%s", code, r.Grade, r.versions(), r)
	}
	r.want(t, "plaintext note: mail in clear is refused: 530 5.7.0", "suites sufficient: 6 suites")
}

func TestExim(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	addr := harness.FreePort(t, "127.0.0.1")
	harness.NewEximMX(t, addr, ca.Issue(t, harness.RSA, "mx.test"))
	r, _ := probe(t, probing(t, ca, ""), addr)
	r.want(t, "starttls good: TLS 1.3", "injection good", "ehlo note", "key phase-out: RSA 2048 bits")
	if !r.Complete || !strings.HasPrefix(r.versions(), "TLS 1.3, TLS 1.2") {
		t.Errorf("complete %v, %s:\n%s", r.Complete, r.versions(), r)
	}
}

func TestAServerWithoutTLS(t *testing.T) {
	t.Parallel()
	addr := harness.FreePort(t, "127.0.0.1")
	harness.NewOpenSMTPDMX(t, addr)
	r, code := probe(t, probing(t, harness.NewCA(t), ""), addr)
	if r.want(t, "starttls insufficient: STARTTLS is not offered", "plaintext note: mail is taken in clear too"); code != 1 || r.Grade != "insufficient" {
		t.Errorf("exit code %d, %s", code, r.Grade)
	}
}

// TestServersWithTheOpenSSLOf2010 has what crypto/tls cannot even offer.
func TestServersWithTheOpenSSLOf2010(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	pair, config := ca.Issue(t, harness.RSA, "mx.test"), probing(t, ca, "")
	for _, c := range []struct {
		version, method, ciphers, versions string
		findings                           []string
	}{
		{"0.8.28", "TLSv1_method", "", "TLS 1.0", []string{"starttls good: TLS 1.0", "versions insufficient", "extended-master-secret insufficient", "renegotiation good"}},
		{"0.8.28", "SSLv3_method", "", "SSL 3.0", []string{"starttls insufficient: the handshake of TLS fails", "versions insufficient: accepted: SSL 3.0"}},
		{"0.10.24", "SSLv23_method", "RC4-SHA:DES-CBC3-SHA:AES128-SHA:@STRENGTH", "TLS 1.2, TLS 1.1, TLS 1.0, SSL 3.0", []string{"starttls good", "suites insufficient: 3 suites; insufficient: TLS_RSA_WITH_", "forward-secrecy insufficient: TLS_RSA_WITH_RC4_128_SHA"}},
	} {
		t.Run(c.version+" "+c.method+" "+c.ciphers, func(t *testing.T) {
			r, code := probe(t, config, old(t, c.version, c.method, c.ciphers, pair))
			if code != 1 || !r.Complete || r.versions() != c.versions {
				t.Errorf("exit code %d, complete %v, %s:\n%s", code, r.Complete, r.versions(), r)
			}
			r.want(t, c.findings...)
		})
	}
}

// old starts a server with an OpenSSL of its time.
func old(t *testing.T, version, method, ciphers string, pair harness.Pair) string {
	t.Helper()
	node := harness.Cached(t, "node-"+version+"/bin/node")
	addr := harness.FreePort(t, "127.0.0.1")
	host, port, _ := net.SplitHostPort(addr)
	p := harness.StartProcess(t, node, "../delivers-as-the-table-says/testdata/server.js", host, port, method, ciphers, pair.CertFile, pair.KeyFile)
	harness.Eventually(t, "the old server listens", func() bool { return p.Ended() || strings.Contains(p.Out.String(), "LISTENING") })
	if p.Ended() {
		t.Fatalf("node %s: %s", version, p.Out.String())
	}
	return addr
}
