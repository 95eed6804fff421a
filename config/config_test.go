package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimal is the shortest file that is valid, with room for more in the inbound
// and in the file.
func minimal(inbound, file string) string {
	return `hostname = "mx1.example.org"
certificate "first" {
  self_signed = ["mx1.example.org"]
}
certificate "second" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
` + inbound + `
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
` + file
}

func parse(t *testing.T, src string) *Config {
	t.Helper()
	c, err := Parse([]byte(src), "/etc/postern/config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryWrittenValueArrives(t *testing.T) {
	t.Setenv("POSTERN_TEST_LISTEN", "127.0.0.1:2500")
	src, err := os.ReadFile("testdata/good/everything.hcl")
	if err != nil {
		t.Fatal(err)
	}
	tickets := true
	prefix := netip.MustParsePrefix
	clear := DefaultInbound("clear")
	clear.TLS = "off"
	clear.Listen = []string{"127.0.0.1:0"}
	clear.Backend = Backend{Addresses: []string{"127.0.0.1:2525"}, Balance: "failover", ClientAddress: "xclient"}
	want := &Config{
		Hostname: "[192.0.2.1]",
		State:    State{Kind: "memory", Written: true},
		Resolver: Resolver{Servers: []string{"127.0.0.1:53", "[::1]:5353"}, DNSSEC: "validate", DNSSECWritten: true, TrustAnchors: "/etc/postern/root.key"},
		Certificates: []Certificate{
			{Name: "rsa", CertFile: "/etc/postern/tls/rsa.pem", KeyFile: "/etc/postern/rsa.key"},
			{Name: "ec", SelfSigned: []string{"localhost", "192.0.2.1"}},
		},
		Inbounds: []Inbound{{
			Name: "submission", Listen: []string{"127.0.0.1:2500", ":587"}, TLS: "require",
			Certificates: []string{"ec", "rsa"}, Grade: "legacy", ForwardSecrecy: "where-safe", SessionTickets: &tickets,
			ClientCertificates: "request", ClientRoots: "/etc/postern/roots.pem", BareNewline: "reject",
			BareNewlineExempt: []netip.Prefix{prefix("10.1.2.3/32"), prefix("2001:db8::/32")},
			AuthPlaintextFrom: []netip.Prefix{prefix("10.0.0.0/8")},
			ProxyProtocol:     []netip.Prefix{prefix("10.0.0.0/8")},
			Limits: Limits{
				Connections: 1, PerClient: 2, Handshakes: 3, HandshakesPerClient: 4, MessageSize: 10_000_000, Errors: 5,
				Exempt: []netip.Prefix{prefix("::1/128")},
			},
			Timeouts: Timeouts{
				Connect: time.Second, StartTLS: 2 * time.Second, Command: 3 * time.Second, Data: 4 * time.Second,
				Final: 90 * time.Minute, Session: 6 * time.Second, Proxy: 7 * time.Second, Route: 3 * time.Minute,
			},
			Backend: Backend{Addresses: []string{"my_mta:25", "[fe80::1%eth0]:25"}, Balance: "round-robin", ClientAddress: "proxy-v1"},
		}, clear},
		Admin: Admin{Listen: "[::1]:9025"},
		Log:   Log{Format: "json", Level: slog.LevelDebug},
	}
	if diff := cmp.Diff(want, parse(t, string(src)), equalEmptyLists); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotWrittenHasItsDefault(t *testing.T) {
	in := parse(t, minimal("", "")).Inbounds[0]
	want := Inbound{
		Name: "mx", Listen: []string{"127.0.0.1:2500"}, TLS: "offer", Certificates: []string{"first", "second"}, Grade: "mail",
		ClientCertificates: "none", ClientRoots: "system", HandshakeMemory: true, BareNewline: "reject", TraceHeader: true,
		ShutdownGrace: 30 * time.Second,
		Limits:        Limits{Connections: 10000, PerClient: 50, MessageSize: 52428800, Errors: 20},
		Timeouts: Timeouts{
			Connect: 30 * time.Second, StartTLS: 30 * time.Second, Command: 5 * time.Minute, Data: 3 * time.Minute,
			Final: 15 * time.Minute, Session: 2 * time.Hour, Proxy: 10 * time.Second, Route: 3 * time.Minute,
		},
		Backend: Backend{Addresses: []string{"127.0.0.1:2525"}, Balance: "failover", ClientAddress: "xclient"},
	}
	if diff := cmp.Diff(want, in, equalEmptyLists); diff != "" {
		t.Error(diff)
	}
	if in.ProxyProtocol != nil {
		t.Error("ProxyProtocol is not nil without a block")
	}
}

func TestDefaultHasNoWayInOrOutAndAUsableHostname(t *testing.T) {
	c := Default()
	if len(c.Inbounds) != 0 || len(c.Outbounds) != 0 || c.State.Kind != "bolt" || c.State.Written || c.Log.Format != "text" {
		t.Errorf("got %+v", c)
	}
	if !validHost(c.Hostname, 2) {
		t.Errorf("hostname %q", c.Hostname)
	}
}

func TestAMissingHostnameIsAWarningUnlessTheMachineKnowsIt(t *testing.T) {
	src := strings.Replace(minimal("", ""), `hostname = "mx1.example.org"`, "", 1)
	c := parse(t, src)
	warned := len(c.Warnings) == 1 && strings.Contains(c.Warnings[0], "hostname is missing")
	if warned != (c.Hostname == fallbackHostname) {
		t.Errorf("hostname %q, warnings %q", c.Hostname, c.Warnings)
	}
}

func TestSizesAreOctets(t *testing.T) {
	for text, want := range map[string]int64{
		`"0"`: 0, `1024`: 1024, `"1024"`: 1024, `"512B"`: 512, `"10kB"`: 10_000, `"10 KiB"`: 10_240,
		`"3MB"`: 3_000_000, `"50MiB"`: 52_428_800, `"2GB"`: 2_000_000_000, `"1GiB"`: 1 << 30,
	} {
		got := parse(t, minimal("limits {\n message_size = "+text+"\n}", "")).Inbounds[0].Limits.MessageSize
		if got != want {
			t.Errorf("%s is %d octets, want %d", text, got, want)
		}
	}
}

func TestBalanceMayStandInBackendOrInbound(t *testing.T) {
	inInbound := minimal(`balance = "round-robin"`, "")
	inBackend := strings.Replace(minimal("", ""), "client_address", "balance = \"round-robin\"\nclient_address", 1)
	for _, src := range []string{inInbound, inBackend} {
		if got := parse(t, src).Inbounds[0].Backend.Balance; got != "round-robin" {
			t.Errorf("balance is %q", got)
		}
	}
}

func TestSessionTicketsTellWrittenFromNotWritten(t *testing.T) {
	if got := parse(t, minimal("", "")).Inbounds[0].SessionTickets; got != nil {
		t.Errorf("not written: %v", *got)
	}
	if got := parse(t, minimal("session_tickets = false", "")).Inbounds[0].SessionTickets; got == nil || *got {
		t.Errorf("false: %v", got)
	}
}

func TestFileReadsRelativeToTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("name.txt", "mx9.example.org\r\n")
	path := write("config.hcl", strings.Replace(minimal("", ""), `"mx1.example.org"`, `file("name.txt")`, 1))
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Hostname != "mx9.example.org" {
		t.Errorf("hostname %q", c.Hostname)
	}
}

func TestFileRefusesWhatMayNeverEnd(t *testing.T) {
	_, err := Parse([]byte(`hostname = file("/dev/zero")`), "config.hcl")
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatIsNotThereIsNoDiagnostic(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "config.hcl"))
	var mistakes *Error
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, &mistakes) {
		t.Errorf("got %v", err)
	}
}

