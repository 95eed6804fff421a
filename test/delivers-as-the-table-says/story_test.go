package tablesays

import (
	"crypto/tls"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/test/harness"
)

func selfSigned(t *testing.T) tls.Certificate {
	return catest.New(t).Issue(t, catest.Leaf{Names: wildcards()})
}

// known is a line of "postern peers list --json".
type known struct {
	Kind, Name             string
	Secured, Clear, Failed int
	Version, Trust         string
	SkipUntil              time.Time `json:"skip_until"`
	Remembered             []string
}

// story checks that "postern peers" tells what has happened.
func story(t *testing.T, out *harness.Postern) {
	text, code := out.Command("peers", "list", "--json")
	var all []known
	if err := json.Unmarshal([]byte(text), &all); code != 0 || err != nil {
		t.Fatalf("peers list: exit code %d, %v:\n%s", code, err, text)
	}
	for _, c := range []struct {
		cell
		secured, clear, failed int
		skip                   bool
		trust                  string
	}{
		{cell{state: "unknown", server: "garbage", level: "may"}, 0, 1, 1, true, ""},
		{cell{state: "unknown", server: "postfix", level: "may"}, 0, 1, 0, false, ""},
		{cell{state: "unknown", server: "garbage", level: "encrypt"}, 0, 0, 0, false, ""},
		{cell{state: "unknown", server: "injects", level: "may"}, 0, 0, 0, false, ""},
		{cell{state: "unknown", server: "postfix-tls", level: "may"}, 1, 0, 0, false, "Verified"},
		{cell{state: "did-tls", server: "closes", level: "auto"}, 1, 0, 1, false, "Untrusted"},
		{cell{state: "did-tls", server: "wrong-name", level: "encrypt"}, 2, 0, 0, false, "Trusted"},
		{cell{state: "remembered", server: "exim-tls", level: "auto"}, 2, 0, 0, false, "Verified"},
		{cell{state: "skip", server: "postfix-tls", level: "may"}, 0, 2, 1, true, ""},
		{cell{state: "skip", server: "postfix-tls", level: "encrypt"}, 1, 1, 1, false, "Verified"},
	} {
		name := c.state + "/" + c.server + "/" + c.level
		got := find(all, "host", c.host())
		if got.Secured != c.secured || got.Clear != c.clear || got.Failed != c.failed || got.Trust != c.trust || got.SkipUntil.After(time.Now()) != c.skip {
			t.Errorf("%s: the list has %+v, want %+v", name, got, c)
		}
	}
	remembered(t, out, all)
}

// remembered checks a domain whose server must stay valid, in the list, for
// people, and after it was forgotten.
func remembered(t *testing.T, out *harness.Postern, all []known) {
	c := cell{state: "remembered", server: "self-signed", level: "auto"}
	if got := find(all, "domain", c.domain()); !slices.Equal(got.Remembered, []string{c.host()}) {
		t.Errorf("of %s the list has %+v", c.domain(), got)
	}
	text, code := out.Command("peers", "show", c.domain())
	if code != 0 || !strings.Contains(text, c.host()) || !strings.Contains(text, "remembered") {
		t.Errorf("peers show: exit code %d:\n%s", code, text)
	}
	if text, code = out.Command("explain", c.domain()); code != 0 || !strings.Contains(text, "remembered") {
		t.Errorf("explain: exit code %d:\n%s", code, text)
	}
	if text, code = out.Command("peers", "forget", c.domain()); code != 0 {
		t.Errorf("peers forget: exit code %d:\n%s", code, text)
	}
	if text, code = out.Command("peers", "show", c.domain()); code == 0 && strings.Contains(text, "remembered") {
		t.Errorf("it is forgotten, and peers show says\n%s", text)
	}
}

func find(all []known, kind, name string) known {
	i := slices.IndexFunc(all, func(k known) bool {
		host, _, _ := strings.Cut(k.Name, ":")
		return k.Kind == kind && host == name
	})
	if i < 0 {
		return known{}
	}
	return all[i]
}
