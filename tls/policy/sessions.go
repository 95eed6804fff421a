package policy

import (
	"crypto/tls"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Sessions remembers TLS sessions so that the next connection can resume them: no certificate
// is sent and no signature made. It is bounded, the ones not used for longest go first, and
// safe for concurrent use.
//
// A session must not come back under a decision other than the one that it was made
// under, as Postfix salts its cache: the key has the destination, the MX, the address and Decision.Key
// in it. (VerifyConnection judges resumed sessions as well; the key spares the
// handshake that would fail.)
type Sessions struct {
	mu  sync.Mutex
	lru *simplelru.LRU[string, *tls.ClientSessionState]
}

// NewSessions makes a cache for up to n sessions; each takes a few KiB, the peer's certificates
// included. n is at least 1.
func NewSessions(n int) *Sessions {
	lru, err := simplelru.NewLRU[string, *tls.ClientSessionState](max(n, 1), nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &Sessions{lru: lru}
}

// For returns the part of the cache that connections with this key share: at most one
// session, the latest.
func (s *Sessions) For(key string) tls.ClientSessionCache { return sessionsFor{s, key} }

// Len returns how many sessions are remembered.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Len()
}

type sessionsFor struct {
	all *Sessions
	key string
}

// Get and Put leave out crypto/tls's own key, the server name or else the
// address, which says less than ours.
func (f sessionsFor) Get(string) (*tls.ClientSessionState, bool) {
	f.all.mu.Lock()
	defer f.all.mu.Unlock()
	return f.all.lru.Get(f.key)
}

// Put with nil means: do not try that one again.
func (f sessionsFor) Put(_ string, session *tls.ClientSessionState) {
	f.all.mu.Lock()
	defer f.all.mu.Unlock()
	if session == nil {
		f.all.lru.Remove(f.key)
		return
	}
	f.all.lru.Add(f.key, session)
}
