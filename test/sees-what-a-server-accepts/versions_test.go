package sees

import (
	"crypto/tls"
	"errors"
	"slices"
	"testing"

	"postern/test/harness"
	"postern/tls/hello"
)

// The version that is chosen of many, and the fallback that is refused.
func TestVersionsOfOpenSSL(t *testing.T) {
	t.Parallel()
	pair := harness.NewCA(t).Issue(t, harness.RSA, "mx.test")
	addr := sServer(t, "-cert", pair.CertFile, "-key", pair.KeyFile, "-cipher", "ALL:@SECLEVEL=0")
	suites := hello.Suites(tls.VersionTLS10)
	for _, c := range []struct {
		name  string
		offer hello.Offer
		want  uint16
		alert uint8
	}{
		{"all", hello.Offer{Versions: []uint16{tls.VersionTLS13, tls.VersionTLS12}, Suites: append([]uint16{0x1301}, suites...)}, tls.VersionTLS13, 0},
		{"the client's order of versions", hello.Offer{Versions: []uint16{tls.VersionTLS12, tls.VersionTLS13}, Suites: append([]uint16{0x1301}, suites...)}, tls.VersionTLS13, 0},
		{"up to 1.1", hello.Offer{Versions: []uint16{tls.VersionTLS11}, Suites: suites}, tls.VersionTLS11, 0},
		{"SSLv3", hello.Offer{Versions: []uint16{hello.VersionSSL30}, Suites: suites}, 0, 40}, // SSLv3 had no protocol_version
		{"a fallback", hello.Offer{Versions: []uint16{tls.VersionTLS11}, Suites: append(slices.Clone(suites), hello.FallbackSCSV)}, 0, 86},
		{"no suite in common", hello.Offer{Versions: []uint16{tls.VersionTLS12}, Suites: []uint16{0xc0b4}}, 0, 40},
	} {
		a, err := scan(addr).Ask(within(t), c.offer)
		var alert *hello.AlertError
		if c.alert == 0 && (err != nil || a.Version != c.want) {
			t.Errorf("%s: got %v, %s", c.name, err, brief(a))
		}
		if c.alert != 0 && (!hello.Refused(err) || !errors.As(err, &alert) || alert.Alert != c.alert) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
