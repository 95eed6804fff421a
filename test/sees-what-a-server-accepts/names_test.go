package sees

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
	"postern/tls/hello"
)

// What OpenSSL prints of each suite that it has is what the name says.
func TestSuitesAreWhatOpenSSLSaysTheyAre(t *testing.T) {
	t.Parallel()
	out, code := harness.Run(t, "", harness.Tool(t, "openssl"), "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0")
	if lines := strings.Count(out, "\n"); code != 0 || lines < 100 {
		t.Fatal(out)
	}
	exchange := strings.NewReplacer("ECDHEPSK", "ECDHE", "DHEPSK", "DHE", "RSAPSK", "RSA", "ECDH", "ECDHE", "DH", "DHE", "any", "")
	auth := strings.NewReplacer("None", "anon", "any", "", "SRP", "SHA")
	for line := range strings.Lines(out) {
		// 0xC0,0x2F - TLS_… - ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 Kx=ECDH Au=RSA Enc=AESGCM(128) Mac=AEAD
		field := strings.Fields(line)
		id := parse(t, field[0][2:4]+field[0][7:9])
		got := hello.Suite(id)
		says := map[string]string{}
		for _, f := range field[len(field)-4:] {
			name, value, _ := strings.Cut(f, "=")
			says[name] = value
		}
		kx := exchange.Replace(says["Kx"])
		if got.Authentication == "anon" {
			kx = strings.TrimSuffix(kx, "E")
		}
		mac := strings.TrimSuffix(says["Mac"], "1")
		_, bits, _ := strings.Cut(strings.TrimSuffix(says["Enc"], ")"), "(")
		if got.Name != field[2] || got.KeyExchange != kx || got.MAC != mac || bits == "" != (got.Encryption == "NULL") {
			t.Errorf("%s: %+v", strings.TrimSpace(line), got)
		}
		psk := strings.Contains(says["Kx"], "PSK") // for which OpenSSL names the certificate
		if !psk && got.Authentication != auth.Replace(says["Au"]) && kx != "SRP" {
			t.Errorf("%s: %+v", strings.TrimSpace(line), got)
		}
	}
}

// A scan asks for all that OpenSSL has without a shared secret.
func TestNoSuiteIsForgotten(t *testing.T) {
	t.Parallel()
	for version, flag := range flags {
		out, _ := harness.Run(t, "", harness.Tool(t, "openssl"), "ciphers", "-s", flag, "-V", "ALL:COMPLEMENTOFALL:!PSK:!SRP:@SECLEVEL=0")
		all, n := hello.Suites(version), 0
		for line := range strings.Lines(out) {
			field := strings.Fields(line)
			if id := parse(t, field[0][2:4]+field[0][7:9]); !slices.Contains(all, id) {
				t.Errorf("%s: %s", tls.VersionName(version), line)
			}
			n++
		}
		if n < 3 {
			t.Errorf("%s: OpenSSL has %d suites:\n%s", tls.VersionName(version), n, out)
		}
	}
}
