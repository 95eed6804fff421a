package kube

import (
	"strings"
	"testing"
)

// TestTheValuesInTheDocumentsWork renders every block of values in the page on Kubernetes.
func TestTheValuesInTheDocumentsWork(t *testing.T) {
	p := newPostern(t)
	modes := map[string]bool{}
	for _, block := range strings.Split(read(t, "../../docs/deploy/kubernetes.md"), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.HasPrefix(block, "   ") { // it stands in a list
			block = strings.ReplaceAll(block[3:], "\n   ", "\n")
		}
		if !strings.HasPrefix(block, "mode:") {
			continue
		}
		values := parseValues(t, block)
		mode := values["mode"].(string)
		modes[mode] = true
		text, err := template(values)
		if err != nil {
			t.Errorf("%s: %v", mode, err)
			continue
		}
		all, err := decode(text)
		if err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		for _, hcl := range configurations(all) {
			if out, err := p.check(t, hcl); err != nil {
				t.Errorf("%s: postern check: %v\n%s", mode, err, out)
			}
		}
	}
	if len(modes) != 3 {
		t.Errorf("the page has values for %v, not for all modes", modes)
	}
}
