package sees

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
	"postern/tls/hello"
)

// flags are s_client's for exactly one version.
var flags = map[uint16]string{tls.VersionTLS13: "-tls1_3", tls.VersionTLS12: "-tls1_2", tls.VersionTLS11: "-tls1_1", tls.VersionTLS10: "-tls1"}

// tls13 are OpenSSL's names of the suites of TLS 1.3, which are IANA's.
var tls13 = []uint16{0x1301, 0x1302, 0x1303, 0x1304, 0x1305}

// client asks with s_client and returns what it prints, empty when it gets no
// connection.
func client(t *testing.T, addr string, version uint16, args ...string) string {
	t.Helper()
	out, _ := harness.Run(t, "", harness.Tool(t, "openssl"), append([]string{"s_client", "-connect", addr, flags[version]}, args...)...)
	if strings.Contains(out, "Cipher is (NONE)") || !strings.Contains(out, "Cipher is ") {
		return ""
	}
	return out
}

// truth asks for one suite at a time.
func truth(t *testing.T, addr string, version uint16) (accepted []uint16) {
	t.Helper()
	if version == tls.VersionTLS13 {
		for _, id := range tls13 {
			if client(t, addr, version, "-ciphersuites", hello.SuiteName(id)) != "" {
				accepted = append(accepted, id)
			}
		}
		return accepted
	}
	out, _ := harness.Run(t, "", harness.Tool(t, "openssl"), "ciphers", "-s", flags[version], "ALL:COMPLEMENTOFALL:@SECLEVEL=0")
	has := strings.Split(strings.TrimSpace(out), ":")
	for id, name := range names(t) {
		if slices.Contains(has, name) && client(t, addr, version, "-cipher", name+":@SECLEVEL=0") != "" {
			accepted = append(accepted, id)
		}
	}
	return accepted
}

// known leaves of a scan's result the suites that the judge has.
func known(ids []uint16, t *testing.T) []uint16 {
	judge := names(t)
	return slices.DeleteFunc(ids, func(id uint16) bool { return judge[id] == "" && !slices.Contains(tls13, id) })
}

func sServer(t *testing.T, args ...string) string {
	addr, _ := serve(t, harness.Tool(t, "openssl"), append([]string{"s_server", "-quiet", "-accept", "127.0.0.1:PORT"}, args...)...)
	return addr
}

