package grade_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/tls/grade"
)

const (
	ecdheGCM    = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	ecdheChaCha = tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
	ecdheSHA    = tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA
	ecdheSHA256 = tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
	ecdhe3DES   = tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA
	ecdheRC4    = tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA
	rsaGCM      = tls.TLS_RSA_WITH_AES_256_GCM_SHA384
	rsaSHA      = tls.TLS_RSA_WITH_AES_128_CBC_SHA
	rsa3DES     = tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA
	rsaRC4      = tls.TLS_RSA_WITH_RC4_128_SHA
)

// server is one way to fill a configuration.
type server struct {
	name string
	fill func(*tls.Config)
}

func servers() []server {
	plain := func(g grade.Grade, rsa, submission bool) func(*tls.Config) {
		return func(c *tls.Config) { g.Server(c, rsa, submission) }
	}
	return []server{
		{"modern", plain(grade.Modern, false, false)},
		{"intermediate", plain(grade.Intermediate, false, false)},
		{"mail", plain(grade.Mail, false, false)},
		{"legacy", plain(grade.Legacy, false, false)},
		{"modern+rsa", plain(grade.Modern, true, false)},
		{"intermediate+rsa", plain(grade.Intermediate, true, false)},
		{"mail+rsa", plain(grade.Mail, true, false)},
		{"legacy+rsa", plain(grade.Legacy, true, false)},
		{"mail+prefer", func(c *tls.Config) { grade.Mail.ServerPrefer(c, false) }},
		{"legacy+prefer", func(c *tls.Config) { grade.Legacy.ServerPrefer(c, false) }},
		{"legacy+submission", plain(grade.Legacy, true, true)},
		{"modern+submission", plain(grade.Modern, true, true)},
	}
}

