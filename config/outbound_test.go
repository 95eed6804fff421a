package config

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	fingerprintOfCertificate = "sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
	fingerprintOfKey         = "pubkey-" + fingerprintOfCertificate
)

// parseOutbounds reads testdata/good/outbound.hcl as /etc/postern/config.hcl.
func parseOutbounds(t *testing.T) *Config {
	t.Helper()
	src, err := os.ReadFile("testdata/good/outbound.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(src))
}

func prefixList(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestEveryWrittenValueOfAnOutboundArrives(t *testing.T) {
	match := []string{"nexthop", "mx.example.com", ".xn--bcher-kva.example"}
	const roots = "/etc/postern/roots.pem"
	want := Outbound{
		Name: "egress", Listen: []string{"127.0.0.1:10025", "[::1]:10025"},
		From: prefixList("127.0.0.1/32", "10.0.0.0/8"), FromWritten: true,
		Protocol: "lmtp", Route: "mx", MXPort: 2525,
		Level: "secure", Match: match, Grade: "intermediate", TrustedRoots: roots, Place: "config.hcl:11",
		Fallback: "next-session", Skip: Skip{Hold: 2 * time.Hour, Max: 3 * time.Hour},
		Remember: "observe", RememberAfter: RememberAfter{Sessions: 4, Age: 5 * time.Hour, Expire: 6 * time.Hour},
		Destinations: []Destination{
			{Pattern: "example.com", Level: "secure", Match: match, Grade: "intermediate", TrustedRoots: roots, Place: "config.hcl:55"},
			{Pattern: ".xn--bcher-kva.example", Level: "auto", Grade: "legacy", TrustedRoots: "system", Place: "config.hcl:57"},
			{Pattern: "_mail.example.net", Level: "secure", Match: []string{"hostname"}, Grade: "intermediate", TrustedRoots: roots, Place: "config.hcl:62"},
			{
				Pattern: "example.net", Level: "fingerprint", Fingerprints: []string{fingerprintOfCertificate, fingerprintOfKey},
				Grade: "intermediate", TrustedRoots: roots, Place: "config.hcl:65",
			},
		},
		EHLO: "[IPv6:2001:db8::1]", EightBit: "refuse", DSN: true,
		BareNewline: "reject", BareNewlineExempt: prefixList("10.1.2.3/32"), TraceHeader: true,
		SourceAddress: []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")},
		AddressFamily: "prefer-ipv4", ShutdownGrace: 7 * time.Second,
		Limits: Limits{Connections: 1, PerClient: 2, Errors: 3, Exempt: prefixList("10.0.0.0/8")},
		Timeouts: Timeouts{
			Connect: time.Second, StartTLS: 2 * time.Second, Command: 3 * time.Second, Data: 4 * time.Second,
			Final: 5 * time.Second, Session: 6 * time.Second, Proxy: 10 * time.Second, Route: 270 * time.Second,
		},
	}
	if diff := cmp.Diff(want, parseOutbounds(t).Outbounds[0], equalEmptyLists); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotWrittenInAnOutboundHasItsDefault(t *testing.T) {
	c := parse(t, "hostname = \"mx1.example.org\"\noutbound \"egress\" {\n listen = [\"127.0.0.1:10025\"]\n}")
	want := Outbound{
		Name: "egress", Listen: []string{"127.0.0.1:10025"}, From: prefixList("127.0.0.0/8", "::1/128"),
		Protocol: "smtp", Route: "mx", MXPort: 25, Level: "auto", Grade: "mail", TrustedRoots: "system", Place: "config.hcl:2", MTASTS: true,
		Fallback: "same-session", Skip: Skip{Hold: time.Hour, Max: 24 * time.Hour}, Remember: "enforce",
		RememberAfter: RememberAfter{Sessions: 3, Age: 24 * time.Hour, Expire: 720 * time.Hour, Grace: 336 * time.Hour},
		EightBit:      "pass", BareNewline: "normalize", AddressFamily: "any",
		ReuseIdle: 5 * time.Second, Concurrency: 20, ShutdownGrace: 30 * time.Second,
		Limits: Limits{Connections: 10000, MessageSize: 52428800, Errors: 100},
		Timeouts: Timeouts{
			Connect: 30 * time.Second, StartTLS: 30 * time.Second, Command: 5 * time.Minute, Data: 3 * time.Minute,
			Final: 15 * time.Minute, Session: 2 * time.Hour, Proxy: 10 * time.Second, Route: 3 * time.Minute,
		},
	}
	if diff := cmp.Diff([]Outbound{want}, c.Outbounds, equalEmptyLists); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

func TestARedirectedOutboundKnowsAddresses(t *testing.T) {
	out := parseOutbounds(t).Outbounds[1]
	if out.FromWritten || !cmp.Equal(out.From, loopback(), equalEmptyLists) {
		t.Errorf("from is %v, written: %v", out.From, out.FromWritten)
	}
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.1")}; !cmp.Equal(out.SourceAddress, want, equalEmptyLists) {
		t.Errorf("source_address is %v, want %v", out.SourceAddress, want)
	}
	want := []Destination{
		{Pattern: "192.0.2.1", Level: "verify", Grade: "mail", TrustedRoots: "system", Place: "config.hcl:77"},
		{Pattern: "2001:db8::/32", Level: "auto", Grade: "mail", TrustedRoots: "system", Place: "config.hcl:80"},
	}
	if diff := cmp.Diff(want, out.Destinations, equalEmptyLists); diff != "" {
		t.Error(diff)
	}
}

func TestASmarthostStartsTLSByItsPort(t *testing.T) {
	outbounds := parseOutbounds(t).Outbounds[2:]
	for i, want := range []*Smarthost{
		{Addresses: []string{"smtp.example.net:465"}, TLS: "implicit"},
		{Addresses: []string{"smtp1.example.net:587", "smtp2.example.net:587"}, TLS: "starttls"},
		{Addresses: []string{"[2001:db8::25]:465", "smtp2.example.net:4650"}, TLS: "implicit"},
	} {
		if diff := cmp.Diff(want, outbounds[i].Smarthost); diff != "" {
			t.Errorf("%s: %s", outbounds[i].Name, diff)
		}
	}
}

func TestADestinationTakesFingerprintsOnlyWithTheirLevel(t *testing.T) {
	c := parse(t, `hostname = "mx1.example.org"
outbound "egress" {
  listen       = ["127.0.0.1:10025"]
  level        = "fingerprint"
  fingerprints = ["`+fingerprintOfKey+`"]
  destination "a.example" {
  }
  destination "b.example" {
    level = "secure"
  }
  destination "c.example" {
    fingerprints = ["`+fingerprintOfCertificate+`"]
  }
}`)
	var got []string
	for _, to := range c.Outbounds[0].Destinations {
		got = append(got, to.Level+" "+strings.Join(to.Fingerprints, " "))
	}
	want := []string{"fingerprint " + fingerprintOfKey, "secure ", "fingerprint " + fingerprintOfCertificate}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDomainsHaveOneForm(t *testing.T) {
	for text, want := range map[string]string{
		"Example.COM": "example.com", "example.com.": "example.com", "BÜCHER.example": "xn--bcher-kva.example",
		"bu\u0308cher.example": "xn--bcher-kva.example", "例え.jp.": "xn--r8jz45g.jp", "my_mx.example": "my_mx.example", "lan": "lan",
		"": "", ".": "", "a..example": "", "a b": "", "192.0.2.1": "", "*.example": "", "a\u200db.example": "", "-a.example": "",
		strings.Repeat("a", 64) + ".example": "", "xn--\u00fc.example": "",
	} {
		got, ok := normalDomain(text)
		if ok != (want != "") || ok && got != want {
			t.Errorf("normalDomain(%q) = %q, %v; want %q", text, got, ok, want)
		}
	}
}

func TestStateIsAFileUnlessTheFileSaysOtherwise(t *testing.T) {
	for _, c := range []struct {
		name, folder, block string
		want                State
	}{
		{"no block", "", "", State{Kind: "bolt", Path: "/var/lib/postern/state.db"}},
		{"systemd's folder", "/var/lib/mail", "", State{Kind: "bolt", Path: "/var/lib/mail/state.db"}},
		{"the first of several folders", "/var/lib/a:/var/lib/b", "", State{Kind: "bolt", Path: "/var/lib/a/state.db"}},
		{"a folder that is nowhere", "lib", "", State{Kind: "bolt", Path: "/var/lib/postern/state.db"}},
		{"empty block", "/var/lib/mail", `state "bolt" {}`, State{Kind: "bolt", Path: "/var/lib/mail/state.db", Written: true}},
		{"path", "/var/lib/mail", `state "bolt" { path = "my.db" }`, State{Kind: "bolt", Path: "/etc/postern/my.db", Written: true}},
		{"memory", "/var/lib/mail", `state "memory" {}`, State{Kind: "memory", Written: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", c.folder)
			if got := parse(t, minimal("", c.block)).State; got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTheAdminSocketMayStandAlone(t *testing.T) {
	if got, want := parseOutbounds(t).Admin, (Admin{Socket: "/etc/postern/admin.sock"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
