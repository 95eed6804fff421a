// Package grade proves with testssl.sh, an independent judge, that each grade
// offers what it says and nothing else.
package grade

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

// findings of testssl.sh, by their id.
type findings map[string]struct {
	ID, Severity, Finding string
}

// examine runs testssl.sh with the checks that are quick enough: protocols,
// categories of ciphers, forward secrecy, and the flaws of the past.
func examine(t *testing.T, edge *harness.Postern) findings {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	p := harness.StartProcess(t, harness.Tool(t, "testssl"), "--starttls", "smtp", "--openssl", harness.Tool(t, "openssl"), "--warnings", "off",
		"--quiet", "--color", "0", "--nodns", "min", "--ip", "one", "-p", "-s", "-f", "-H", "-I", "-R", "-C", "-O", "--jsonfile", report, edge.Addr)
	if !p.Wait(10 * harness.Deadline) {
		t.Fatalf("testssl.sh hangs:\n%s", p.Out.String())
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v:\n%s", err, p.Out.String())
	}
	var list []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	all := findings{}
	for _, f := range list {
		all[f.ID] = f
	}
	return all
}

func TestGrades(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	ca := harness.NewCA(t)
	pairs := []harness.Pair{ca.Issue(t, harness.ECDSA, "mx.test"), ca.Issue(t, harness.RSA, "mx.test")}
	const on, off = "offered", "not offered"
	for _, c := range []struct {
		grade                           string
		tls10, tls11, tls12, tls13      string
		tripleDES, obsolete, rsaKX, pfs string
	}{
		{"modern", off, off, off, on, off, off, off, on},
		{"intermediate", off, off, on, on, off, off, off, on},
		{"mail", off, off, on, on, off, on, on, on},
		{"legacy", on, on, on, on, on, on, on, on},
	} {
		t.Run(c.grade, func(t *testing.T) {
			edge := harness.Edge{Backend: backend.Addr, Grade: c.grade, CA: ca, Certificates: pairs}.Start(t)
			found := examine(t, edge)
			for id, want := range map[string]string{
				"SSLv2": off, "SSLv3": off, "TLS1": c.tls10, "TLS1_1": c.tls11, "TLS1_2": c.tls12, "TLS1_3": c.tls13,
				"cipherlist_NULL": off, "cipherlist_aNULL": off, "cipherlist_EXPORT": off, "cipherlist_LOW": off,
				"cipherlist_3DES_IDEA": c.tripleDES, "cipherlist_AVERAGE": c.obsolete, "cipherlist_STRONG": on, "PFS": c.pfs,
			} {
				if got := found[id].Finding; !strings.HasPrefix(got, want) {
					t.Errorf("%s: %q, want %q", id, got, want)
				}
			}
			renegotiation, compression := "supported", "not vulnerable"
			if c.tls12 == off {
				renegotiation, compression = "TLS 1.3 only", "TLS 1.3 only"
			}
			for id, want := range map[string]string{
				"heartbleed": "not vulnerable", "CCS": "not vulnerable", "secure_renego": renegotiation,
				"secure_client_renego": "not vulnerable", "CRIME_TLS": compression, "POODLE_SSL": "not vulnerable",
			} {
				if got := found[id].Finding; !strings.HasPrefix(got, want) {
					t.Errorf("%s: %q, want %q", id, got, want)
				}
			}
			if t.Failed() {
				for id, f := range found {
					t.Logf("%s: %s (%s)", id, f.Finding, f.Severity)
				}
			}
		})
	}
}
