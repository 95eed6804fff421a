package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestValuesThatCannotWorkAreRefused has values that are laid over those of an edge
// that works, and the words that the refusal must have.
func TestValuesThatCannotWorkAreRefused(t *testing.T) {
	const edge = "config: {hostname: mx1.example.org, inbound: {mx: {backend: {address: 'mail:25', client_address: xclient}}}}\n"
	for name, c := range map[string]struct{ values, want string }{
		"nothing":                               {"{}", "set config.hostname to the name"},
		"no backend":                            {"config: {hostname: mx1.example.org}", "set config.inbound.mx.backend.address to host:port"},
		"no client address":                     {"config: {hostname: mx1.example.org, inbound: {mx: {backend: {address: 'mail:25'}}}}", "set config.inbound.mx.backend.client_address to xclient"},
		"an open relay":                         {"mode: egress\nconfig: {hostname: mx1.example.org}", "set config.outbound.egress.from to the networks"},
		"no mail server":                        {"mode: sidecar\n" + edge, "mode sidecar needs sidecar.mta"},
		"redirect of an edge":                   {"redirect: {enabled: true}\n" + edge, "redirect.enabled needs mode sidecar"},
		"redirect of any user":                  {"mode: sidecar\nredirect: {enabled: true}\nsecurityContext: {runAsUser: null}\nsidecar: {mta: {name: a, image: b}}\n" + edge, "redirect needs securityContext.runAsUser"},
		"a claim for two pods":                  {"replicaCount: 2\npersistence: {existingClaim: state}\n" + edge, "persistence.existingClaim is for one pod"},
		"transparent, without the rules for it": {"mode: sidecar\nsidecar: {mta: {name: a, image: b}}\nconfig: {hostname: mx1.example.org, inbound: {mx: {backend: {client_address: transparent}}}}", "client_address transparent needs redirect.enabled"},
		"an unknown mode":                       {"mode: gateway\n" + edge, "'edge', 'egress', 'sidecar'"},
		"an unknown value":                      {"replicas: 2\n" + edge, "'replicas' not allowed"},
		"an unknown block":                      {"config: {inbuond: {}}", "'inbuond' not allowed"},
		"two kinds of state":                    {"config: {state: {memory: {}, bolt: {}}}", "maxProperties"},
		"a low port":                            {"ports: {smtp: 25}\n" + edge, "minimum: got 25, want 1,024"},
	} {
		if _, err := template(parseValues(t, c.values)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNotesSayWhatIsToBeDone(t *testing.T) {
	for mode, wants := range map[string][]string{
		"edge":     {"as edge", "Let the MX record lead to"},
		"egress":   {"relayhost = [mail-postern.mail.svc]:25", "postern explain"},
		"sidecar":  {"relayhost = [127.0.0.1]:10025"},
		"redirect": {"WARNING: postern made its own certificate"},
	} {
		rendered, err := render(readValues(t, filepath.Join(chartDir, "ci", mode+"-values.yaml")))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if notes := rendered["postern/templates/NOTES.txt"]; !strings.Contains(notes, want) {
				t.Errorf("%s: no %q in\n%s", mode, want, notes)
			}
		}
	}
}

// TestTheSchemaKnowsEveryDefault holds the names in values.yaml against the schema, which
// allows no others.
func TestTheSchemaKnowsEveryDefault(t *testing.T) {
	text, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := parseValues(t, string(text))
	values["config"] = readValues(t, chartDir+"/ci/edge-values.yaml")["config"]
	if _, err := template(values); err != nil {
		t.Error(err)
	}
}