func TestOpenSSL(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	rsa, ecdsa := ca.Issue(t, harness.RSA, "mx.test"), ca.Issue(t, harness.ECDSA, "mx.test")
	params := dhParams(t)
	both := []string{"-cert", rsa.CertFile, "-key", rsa.KeyFile, "-dcert", ecdsa.CertFile, "-dkey", ecdsa.KeyFile}
	for _, c := range []struct {
		name     string
		args     []string
		version  uint16
		order    hello.Order
		accepted int // at least
	}{
		{"its defaults", nil, tls.VersionTLS12, hello.ByClient, 20},
		{"everything", []string{"-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "-serverpref"}, tls.VersionTLS12, hello.ByServer, 70},
		{"everything in TLS 1.0", []string{"-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "-serverpref"}, tls.VersionTLS10, hello.ByServer, 20},
		{"everything in TLS 1.1, the client's order", []string{"-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"}, tls.VersionTLS11, hello.ByClient, 20},
		{"ChaCha20 first for those that have it first", []string{"-serverpref", "-prioritize_chacha"}, tls.VersionTLS12, hello.ByServer, 20},
		{"DHE with 1024 bits", []string{"-cipher", "kDHE+AESGCM:@SECLEVEL=0", "-dhparam", params}, tls.VersionTLS12, hello.ByClient, 2},
		{"anonymous", []string{"-cipher", "aNULL:@SECLEVEL=0"}, tls.VersionTLS12, hello.ByClient, 5},
		{"no version in common", []string{"-no_tls1_2"}, tls.VersionTLS12, hello.Unknown, 0},
		{"one suite", []string{"-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}, tls.VersionTLS12, hello.Unknown, 1},
		{"TLS 1.3", nil, tls.VersionTLS13, hello.ByClient, 3},
		{"TLS 1.3 with all five", []string{"-serverpref", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"},
			tls.VersionTLS13, hello.ByServer, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := sServer(t, slices.Concat(both, c.args)...)
			want := truth(t, addr, c.version)
			if len(want) < c.accepted {
				t.Fatalf("s_client gets %d suites: the test is not what it was", len(want))
			}
			got, f := suites(t, addr, c.version)
			same(t, known(got, t), want)
			if f.Order != c.order {
				t.Errorf("the order is the %s's, want the %s's", f.Order, c.order)
			}
		})
	}
}

// groupNames are OpenSSL's names of the groups that its clients can ask for.
var groupNames = map[string]tls.CurveID{
	"X25519": tls.X25519, "X448": 30, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521,
	"secp224r1": 21, "secp256k1": 22, "prime192v1": 19, "sect283r1": 10, "brainpoolP256r1": 26,
	"ffdhe2048": 256, "ffdhe3072": 257, "ffdhe4096": 258, "ffdhe6144": 259, "ffdhe8192": 260,
}

func TestGroupsOfOpenSSL(t *testing.T) {
	t.Parallel()
	rsa := harness.NewCA(t).Issue(t, harness.RSA, "mx.test")
	const odd = "P-384:secp224r1:X25519:secp256k1:prime192v1:sect283r1:brainpoolP256r1:P-521"
	for _, c := range []struct {
		name    string
		args    []string
		version uint16
		ciphers []string
		order   hello.Order
		atLeast int
	}{
		{"its defaults", nil, tls.VersionTLS13, nil, hello.ByServer, 10},
		{"its defaults in TLS 1.2", nil, tls.VersionTLS12, []string{"-cipher", "ECDHE"}, hello.ByClient, 5},
		{"its own order in TLS 1.2", []string{"-serverpref"}, tls.VersionTLS12, []string{"-cipher", "ECDHE"}, hello.ByServer, 5},
		{"two", []string{"-groups", "P-521:ffdhe3072"}, tls.VersionTLS13, nil, hello.ByServer, 2},
		{"odd ones", []string{"-groups", odd, "-cipher", "ALL:@SECLEVEL=0", "-serverpref"}, tls.VersionTLS12, []string{"-cipher", "ECDHE:@SECLEVEL=0"}, hello.ByServer, 8},
		{"behind RSA key exchange", []string{"-cipher", "AES128-SHA:ECDHE", "-serverpref"}, tls.VersionTLS12, []string{"-cipher", "ECDHE"}, hello.ByServer, 5},
		{"one", []string{"-groups", "P-521"}, tls.VersionTLS12, []string{"-cipher", "ECDHE"}, hello.Unknown, 1},
		{"none", []string{"-cipher", "kRSA"}, tls.VersionTLS12, []string{"-cipher", "ECDHE"}, hello.Unknown, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := sServer(t, slices.Concat([]string{"-cert", rsa.CertFile, "-key", rsa.KeyFile}, c.args)...)
			var want, got []tls.CurveID
			for name, id := range groupNames {
				if client(t, addr, c.version, append([]string{"-groups", name}, c.ciphers...)...) != "" {
					want = append(want, id)
				}
			}
			f, err := scan(addr).Groups(within(t), c.version, hello.Groups())
			if err != nil || f.Order != c.order {
				t.Errorf("order %s, want %s; %v", f.Order, c.order, err)
			}
			for _, a := range f.Answers {
				got = append(got, a.Group)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || len(want) < c.atLeast {
				t.Errorf("a scan finds %v, s_client gets %v", got, want)
			}
		})
	}
}

// What s_client prints of a connection and what one question tells are the same.
func TestAnswersOfOpenSSL(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	rsa, ecdsa := ca.Issue(t, harness.RSA, "mx.test"), ca.Issue(t, harness.ECDSA, "mx.test")
	addr := sServer(t, "-cert", rsa.CertFile, "-key", rsa.KeyFile, "-dcert", ecdsa.CertFile, "-dkey", ecdsa.KeyFile,
		"-dhparam", dhParams(t), "-cipher", "ALL:@SECLEVEL=0")
	for _, c := range []struct {
		suite     string
		version   uint16
		group     tls.CurveID
		dhBits    int
		signature tls.SignatureScheme
		prints    []string
	}{
		{"ECDHE-RSA-AES128-SHA", tls.VersionTLS12, tls.X25519, 0, tls.PSSWithSHA256, []string{"Server Temp Key: X25519", "signing digest: SHA256", "signature type: RSA-PSS"}},
		{"ECDHE-ECDSA-AES128-SHA", tls.VersionTLS12, tls.X25519, 0, tls.ECDSAWithP256AndSHA256, []string{"Server Temp Key: X25519", "signing digest: SHA256", "signature type: ECDSA"}},
		{"DHE-RSA-AES256-SHA", tls.VersionTLS12, 0, 1024, tls.PSSWithSHA256, []string{"Server Temp Key: DH, 1024 bits", "signature type: RSA-PSS"}},
		{"DHE-RSA-AES256-SHA", tls.VersionTLS10, 0, 1024, 0, []string{"Server Temp Key: DH, 1024 bits"}},
		{"AES256-SHA", tls.VersionTLS11, 0, 0, 0, []string{"Cipher is AES256-SHA"}},
	} {
		t.Run(c.suite, func(t *testing.T) {
			out := client(t, addr, c.version, "-cipher", c.suite+":@SECLEVEL=0", "-groups", "X25519:P-256")
			for _, want := range append(c.prints, "Secure Renegotiation IS supported", "Extended master secret: yes") {
				if !strings.Contains(out, want) {
					t.Errorf("s_client prints no %q:\n%s", want, out)
				}
			}
			var id uint16
			for n, name := range names(t) {
				if name == c.suite {
					id = n
				}
			}
			// OpenSSL takes the client's first signature algorithm.
			signatures := []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}
			a, err := scan(addr).Ask(within(t), hello.Offer{
				Versions: []uint16{c.version}, Suites: []uint16{id}, Groups: []tls.CurveID{tls.X25519, tls.CurveP256}, Signatures: signatures, ServerName: "mx.test",
			})
			if err != nil || a.Version != c.version || a.Suite != id || a.Group != c.group || a.DHBits != c.dhBits || a.Signature != c.signature {
				t.Errorf("got %v, %s", err, brief(a))
			}
			if !a.EMS || !a.EncryptThenMAC || !a.SecureRenegotiation || !a.Ticket || a.Compression || a.CertificateStatus || len(a.Certificates) == 0 {
				t.Errorf("got %s", brief(a))
			}
		})
	}
}

// brief leaves the certificates out.
func brief(a hello.Answer) string {
	a.Certificates = nil
	return fmt.Sprintf("%+v", a)
}