func TestAHugeFileIsRefused(t *testing.T) {
	_, err := Parse(make([]byte, maxFile+1), "config.hcl")
	if err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestErrorHasOneLinePerProblem(t *testing.T) {
	_, err := Load("testdata/bad/backend_empty.hcl")
	var mistakes *Error
	if !errors.As(err, &mistakes) {
		t.Fatal(err)
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != mistakes.Len() || lines != 2 {
		t.Errorf("%d lines for %d problems", lines, mistakes.Len())
	}
}

func TestHostNamesAndAddressLiterals(t *testing.T) {
	for name, valid := range map[string]bool{
		"mx1.example.org": true, "xn--bcher-kva.example": true, "1.example": true, "a.b-c.example": true,
		"mx1": false, "": false, ".example.org": false, "a..example": false, "-a.example": false, "a-.example": false,
		"192.0.2.1": false, "a.example.": false, "a b.example": false, strings.Repeat("a", 64) + ".example": false,
		strings.Repeat("abc.", 63) + "example": false,
	} {
		if validHost(name, 2) != valid {
			t.Errorf("validHost(%q) is not %v", name, valid)
		}
	}
	for literal, valid := range map[string]bool{
		"[192.0.2.1]": true, "[IPv6:2001:db8::1]": true,
		"[2001:db8::1]": false, "[IPv6:192.0.2.1]": false, "[192.0.2]": false, "192.0.2.1": false, "[192.0.2.1": false, "[IPv6:fe80::1%eth0]": false,
	} {
		if addressLiteral(literal) != valid {
			t.Errorf("addressLiteral(%q) is not %v", literal, valid)
		}
	}
}

func TestWithoutAFileNamePathsStartAtTheWorkingFolder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c, err := Parse([]byte(strings.Replace(minimal("", ""), `self_signed = ["mx1.example.org"]`, "cert_file = \"a.pem\"\nkey_file = \"b.pem\"", 1)), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Certificates[0].CertFile; got != filepath.Join(dir, "a.pem") {
		t.Errorf("cert_file is %s", got)
	}
}
