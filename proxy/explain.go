package proxy

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"postern/peers"
	"postern/smtpwire"
	"postern/tls/policy"
)

// Explanation is what would be done with mail for a domain now, and why.
type Explanation struct {
	Domain  string // as the DNS knows it
	Hosts   []HostExplanation
	Refusal smtpwire.Reply // what a RCPT would be answered because there are no hosts; zero with hosts
	Cause   Cause          // of the refusal
}

// HostExplanation is one server of a destination, in the order in which they are
// tried.
type HostExplanation struct {
	Name       string
	Port       uint16
	Preference uint16
	Implicit   bool // TLS from the first octet
	// MXSecurity is that of the MX records, "secure" for one; MXWhy, why. Both are empty
	// where no MX record led to the host.
	MXSecurity, MXWhy string
	// Proven: nobody who forges the DNS could have put this host in the place of another,
	// because the records are signed or the operator named it.
	Proven       bool
	Addresses    []netip.Addr
	AddressError error
	// AddressSecurity and AddressWhy are what MXSecurity and MXWhy are, of the addresses.
	AddressSecurity, AddressWhy string
	Decision                    *policy.Decision
	Standing                    peers.Standing
	Failed                      bool // it could not be used a moment ago, and is tried last
	Own                         bool // one of its addresses is an outbound of ours (SEM 24)
}

// IsDestination says whether a text is what may stand behind the @ of an address: a
// domain, in any script, or an address literal. Explain finds nothing out about anything else.
func IsDestination(text string) bool {
	domain, refusal := domainOf([]byte("@" + text))
	return domain != "" && refusal.Code == 0 && !strings.Contains(text, "@")
}

// Explain finds out where mail for a domain goes and what is asked of each server, by
// the way that mail takes: nothing is dialled. With RouteOriginal the client chooses
// the server; what is shown then is what holds for the mail exchangers of the domain.
func (g *Gateway) Explain(ctx context.Context, domain string) Explanation {
	name, refusal := domainOf([]byte("@" + domain))
	e := Explanation{Domain: name, Refusal: refusal, Cause: CauseNoDomain}
	if refusal.Code != 0 {
		return e
	}
	dest, err := g.wouldRoute(ctx, name)
	if err != nil {
		var f *failure
		if errors.As(err, &f) {
			e.Refusal, e.Cause = f.reply, f.cause
		}
		return e
	}
	e.Cause = ""
	for _, h := range g.failed.lastTried(dest.hosts) {
		e.Hosts = append(e.Hosts, g.explainHost(ctx, h))
	}
	return e
}

func (g *Gateway) wouldRoute(ctx context.Context, domain string) (*destination, error) {
	if g.o.Route == RouteSmarthost {
		return g.routeSmarthost(ctx), nil
	}
	hosts, err := g.exchangers(ctx, domain)
	if err != nil {
		return nil, err
	}
	g.decide(ctx, domain, hosts)
	return &destination{domain: domain, hosts: hosts}, nil
}

func (g *Gateway) explainHost(ctx context.Context, h *host) HostExplanation {
	x := HostExplanation{Name: h.name, Port: h.port, Preference: h.rank, Implicit: h.implicit, Decision: h.decision,
		MXSecurity: h.mx.security, MXWhy: h.mx.why, Proven: h.mx.secure,
		Standing: g.o.Peers.Standing(h.peer()), Failed: g.failed.recently(h)}
	answer, err := g.locate(ctx, h)
	x.Addresses, x.AddressError = answer.Addrs, err
	if err == nil && h.addrs == nil {
		x.AddressSecurity, x.AddressWhy = answer.Security.String(), answer.Why
	}
	for _, a := range x.Addresses {
		x.Own = x.Own || g.ours(netip.AddrPortFrom(a, h.port))
	}
	return x
}
