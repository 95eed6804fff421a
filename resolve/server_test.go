package resolve

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/catest"
	"postern/internal/dnstest"
)

func TestServersAreWrittenInManyWays(t *testing.T) {
	pin := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for text, want := range map[string]struct{ text, address, name string }{
		"192.0.2.53":                             {"192.0.2.53:53", "192.0.2.53:53", ""},
		"192.0.2.53:5353":                        {"192.0.2.53:5353", "192.0.2.53:5353", ""},
		"2001:db8::53":                           {"[2001:db8::53]:53", "[2001:db8::53]:53", ""},
		"[2001:db8::53]:5353":                    {"[2001:db8::53]:5353", "[2001:db8::53]:5353", ""},
		"fe80::53%eth0":                          {"[fe80::53%eth0]:53", "[fe80::53%eth0]:53", ""},
		"tls://192.0.2.53:8853":                  {"tls://192.0.2.53:8853", "192.0.2.53:8853", "192.0.2.53"},
		"tls://dns.example":                      {"tls://dns.example:853", "dns.example:853", "dns.example"},
		"tls://[2001:db8::53]":                   {"tls://[2001:db8::53]:853", "[2001:db8::53]:853", "2001:db8::53"},
		"tls://192.0.2.53#dns.example":           {"tls://192.0.2.53:853", "192.0.2.53:853", "dns.example"},
		"tls://192.0.2.53:853?pin-sha256=" + pin: {"tls://192.0.2.53:853", "192.0.2.53:853", "192.0.2.53"},
	} {
		s := parseServer(text, nil)
		name := ""
		if s.tls != nil {
			name = s.tls.ServerName
		}
		if s.wrong != nil || s.text != want.text || s.address != want.address || name != want.name {
			t.Errorf("%s: %q %q %q, %v", text, s.text, s.address, name, s.wrong)
		}
	}
}

func TestAServerThatIsNotWellWrittenIsAnError(t *testing.T) {
	for _, text := range []string{
		"", "dns.example", "192.0.2.53:0", "192.0.2.53:x", "https://192.0.2.53", "tls://", "tls://a:b:c", "tls://user@192.0.2.53",
		"tls://192.0.2.53/path", "tls://192.0.2.53?pin-sha256=x", "tls://192.0.2.53?pin-sha256=AAAA", "a\r\nb",
	} {
		if _, err := NewWith(Options{Servers: []string{"127.0.0.1", text}}); err == nil || !strings.HasPrefix(err.Error(), "not a DNS server: ") {
			t.Errorf("%q: %v", text, err)
		}
		_, err := New([]string{text}).MX(t.Context(), "d.example")
		if !isTemporary(err) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// secured returns a server that speaks DNS over TLS with this certificate, its address, and the authority.
func secured(t *testing.T, zone string, l catest.Leaf) (*dnstest.Server, string, *x509.CertPool, tls.Certificate) {
	t.Helper()
	ca := catest.New(t)
	cert := ca.Issue(t, l)
	s := dnstest.Start(t, zone)
	address, err := s.ListenTLS("127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	return s, address, ca.Pool(), cert
}

func TestDNSOverTLSIsVerified(t *testing.T) {
	s, address, pool, cert := secured(t, mxZone, catest.Leaf{Names: []string{"dns.example"}, IPs: []string{"127.0.0.1"}})
	other, elsewhere, _, _ := secured(t, mxZone, catest.Leaf{Names: []string{"other.example"}})
	key := sha256.Sum256(leaf(t, cert).RawSubjectPublicKeyInfo)
	pin := "?pin-sha256=" + base64.StdEncoding.EncodeToString(key[:])
	for name, c := range map[string]struct {
		server string
		roots  *x509.CertPool
		want   string // of the answer or in the error
		limit  time.Duration
	}{
		"by address":        {"tls://" + address, pool, theMX, time.Minute},
		"by name":           {"tls://" + address + "#dns.example", pool, theMX, time.Minute},
		"by another name":   {"tls://" + address + "#evil.example", pool, "certificate", time.Minute},
		"by key":            {"tls://" + address + pin, x509.NewCertPool(), theMX, time.Minute},
		"by another's key":  {"tls://" + elsewhere + pin, pool, "another key", time.Minute},
		"by other roots":    {"tls://" + address, x509.NewCertPool(), "unknown authority", time.Minute},
		"without TLS there": {"tls://" + s.Address, pool, "timeout from tls://", 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			r := with(t, Options{Servers: []string{c.server}, Roots: c.roots, Timeout: c.limit})
			if got := said(r.MX(t.Context(), "example.com")); !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if n := other.Count("", ""); n != 0 {
		t.Errorf("the one with another key was asked %d times", n)
	}
}

func leaf(t *testing.T, cert tls.Certificate) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAConnectionOfDNSOverTLSIsUsedAgain(t *testing.T) {
	_, address, pool, _ := secured(t, "*.example. MX 1 mx.example.", catest.Leaf{})
	r := with(t, Options{Servers: []string{"tls://" + address}, Roots: pool})
	ask := func(domain string) {
		t.Helper()
		if _, err := r.MX(t.Context(), domain); err != nil {
			t.Error(err)
		}
	}
	s := r.servers.fixed[0]
	ask("a.example")
	first := s.idle[0]
	ask("b.example")
	if len(s.idle) != 1 || s.idle[0].Conn != first.Conn {
		t.Errorf("%d connections wait", len(s.idle))
	}
	first.Conn.Close() // as the server would
	q, err := question{name: "c.example", kind: dns.TypeMX}.pack(true, ednsSize)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.stream(ctx, r.dial, q); err != nil {
		t.Errorf("a connection that was closed meanwhile is taken for a failure: %v", err)
	}
	if len(s.idle) != 1 || s.idle[0].Conn == first.Conn {
		t.Errorf("%d connections wait after one was closed", len(s.idle))
	}
	s.idle[0].Conn.Close()
}

func TestTheSystemsServersAreTheDefault(t *testing.T) {
	s := dnstest.Start(t, mxZone)
	for name, c := range map[string]struct {
		conf string
		want []string
	}{
		"two":        {"# x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions ndots:5\n", []string{"192.0.2.1:53", "[2001:db8::1]:53"}},
		"four":       {"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", []string{"192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"}},
		"none":       {"search example.com\n", []string{"127.0.0.1:53", "[::1]:53"}},
		"no file":    {"", []string{"127.0.0.1:53", "[::1]:53"}},
		"not a name": {"nameserver x y\n", []string{`"x"`}},
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if c.conf != "" {
			write(t, path, c.conf)
		}
		var got []string
		for _, s := range with(t, Options{Resolvconf: path}).servers.order() {
			got = append(got, s.text)
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if r := New(nil); r.servers.system == nil || r.servers.system.path != "/etc/resolv.conf" || r.hosts.path != "/etc/hosts" {
		t.Error("New(nil) asks others")
	}
	if r := New([]string{s.Address}); r.servers.system != nil {
		t.Error("New with servers asks the system's")
	}
}
