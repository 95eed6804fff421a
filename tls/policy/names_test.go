package policy

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWhichNamesACertificateCovers(t *testing.T) {
	tests := []struct {
		certificate, want string
		match             bool
	}{
		{"mx.example.com", "mx.example.com", true},
		{"MX.Example.COM", "mx.example.com", true},
		{"mx.example.com.", "mx.example.com", true},
		{"mx.example.com..", "mx.example.com", false},
		{"localhost", "localhost", true},
		{"xn--mnchen-3ya.example", "xn--mnchen-3ya.example", true},
		{"_dmz.example.com", "_dmz.example.com", true},
		{"example.com", "mx.example.com", false},
		{"mx.example.com", "example.com", false},
		{"evilexample.com", "example.com", false},
		{"mx.example.com\x00.evil.example", "mx.example.com", false},
		{"", "", false},
		{"", "mx.example.com", false},

		{"*.example.com", "mx.example.com", true},
		{"*.Example.com.", "mx.example.com", true},
		{"*.example.com", "*.example.com", true}, // an MX of that very name
		{"*.example.com", "_25.example.com", true},
		{"*.example.com", "xn--mnchen-3ya.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "a.mx.example.com", false},
		{"*.example.com", ".example.com", true}, // below example.com, whatever it is
		{"*.com", "example.com", false},
		{"*", "localhost", false},
		{"*", "example.com", false},
		{"*.", "example.com", false},
		{"m*.example.com", "mx.example.com", false},
		{"*x.example.com", "mx.example.com", false},
		{"mx.*.com", "mx.example.com", false},
		{"*.*.com", "mx.example.com", false},
		{"xn--*.example.com", "xn--mnchen-3ya.example.com", false},

		{"mx.example.net", ".example.net", true},
		{"a.b.example.net", ".example.net", true},
		{"example.net", ".example.net", false},
		{".example.net", ".example.net", false},
		{"..example.net", ".example.net", false},
		{"-.example.net", ".example.net", false},
		{"evilexample.net", ".example.net", false},
		{"mx.example.net.evil.example", ".example.net", false},
		{"mx.example.net", ".", false},

		{"192.0.2.1", "192.0.2.1", false}, // an address is no DNS name
		{"m\u212a.example.com", "mk.example.com", false},
	}
	for _, tt := range tests {
		if got := matchName(tt.certificate, tt.want); got != tt.match {
			t.Errorf("certificate for %q, wanted %q: got %v", tt.certificate, tt.want, got)
		}
	}
}

func TestAnAddressIsMatchedByAddressesOnly(t *testing.T) {
	byAddress := &x509.Certificate{IPAddresses: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")}}
	byName := &x509.Certificate{DNSNames: []string{"192.0.2.1"}, Subject: pkix.Name{CommonName: "192.0.2.1"}}
	for _, want := range []string{"192.0.2.1", "[192.0.2.1]", "::ffff:192.0.2.1", "[IPv6:2001:DB8:0::1]"} {
		if got, ok := matchCertificate(byAddress, []string{canonical(want)}, false); !ok || got != canonical(want) {
			t.Errorf("%s: got %q, %v", want, got, ok)
		}
		if got, ok := matchCertificate(byName, []string{canonical(want)}, false); ok {
			t.Errorf("%s: matched the name %q", want, got)
		}
	}
	if got, ok := matchCertificate(byAddress, []string{"192.0.2.2", "mx.example.com"}, false); ok {
		t.Errorf("matched %q", got)
	}
}

func TestHostsAreComparedInOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"MX.Example.COM.": "mx.example.com", "": "", ".": "", "163.com": "163.com",
		"[192.0.2.1]": "192.0.2.1", "[IPv6:2001:DB8::0:1]": "2001:db8::1", "2001:DB8::1": "2001:db8::1",
		"::ffff:192.0.2.1": "192.0.2.1", "[example.com]": "[example.com]", "[192.0.2.1": "[192.0.2.1",
		"\u212aX.example": "\u212ax.example", "fe80::1%eth0": "fe80::1",
	} {
		if got := canonical(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// FuzzMatchName holds the match against crypto/x509's: we accept nothing that it refuses.
func FuzzMatchName(f *testing.F) {
	for _, s := range [][2]string{
		{"mx.example.com", "mx.example.com"}, {"*.example.com", "mx.example.com"}, {"*.com", "example.com"},
		{"*.example.net", ".example.net"}, {"a..example.net", ".example.net"}, {"*", "*"}, {"_x.A.", "_x.a"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, certificate, want string) {
		want = canonical(want)
		if !matchName(certificate, want) {
			return
		}
		if strings.HasPrefix(want, ".") {
			name := strings.TrimSuffix(asciiLower(certificate), ".")
			if !strings.HasSuffix(name, want) || strings.Contains(name, "..") || name == want {
				t.Fatalf("%q is not below %q", certificate, want)
			}
			return
		}
		c := &x509.Certificate{DNSNames: []string{strings.TrimSuffix(certificate, ".")}}
		if err := c.VerifyHostname(want); err != nil && !strings.Contains(want, "*") {
			t.Fatalf("%q matches %q: %v", certificate, want, err)
		}
	})
}

// TestOrdinaryNamesMatchAsInX509 is the other direction, for names as hosts have them.
func TestOrdinaryNamesMatchAsInX509(t *testing.T) {
	label := rapid.StringMatching(`[a-cA-C][a-c0-9]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		host := rapid.SliceOfN(label, 3, 5).Draw(t, "host")
		certificate := append([]string(nil), host...)
		switch rapid.IntRange(0, 3).Draw(t, "change") {
		case 0:
			certificate[0] = "*"
		case 1:
			certificate[rapid.IntRange(0, len(certificate)-1).Draw(t, "at")] = label.Draw(t, "label")
		case 2:
			certificate = append([]string{"*"}, certificate...)
		}
		c := &x509.Certificate{DNSNames: []string{strings.Join(certificate, ".")}}
		want := strings.Join(host, ".")
		if got, x := matchName(c.DNSNames[0], canonical(want)), c.VerifyHostname(want) == nil; got != x {
			t.Fatalf("%q for %q: got %v, crypto/x509 has %v", c.DNSNames[0], want, got, x)
		}
	})
}
