package resolve

import (
	"sync"
	"time"
)

const (
	keepMost    = 24 * time.Hour   // whatever the TTL says
	keepNothing = 3 * time.Hour    // what does not exist (RFC 2308, 5: one to three hours work well)
	keepUnsaid  = 5 * time.Second  // what does not exist, without an SOA record that says how long
	keepFailure = 5 * time.Second  // of all servers (RFC 2308, 7.1: not above five minutes)
	keepBogus   = 15 * time.Second // what does not validate (STANDARDS 117: at most 60 s)
)

// cache remembers the latest answers for as long as they live.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	answers *bounded[question, *answer]
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, answers: newBounded[question](capacity, mostOctets, (*answer).cost)}
}

func (a *answer) cost() int { return costOfOne + costOf(a.records) }

// get returns an answer that is still alive, or nil.
func (c *cache) get(q question) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers.get(q)
	// An answer from the future is from before the clock was set back.
	if now := c.now(); !ok || now.Before(a.since) || !now.Before(a.expires) {
		return nil
	}
	return a
}

// put keeps a, if it lives at all. It says when that began.
func (c *cache) put(q question, a *answer) {
	if !a.expires.After(a.since) {
		return // TTL 0: for the callers of this moment alone (RFC 1035, 3.2.1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers.put(q, a)
}
