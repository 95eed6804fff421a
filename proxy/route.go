package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/peers"
	"postern/resolve"
	"postern/tls/policy"
)

// destination is where the recipients of one domain go: what routing gives.
type destination struct {
	// key: a leg can carry recipients of one key.
	key    string
	domain string  // that policy is looked up for
	hosts  []*host // in the order to try
}

// host is one server of a destination.
type host struct {
	name     string // as the MX record has it; an address where that is all we know
	port     uint16
	implicit bool
	rank     uint16
	mx       mxAnswer     // that led to it
	addrs    []netip.Addr // known beforehand; nil: the DNS is asked
	decision *policy.Decision
	// block is what an operator has to write who wants mail to go there all the
	// same (SEM 16 c).
	block string
}

func (h *host) peer() peers.Host { return peers.Host{Name: h.name, Port: h.port} }

func (h *host) String() string { return h.name }

// find is route within the client's time, and says how long it took. What failed is
// reported.
func (g *Gateway) find(ctx context.Context, domain string, original netip.AddrPort, who sender) (*destination, time.Duration, *failure) {
	ctx, cancel := context.WithDeadline(ctx, who.until)
	defer cancel()
	start := time.Now()
	dest, err := g.route(ctx, domain, original)
	took := time.Since(start)
	if err == nil {
		return dest, took, nil
	}
	var f *failure
	if !errors.As(err, &f) {
		f = failing(CauseDNS, 451, "4.4.3", domain+": "+err.Error(), err)
	}
	g.unrouted(domain, f)
	g.report(&destination{domain: domain}, nil, who, f, phases{dns: took})
	return nil, took, f
}

// helloFor is our name towards servers (SEM 14).
func (g *Gateway) helloFor(client string) string {
	switch {
	case g.o.EHLO != "":
		return g.o.EHLO
	case g.o.Route == RouteOriginal && client != "":
		return client
	}
	return g.o.Hostname
}

// bundle says which recipients have one destination before that is looked up.
func (g *Gateway) bundle(domain string) string {
	if g.o.Route == RouteSmarthost {
		return ""
	}
	return domain
}

// route finds the destination of a domain. A *failure comes back.
func (g *Gateway) route(ctx context.Context, domain string, original netip.AddrPort) (*destination, error) {
	switch {
	case g.o.Route == RouteSmarthost:
		return g.routeSmarthost(ctx), nil
	case g.o.Route == RouteOriginal:
		return g.routeOriginal(ctx, domain, original)
	case domain == "":
		return nil, &failure{reply: replyNoDomain, cause: CauseNoDomain}
	}
	hosts, err := g.exchangers(ctx, domain)
	if err != nil {
		return nil, err
	}
	d := &destination{key: domain, domain: domain, hosts: hosts}
	g.decide(ctx, domain, hosts)
	return d, nil
}

// exchangers are the mail exchangers of a domain in the order to try (RFC 5321, 5.1):
// by preference, at random where that is the same.
func (g *Gateway) exchangers(ctx context.Context, domain string) ([]*host, error) {
	if a, ok := literal(domain); ok {
		return []*host{{name: a.String(), port: g.o.MXPort, addrs: []netip.Addr{a.Unmap()}}}, nil
	}
	answer, err := g.o.Resolver.MX(ctx, domain)
	g.resolved(answer.Security, err)
	if err != nil {
		return nil, notRouted(domain, err)
	}
	hosts := make([]*host, 0, len(answer.Hosts))
	for _, mx := range answer.Hosts {
		hosts = append(hosts, &host{name: mx.Host, port: g.o.MXPort, rank: mx.Preference, mx: answered(answer)})
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b *host) int { return int(a.rank) - int(b.rank) })
	return hosts[:min(len(hosts), maxKnownHosts)], nil
}

// notRouted is why a domain has no mail exchangers.
func notRouted(domain string, err error) *failure {
	switch {
	case errors.Is(err, resolve.ErrNullMX): // RFC 7505, 4.2
		return failing(CauseNoDomain, 556, "5.1.10", domain+" does not accept mail (null MX)", err)
	case errors.Is(err, resolve.ErrNoDomain):
		return failing(CauseNoDomain, 550, "5.1.2", "domain "+domain+" does not exist", err)
	}
	return unresolved("cannot look up the mail exchangers of "+domain, err)
}

// unresolved is what the DNS could not tell. That an answer was there which is not to be
// believed is another thing for the administrator than that there was none (SEM 27).
func unresolved(what string, err error) *failure {
	t, ok := errors.AsType[*resolve.TemporaryError](err)
	switch {
	case !ok:
		return failing(CauseDNS, 451, "4.4.3", what+": "+err.Error(), err)
	case t.Security == resolve.Bogus:
		return failing(CauseDNS, 451, "4.7.5", what+": "+t.Reason(), err)
	}
	return failing(CauseDNS, 451, "4.4.3", what+": "+t.Reason(), err)
}

