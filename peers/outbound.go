package peers

import "time"

// Rules are what SEM 30 and 32 leave to the configuration. Start from
// DefaultRules: zero is not a default, but no time at all.
type Rules struct {
	Skip     SkipRules
	Remember RememberRules
}

// SkipRules say how long STARTTLS is not tried with a server.
type SkipRules struct {
	Hold time.Duration // at first, then twice as long each time …
	Max  time.Duration // … up to this
}

// RememberRules say when a server is remembered, and for how long.
type RememberRules struct {
	Sessions int           // in so many sessions its certificate must have validated …
	Age      time.Duration // … the last at least so long after the first
	Expire   time.Duration // after the last success
	// Grace is for how long a certificate that has merely expired passes. It
	// is applied by the decision (tls/policy), and stands here with the rest.
	Grace time.Duration
}

// DefaultRules returns what SEM 30 and 32 say.
func DefaultRules() Rules {
	return Rules{
		Skip:     SkipRules{Hold: time.Hour, Max: 24 * time.Hour},
		Remember: RememberRules{Sessions: 3, Age: 24 * time.Hour, Expire: 30 * day, Grace: 14 * day},
	}
}

// Outbound is the memory of the servers that an outbound sends to. Its methods
// may be called from any number of goroutines. Asking for what is in the cache
// allocates nothing. All Outbounds of a Memory share its records; the rules
// are each one's own.
type Outbound struct {
	m     *Memory
	rules Rules
}

// Outbound returns the part of the memory that an outbound with these rules
// uses.
func (m *Memory) Outbound(r Rules) *Outbound {
	m.expire.Store(max(m.expire.Load(), int64(r.Remember.Expire)))
	return &Outbound{m, r}
}

// Standing is what decides whether STARTTLS is tried with a server, and what
// its failure means.
type Standing struct {
	Skip      bool      // don't try STARTTLS, at level may
	SkipUntil time.Time // when Skip
	KnownTLS  bool      // it completed TLS within 30 days
}

func (e *entry) host() *HostRecord     { return e.record.(*HostRecord) }
func (e *entry) domain() *DomainRecord { return e.record.(*DomainRecord) }

// Standing returns how a server stands (SEM 29, 30).
func (o *Outbound) Standing(h Host) Standing {
	now := o.m.now()
	e := o.m.servers.lock(now, h.ref())[0]
	defer o.m.servers.mu.Unlock()
	r := e.host()
	s := Standing{KnownTLS: within(now, knownTLS, r.Secured.Last)}
	if now.Before(r.Skip.Until) {
		s.Skip, s.SkipUntil = true, r.Skip.Until
	}
	return s
}

// change locks the records of a server and a destination, and has f change
// them. What f returns is done when they are no longer locked.
func (o *Outbound) change(domain string, h Host, f func(now time.Time, host *HostRecord, domain *DomainRecord) (then func())) {
	now := o.m.now()
	c := o.m.servers
	es := c.lock(now, h.ref(), domainRef(domain))
	for _, e := range es {
		c.change(e)
		e.record.seen().add(now)
	}
	then := f(now, es[0].host(), es[1].domain())
	c.mu.Unlock()
	if then != nil {
		then()
	}
}

// TLSFailed notes that STARTTLS was offered, and then was refused, or the
// handshake failed or stalled, or the connection was lost before EHLO inside
// TLS was answered. It says whether the message may go in the clear at once,
// as far as the server is concerned; the level is for the caller to look at.
//
// SEM 29: for a peer that completed TLS within 30 days the first failure is
// 451; only a second at least 5 minutes later goes in clear.
func (o *Outbound) TLSFailed(domain string, h Host, why string) (mayGoClear bool) {
	o.change(domain, h, func(now time.Time, host *HostRecord, d *DomainRecord) func() {
		if !within(now, pending, host.Failing.Last) {
			host.Failing = Tally{}
		}
		host.Failing.add(now)
		host.Failed.add(now)
		host.Why = clip(why)
		mayGoClear = !within(now, knownTLS, host.Secured.Last) || now.Sub(host.Failing.First) >= clearAfter
		return o.failed(now, domain, d, h, why)
	})
	return mayGoClear
}

// WentClear notes that a server answered in a session that was without TLS
// because TLS had failed. STARTTLS may be skipped from now on.
//
// SEM 30: skip is set only when TLS failed and the same host then answered in
// clear; for a peer with TLS success in the last 30 days it needs 3 failures
// over at least 30 minutes. Hold doubles on repeat.
func (o *Outbound) WentClear(domain string, h Host) {
	o.change(domain, h, func(now time.Time, host *HostRecord, d *DomainRecord) func() {
		d.host(now, h)
		host.Clear.add(now)
		if !host.broken(now) || now.Before(host.Skip.Until) {
			return nil // nothing to skip, or another session has just set it
		}
		s := &host.Skip
		s.Hold = min(max(o.rules.Skip.Hold, 2*s.Hold), o.rules.Skip.Max, longestHold)
		s.Until = now.Add(s.Hold)
		s.Times++
		skip, why := *s, host.Why
		return func() {
			o.m.log.Info("starttls is skipped for now", "mx", h.Name, "port", h.Port, "until", skip.Until, "times", skip.Times, "why", why)
		}
	})
}

// InClear notes a session without TLS for any other reason: STARTTLS was not
// offered, or is skipped for now. It is counted, and changes nothing.
func (o *Outbound) InClear(domain string, h Host) {
	o.change(domain, h, func(now time.Time, host *HostRecord, d *DomainRecord) func() {
		d.host(now, h)
		host.Clear.add(now)
		return nil
	})
}

// broken says that TLS with a server has failed as often as SEM 30 asks for.
func (r *HostRecord) broken(now time.Time) bool {
	if r.Failing.Count == 0 || !within(now, pending, r.Failing.Last) {
		return false
	}
	if !within(now, knownTLS, r.Secured.Last) {
		return true
	}
	return r.Failing.Count >= skipFailures && r.Failing.span() >= skipSpan
}

// AskedForTLS notes that a server refused, in a session without TLS, to take
// mail that way. It must then be tried again.
//
// SEM 29: a 5xx before DATA that asks for TLS becomes 451 4.7.5 and the skip
// is cleared.
func (o *Outbound) AskedForTLS(h Host) {
	now := o.m.now()
	c := o.m.servers
	e := c.lock(now, h.ref())[0]
	defer c.mu.Unlock()
	c.change(e)
	r := e.host()
	r.Seen.add(now)
	r.AskedForTLS, r.Skip = now, Skip{}
}

// Secured notes that EHLO inside TLS was answered with 250, and what the
// session is like. The skip and the failures are cleared (SEM 30), and a
// certificate that is valid counts towards what is remembered (SEM 32).
func (o *Outbound) Secured(domain string, h Host, f Facts) {
	o.change(domain, h, func(now time.Time, host *HostRecord, d *DomainRecord) func() {
		host.Habits.add(now, f)
		host.Failing, host.Skip = Tally{}, Skip{}
		return o.judged(now, domain, d, h, f.Valid)
	})
}
