package catches

import (
	"strings"
	"testing"

	"postern/test/harness"
)

const document = "deploy/redirect.md"

func TestTheDocumentedSidecarIsOne(t *testing.T) {
	t.Parallel()
	config := harness.Snippets(t, document, "A sidecar")[0]
	files := "  cert_file = \"/etc/postern/fullchain.pem\"\n  key_file  = \"/etc/postern/privkey.pem\"\n"
	if !strings.Contains(config, files) {
		t.Fatalf("it has no certificate:\n%s", config)
	}
	file := harness.Config(t, "state \"memory\" {}\n"+strings.Replace(config, files, "  self_signed = [\"mail.example.org\"]\n", 1))
	harness.NewNamespace(t).Do(func() {
		if out := postern(t, "check", "--config", file); strings.Contains(out, "clients of") {
			t.Errorf("check says\n%s", out)
		}
	})
}

func TestTheDocumentedRulesAreTheInstalledOnes(t *testing.T) {
	t.Parallel()
	want := strings.TrimSpace(harness.Snippets(t, document, "The rules")[0])
	got := strings.TrimSpace(postern(t, "redirect", "print", "--outbound", "10025", "--inbound", "2500", "--exempt-uid", "998"))
	if got != want {
		t.Errorf("printed is\n%s\nand the document has\n%s", got, want)
	}
	if got := postern(t, "redirect", "remove", "--dry-run"); strings.TrimSpace(got) != strings.TrimSpace(harness.Snippets(t, document, "By hand")[0]) {
		t.Errorf("removed would be\n%s", got)
	}
}
