package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"postern/store"
	"postern/tls/dane"
)

const (
	tlsaKey   = "tlsa/"             // and the host and port, or the domain
	tlsaFor   = 30 * 24 * time.Hour // that there were usable records counts for so long (SEM 27)
	tlsaAgain = 24 * time.Hour      // after which it is written down again
)

// tlsaFinder implements policy.DANE. It remembers the hosts that have TLSA records, and the
// domains whose signed MX records name such a host: they cannot be made to have none by a
// resolver without DNSSEC (SEM 27), nor by a clock that is wrong (STANDARDS 118).
type tlsaFinder struct {
	lookup dane.Lookup
	names  *lookup
	memory store.Store // nil: nothing is remembered
	log    *slog.Logger

	mu     sync.Mutex
	lately *simplelru.LRU[string, time.Time] // what was found in memory, or written there: it is not asked for each mail
}

const maxLately = 16384

func newTLSAFinder(names tlsaNames, memory store.Store, log *slog.Logger) *tlsaFinder {
	lately, err := simplelru.NewLRU[string, time.Time](maxLately, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &tlsaFinder{lookup: dane.Lookup{Resolver: names}, names: names.lookup, memory: memory, log: log, lately: lately}
}

// Find implements policy.DANE.
func (t *tlsaFinder) Find(ctx context.Context, mx dane.MXInfo) (dane.Finding, error) {
	f, err := t.lookup.Find(ctx, mx)
	if err == nil && t.memory != nil {
		err = t.recall(ctx, mx, f)
	}
	if err != nil {
		return dane.Finding{}, err
	}
	f.NoDNSSEC = f.Unproved != "" && t.names.trial.known(unavailable) // SEM 27: that is believed
	return f, nil
}

// recall notes who has TLSA records. An error says that somebody had them, and cannot be asked now.
func (t *tlsaFinder) recall(ctx context.Context, mx dane.MXInfo, f dane.Finding) error {
	host, domain := tlsaKey+net.JoinHostPort(mx.Host, strconv.Itoa(int(mx.Port))), tlsaKey+mx.Domain
	switch {
	case f.Status == dane.Usable && mx.MXSecure:
		t.note(host, domain)
	case f.Status == dane.Usable:
		t.note(host)
	case f.Status == dane.NotApplicable && (t.noted(host) < tlsaFor || t.noted(domain) < tlsaFor): // who forges MX records names a host without
		if why := t.unproved(ctx, f); why != "" {
			return &dane.LookupError{Name: dane.Owner(mx.Host, mx.Port), Type: "TLSA",
				Err: fmt.Errorf("%s or %s had some in the last 30 days, and nobody can tell now: %s", mx.Host, mx.Domain, why)}
		}
	}
	return nil
}

// unproved is why it is not known that DANE does not apply any more; "" where it is. A server that is
// trusted may have stopped to validate since the last trial.
func (t *tlsaFinder) unproved(ctx context.Context, f dane.Finding) string {
	if f.Unproved != "" || t.names.from.cfg.DNSSEC != "trust-ad" || t.names.trial.vouches(ctx) {
		return f.Unproved
	}
	return "the resolver does not vouch for signed names"
}

// noted is how long ago that was, also by a clock that has been set back since; of what
// never was, or cannot be read, it is very long.
func (t *tlsaFinder) noted(key string) time.Duration {
	text, err := t.memory.Get(key)
	if err != nil {
		return tlsaFor
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return tlsaFor
	}
	return time.Since(at)
}

// note writes down all that is not, or not lately, in one go: mail waits for it.
func (t *tlsaFinder) note(keys ...string) {
	now := time.Now().UTC()
	var changes []store.Change
	for _, key := range keys {
		if !t.isLate(key, now) {
			continue
		}
		if age := t.noted(key); age < 0 || age >= tlsaAgain {
			changes = append(changes, store.Change{Key: key, Value: []byte(now.Format(time.RFC3339)), Expires: now.Add(tlsaFor), Pinned: true})
		}
	}
	if len(changes) == 0 {
		return
	}
	if err := t.memory.Write(changes...); err != nil {
		t.log.Warn("that a destination has TLSA records could not be written down", "error", err)
	}
}

// isLate says whether the memory was not asked about a key for an hour, or the clock was set
// back since. It takes note that it is asked now.
func (t *tlsaFinder) isLate(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.lately.Get(key); ok && !now.Before(at) && now.Sub(at) < time.Hour {
		return false
	}
	t.lately.Add(key, now)
	return true
}
