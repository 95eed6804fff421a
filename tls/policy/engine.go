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
	now      func() time.Time
	chains   *chainCache
	order    []ask
}

// ask is one of those that may know what an "auto" destination needs. It notes in
// d.Reasons what it found, and reports whether it has decided.
type ask func(d *Decision) (decided bool)

// New makes an engine of rules that the configuration has checked. A rule whose pattern
// is neither a name nor an address is never found.
func New(o Options) *Engine {
	own := o.Default
	e := &Engine{
		own: &own, rules: newRuleset(o.Rules),
		remember: o.Remember, grace: o.Grace, memory: o.Memory, now: o.Now,
		chains: newChainCache(maxChains),
	}
	if e.now == nil {
		e.now = time.Now
	}
	// SEM 26, the order that counts. DANE and MTA-STS, decided together, belong in front.
	e.order = []ask{e.askMemory, mayDefault}
	return e
}

// Decide returns the decision for a destination and one of its MX hosts: domain is what
// stands behind the @ (A-labels, or an address literal), or the name of the smarthost; host is
// the MX name before any CNAME, or an address; port is the one that will be dialled.
// The answer is never nil; its Err says that something could not be found out.
func (e *Engine) Decide(_ context.Context, domain, host string, port uint16) *Decision {
	return e.DecideByRule(e.rules.domain(canonical(domain)), domain, host, port)
}

// DecideByRule is Decide by a rule that was found otherwise (see ForAddress) instead of the
// domain's. nil is the outbound's own.
func (e *Engine) DecideByRule(r *Rule, domain, host string, port uint16) *Decision {
	if r == nil {
		r = e.own
	}
	d := &Decision{
		Domain: canonical(domain), Host: canonical(host), Port: port,
		Source: SourceOperator, Place: r.Place, Grade: r.Grade, Roots: r.Roots,
		Reasons: make([]Reason, 0, 4), chains: e.chains,
	}
	if _, isAddress := address(d.Host); !isAddress {
		d.SNI = d.Host // SEM 28; RFC 6066, 3: literal addresses are not permitted
	}
	d.reason(SourceOperator, r.describe())
	if !r.Auto {
		d.Level = r.Level
		d.Names = r.names(d.Level, d.Domain, d.Host)
		if d.Level == level.Fingerprint {
			d.Fingerprints = r.Fingerprints
		}
		return d.seal()
	}
	for _, asked := range e.order {
		if asked(d) {
			break
		}
	}
	return d.seal()
}

// ForAddress returns the rule whose pattern is an address or network with that address in
// it, the longest prefix first, or nil: how a relayhost is declared (SEM 16 b).
func (e *Engine) ForAddress(addr netip.Addr) *Rule { return e.rules.address(addr) }

// NeedsHost reports whether the decision for the domain depends on its MX host. Where it does
// not (none, and may when nobody else is to be asked), redirected mail needs no look-up of
// its MX records (SEM 16).
func (e *Engine) NeedsHost(domain string) bool {
	r := e.rules.domain(canonical(domain))
	if r == nil {
		r = e.own
	}
	if r.Auto {
		return e.memory != nil && e.remember != Off
	}
	return r.Level.Mandatory()
}

// mayDefault is the last of the order.
func mayDefault(d *Decision) bool {
	d.Level, d.Source = level.May, SourceDefault
	d.reason(SourceDefault, "level may: TLS if it works, no certificate is refused")
	return true
}
