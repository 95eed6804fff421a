package harness

import (
	"fmt"
	"path/filepath"
	"testing"

	"postern/internal/dnstest"
	"postern/internal/smtptest"
)

// SignedLab is an Internet of its own in a network namespace: a DNS that is signed
// from the root on, a resolver that validates it and one that does not, and mail
// exchangers on addresses of their own, at port 25.
type SignedLab struct {
	*Namespace
	DNS     *dnstest.Server // all name servers in one
	Anchors string          // a file with the DS records of the root

	t testing.TB
}

const (
	// Validating is the address of Unbound in a SignedLab. /etc/resolv.conf names it.
	Validating = "127.0.0.1:53"
	// Forwarding is the address of a resolver that hands on what name servers say, and
	// sets no AD flag, as that of a Kubernetes cluster.
	Forwarding = "127.0.0.2:53"
)

// NewSignedLab makes a lab with these zones, of which one is the root. Addresses
// for the zones are taken before, from LabIP.
func NewSignedLab(t testing.TB, zones ...dnstest.Zone) *SignedLab {
	t.Helper()
	Tool(t, "unbound")
	dns, err := dnstest.NewSigned(zones...)
	must(t, err)
	l := &SignedLab{Namespace: NewNamespace(t), DNS: dns, Anchors: filepath.Join(openDir(t), "root.ds"), t: t}
	write(t, l.Anchors, dns.Anchors, 0o644)
	t.Cleanup(dns.Close)
	l.Do(func() {
		must(t, dns.Listen(Forwarding))
		StartUnbound(t, Validating, dns)
	})
	return l
}

// LabIP is the n-th address for a server of a SignedLab, counted from 1.
func LabIP(n int) string { return fmt.Sprintf("127.25.%d.%d", n/250, 1+n%250) }

// Serve starts a scripted mail exchanger.
func (l *SignedLab) Serve(addr string, script smtptest.Script) (b *smtptest.Backend) {
	l.t.Helper()
	l.Do(func() { b = smtptest.NewBackendAt(l.t, addr, script) })
	return b
}

// Gateway is a description of a postern that validates what a resolver says.
func (l *SignedLab) Gateway(resolver string) Gateway {
	return Gateway{DNS: resolver, DNSSEC: "validate", Anchors: l.Anchors}
}
