package probe

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"postern/proxy"
	"postern/resolve"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

// Resolver is what is asked of the DNS; the one that mail is sent by. Its errors are those of package
// resolve.
type Resolver interface {
	MX(ctx context.Context, domain string) (resolve.MXAnswer, error)
	Addresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error)
	HostAddresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error)
	TXT(ctx context.Context, name string) (resolve.TXTAnswer, error)
}

// DANE finds TLSA records: *dane.Lookup.
type DANE interface {
	Find(ctx context.Context, mx dane.MXInfo) (dane.Finding, error)
}

// STS finds the MTA-STS policy of a domain: *mtasts.Lookup.
type STS interface {
	Find(ctx context.Context, domain string) mtasts.Finding
}

// Options are what a Prober is made of. All but the limits must be set; DANE and STS may be nil, and are not
// asked then.
type Options struct {
	Gateway  *proxy.Gateway // of route mx; makes the connections, and says where mail goes
	Policy   *policy.Engine // what a sender asks of each host: the Gateway's own
	Resolver Resolver
	DANE     DANE
	STS      STS
	Roots    *policy.Roots // that certificates should lead to; nil: the system's

	Family       resolve.Family
	AllAddresses bool          // of each host, not only the first one
	Limit        time.Duration // for one address of a host; 0: DefaultLimit
	Connections  int           // to one address of a host; 0: DefaultConnections
	Now          func() time.Time
}

// The limits where Options names none. A server with the fifty suites of OpenSSL's old days takes some
// eighty connections.
const (
	DefaultLimit       = 3 * time.Minute
	DefaultConnections = 100
)

// Prober looks at domains and hosts, at each address once in its life. It is safe for concurrent use.
type Prober struct {
	o Options
	// seen makes the decision of the handshakes: whatever works, whoever the server is. What that is
	// worth is judged afterwards.
	seen *policy.Engine
	met  *meetings
}

// New makes a Prober.
func New(o Options) *Prober {
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Prober{o: o, met: newMeetings(), seen: policy.New(policy.Options{Default: policy.Rule{Level: level.May, Grade: widest, Roots: o.Roots}, Now: o.Now})}
}

// Probe looks at one target. It always has something to say: what could not be found out is a finding.
// When ctx ends, the report holds what was found by then, and is not Complete.
func (p *Prober) Probe(ctx context.Context, t Target) *Report {
	r := &Report{Target: t.Text, Kind: "host", Findings: []Finding{}, Hosts: []Host{}, Began: p.o.Now()}
	l := &look{p: p, r: r, t: t}
	l.find(ctx)
	if r.Kind == "domain" && len(l.hosts) > 0 {
		l.mtasts(ctx)
		l.tlsrpt(ctx)
	}
	for _, h := range l.hosts {
		l.host(ctx, h)
	}
	if ctx.Err() != nil {
		r.add(Finding{Check: CheckConnect, Grade: Unknown, Text: "interrupted: what follows was not looked at"})
	}
	r.finish(p.o.Now())
	return r
}

// look is one target under examination.
type look struct {
	p     *Prober
	r     *Report
	t     Target
	hosts []server
	// policy is the domain's, nil for none: what is wrong with a certificate matters more with one.
	policy *mtasts.Policy
}

// server is one host that is to be looked at.
type server struct {
	name       string
	port       uint16
	preference uint16
	implicit   bool
	mx         dane.MXInfo
	addresses  []netip.Addr
	noAddress  error
	decision   *policy.Decision // what a sender asks of it
}

// find finds the hosts of the target.
func (l *look) find(ctx context.Context) {
	if l.t.Host {
		l.alone(ctx)
		return
	}
	mx, err := l.p.o.Resolver.MX(ctx, l.t.Name)
	if err == nil && mx.Implicit {
		l.alone(ctx)
		return
	}
	l.r.Kind = "domain"
	if err != nil {
		l.noMX(err)
		return
	}
	e := l.p.o.Gateway.Explain(ctx, l.t.Name)
	if e.Refusal.Code != 0 { // a moment ago there were some
		l.r.add(Finding{Check: CheckMX, Grade: Unknown, Text: "mail for the domain would be refused: " + e.Refusal.Quote()})
		return
	}
	names := make([]string, 0, len(e.Hosts))
	for _, h := range e.Hosts {
		names = append(names, h.Name)
		l.hosts = append(l.hosts, server{
			name: h.Name, port: l.t.Port, preference: h.Preference, implicit: l.t.Implicit, addresses: h.Addresses, noAddress: h.AddressError, decision: h.Decision,
			mx: dane.MXInfo{Domain: l.t.Name, Canonical: mx.Canonical, Host: h.Name, Port: l.t.Port, MXSecure: mx.Security == resolve.Secure},
		})
	}
	l.r.add(Finding{Check: CheckMX, Grade: Good, Text: count(len(names), "mail exchanger") + ": " + list(names)})
	l.dnssec("the MX records", "", mx.Security, mx.Why)
}

// alone is a host that is looked at for itself.
func (l *look) alone(ctx context.Context) {
	s := server{name: l.t.Name, port: l.t.Port, implicit: l.t.Implicit,
		mx: dane.MXInfo{Domain: l.t.Name, Host: l.t.Name, Port: l.t.Port, Implicit: true, MXSecure: true}}
	answer, err := l.p.o.Resolver.Addresses(ctx, s.name, l.p.o.Family)
	if errors.Is(err, resolve.ErrNoAddress) { // this machine's own names will do for a host
		answer, err = l.p.o.Resolver.HostAddresses(ctx, s.name, l.p.o.Family)
	}
	s.addresses, s.noAddress = answer.Addrs, err
	s.decision = l.p.o.Policy.DecideMX(ctx, policy.MXInput{Domain: s.name, Host: s.name, Port: s.port, Implicit: true, MXSecure: true})
	l.hosts = []server{s}
}
