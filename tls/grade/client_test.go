package grade_test

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/tls/grade"
)

func clients() []server {
	fill := func(g grade.Grade, mandatory bool) func(*tls.Config) {
		return func(c *tls.Config) { g.Client(c, mandatory) }
	}
	return []server{
		{"modern", fill(grade.Modern, false)},
		{"intermediate", fill(grade.Intermediate, false)},
		{"mail", fill(grade.Mail, false)},
		{"legacy", fill(grade.Legacy, false)},
		{"modern!", fill(grade.Modern, true)},
		{"intermediate!", fill(grade.Intermediate, true)},
		{"mail!", fill(grade.Mail, true)},
		{"legacy!", fill(grade.Legacy, true)},
	}
}

// TestWhichServersAClientReaches has one line per server: the only version and suites
// that it has, and the clients that must reach it; "!" is a mandatory level. It must refuse all others.
func TestWhichServersAClientReaches(t *testing.T) {
	const all = "modern intermediate mail legacy modern! intermediate! mail! legacy!"
	const from12 = "intermediate mail legacy intermediate! mail! legacy!"
	const fromMail = "mail legacy mail! legacy!"
	tests := []struct {
		name    string
		version uint16
		suites  []uint16
		reached string
	}{
		{"TLS 1.3", tls.VersionTLS13, []uint16{ecdheGCM}, all},
		{"TLS 1.2, ECDHE GCM", tls.VersionTLS12, []uint16{ecdheGCM}, from12},
		{"TLS 1.2, ECDHE ChaCha20", tls.VersionTLS12, []uint16{ecdheChaCha}, from12},
		{"TLS 1.2, ECDHE CBC-SHA", tls.VersionTLS12, []uint16{ecdheSHA}, fromMail},
		{"TLS 1.2, RSA GCM", tls.VersionTLS12, []uint16{rsaGCM}, "mail legacy"},
		{"TLS 1.2, RSA CBC-SHA", tls.VersionTLS12, []uint16{rsaSHA}, "mail legacy"},
		{"TLS 1.2, ECDHE 3DES", tls.VersionTLS12, []uint16{ecdhe3DES}, "legacy legacy!"},
		{"TLS 1.2, RSA 3DES", tls.VersionTLS12, []uint16{rsa3DES}, "legacy"},
		{"TLS 1.1, ECDHE CBC-SHA", tls.VersionTLS11, []uint16{ecdheSHA}, "legacy"},
		{"TLS 1.0, ECDHE CBC-SHA", tls.VersionTLS10, []uint16{ecdheSHA}, "legacy"},
		{"TLS 1.0, RSA CBC-SHA", tls.VersionTLS10, []uint16{rsaSHA}, "legacy"},
		{"TLS 1.0, RSA 3DES", tls.VersionTLS10, []uint16{rsa3DES}, "legacy"},
		{"TLS 1.2, ECDHE CBC-SHA256", tls.VersionTLS12, []uint16{ecdheSHA256}, ""},
		{"TLS 1.2, RC4", tls.VersionTLS12, []uint16{ecdheRC4, rsaRC4}, ""},
	}
	ca := catest.New(t)
	cert := ca.Issue(t, catest.Leaf{Key: catest.RSA2048})
	for _, tt := range tests {
		for _, cl := range clients() {
			t.Run(cl.name+" to "+tt.name, func(t *testing.T) {
				cc := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
				cl.fill(cc)
				state, err := handshake(&tls.Config{
					Certificates: []tls.Certificate{cert}, CipherSuites: tt.suites,
					MinVersion: tls.VersionTLS10, MaxVersion: tt.version,
				}, cc)
				want := slices.Contains(strings.Fields(tt.reached), cl.name)
				if (err == nil) != want || want && state.Version != tt.version {
					t.Errorf("got %s, %v; want a handshake: %v", describe(state), err, want)
				}
			})
		}
	}
}

func TestAClientListsNoBrokenSuite(t *testing.T) {
	for _, cl := range clients() {
		c := &tls.Config{}
		cl.fill(c)
		if len(c.CipherSuites) == 0 {
			t.Errorf("%s: no suites, which means crypto/tls's own", cl.name)
		}
		for _, s := range c.CipherSuites {
			if name := tls.CipherSuiteName(s); strings.Contains(name, "RC4") || strings.HasSuffix(name, "CBC_SHA256") {
				t.Errorf("%s lists %s", cl.name, name)
			}
			if strings.HasSuffix(cl.name, "!") && !grade.ForwardSecret(tls.VersionTLS12, s) {
				t.Errorf("%s lists %s", cl.name, tls.CipherSuiteName(s))
			}
		}
	}
}

func TestClientLeavesTheRestAlone(t *testing.T) {
	c := &tls.Config{ServerName: "kept", SessionTicketsDisabled: true, MaxVersion: tls.VersionTLS12}
	grade.Legacy.Client(c, false)
	if c.ServerName != "kept" || !c.SessionTicketsDisabled {
		t.Error("a setting that is not the grade's has changed")
	}
	if c.MaxVersion != 0 {
		t.Error("an old upper limit has survived")
	}
	grade.Legacy.ClientPlain(c)
	c.CipherSuites[0], c.CurvePreferences[0] = 0, 0
	again := &tls.Config{}
	grade.Legacy.Client(again, false)
	grade.Legacy.ClientPlain(again)
	if again.CipherSuites[0] == 0 || again.CurvePreferences[0] == 0 {
		t.Error("two configurations share a list")
	}
}

func TestAPlainHelloFitsIntoOneSegmentAndAFullOneHasTheHybrid(t *testing.T) {
	for _, cl := range clients() {
		full := &tls.Config{ServerName: "mx.example.com"}
		cl.fill(full)
		plain := full.Clone()
		grade.Mail.ClientPlain(plain)
		if got := len(hello(t, plain)); got > 536 {
			t.Errorf("%s: a plain hello of %d octets", cl.name, got)
		}
		if got := len(hello(t, full)); got < 1100 {
			t.Errorf("%s: a hello of %d octets has no room for ML-KEM", cl.name, got)
		}
	}
}

func TestAPlainHelloReachesEachClassicalGroup(t *testing.T) {
	ca := catest.New(t)
	cert := ca.Issue(t, catest.Leaf{})
	for _, want := range []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768} {
		c := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
		grade.Modern.Client(c, false)
		grade.Modern.ClientPlain(c)
		state, err := dial(t, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{want}}, c)
		if classical := want != tls.X25519MLKEM768; (err == nil) != classical || classical && state.CurveID != want {
			t.Errorf("%v: got %v, %v", want, state.CurveID, err)
		}
	}
}

// dial runs a handshake over TCP: where the server asks for another key share both sides write at
// once, which stands still on a connection without buffers.
func dial(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if s, err := l.Accept(); err == nil {
			s.(*tls.Conn).Handshake()
			s.Close()
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	return c.ConnectionState(), nil
}

// hello returns the first record that a client sends.
func hello(t *testing.T, c *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		tls.Client(a, c).Handshake()
		a.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}
