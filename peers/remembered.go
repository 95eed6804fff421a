package peers

import (
	"cmp"
	"slices"
	"time"
)

// Remembered is what is remembered of a destination and one of its servers
// (SEM 32).
type Remembered struct {
	Host   bool // this server is remembered: its certificate must be valid
	Domain bool // others of this destination are: this one must have TLS at least
	// Since, LastSuccess, Expires and Sessions are of this server, or else of
	// the other with the latest success. Zero when nothing is remembered.
	Since       time.Time
	LastSuccess time.Time
	Expires     time.Time
	Sessions    int
}

// Remembered says what is remembered of a server of a destination.
func (o *Outbound) Remembered(domain string, h Host) (r Remembered) {
	now := o.m.now()
	name := canonical(h.Name)
	e := o.m.servers.lock(now, domainRef(domain))[0]
	defer o.m.servers.mu.Unlock()
	hosts := e.domain().Hosts
	for i := range hosts {
		d := &hosts[i]
		if !o.remembered(now, d) {
			continue
		}
		itself := d.is(name, h.Port)
		if itself || !r.Host && d.Valid.Last.After(r.LastSuccess) {
			r.Since, r.LastSuccess, r.Sessions = d.Since, d.Valid.Last, d.Valid.Count
			r.Expires = d.Valid.Last.Add(o.rules.Remember.Expire)
		}
		r.Host, r.Domain = r.Host || itself, r.Domain || !itself
	}
	return r
}

func (d *DomainHost) is(name string, port uint16) bool { return d.Port == port && d.Name == name }

// remembered says that this server is remembered for its destination, and that
// has not expired.
func (d *DomainHost) remembered(now time.Time, expire time.Duration) bool {
	return !d.Since.IsZero() && within(now, expire, d.Valid.Last)
}

func (o *Outbound) remembered(now time.Time, d *DomainHost) bool {
	return d.remembered(now, o.rules.Remember.Expire)
}

// host returns the part about one server, which it adds if need be. When there
// are too many, the one goes that is not remembered, or else has not been seen
// for longest.
func (r *DomainRecord) host(now time.Time, h Host) *DomainHost {
	name := canonical(h.Name)
	for i := range r.Hosts {
		if d := &r.Hosts[i]; d.is(name, h.Port) {
			d.Seen.add(now)
			return d
		}
	}
	if len(r.Hosts) >= maxDomainHosts {
		least := slices.MinFunc(r.Hosts, func(a, b DomainHost) int {
			return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.Seen.Last.Compare(b.Seen.Last))
		})
		r.Hosts = slices.DeleteFunc(r.Hosts, func(d DomainHost) bool { return d.is(least.Name, least.Port) })
	}
	r.Hosts = append(r.Hosts, DomainHost{Name: name, Port: h.Port})
	d := &r.Hosts[len(r.Hosts)-1]
	d.Seen.add(now)
	return d
}

// rank is higher for a server that is remembered.
func (d *DomainHost) rank() int {
	if d.Since.IsZero() {
		return 0
	}
	return 1
}

// judged notes what a certificate was worth.
//
// SEM 32: remembered is what itself validated in 3 sessions over at least 24 h.
// A session between that did not validate starts the count anew: of several
// machines behind one name, one may have another certificate, and mail must
// not depend on which of them answers.
func (o *Outbound) judged(now time.Time, domain string, r *DomainRecord, h Host, valid bool) (then func()) {
	d := r.host(now, h)
	if !o.remembered(now, d) {
		d.Since = time.Time{}
		if !valid || !within(now, o.rules.Remember.Expire, d.Valid.Last) {
			d.Valid = Tally{}
		}
	}
	if !valid {
		return nil
	}
	d.Valid.add(now)
	r.recovered()
	rules := o.rules.Remember
	if !d.Since.IsZero() || d.Valid.Count < rules.Sessions || d.Valid.span() < rules.Age {
		return nil
	}
	d.Since = now
	return func() {
		o.m.log.Info("this server has validated often enough to be remembered", "domain", domain, "mx", h.Name, "port", h.Port)
	}
}

// recovered ends an outage.
func (r *DomainRecord) recovered() {
	r.Outage = time.Time{}
	for i := range r.Hosts {
		r.Hosts[i].Rejected = Tally{}
	}
}

// Rejected notes that a server did not meet a level above may: its certificate,
// or that it had no STARTTLS. This may release what is remembered of the
// destination.
//
// SEM 32: if all remembered MX names of a domain fail for 72 h over at least 5
// attempts, the memory is released with an error-level event.
func (o *Outbound) Rejected(domain string, h Host, why string) {
	o.change(domain, h, func(now time.Time, host *HostRecord, d *DomainRecord) func() {
		host.Rejected.add(now)
		host.Why = clip(why)
		return o.failed(now, domain, d, h, why)
	})
}

// failed notes an attempt that got nowhere with a server, and releases what is
// remembered when it must.
func (o *Outbound) failed(now time.Time, domain string, r *DomainRecord, h Host, why string) (then func()) {
	d := r.host(now, h)
	d.Why = clip(why)
	if !o.anyRemembered(now, r) {
		r.recovered()
		return nil
	}
	if r.Outage.IsZero() {
		r.Outage = now
	}
	if d.Rejected.Count == 0 || now.Sub(d.Rejected.Last) >= burst {
		d.Rejected.add(now)
	}
	if !o.mustRelease(now, r) {
		return nil
	}
	since := r.Outage // release ends it
	names := o.release(now, r)
	return func() {
		o.m.log.Error("what was remembered of a destination is released: its certificates are no longer expected to be valid",
			"domain", domain, "mx", names, "failing_since", since, "why", why)
	}
}

func (o *Outbound) anyRemembered(now time.Time, r *DomainRecord) bool {
	return slices.ContainsFunc(r.Hosts, func(d DomainHost) bool { return o.remembered(now, &d) })
}

// mustRelease says that the outage has come to what SEM 32 asks for. A success
// of any server with a valid certificate would have ended it. A remembered
// name that was not tried in all that time holds the release up for a while,
// not for good: it may have ceased to be an MX of this domain.
func (o *Outbound) mustRelease(now time.Time, r *DomainRecord) bool {
	lasted := now.Sub(r.Outage)
	attempts, untried := 0, false
	for i := range r.Hosts {
		d := &r.Hosts[i]
		attempts = max(attempts, d.Rejected.Count)
		untried = untried || o.remembered(now, d) && d.Rejected.Count == 0
	}
	return attempts >= releaseAttempts && lasted >= releaseSpan && (!untried || lasted >= releaseUntried)
}

// release forgets which servers were valid, and returns their names.
func (o *Outbound) release(now time.Time, r *DomainRecord) (names []string) {
	for i := range r.Hosts {
		d := &r.Hosts[i]
		if o.remembered(now, d) {
			names = append(names, d.Name)
		}
		d.Since, d.Valid = time.Time{}, Tally{}
	}
	r.recovered()
	r.Released.add(now)
	return names
}
