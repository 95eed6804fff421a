package pages

import (
	"regexp"
	"strings"
	"testing"

	"postern/test/harness"
)

// Where a block of HCL belongs, by the word that it begins with. What is not
// mentioned stands at the top.
const (
	anyOutbound    = "outbound \"any\" {\n  listen = [\"127.0.0.1:10999\"]\n"
	anyCertificate = "certificate \"any\" {\n  self_signed = [\"mail.example.org\"]\n}\n"
)

// hcl is how a block of HCL begins, whatever marks it as code.
var hcl = regexp.MustCompile(`^(?:hostname = |(inbound|outbound|admin|resolver|state|certificate|log|telemetry|destination|smarthost|skip|remember_after)\b[^=\n]*\{$)`)

// whole makes a configuration of what may be a part of one.
func whole(text string) string {
	switch word := hcl.FindStringSubmatch(strings.SplitN(text, "\n", 2)[0]); {
	case word == nil:
		return ""
	case word[1] == "destination" || word[1] == "skip" || word[1] == "remember_after":
		return anyOutbound + text + "}\n"
	case word[1] == "smarthost":
		return anyOutbound + "  route = \"smarthost\"\n" + text + "}\n"
	case strings.Contains(text, "inbound \"") && !strings.Contains(text, "certificate \""):
		return anyCertificate + text
	case strings.Contains(text, "bound \""):
		return text
	default:
		return text + "\n" + anyOutbound + "}\n"
	}
}

// Every block of HCL in the documents is one that postern takes.
func TestEveryConfigurationOfTheDocumentsIsGood(t *testing.T) {
	t.Parallel()
	m := harness.NewMachine(t)
	m.Run("ip addr add 192.0.2.25/24 dev lo; ip addr add 10.0.0.25/24 dev lo")
	pair := harness.NewCA(t).Issue(t, harness.ECDSA, "mail.example.org", "mx.example.org", "mx1.example.org")
	m.Run("cp " + pair.CertFile + " /etc/postern/fullchain.pem; cp " + pair.KeyFile + " /etc/postern/privkey.pem")
	checked := 0
	for _, document := range harness.Documents(t) {
		for _, text := range harness.CodeBlocks(t, document) {
			config := whole(text)
			if config == "" {
				continue
			}
			checked++
			m.Write("/etc/postern/config.hcl", config)
			if out, code := m.Shell("postern check --config /etc/postern/config.hcl"); code != 0 {
				t.Errorf("docs/%s has a configuration that is not good:\n%s\n%s", document, config, out)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d configurations were found", checked)
	}
}
