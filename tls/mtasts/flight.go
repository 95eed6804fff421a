package mtasts

import (
	"context"
	"errors"
	"time"
)

var (
	errBusy    = errors.New("too many policies are being looked for")
	errPending = errors.New("no policy is known yet, and the look for one goes on")
)

// flight is one domain being looked at. After done, known is the outcome, nil if
// the Lookup was closed before there was any.
type flight struct {
	begun   time.Time
	done    chan struct{}
	known   *known
	fetched bool

	forgotten bool // meanwhile, see Forget; under the lock of flights
}

// discoverNow answers a delivery that waits, with fallback if it has waited long enough.
func (l *Lookup) discoverNow(ctx context.Context, domain string, fallback *known) Finding {
	ctx, cancel := context.WithTimeout(ctx, l.wait)
	defer cancel()
	f, err := l.await(ctx, domain)
	now := l.now()
	l.memory.get(domain, now) // it is in use
	switch {
	case err == nil && f.known != nil && f.fetched:
		return f.known.finding(SourceFetched, now)
	case err == nil && f.known != nil:
		return f.known.finding(SourceCache, now)
	case fallback != nil:
		return fallback.finding(SourceCache, now)
	case err == nil:
		return Finding{Source: SourceNone, Why: "the look-up was closed"}
	case err == errBusy: // there is no room while it waits; afterwards there will be
		l.Prefetch(domain)
		return Finding{Source: SourceNone, Pending: true, Why: err.Error()}
	default:
		// RFC 8461, 3.3 and 5.1: the fetch need not hold up the message.
		return Finding{Source: SourceNone, Pending: true, Why: err.Error()}
	}
}

// await joins the flight of a domain, or starts one as soon as there is room. A flight is waited for
// until it has lasted for Options.Wait: what hangs holds up the first mail for a domain, and not each.
func (l *Lookup) await(ctx context.Context, domain string) (*flight, error) {
	f := l.join(domain)
	if f == nil {
		select {
		case l.slots <- struct{}{}:
			f = l.start(domain, l.slots)
		case <-ctx.Done():
			return nil, errBusy
		}
	}
	ctx, cancel := context.WithDeadline(ctx, f.begun.Add(l.wait))
	defer cancel()
	select {
	case <-f.done:
		return f, nil
	case <-ctx.Done():
	}
	select {
	case <-f.done: // both were
		return f, nil
	default:
		return nil, errPending
	}
}

// tryBackground starts a flight that nobody waits for, and reports whether one is on its way.
// Without room there will be another occasion.
func (l *Lookup) tryBackground(domain string) bool {
	if l.join(domain) != nil {
		return true
	}
	select {
	case l.background <- struct{}{}:
		l.start(domain, l.background)
		return true
	default:
		return false
	}
}

func (l *Lookup) join(domain string) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flying[domain]
}

// start begins a flight, which gives its slot back at the end, or joins one that was faster.
func (l *Lookup) start(domain string, slots chan struct{}) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.flying[domain]; f != nil {
		<-slots
		return f
	}
	f := &flight{begun: time.Now(), done: make(chan struct{})}
	if l.closed {
		<-slots
		close(f.done)
		return f
	}
	l.flying[domain] = f
	l.running.Go(func() {
		defer func() { <-slots }()
		l.fly(domain, f)
	})
	return f
}

// fly looks at a domain and keeps what it finds before anyone hears of it.
func (l *Lookup) fly(domain string, f *flight) {
	old := l.memory.get(domain, time.Time{})
	if old == nil {
		old = l.load(domain)
	}
	f.known = l.discover(l.ctx, domain, old)
	if l.ctx.Err() != nil {
		f.known = nil // what failed then failed because of that
	} else {
		f.fetched = f.known.policy != nil && (old == nil || f.known.entry.Fetched != old.entry.Fetched)
		l.keep(domain, f, old)
	}
	l.mu.Lock()
	delete(l.flying, domain)
	l.mu.Unlock()
	close(f.done)
}

func (l *Lookup) keep(domain string, f *flight, old *known) {
	k := f.known
	if f.fetched {
		if err := l.cache.Put(domain, k.entry, k.fresh); err != nil {
			l.log.Warn("an MTA-STS policy could not be stored, and will not survive a restart", "domain", domain, "err", err)
		}
	}
	l.mu.Lock()
	if !f.forgotten {
		l.memory.put(domain, k, time.Time{})
	}
	l.mu.Unlock()
	l.report(domain, k, old)
}

// report tells the administrator, once per story, of a policy that could not be refreshed, unless
// it asks for nothing (RFC 8461, 3.3).
func (l *Lookup) report(domain string, k, old *known) {
	if old == nil {
		old = &known{}
	}
	switch {
	case k.failing() && (!old.failing() || old.why != k.why):
		l.log.Warn("an MTA-STS policy could not be refreshed", "domain", domain, "result", string(k.result), "why", k.why)
	case k.policy != nil && k.entry.Policy != old.entry.Policy:
		l.log.Info("a new MTA-STS policy", "domain", domain, "why", k.why)
	}
}

// discover is RFC 8461, 3.1 to 3.3: the record, and then the policy if the record gives reason to
// fetch it. What it meets may hit a defect: that costs this answer, not the process.
func (l *Lookup) discover(ctx context.Context, domain string, old *known) (k *known) {
	defer func() {
		if p := recover(); p != nil {
			k = begin(old, l.now())
			k.unrecorded(failed(TXTError, "a defect: %v", p), time.Time{})
		}
	}()
	id, ttl, fail := l.ask(ctx, domain)
	k = begin(old, l.now())
	if fail != nil {
		k.unrecorded(fail, ttl)
		return k
	}
	if !k.wantsFetch(id, k.asked) {
		k.confirmed(id, ttl)
		return k
	}
	body, fail := l.fetcher.fetch(ctx, domain)
	now := l.now()
	k = begin(k, now)
	if fail != nil {
		k.unfetched(id, fail, now)
		return k
	}
	p, err := parsePolicy(body)
	if err != nil {
		k.unfetched(id, failed(PolicyInvalid, "%s: %v", URL(domain), err), now)
		return k
	}
	return fetched(Entry{ID: id, Policy: p.text("\n"), Fetched: now, Used: l.used(domain, k, now)}, p, ttl)
}

// used is when mail last asked for a domain: now, if its policy is fetched for the first time.
func (l *Lookup) used(domain string, k *known, now time.Time) time.Time {
	if k.policy == nil {
		return now
	}
	used, _ := l.memory.lastUse(domain)
	return later(k.entry.Used, used)
}

// ask gets the id in a domain's record.
func (l *Lookup) ask(ctx context.Context, domain string) (id string, ttl time.Time, fail *failure) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	texts, ttl, err := l.resolver.TXT(ctx, RecordName(domain))
	if err != nil {
		return "", ttl, failed(TXTError, "the TXT record %s cannot be looked up: %v", RecordName(domain), err)
	}
	id, err = parseRecords(texts)
	switch {
	case errors.Is(err, errNoRecord):
		return "", ttl, failed("", "%s has %v", RecordName(domain), err)
	case err != nil:
		return "", ttl, failed(PolicyInvalid, "%s: %v", RecordName(domain), err)
	}
	return id, ttl, nil
}
