package proxy

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/peers"
	"postern/tls/certs"
	"postern/tls/grade"
)

// A client's certificate is judged and reported, never refused.
func TestAClientsCertificateIsJudgedByTheNameItGivesInsideTLS(t *testing.T) {
	_, e := one(t, smtptest.Script{}, trace, func(p *plan) { p.tls.RequestCertificate = true })
	ours, theirs := e.ca, catest.New(t)
	for want, c := range map[string]struct {
		ca    *catest.CA
		hello string
	}{
		"Verified":  {ours, "client.test"},
		"Trusted":   {ours, "other.test"},
		"Untrusted": {theirs, "client.test"},
		"Anonymous": {nil, "client.test"},
	} {
		config := e.clientTLS()
		if c.ca != nil {
			config.Certificates = []tls.Certificate{c.ca.Issue(t, catest.Leaf{Names: []string{"client.test"}, Client: true})}
		}
		k := e.connect()
		k.Do("EHLO "+c.hello, "250")
		k.StartTLS(config)
		k.Do("EHLO "+c.hello, "250")
		deliver(k)
		k.Do("QUIT", "221")
		e.logged("peer=" + want)
	}
}

// memory is a HandshakeMemory that keeps what it is told.
type memory struct {
	mu           sync.Mutex
	avoid, known bool
	told         []string
}

func (m *memory) note(what, hello string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, what+" "+hello)
}

func (m *memory) Avoid(netip.Addr, string) bool              { return m.avoid }
func (m *memory) UsedForwardSecrecy(netip.Addr, string) bool { return m.known }
func (m *memory) Failed(_ netip.Addr, hello string)          { m.note("failed", hello) }
func (m *memory) Secured(_ netip.Addr, hello string, f peers.Facts) {
	if !f.ForwardSecret {
		hello += " without forward secrecy"
	}
	m.note("succeeded", hello)
}

func remembering(m *memory) func(*plan) {
	return func(p *plan) { p.Handshake = m }
}

// SEM 31: only with tls = "offer".
func TestAClientWhoseHandshakesFailIsSparedSTARTTLS(t *testing.T) {
	for m, want := range map[TLSMode]bool{TLSOffer: false, TLSRequire: true} {
		_, e := one(t, smtptest.Script{}, mode(m), remembering(&memory{avoid: true}))
		c := e.connect()
		if got := offers(c.Do("EHLO client.test", "250"), "STARTTLS"); got != want {
			t.Errorf("mode %d: offered is %v", m, got)
		}
		if !want {
			c.Do("STARTTLS", "454 4.7.0")
			deliver(c)
		}
	}
}

// SEM 31: what counts is a command inside TLS.
func TestHandshakesAreRememberedByWhatCameOfThem(t *testing.T) {
	rsa := func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	}
	for name, c := range map[string]struct {
		change func(*tls.Config)
		after  func(*smtptest.Client)
		want   string
	}{
		"a command":             {nil, func(c *smtptest.Client) { c.Do("NOOP", "250") }, "succeeded client.test"},
		"closed without a word": {nil, func(*smtptest.Client) {}, "failed client.test"},
		"our certificate":       {func(c *tls.Config) { c.RootCAs = catest.New(t).Pool() }, nil, "failed client.test"},
		"no suite":              {func(c *tls.Config) { rsa(c); c.CipherSuites = []uint16{tls.TLS_RSA_WITH_RC4_128_SHA} }, nil, "failed client.test"},
		"RSA key exchange":      {rsa, func(c *smtptest.Client) { c.Do("NOOP", "250") }, "succeeded client.test without forward secrecy"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{}
			_, e := one(t, smtptest.Script{}, remembering(m), func(p *plan) { p.tls.Certificates = rsaCertificates(t) })
			k := e.hello()
			config := e.clientTLS()
			config.InsecureSkipVerify = name != "our certificate" // the certificate is not what is tested
			if c.change != nil {
				c.change(config)
			}
			k.Do("STARTTLS", "220")
			if err := k.Handshake(config); (err == nil) != (c.after != nil) {
				t.Fatalf("handshake: %v", err)
			}
			if c.after != nil {
				c.after(k)
			}
			k.Close()
			e.ended(0)
			if !slices.Equal(m.told, []string{c.want}) {
				t.Errorf("told %q, want %q", m.told, c.want)
			}
		})
	}
}

// SEM 33.
func TestAClientKnownForForwardSecrecyIsNotLetDownToRSAKeyExchange(t *testing.T) {
	require, prefer := grade.Require, grade.Prefer
	for name, c := range map[string]struct {
		known  bool
		policy *grade.ForwardSecrecy
		script smtptest.Script
		want   bool
	}{
		"unknown":            {false, nil, smtptest.Script{}, true},
		"known":              {true, nil, smtptest.Script{}, false},
		"known, prefer":      {true, &prefer, smtptest.Script{}, true},
		"unknown, require":   {false, &require, smtptest.Script{}, false},
		"unknown, with AUTH": {false, nil, smtptest.Script{Capabilities: []string{"AUTH PLAIN"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := one(t, c.script, remembering(&memory{known: c.known}), func(p *plan) {
				p.tls.Certificates, p.tls.ForwardSecrecy = rsaCertificates(t), c.policy
			})
			k := e.hello()
			k.Do("STARTTLS", "220")
			err := k.Handshake(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, // the suite is what is tested
				CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}})
			if (err == nil) != c.want {
				t.Errorf("handshake: %v, want success %v", err, c.want)
			}
		})
	}
}

// SEM 34.
func TestNoSessionTicketsAreGivenByDefault(t *testing.T) {
	_, e := one(t, smtptest.Script{})
	config := e.clientTLS()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		c := e.hello()
		c.StartTLS(config)
		c.Do("EHLO client.test", "250")
		if c.TLS.ConnectionState().DidResume {
			t.Error("the session was resumed")
		}
		c.Do("QUIT", "221")
	}
	if strings.Contains(e.logged("outcome=quit"), "resumed=true") {
		t.Error("logged as resumed")
	}
}

// rsaCertificates are what RSA key exchange needs.
func rsaCertificates(t *testing.T) *certs.Set {
	t.Helper()
	src, err := certs.Static("rsa", catest.New(t).Issue(t, catest.Leaf{Names: []string{"mx.test"}, Key: catest.RSA2048}))
	if err != nil {
		t.Fatal(err)
	}
	return certs.NewSet(src)
}
