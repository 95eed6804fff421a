package certs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"slices"
	"sync"
	"time"
	"weak"
)

const (
	ticketRotate = 24 * time.Hour   // a key seals new tickets for so long
	ticketKeep   = 2 * ticketRotate // and opens them until this age
	ticketCheck  = 10 * time.Minute // short against both, and a suspended machine wakes up
)

// Tickets are the keys that seal session tickets, shared by all the TLS
// configurations that they are applied to: a client resumes with one what it began
// with another. They are random, known to this process alone, rotated every day
// and forgotten after two, because whoever has one can read the sessions that it
// sealed: in TLS 1.2 all that was said, in TLS 1.3 nothing after a fresh key
// exchange (RFC 8446, 2.2; RFC 9325, 3.4; crypto/tls keeps its own for seven days).
//
// Keys that crypto/tls makes for itself belong to one configuration, and clones
// of it never share them.
type Tickets struct {
	now func() time.Time

	mu      sync.Mutex
	keys    []ticketKey // newest first, never empty
	configs []weak.Pointer[tls.Config]
}

type ticketKey struct {
	key  [32]byte
	born time.Time
}

// NewTickets makes the first key. now is the clock, nil for time.Now.
func NewTickets(now func() time.Time) *Tickets {
	if now == nil {
		now = time.Now
	}
	t := &Tickets{now: now}
	t.add()
	return t
}

// Apply gives the configuration the current keys and, as long as it is in use, all
// that follow. A configuration that is no longer referenced elsewhere is forgotten.
// A clone of it has the keys of the moment and no later ones, which is right for one
// connection; to keep a clone longer, apply it too.
func (t *Tickets) Apply(c *tls.Config) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.configs = slices.DeleteFunc(t.configs, func(p weak.Pointer[tls.Config]) bool {
		return p.Value() == nil || p.Value() == c
	})
	t.configs = append(t.configs, weak.Make(c))
	c.SetSessionTicketKeys(t.current())
}

// Rotate makes a new key if the newest is a day old, and reports whether it was.
func (t *Tickets) Rotate() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now().Sub(t.keys[0].born) < ticketRotate {
		return false
	}
	t.add()
	keys := t.current()
	for _, p := range t.configs {
		if c := p.Value(); c != nil {
			c.SetSessionTicketKeys(keys)
		}
	}
	return true
}

// Run rotates when it is time, until ctx ends.
func (t *Tickets) Run(ctx context.Context) {
	check := time.NewTicker(ticketCheck)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-check.C:
			t.Rotate()
		}
	}
}

// add makes a key and drops those that are too old.
func (t *Tickets) add() {
	now := t.now()
	k := ticketKey{born: now}
	rand.Read(k.key[:]) // never fails: the program ends instead
	t.keys = slices.DeleteFunc(slices.Insert(t.keys, 0, k), func(k ticketKey) bool {
		return now.Sub(k.born) >= ticketKeep
	})
}

func (t *Tickets) current() [][32]byte {
	var keys [][32]byte
	for _, k := range t.keys {
		keys = append(keys, k.key)
	}
	return keys
}
