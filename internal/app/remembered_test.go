package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/store"
	"postern/tls/mtasts"
)

// publishes puts into the state that example.com had a policy, and mx.example.com TLSA records.
func (w *world) publishes(t *testing.T) {
	t.Helper()
	must(os.MkdirAll(filepath.Join(w.dir, "state"), 0o700))
	s := must1(store.OpenBolt(store.BoltOptions{Path: filepath.Join(w.dir, "state", "state.db")}))
	now := time.Now().UTC()
	for _, domain := range []string{"example.com", "other.example.com"} {
		must(policyCache{s}.Put(domain, mtasts.Entry{ID: "7", Policy: "version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 604800\n", Fetched: now, Used: now}, now.Add(time.Hour)))
	}
	for _, name := range []string{"example.com", "mx.example.com:25", "mx.example.com:465", "mx.example.com.example.net:25"} {
		must(s.Write(store.Change{Key: tlsaKey + name, Value: []byte(now.Format(time.RFC3339)), Expires: now.Add(time.Hour)}))
	}
	must(s.Close())
}

func TestWhatWasPublishedIsShownAndForgottenWithThePeer(t *testing.T) {
	for name, beside := range map[string]bool{"beside": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.publishes(t)
			file := w.written(t, w.kept()+w.admin()+strings.Replace(w.resolver(), "}", "  dnssec = \"off\"\n}", 1)+w.outbound(""))
			if beside {
				launchFile(t, file)
			}
			command := func(do func(PeersOptions) error, name string) string {
				return must1(peersCommand(t, do, file, name, false))
			}
			level := func(want string) {
				t.Helper()
				text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: file})
				must(err)
				wantWords(t, "explain", text, want)
			}
			level("secure, because of the MTA-STS policy")
			wantWords(t, "show", command(ShowPeer, "Example.COM."), "policy example.com\n", "mode enforce", "mx.example.com", "good for 7 days", "tlsa example.com\n", "had TLSA records")
			if got := command(ForgetPeer, "example.com"); got != "2 records of example.com forgotten\n" {
				t.Errorf("forget: %q", got)
			}
			level("may, because nobody asks for more")
			if got := command(ShowPeer, "mx.example.com:25"); got != "" && strings.Contains(got, ":465") {
				t.Errorf("with a port it shows another's: %s", got)
			}
			if got := command(ForgetPeer, "mx.example.com"); got != "2 records of mx.example.com forgotten\n" {
				t.Errorf("forget: %q", got)
			}
			for _, other := range []string{"other.example.com", "mx.example.com.example.net"} {
				if got := command(ShowPeer, other); strings.Count(got, "\n") < 2 {
					t.Errorf("%s is gone too: %q", other, got)
				}
			}
		})
	}
}

func TestAPolicyThatCannotBeReadIsForgottenToo(t *testing.T) {
	s := store.NewMemory(time.Now)
	m := remembered{Memory: emptyMemory(), kept: s}
	must(s.Write(store.Change{Key: policyPrefix + "example.com", Value: []byte("{")}))
	if all := must1(m.Show("example.com")); len(all) != 1 || all[0].Policy == nil || all[0].Policy.Mode != "" {
		t.Errorf("%+v", all)
	}
	if n, err := m.Forget("example.com"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if all := must1(m.Show("example.com")); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	must(s.Close())
	if _, err := m.Forget("example.com"); err == nil {
		t.Error("no error of a state that is closed")
	}
}
