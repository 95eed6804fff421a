package harness

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
)

// Lab is an Internet of its own on loopback: names, an authority that
// everybody trusts, and mail exchangers on addresses 127.x.y.z that all listen
// on one port.
type Lab struct {
	DNS  *dnstest.Server
	CA   *CA
	Port int

	t    testing.TB
	mu   sync.Mutex
	net  string // "127.4.7."
	last int
}

// NewLab makes a lab without any domain.
func NewLab(t testing.TB) *Lab {
	t.Helper()
	_, port, err := net.SplitHostPort(FreePort(t, "127.0.0.1"))
	must(t, err)
	l := &Lab{DNS: dnstest.Start(t, ""), CA: NewCA(t), t: t,
		net: fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), 1+rand.IntN(250))}
	_, err = fmt.Sscan(port, &l.Port)
	must(t, err)
	return l
}

// Gateway is a description of a postern that delivers into the lab and trusts
// its authority.
func (l *Lab) Gateway() Gateway {
	return Gateway{DNS: l.DNS.Address, MXPort: l.Port, Roots: l.CA.File}
}

// NextIP is an address that no server of the lab has yet.
func (l *Lab) NextIP() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return fmt.Sprint(l.net, l.last)
}

// Next is NextIP with the port of the lab.
func (l *Lab) Next() string { return net.JoinHostPort(l.NextIP(), fmt.Sprint(l.Port)) }

// At gives names their address, or another one: nobody may keep an answer of
// the lab's DNS.
func (l *Lab) At(addr string, hosts ...string) {
	ip, _, err := net.SplitHostPort(addr)
	must(l.t, err)
	var zone strings.Builder
	for _, host := range hosts {
		fmt.Fprintf(&zone, "%s. 0 IN A %s\n", host, ip)
	}
	l.DNS.Set(zone.String())
}

// Domain gives a domain its mail exchangers, in order of preference.
func (l *Lab) Domain(domain string, hosts ...string) {
	var zone strings.Builder
	for i, host := range hosts {
		fmt.Fprintf(&zone, "%s. 0 IN MX %d %s.\n", domain, 10*(i+1), host)
	}
	l.DNS.Set(zone.String())
}

// Server starts a scripted mail exchanger on an address of its own.
func (l *Lab) Server(script smtptest.Script) *smtptest.Backend {
	l.t.Helper()
	return smtptest.NewBackendAt(l.t, l.Next(), script)
}

// Serve starts a scripted mail exchanger mx.DOMAIN for each of the domains, one
// server for all of them.
func (l *Lab) Serve(script smtptest.Script, domains ...string) *smtptest.Backend {
	l.t.Helper()
	s := l.Server(script)
	for _, domain := range domains {
		l.Domain(domain, "mx."+domain)
		l.At(s.Addr, "mx."+domain)
	}
	return s
}

// Good is the TLS of a well-run server: whatever name a client asks for, the
// certificate is for that name and its parent domain.
func (l *Lab) Good() *tls.Config {
	var mu sync.Mutex
	made := map[string]*tls.Certificate{}
	return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if made[hello.ServerName] == nil {
			c := l.Certificate(catest.Leaf{Names: withParent(hello.ServerName)})
			made[hello.ServerName] = &c
		}
		return made[hello.ServerName], nil
	}}
}

// withParent is nil for no name, of which catest makes localhost.
func withParent(name string) []string {
	if name == "" {
		return nil
	}
	_, parent, found := strings.Cut(name, ".")
	if !found {
		return []string{name}
	}
	return []string{name, parent}
}

// Certificate makes one that the authority of the lab signs.
func (l *Lab) Certificate(leaf catest.Leaf) tls.Certificate {
	l.t.Helper()
	return l.CA.ca.Issue(l.t, leaf)
}

// With is the TLS of a server that has one certificate.
func With(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}}
}

// Ago is a lifetime of a certificate that ended some time ago.
func Ago(d time.Duration) (notBefore, notAfter time.Time) {
	return time.Now().Add(-d - 90*24*time.Hour), time.Now().Add(-d)
}

// Fingerprint is that of the pair's certificate, as a configuration has it.
func Fingerprint(t testing.TB, p Pair) string {
	t.Helper()
	c, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	must(t, err)
	return "sha256:" + Sum(c.Certificate[0])
}
