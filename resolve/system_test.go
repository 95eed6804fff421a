package resolve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/dnstest"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheSearchListIsForHostsThatTheOperatorNamed(t *testing.T) {
	dir := t.TempDir()
	s := dnstest.Start(t, "mta.mail.svc.example. A 192.0.2.1\nmta.example. A 192.0.2.2\na.b.svc.example. A 192.0.2.3\na.b. A 192.0.2.4\nx.example. A 192.0.2.5")
	r := with(t, Options{Resolvconf: filepath.Join(dir, "resolv.conf"), Hosts: filepath.Join(dir, "none")})
	ask := func(options string) func(host string) string {
		sys := parseResolvconf(strings.NewReader("search mail.svc.example . svc.example example\n" + options))
		sys.servers = []*server{parseServer(s.Address, nil)}
		r.servers.system = &file[*system]{value: sys, read: true, checked: time.Now().Add(time.Hour)}
		return func(host string) string { return where(r.HostAddresses(t.Context(), host, IPv4Only)) }
	}
	for _, c := range []struct{ options, host, want string }{
		{"", "mta", "192.0.2.1 as mta.mail.svc.example"},
		{"", "x", "192.0.2.5 as x.example"},
		{"", "a.b", "192.0.2.4 as a.b"},
		{"options ndots:5", "a.b", "192.0.2.3 as a.b.svc.example"},
		{"", "mta.example.", "192.0.2.2 as mta.example"},
		{"", "192.0.2.9", "192.0.2.9 as 192.0.2.9"},
		{"", "::1", "error: no address: A of \"::1\""},
		{"", "none", "error: no address: no such domain: A of none.mail.svc.example (" + s.Address + ")"},
	} {
		if got := ask(c.options)(c.host); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.options, c.host, got, c.want)
		}
	}
	if got := where(r.Addresses(t.Context(), "mta", IPv4Only)); !strings.HasPrefix(got, "error: ") {
		t.Errorf("Addresses used it: %s", got)
	}
	s.Remove("mta.mail.svc.example", "")
	s.Break("mta.svc.example", "", dnstest.ServFail) // between two that do not exist
	r.cache = newCache(time.Now)
	s.Remove("mta.example", "")
	if _, err := r.HostAddresses(t.Context(), "mta", IPv4Only); !isTemporary(err) {
		t.Errorf("a failure and nothing is %v", err)
	}
	fixed := over(t, s)
	if got := where(fixed.HostAddresses(t.Context(), "x", IPv4Only)); !strings.HasPrefix(got, "error: ") {
		t.Errorf("with servers of the configuration: %s", got)
	}
}

func TestAFileIsReadAgainWhenItHasChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	synctest.Test(t, func(t *testing.T) {
		f := newFile(path, parseHosts)
		has := func(name string) bool { return len(f.get().addresses(name, Both)) > 0 }
		for _, step := range []struct {
			change   func()
			old, new bool // are the names there
		}{
			{func() {}, false, false},
			{func() { write(t, path, "127.0.0.1 old\n") }, true, false},
			{func() { write(t, path, "127.0.0.1 newer\n127.0.0.1 new\n") }, false, true},
			{func() {
				write(t, path+"2", "127.0.0.1 older\n127.0.0.1 old\n") // of the same size
				if err := os.Rename(path+"2", path); err != nil {
					t.Fatal(err)
				}
			}, true, false},
			{func() {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}, false, false},
		} {
			before := [2]bool{has("old"), has("new")}
			step.change()
			if now := [2]bool{has("old"), has("new")}; now != before {
				t.Errorf("it was looked at each time: %v", now)
			}
			<-time.After(fileCheck)
			if now := [2]bool{has("old"), has("new")}; now != [2]bool{step.old, step.new} {
				t.Errorf("got %v, want %v %v", now, step.old, step.new)
			}
		}
	})
}

func TestAFileThatCannotBeReadLeavesWhatWasKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	synctest.Test(t, func(t *testing.T) {
		write(t, path, "127.0.0.1 old\n")
		f := newFile(path, parseHosts)
		f.get()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil { // opens, and reads as an error
			t.Fatal(err)
		}
		<-time.After(fileCheck)
		if len(f.get().addresses("old", Both)) == 0 {
			t.Error("what was known is lost")
		}
	})
}

func TestAHugeFileIsNotReadWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, "127.0.0.1 first\n"+strings.Repeat("#"+strings.Repeat("x", 62)+"\n", maxFile/64)+"127.0.0.1 last\n")
	f := newFile(path, parseHosts)
	if f.get().byName["first"] == nil || f.get().byName["last"] != nil {
		t.Error("it was not cut")
	}
}

func TestSecurityIsOrdered(t *testing.T) {
	var words []string
	for s := Bogus; s <= Secure; s++ {
		words = append(words, s.String())
	}
	if got := strings.Join(words, " < "); got != "bogus < indeterminate < insecure < secure" {
		t.Error(got)
	}
	if got := min(Secure, Insecure, Indeterminate); got != Security(0) {
		t.Errorf("the weakest is %v", got)
	}
}
