package mtasts

import (
	"context"
	"time"
)

// Resolver looks up TXT records. expires is until when the answer holds, by
// its TTL, for an answer without records too. An error says that it is not known whether there
// are records; that there are none is no error. CNAMEs are followed.
type Resolver interface {
	TXT(ctx context.Context, name string) (texts []string, expires time.Time, err error)
}

// Cache keeps policies across restarts. Its methods are called from several goroutines at
// once and should answer within milliseconds; an error costs nothing but what it names.
type Cache interface {
	// Get returns the entry of a domain; ok is false when there is none.
	Get(domain string) (e Entry, ok bool, err error)
	// Put replaces the entry of a domain, which is worthless from expires on. Where the policy is to be enforced
	// it protects, and what other domains publish must not be able to push it out.
	Put(domain string, e Entry, expires time.Time) error
	// Each calls f for all entries, in any order. f does not call the cache.
	Each(f func(domain string, e Entry)) error
}

// Entry is a fetched policy as a Cache keeps it. Its fields are all that is to be
// kept; as JSON, for example.
type Entry struct {
	ID      string    `json:"id"`     // of the TXT record that led to the fetch
	Policy  string    `json:"policy"` // in its canonical form, at most MaxKeptSize octets
	Fetched time.Time `json:"fetched"`
	Used    time.Time `json:"used"` // when mail for the domain had last asked, as of Fetched
}

// Protects says that the policy is to be enforced.
func (e Entry) Protects() bool {
	p, err := parsePolicy(e.Policy)
	return err == nil && p.Mode == Enforce
}

// noCache is for a Lookup that forgets with its process.
type noCache struct{}

func (noCache) Get(string) (Entry, bool, error)    { return Entry{}, false, nil }
func (noCache) Put(string, Entry, time.Time) error { return nil }
func (noCache) Each(func(string, Entry)) error     { return nil }