func (g *Gateway) routeSmarthost(ctx context.Context) *destination {
	d := &destination{}
	for i, s := range g.o.Smarthosts {
		h := &host{name: s.Host, port: s.Port, implicit: s.Implicit, rank: uint16(i), mx: named}
		if a, err := netip.ParseAddr(s.Host); err == nil {
			h.addrs = []netip.Addr{a.Unmap()}
		}
		h.decision = g.o.Policy.DecideMX(ctx, h.input(s.Host))
		d.hosts = append(d.hosts, h)
	}
	d.domain = d.hosts[0].name
	return d
}

// routeOriginal keeps to the address that the client wanted. Policy needs a domain,
// and a name that the certificate may have (SEM 16).
func (g *Gateway) routeOriginal(ctx context.Context, domain string, to netip.AddrPort) (*destination, error) {
	h := &host{name: to.Addr().String(), port: to.Port(), addrs: []netip.Addr{to.Addr()}}
	d := &destination{domain: domain, hosts: []*host{h}}
	var err error
	if h.decision, err = g.decideOriginal(ctx, domain, h); err != nil {
		return nil, err
	}
	d.key = h.decision.Key()
	return d, nil
}

// decideOriginal is the order of SEM 16.
func (g *Gateway) decideOriginal(ctx context.Context, domain string, h *host) (*policy.Decision, error) {
	rule := g.o.Policy.ForAddress(h.addrs[0])
	byRule := func() *policy.Decision { return g.o.Policy.DecideByRule(ctx, rule, h.input(domain)) }
	_, isLiteral := literal(domain)
	if domain == "" || isLiteral || !g.o.Policy.NeedsHost(domain) {
		if rule != nil {
			return byRule(), nil
		}
		return g.o.Policy.DecideMX(ctx, h.input(domain)), nil
	}
	names, err := g.known.namesOf(ctx, g, domain)
	if known, ok := names.at[h.addrs[0]]; ok { // (a)
		d := strictest(g.decideKnown(ctx, domain, known, h.port))
		h.name = d.Host
		return d, nil
	}
	if rule != nil { // (b)
		return byRule(), nil
	}
	if f := (*failure)(nil); errors.As(err, &f) && f.cause != CauseNoDomain {
		return nil, err
	}
	// A domain that the DNS knows nothing of has been routed by the client all the same.
	d := policy.Any(g.decideKnown(ctx, domain, names.hosts, h.port)) // (c), and (d) where none of them is above may
	if d == nil {
		d = g.o.Policy.DecideMX(ctx, h.input(domain))
	}
	if d.Level.Mandatory() {
		h.block = fmt.Sprintf("destination %q { level = … }", h.addrs[0])
	}
	return d, nil
}

// addresses finds where a host is, in the order to try. A *failure comes back.
func (g *Gateway) addresses(ctx context.Context, h *host) ([]netip.Addr, error) {
	answer, err := g.locate(ctx, h)
	return answer.Addrs, err
}

// locate is addresses with what the DNS said beside them.
func (g *Gateway) locate(ctx context.Context, h *host) (answer resolve.AddrAnswer, err error) {
	if h.addrs != nil {
		return resolve.AddrAnswer{Addrs: h.addrs}, nil
	}
	find := g.o.Resolver.Addresses
	if g.o.Route == RouteSmarthost {
		find = g.o.Resolver.HostAddresses
	}
	answer, err = find(ctx, h.name, g.o.Family)
	g.resolved(answer.Security, err)
	switch {
	case errors.Is(err, resolve.ErrNoAddress), errors.Is(err, resolve.ErrNoDomain):
		return answer, noAddress(h, err)
	case err != nil:
		return answer, unresolved(h.name+": cannot look up the address", err)
	}
	answer.Addrs = inTurn(answer.Addrs, g.o.Preference)
	return answer, nil
}

func noAddress(h *host, err error) *failure {
	return failing(CauseDNS, 451, "4.4.4", h.name+": the name has no address", err)
}

// inTurn orders addresses so that both families have their turn among the few that
// are tried, unless one is preferred.
func inTurn(all []netip.Addr, p Preference) []netip.Addr {
	var v4, v6 []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	switch p {
	case PreferIPv4:
		return append(v4, v6...)
	case PreferIPv6:
		return append(v6, v4...)
	}
	out := make([]netip.Addr, 0, len(all))
	for i := range max(len(v4), len(v6)) {
		if i < len(v6) {
			out = append(out, v6[i])
		}
		if i < len(v4) {
			out = append(out, v4[i])
		}
	}
	return out
}

// hostNames are their names in a sentence.
func hostNames(hosts []*host) string {
	words := make([]string, len(hosts))
	for i, h := range hosts {
		words[i] = h.name
	}
	return strings.Join(words, ", ")
}
