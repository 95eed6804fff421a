package resolve

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/dnstest"
)

const both = "mx.example. 300 A 192.0.2.2\nmx.example. 300 A 192.0.2.1\nmx.example. 60 AAAA 2001:db8::1\n"

// where writes an answer about addresses down in a line.
func where(a AddrAnswer, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var texts []string
	for _, addr := range a.Addrs {
		texts = append(texts, addr.String())
	}
	slices.Sort(texts) // a resolver may turn them round
	return strings.Join(texts, " ") + " as " + a.Canonical
}

func TestTheAddressesOfAHost(t *testing.T) {
	for name, c := range map[string]struct {
		zone, host string
		family     Family
		want       string
	}{
		"of both families":           {both, "mx.example", Both, "192.0.2.1 192.0.2.2 2001:db8::1 as mx.example"},
		"of IPv4":                    {both, "mx.example", IPv4Only, "192.0.2.1 192.0.2.2 as mx.example"},
		"of IPv6":                    {both, "MX.example.", IPv6Only, "2001:db8::1 as mx.example"},
		"of one that is there":       {"mx.example. A 192.0.2.1", "mx.example", Both, "192.0.2.1 as mx.example"},
		"of a wildcard":              {"*.example. A 192.0.2.1", "*.example", Both, "192.0.2.1 as *.example"},
		"through a CNAME":            {"a.example. CNAME mx.example.\n" + both, "a.example", Both, "192.0.2.1 192.0.2.2 2001:db8::1 as mx.example"},
		"that is one":                {"", "192.0.2.1", Both, "192.0.2.1 as 192.0.2.1"},
		"that is one, with a dot":    {"", "192.0.2.1.", Both, "192.0.2.1 as 192.0.2.1"},
		"that is one, of IPv6":       {"", "2001:DB8::1", IPv6Only, "2001:db8::1 as 2001:db8::1"},
		"that is one, the wrong one": {"", "2001:db8::1", IPv4Only, `error: no address: A of "2001:db8::1"`},
		"but not of that family":     {"mx.example. A 192.0.2.1", "mx.example", IPv6Only, "error: no address: AAAA of mx.example (SERVER)"},
		"but none":                   {"mx.example. TXT x", "mx.example", Both, "error: no address: A and AAAA of mx.example (SERVER)"},
		"but it does not exist":      {"", "mx.example", Both, "error: no address: no such domain: A and AAAA of mx.example (SERVER)"},
		"but no name":                {"", "m x", Both, `error: not a domain name: "m x"`},
		"but unusable ones": {
			"mx.example. A 0.0.0.0\nmx.example. A 255.255.255.255\nmx.example. A 224.0.0.1\nmx.example. AAAA ::\nmx.example. AAAA ff02::1\nmx.example. AAAA ::ffff:192.0.2.1", "mx.example", Both,
			"error: no address: A and AAAA of mx.example (SERVER)",
		},
		"with unusable ones": {"mx.example. A 0.0.0.0\nmx.example. A 192.0.2.1", "mx.example", Both, "192.0.2.1 as mx.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := dnstest.Start(t, c.zone)
			got := strings.ReplaceAll(where(over(t, s).Addresses(t.Context(), c.host, c.family)), s.Address, "SERVER")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestThoseOfIPv6ComeFirstAndTheRestAsAnswered(t *testing.T) {
	a, err := over(t, dnstest.Start(t, both)).Addresses(t.Context(), "mx.example", Both)
	if want := addrs("2001:db8::1", "192.0.2.2", "192.0.2.1"); err != nil || !slices.Equal(a.Addrs, want) {
		t.Errorf("%v, %v", a.Addrs, err)
	}
}

func TestOneFamilyIsEnough(t *testing.T) {
	for _, fails := range []string{"A", "AAAA"} {
		t.Run(fails, func(t *testing.T) {
			at, s := noon(), dnstest.Start(t, both)
			s.Break("mx.example", fails, dnstest.ServFail)
			r := at.in(over(t, s))
			a, err := r.Addresses(t.Context(), "mx.example", Both)
			if err != nil || len(a.Addrs) == 0 || a.Security != Indeterminate || !a.Expires.Equal(at.Add(keepFailure)) {
				t.Errorf("%+v, %v", a, err)
			}
			s.Break("mx.example", "", dnstest.ServFail)
			at.pass(time.Hour)
			if _, err := r.Addresses(t.Context(), "mx.example", Both); !isTemporary(err) {
				t.Errorf("with both failing: %v", err)
			}
		})
	}
}

func TestAFamilyThatFailsIsNotTakenForNone(t *testing.T) {
	for name, how := range map[string]string{"A": "mx.example. AAAA 2001:db8::1", "AAAA": "mx.example. A 192.0.2.1"} {
		s := dnstest.Start(t, how)
		s.Break("mx.example", "", dnstest.NoName) // of some servers, for a type that they do not know
		s.Break("mx.example", name, dnstest.ServFail)
		if _, err := over(t, s).Addresses(t.Context(), "mx.example", Both); !isTemporary(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func isTemporary(err error) bool {
	_, ok := errors.AsType[*TemporaryError](err)
	return ok
}

func TestBothFamiliesAreAskedForAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := script(both), make(chan struct{})
		s.Break("", "", dnstest.Fault{Hold: release})
		r := piped(s)
		done := make(chan error)
		go func() {
			_, err := r.Addresses(context.Background(), "mx.example", Both)
			done <- err
		}()
		synctest.Wait()
		if s.Count("mx.example", "A") != 1 || s.Count("mx.example", "AAAA") != 1 {
			t.Errorf("asked %q before there was an answer", s.Asked())
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		settle()
	})
}

func TestACallerDoesNotWaitLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := piped(stuck("", "")).MX(ctx, "example.com")
		if took := time.Since(begin); took != time.Second || !errors.Is(err, context.DeadlineExceeded) || !isTemporary(err) {
			t.Errorf("%v after %v", err, took)
		}
		if want := "no answer yet: context deadline exceeded for MX example.com"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		settle()
	})
}

func TestTheHostsFileComesFirstForHostsThatTheOperatorNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	hosts := "# nothing\n\n127.0.0.9 Mail.example backend # the old one\n::9 backend\nfe80::1%eth0 linked\nx.y broken\n10.0.0.1\n"
	if err := os.WriteFile(path, []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	s := dnstest.Start(t, "mail.example. A 192.0.2.1\nmail.example. AAAA 2001:db8::1\nbroken. A 192.0.2.3\nlocalhost. A 192.0.2.3")
	r := with(t, Options{Servers: []string{s.Address}, Hosts: path})
	for _, c := range []struct {
		host   string
		family Family
		want   string
	}{
		{"mail.example", Both, "127.0.0.9 as mail.example"},
		{"MAIL.example.", IPv4Only, "127.0.0.9 as mail.example"},
		{"mail.example", IPv6Only, "2001:db8::1 as mail.example"},
		{"backend", Both, "127.0.0.9 ::9 as backend"},
		{"linked", Both, "fe80::1%eth0 as linked"},
		{"broken", Both, "192.0.2.3 as broken"},
		{"old", Both, "error: no address: no such domain: A and AAAA of old (" + s.Address + ")"},
		{"localhost", Both, "127.0.0.1 ::1 as localhost"},
		{"localhost", IPv4Only, "127.0.0.1 as localhost"},
		{"192.0.2.8", Both, "192.0.2.8 as 192.0.2.8"},
	} {
		if got := where(r.HostAddresses(t.Context(), c.host, c.family)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.host, got, c.want)
		}
	}
	if a, err := r.Addresses(t.Context(), "mail.example", IPv4Only); err != nil || !slices.Equal(a.Addrs, addrs("192.0.2.1")) {
		t.Errorf("Addresses looked into the file: %v, %v", a, err)
	}
}

func TestNoAddressIsOfNoFamily(t *testing.T) {
	for f, want := range map[Family][2]bool{Both: {true, true}, IPv4Only: {true, false}, IPv6Only: {false, true}} {
		for i, addr := range addrs("192.0.2.1", "2001:db8::1") {
			if f.has(addr) != want[i] {
				t.Errorf("%v in %s: %v", addr, f.types(), !want[i])
			}
		}
	}
	if usable(netip.Addr{}) {
		t.Error("no address is usable")
	}
}
