package mtasts

import (
	"context"
	"time"
)

const (
	askTime = 30 * time.Second // for a TXT record

	round     = time.Minute // how often Run looks for what is due
	cacheLook = time.Hour   // and in the cache
	// forgetAfter is how long a policy is refreshed although no mail asks for it.
	forgetAfter = 180 * day
	// agesFrom is the youngest that a policy wants refreshing for its own sake, see ages.
	agesFrom = day / 2
)

// Run keeps what is known up to date until ctx is done: policies that mail has asked for in the
// last half year are fetched again every day, so that nobody can wait for their
// end (RFC 8461, 3.3), and the domains of present mail are checked
// before a delivery has to. One Run is enough.
func (l *Lookup) Run(ctx context.Context) {
	tick := time.NewTicker(round)
	defer tick.Stop()
	var looked time.Time
	for {
		now := l.now()
		domains := l.memory.which(func(i *item) bool { return i.wanted(now) })
		if age := now.Sub(looked); age >= cacheLook || age < 0 {
			looked = now
			domains = append(domains, l.agingInCache(now)...)
		}
		for _, domain := range domains {
			if !l.waitBackground(ctx, domain) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.wake:
		}
	}
}

// Prefetch says that mail for these domains may come: Run finds out their policies
// before it does. It does not wait.
func (l *Lookup) Prefetch(domains ...string) {
	now := l.now()
	for _, domain := range domains {
		if name, ok := canonical(domain); ok && l.recall(name, now) == nil {
			l.memory.add(name, &known{}, now)
		}
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// wanted says whether Run is to check a domain: because its time has come and mail has asked for it
// since the last check, or because its policy protects and must not age.
func (i *item) wanted(now time.Time) bool {
	k := i.known
	if !k.due(now) {
		return false
	}
	return !i.used.Before(k.asked) || k.counts(now) && k.ages(now, i.used)
}

// ages says whether the policy is to be fetched again for its own sake. One that stands
// for less than a day is not worth it while nobody asks.
func (k *known) ages(now, used time.Time) bool {
	return k.policy != nil && k.policy.Mode != None && k.policy.MaxAge >= day &&
		!now.Before(k.refresh) && now.Sub(later(used, k.entry.Used)) < forgetAfter
}

// waitBackground starts a check as soon as there is room; false says that ctx is done.
func (l *Lookup) waitBackground(ctx context.Context, domain string) bool {
	select {
	case l.background <- struct{}{}:
		l.start(domain, l.background)
		return true
	case <-ctx.Done():
		return false
	}
}

// agingInCache lists the domains whose policies are in the cache alone and want refreshing.
func (l *Lookup) agingInCache(now time.Time) (domains []string) {
	err := l.cache.Each(func(domain string, e Entry) {
		if age := now.Sub(e.Fetched); age >= 0 && age < agesFrom {
			return // most of them, without a look at the policy
		}
		name, ok := canonical(domain)
		_, inMemory := l.memory.lastUse(domain)
		if !ok || name != domain || inMemory {
			return
		}
		if k, err := remembered(e); err == nil && k.counts(now) && k.ages(now, time.Time{}) {
			domains = append(domains, domain)
		}
	})
	if err != nil {
		l.log.Warn("MTA-STS policies could not be read from the store: those that no mail asks for are not refreshed", "err", err)
	}
	return domains
}
