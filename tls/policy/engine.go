package policy

import (
	"context"
	"net/netip"
	"time"

	"postern/tls/level"
)

// DefaultGrace is how long a remembered destination may go on with a certificate
// that has merely expired (SEM 32).
const DefaultGrace = 14 * 24 * time.Hour

// Remember says what becomes of what is remembered (SEM 32). The zero value is Enforce.
type Remember uint8

// The values of remember in the configuration.
const (
	Enforce Remember = iota // a destination that has proven itself must do so again
	Observe                 // the decision says what Enforce would have asked, and asks less
	Off                     // the memory is not asked
)

// Remembered is what is known of a destination and one of its MX hosts.
type Remembered struct {
	Host   bool // this MX name itself has validated often and long enough
	Domain bool // other MX names of the domain have

	Since       time.Time // of the validations that count
	LastSuccess time.Time
	Expires     time.Time // when it is forgotten without another success
	Sessions    int       // in which it validated
}

// Memory is what policy needs to know of the past. It answers from memory, in
// microseconds; domain and host are canonical (small letters, no final dot).
type Memory interface {
	Remembered(domain, host string, port uint16) Remembered
}

// Options are the settings of an Engine. The zero value decides level none for everyone.
type Options struct {
	Default  Rule          // the outbound's own: where no rule has a matching pattern
	Rules    []Rule        // the destination blocks
	Remember Remember      // what to make of Memory
	Grace    time.Duration // see DefaultGrace; 0: none
	Memory   Memory        // nil: nothing is remembered
	DANE     DANE          // nil: it is not asked
	STS      STS           // nil: it is not asked
	Now      func() time.Time
}

// Engine makes decisions. It is safe for concurrent use, and nothing in it changes
// but a cache; a reload makes another.
type Engine struct {
	own      *Rule
	rules    *ruleset
	remember Remember
	grace    time.Duration
	memory   Memory
	dane     DANE
	sts      STS
	now      func() time.Time
	chains   *chainCache
	order    []ask
}

// ask is one of those that may know what an "auto" destination needs. It notes in
// d.Reasons what it found, and reports whether it has decided.
type ask func(ctx context.Context, in MXInput, d *Decision) (decided bool)

// New makes an engine of rules that the configuration has checked. A rule whose pattern
// is neither a name nor an address is never found.
func New(o Options) *Engine {
	own := o.Default
	e := &Engine{
		own: &own, rules: newRuleset(o.Rules),
		remember: o.Remember, grace: o.Grace, memory: o.Memory, now: o.Now,
		dane: o.DANE, sts: o.STS,
		chains: newChainCache(maxChains),
	}
	if e.now == nil {
		e.now = time.Now
	}
	e.order = []ask{e.askPublished, e.askMemory, mayDefault} // SEM 26, the order that counts
	return e
}

// Decide returns the decision for a destination and one of its MX hosts: domain is what
// stands behind the @ (A-labels, or an address literal), or the name of the smarthost; host is
// the MX name before any CNAME, or an address; port is the one that will be dialled.
// The answer is never nil; its Err says that something could not be found out.
//
// It is the short form of DecideMX, for a host of which it is not known how the domain led to it.
func (e *Engine) Decide(ctx context.Context, domain, host string, port uint16) *Decision {
	return e.DecideMX(ctx, MXInput{Domain: domain, Host: host, Port: port})
}

// DecideMX is Decide with what the DNS said of the MX records. Where DANE or MTA-STS are asked it
// may take as long as their look-ups, and ctx ends them: what cannot be found out then is in Err.
func (e *Engine) DecideMX(ctx context.Context, in MXInput) *Decision {
	return e.DecideByRule(ctx, e.rules.domain(canonical(in.Domain)), in)
}

// DecideByRule is DecideMX by a rule that was found otherwise (see ForAddress) instead of the
// domain's. nil is the outbound's own.
func (e *Engine) DecideByRule(ctx context.Context, r *Rule, in MXInput) *Decision {
	if r == nil {
		r = e.own
	}
	_, in.relay = network(canonical(r.Pattern))
	d := e.begin(r, in)
	if !r.Auto {
		e.byOperator(ctx, in, r, d)
		return d.seal()
	}
	for _, asked := range e.order {
		if asked(ctx, in, d) {
			break
		}
	}
	return d.seal()
}

// begin is a decision before anybody was asked.
func (e *Engine) begin(r *Rule, in MXInput) *Decision {
	d := &Decision{
		Domain: canonical(in.Domain), Host: canonical(in.Host), Port: in.Port,
		Source: SourceOperator, Place: r.Place, Grade: r.Grade, Roots: r.Roots,
		Reasons: make([]Reason, 0, 6), chains: e.chains,
		Counted: Counted{Relay: in.relay},
	}
	if _, isAddress := address(d.Host); !isAddress {
		d.SNI = d.Host // SEM 28; RFC 6066, 3: literal addresses are not permitted
	}
	d.reason(SourceOperator, r.describe())
	return d
}

// ForAddress returns the rule whose pattern is an address or network with that address in
// it, the longest prefix first, or nil: how a relayhost is declared (SEM 16 b).
func (e *Engine) ForAddress(addr netip.Addr) *Rule { return e.rules.address(addr) }

// NeedsHost reports whether the decision for the domain depends on its MX host. Where it does
// not (none and may as the operator's word, and may when nobody else is to be asked), redirected mail needs no look-up of
// its MX records (SEM 16).
func (e *Engine) NeedsHost(domain string) bool {
	r := e.rules.domain(canonical(domain))
	if r == nil {
		r = e.own
	}
	if r.Auto {
		return e.dane != nil || e.sts != nil || e.memory != nil && e.remember != Off
	}
	return r.Level.Mandatory()
}

// mayDefault is the last of the order.
func mayDefault(_ context.Context, _ MXInput, d *Decision) bool {
	d.Level, d.Source = level.May, SourceDefault
	d.reason(SourceDefault, "level may: TLS if it works, no certificate is refused")
	return true
}
