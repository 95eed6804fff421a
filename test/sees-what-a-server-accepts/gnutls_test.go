package sees

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
	"postern/tls/hello"
)

func gnuTLS(t *testing.T, pair harness.Pair, priority string) string {
	addr, _ := serve(t, harness.Tool(t, "gnutls-serv"), "--port", "PORT", "--echo", "--quiet",
		"--x509certfile", pair.CertFile, "--x509keyfile", pair.KeyFile, "--priority", priority)
	return addr
}

// goTruth asks for one suite at a time with crypto/tls, which has RC4 and 3DES,
// which OpenSSL has no more.
func goTruth(addr string, version uint16) (accepted []uint16) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil
		}
		c := tls.Client(conn, &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: []uint16{s.ID}, InsecureSkipVerify: true}) // asks, and sends nothing
		if c.Handshake() == nil {
			accepted = append(accepted, s.ID)
		}
		c.Close()
	}
	return accepted
}

// gnuTruth asks GnuTLS's client for what neither OpenSSL nor crypto/tls has.
func gnuTruth(t *testing.T, addr string) (accepted []uint16) {
	host, port, _ := net.SplitHostPort(addr)
	for id, parts := range map[uint16]string{0x0016: "+DHE-RSA:+3DES-CBC:+SHA1", 0x0004: "+RSA:+ARCFOUR-128:+MD5", 0x0018: "+ANON-DH:+ARCFOUR-128:+MD5"} {
		priority := "NONE:+VERS-TLS1.2:+VERS-TLS1.0:+SIGN-ALL:+GROUP-ALL:+COMP-NULL:" + parts
		out, _ := harness.Run(t, "", harness.Tool(t, "gnutls-cli"), "--insecure", "--priority", priority, "--port", port, host)
		if strings.Contains(out, "Handshake was completed") {
			accepted = append(accepted, id)
		}
	}
	return accepted
}

func TestGnuTLS(t *testing.T) {
	t.Parallel()
	rsa := harness.NewCA(t).Issue(t, harness.RSA, "mx.test")
	const legacy = "NORMAL:+VERS-TLS1.0:+VERS-TLS1.1:+ARCFOUR-128:+3DES-CBC:+MD5"
	for _, c := range []struct {
		name, priority string
		version        uint16
		order          hello.Order
		accepted       int
	}{
		{"its defaults in its order", "NORMAL:%SERVER_PRECEDENCE", tls.VersionTLS12, hello.ByServer, 15},
		{"TLS 1.3", "NORMAL", tls.VersionTLS13, hello.ByClient, 4},
		{"TLS 1.3 in its order", "NORMAL:%SERVER_PRECEDENCE", tls.VersionTLS13, hello.ByServer, 4},
		{"RC4 and 3DES", legacy, tls.VersionTLS12, hello.ByClient, 20},
		{"RC4 and 3DES in TLS 1.0", legacy + ":%SERVER_PRECEDENCE", tls.VersionTLS10, hello.ByServer, 7},
		{"a version that it has not", "NORMAL:-VERS-TLS1.3", tls.VersionTLS13, hello.Unknown, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := gnuTLS(t, rsa, c.priority)
			want := truth(t, addr, c.version)
			if c.version < tls.VersionTLS13 { // whose suites crypto/tls does not let choose
				want = slices.Concat(want, goTruth(addr, c.version), gnuTruth(t, addr))
			}
			slices.Sort(want)
			want = slices.Compact(want)
			if len(want) < c.accepted {
				t.Fatalf("clients get %d suites: the test is not what it was", len(want))
			}
			got, f := suites(t, addr, c.version)
			same(t, known(got, t), want)
			if f.Order != c.order {
				t.Errorf("the order is the %s's, want the %s's", f.Order, c.order)
			}
		})
	}
}

// GnuTLS can leave out what others always have.
func TestAnswersOfGnuTLS(t *testing.T) {
	t.Parallel()
	pair := harness.NewCA(t).Issue(t, harness.RSA, "mx.test")
	const base = "NORMAL:-VERS-TLS1.3"
	full := hello.Answer{EMS: true, EncryptThenMAC: true, SecureRenegotiation: true, Ticket: true}
	for _, c := range []struct {
		priority string
		want     func(*hello.Answer)
	}{
		{base, func(*hello.Answer) {}},
		{base + ":%NO_SESSION_HASH", func(a *hello.Answer) { a.EMS = false }},
		{base + ":%NO_ETM", func(a *hello.Answer) { a.EncryptThenMAC = false }},
		{base + ":%NO_TICKETS", func(a *hello.Answer) { a.Ticket = false }},
		{base + ":%DISABLE_SAFE_RENEGOTIATION", func(a *hello.Answer) { a.SecureRenegotiation = false }},
	} {
		t.Run(c.priority, func(t *testing.T) {
			t.Parallel()
			a, err := scan(gnuTLS(t, pair, c.priority)).Ask(within(t), hello.Offer{
				Versions: []uint16{tls.VersionTLS12}, Suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
			})
			want := full
			c.want(&want)
			if err != nil || a.EMS != want.EMS || a.EncryptThenMAC != want.EncryptThenMAC || a.SecureRenegotiation != want.SecureRenegotiation || a.Ticket != want.Ticket {
				t.Errorf("got %v, %s", err, brief(a))
			}
		})
	}
}

// RFC 7919: GnuTLS uses its groups also when they are not offered, and those that
// are offered when they are.
func TestFiniteFieldGroupsAreKnownByTheirPrimes(t *testing.T) {
	t.Parallel()
	pair := harness.NewCA(t).Issue(t, harness.RSA, "mx.test")
	addr := gnuTLS(t, pair, "NORMAL:-VERS-TLS1.3")
	for id, bits := range map[tls.CurveID]int{256: 2048, 257: 3072, 258: 4096, 259: 6144, 260: 8192} {
		a, err := scan(addr).Ask(within(t), hello.Offer{
			Versions: []uint16{tls.VersionTLS12}, Suites: []uint16{0x009e}, Groups: []tls.CurveID{id},
		})
		if err != nil || a.Group != id || a.DHBits != bits {
			t.Errorf("%s: got %v, %s", hello.GroupName(id), err, brief(a))
		}
	}
	a, err := scan(addr).Ask(within(t), hello.Offer{Versions: []uint16{tls.VersionTLS12}, Suites: []uint16{0x009e}})
	if err != nil || a.Group < 256 || a.Group > 260 {
		t.Errorf("none offered: got %v, %s", err, brief(a))
	}
}