// TestWhoMeetsWhom has one line per client: the newest version that it has, its
// suites below TLS 1.3, and the servers that it must reach. It must fail with all
// others.
func TestWhoMeetsWhom(t *testing.T) {
	const all = "modern intermediate mail legacy modern+rsa intermediate+rsa mail+rsa legacy+rsa " +
		"mail+prefer legacy+prefer legacy+submission modern+submission"
	const from12 = "intermediate mail legacy intermediate+rsa mail+rsa legacy+rsa mail+prefer legacy+prefer legacy+submission"
	const fromMail = "mail legacy mail+rsa legacy+rsa mail+prefer legacy+prefer legacy+submission"
	const rsa = "mail+rsa legacy+rsa mail+prefer legacy+prefer legacy+submission"
	const old = "legacy legacy+rsa legacy+prefer"
	clients := []struct {
		name    string
		version uint16
		suites  []uint16
		reaches string
		suite   uint16 // expected, 0 for TLS 1.3
	}{
		{"everything", tls.VersionTLS13, []uint16{ecdheGCM}, all, 0},
		{"TLS 1.2, ECDHE GCM", tls.VersionTLS12, []uint16{ecdheGCM}, from12, ecdheGCM},
		{"TLS 1.2, ECDHE ChaCha20", tls.VersionTLS12, []uint16{ecdheChaCha}, from12, ecdheChaCha},
		{"TLS 1.2, GCM and weaker", tls.VersionTLS12, []uint16{rsaRC4, rsa3DES, rsaSHA, rsaGCM, ecdheSHA, ecdheGCM}, from12, ecdheGCM},
		{"TLS 1.2, ECDHE CBC-SHA", tls.VersionTLS12, []uint16{ecdheSHA}, fromMail, ecdheSHA},
		{"TLS 1.2, ECDHE CBC-SHA or RSA GCM", tls.VersionTLS12, []uint16{rsaGCM, ecdheSHA}, fromMail, ecdheSHA},
		{"TLS 1.2, RSA GCM", tls.VersionTLS12, []uint16{rsaGCM}, rsa, rsaGCM},
		{"TLS 1.2, RSA CBC-SHA", tls.VersionTLS12, []uint16{rsaSHA}, rsa, rsaSHA},
		{"TLS 1.2, ECDHE 3DES", tls.VersionTLS12, []uint16{ecdhe3DES}, "legacy legacy+rsa legacy+prefer legacy+submission", ecdhe3DES},
		{"TLS 1.2, RSA 3DES", tls.VersionTLS12, []uint16{rsa3DES}, "legacy+prefer", rsa3DES},
		{"TLS 1.1, ECDHE CBC-SHA", tls.VersionTLS11, []uint16{ecdheSHA}, old, ecdheSHA},
		{"TLS 1.0, ECDHE CBC-SHA", tls.VersionTLS10, []uint16{ecdheSHA}, old, ecdheSHA},
		{"TLS 1.0, RSA CBC-SHA", tls.VersionTLS10, []uint16{rsaSHA}, "legacy+rsa legacy+prefer", rsaSHA},
		{"TLS 1.0, RSA 3DES", tls.VersionTLS10, []uint16{rsa3DES}, "legacy+prefer", rsa3DES},
		{"TLS 1.2, CBC-SHA256 only", tls.VersionTLS12, []uint16{ecdheSHA256}, "", 0},
		{"TLS 1.2, RC4 only", tls.VersionTLS12, []uint16{ecdheRC4, rsaRC4}, "", 0},
		{"TLS 1.0, RC4 only", tls.VersionTLS10, []uint16{rsaRC4}, "", 0},
	}
	ca := catest.New(t)
	cert := ca.Issue(t, catest.Leaf{Key: catest.RSA2048})
	for _, cl := range clients {
		for _, srv := range servers() {
			t.Run(cl.name+" to "+srv.name, func(t *testing.T) {
				sc := &tls.Config{Certificates: []tls.Certificate{cert}}
				srv.fill(sc)
				state, err := handshake(sc, &tls.Config{
					RootCAs: ca.Pool(), ServerName: "localhost",
					MinVersion: tls.VersionTLS10, MaxVersion: cl.version, CipherSuites: cl.suites,
				})
				if !slices.Contains(strings.Fields(cl.reaches), srv.name) {
					if err == nil {
						t.Fatalf("got %s, want a refusal", describe(state))
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if state.Version != cl.version || cl.suite != 0 && state.CipherSuite != cl.suite {
					t.Errorf("got %s", describe(state))
				}
			})
		}
	}
}

func TestEveryGradeHasAHybridGroupForTLS13(t *testing.T) {
	ca := catest.New(t)
	cert := ca.Issue(t, catest.Leaf{})
	for _, srv := range servers() {
		for _, want := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
			sc := &tls.Config{Certificates: []tls.Certificate{cert}}
			srv.fill(sc)
			// The hybrid must win over the classical group that the client has as well.
			curves := []tls.CurveID{want}
			if want == tls.X25519MLKEM768 {
				curves = []tls.CurveID{tls.X25519, tls.X25519MLKEM768}
			}
			state, err := handshake(sc, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", CurvePreferences: curves})
			if err != nil || state.CurveID != want {
				t.Errorf("%s: got %v, %v, want %v", srv.name, state.CurveID, err, want)
			}
		}
	}
}

func TestNoGradeListsABrokenSuite(t *testing.T) {
	for _, srv := range servers() {
		c := &tls.Config{}
		srv.fill(c)
		if len(c.CipherSuites) == 0 {
			t.Errorf("%s: no suites, which means crypto/tls's own", srv.name)
		}
		for _, s := range c.CipherSuites {
			if name := tls.CipherSuiteName(s); strings.Contains(name, "RC4") || strings.HasSuffix(name, "CBC_SHA256") {
				t.Errorf("%s lists %s", srv.name, name)
			}
		}
	}
}

func TestServerLeavesTheRestAlone(t *testing.T) {
	c := &tls.Config{ServerName: "kept", SessionTicketsDisabled: true, MaxVersion: tls.VersionTLS12}
	grade.Mail.Server(c, false, false)
	if c.ServerName != "kept" || !c.SessionTicketsDisabled {
		t.Error("a setting that is not the grade's has changed")
	}
	if c.MaxVersion != 0 {
		t.Error("an old upper limit has survived")
	}
	c.CipherSuites[0], c.CurvePreferences[0] = 0, 0
	again := &tls.Config{}
	grade.Mail.Server(again, false, false)
	if again.CipherSuites[0] == 0 || again.CurvePreferences[0] == 0 {
		t.Error("two configurations share a list")
	}
}

func TestGradeNames(t *testing.T) {
	for g, name := range map[grade.Grade]string{
		grade.Modern: "modern", grade.Intermediate: "intermediate", grade.Mail: "mail", grade.Legacy: "legacy",
	} {
		if got, err := grade.Parse(name); err != nil || got != g || g.String() != name {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := grade.Parse("Modern"); err == nil || !strings.Contains(err.Error(), `"Modern": write modern, intermediate, mail or legacy`) {
		t.Errorf("got %v", err)
	}
	if got := grade.Grade(9).String(); got != "grade(9)" {
		t.Errorf("got %q", got)
	}
	if g := *new(grade.Grade); g != grade.Mail {
		t.Errorf("the zero grade is %v", g)
	}
	if grade.Modern >= grade.Intermediate || grade.Intermediate >= grade.Mail || grade.Mail >= grade.Legacy {
		t.Error("grades are not ordered from strict to lenient")
	}
}

// handshake runs one over an in-memory connection and returns the client's view.
func handshake(server, client *tls.Config) (tls.ConnectionState, error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // also carries TLS 1.3's session tickets
		}
		a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	_, err := c.Read(make([]byte, 1))
	state := c.ConnectionState()
	b.Close()
	if serverErr := <-done; serverErr != nil {
		return state, fmt.Errorf("server: %w", serverErr)
	}
	return state, err
}

func describe(s tls.ConnectionState) string {
	return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite)
}
