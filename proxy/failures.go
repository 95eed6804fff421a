package proxy

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// The times of SEM 19, and how long a client that was told to come back may take
// (RFC 5321, 4.5.4.1).
const (
	lastFor     = 10 * time.Minute
	atOnceFor   = time.Minute
	clearFor    = 5 * 24 * time.Hour
	maxFailures = 8192
)

// failures remembers for minutes what could not be reached, so that not every
// message waits for it.
type failures struct {
	mu        sync.Mutex
	hosts     *simplelru.LRU[hostKey, time.Time]
	wholes    *simplelru.LRU[string, whole]
	nextClear *simplelru.LRU[hostKey, time.Time]
}

type hostKey struct {
	name string
	port uint16
}

// whole is a destination of which every host has failed.
type whole struct {
	at   time.Time
	last *failure
}

func newFailures() *failures {
	return &failures{hosts: newLRU[hostKey, time.Time](maxFailures), wholes: newLRU[string, whole](maxFailures), nextClear: newLRU[hostKey, time.Time](maxFailures)}
}

func (h *host) key() hostKey { return hostKey{h.name, h.port} }

// host notes that one could not be used.
func (f *failures) host(h *host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts.Add(h.key(), time.Now())
}

// noted notes that all hosts of a destination have failed.
func (f *failures) noted(d *destination, last *failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wholes.Add(d.wholeKey(), whole{time.Now(), last})
}

// wholeKey names a destination with the hosts that it has now: a change in the DNS, or
// of what is asked, makes it another.
func (d *destination) wholeKey() string {
	key := d.domain
	for _, h := range slices.SortedFunc(slices.Values(d.hosts), func(a, b *host) int { return strings.Compare(a.name, b.name) }) {
		key += " " + h.name + " " + h.decision.Key()
		if h.addrs != nil { // the client's choice: it has others
			key += " " + h.addrs[0].String()
		}
	}
	return key
}

// all says of a destination whose hosts have all failed a moment ago why.
func (f *failures) all(d *destination) *failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wholes.Len() == 0 {
		return nil
	}
	w, ok := f.wholes.Get(d.wholeKey())
	if !ok || time.Since(w.at) >= atOnceFor {
		return nil
	}
	return w.last
}

// lastTried is hosts with those that failed a while ago behind the others.
func (f *failures) lastTried(hosts []*host) []*host {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*host, 0, len(hosts))
	var late []*host
	for _, h := range hosts {
		if f.since(h) < lastFor {
			late = append(late, h)
		} else {
			out = append(out, h)
		}
	}
	return append(out, late...)
}

// since is how long ago a host failed.
func (f *failures) since(h *host) time.Duration {
	if at, ok := f.hosts.Get(h.key()); ok {
		return time.Since(at)
	}
	return lastFor
}

// recently says whether a host is tried last.
func (f *failures) recently(h *host) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since(h) < lastFor
}

// works notes that a host could be used.
func (f *failures) works(d *destination, h *host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts.Remove(h.key())
	if f.wholes.Len() > 0 {
		f.wholes.Remove(d.wholeKey())
	}
}

// clearNext notes that the client was told that the next attempt goes in clear.
func (f *failures) clearNext(h *host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nextClear.Add(h.key(), time.Now())
}

// nextIsClear says whether this is that attempt.
func (f *failures) nextIsClear(h *host) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.nextClear.Get(h.key())
	return ok && time.Since(at) < clearFor
}

// settled ends that promise: TLS works again, clear text did its service and the
// memory has it now, or TLS was asked for.
func (f *failures) settled(h *host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nextClear.Remove(h.key())
}
