package policy

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"postern/tls/report"
)

const (
	maxChains   = 1024             // a few hundred octets each
	distrustFor = 10 * time.Minute // then a chain without trust is looked at again
)

// trust is the verdict on a chain, names left aside, and the time for which it stands.
// It holds on to no certificate.
type trust struct {
	ok          bool
	constrained bool           // an authority in the chain may issue for some names only
	flaw        string         // why not ok: "expired on 2026-11-01", behind "certificate for …"
	failure     report.Failure // likewise
	from, until time.Time
}

func (t *trust) stands(at time.Time) bool {
	return !at.Before(t.from) && !at.After(t.until)
}

// chainCache remembers verdicts on chains, because ordinary mail sees the same few all day
// and each costs some public-key operations. A chain that is trusted stands while all its
// certificates, root included, are within their dates; one that is not, for distrustFor at
// most and only until the next date in it passes. A nil cache remembers nothing.
type chainCache struct {
	mu  sync.Mutex
	lru *simplelru.LRU[chainKey, trust]
}

type chainKey struct {
	roots *Roots // the pointer keeps them alive: no other roots get their address
	sum   [32]byte
	grace time.Duration
}

func newChainCache(n int) *chainCache {
	lru, err := simplelru.NewLRU[chainKey, trust](n, nil)
	if err != nil {
		panic(err) // n is not positive
	}
	return &chainCache{lru: lru}
}

// verify returns the verdict on a chain as it was presented, leaf first and not empty, at a time.
// With a grace its certificates end so much later, and nothing else is forgiven.
func (c *chainCache) verify(chain []*x509.Certificate, roots *Roots, grace time.Duration, at time.Time) trust {
	at = at.Round(0) // the wall clock counts, also when it is set
	if c == nil {
		return verifyChain(prolong(chain, grace), roots, at)
	}
	key := chainKey{roots, chainSum(chain), grace}
	if t, ok := c.get(key); ok && t.stands(at) {
		return t
	}
	t := verifyChain(prolong(chain, grace), roots, at)
	c.put(key, t)
	return t
}

func (c *chainCache) get(key chainKey) (trust, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(key)
}

func (c *chainCache) put(key chainKey, t trust) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Add(key, t)
}

// prolong returns copies that end later. crypto/x509 takes the dates from the
// fields and checks the signatures over the octets, which do not change.
func prolong(chain []*x509.Certificate, grace time.Duration) []*x509.Certificate {
	if grace == 0 {
		return chain
	}
	longer := make([]*x509.Certificate, len(chain))
	for i, c := range chain {
		l := *c
		l.NotAfter = c.NotAfter.Add(grace)
		longer[i] = &l
	}
	return longer
}

// chainSum covers every octet of every certificate; DER carries its own lengths.
func chainSum(chain []*x509.Certificate) (sum [32]byte) {
	h := sha256.New()
	for _, c := range chain {
		h.Write(c.Raw)
	}
	h.Sum(sum[:0])
	return sum
}

// verifyChain is RFC 5280, 6, as crypto/x509 has it: signatures, dates, name
// constraints, and the purpose of a TLS server.
func verifyChain(chain []*x509.Certificate, roots *Roots, at time.Time) trust {
	o := x509.VerifyOptions{Roots: roots.pool(), Intermediates: x509.NewCertPool(), CurrentTime: at}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	found, err := chain[0].Verify(o)
	if err != nil {
		return distrust(chain, err, at)
	}
	best := standing(found[0])
	for _, f := range found[1:] {
		if t := standing(f); t.until.After(best.until) {
			best = t
		}
	}
	return best
}

// standing says for how long a valid chain is one.
func standing(chain []*x509.Certificate) trust {
	t := trust{ok: true, from: chain[0].NotBefore, until: chain[0].NotAfter}
	for _, c := range chain[1:] {
		if c.NotBefore.After(t.from) {
			t.from = c.NotBefore
		}
		t.until = earlier(t.until, c.NotAfter)
		t.constrained = t.constrained || len(c.PermittedDNSDomains)+len(c.ExcludedDNSDomains) > 0
	}
	return t
}

// distrust stands until a certificate begins or ends, which may change the verdict or its
// text, and not for long, because the roots have dates too.
func distrust(chain []*x509.Certificate, err error, at time.Time) trust {
	t := trust{flaw: flaw(chain, err, at), failure: failureOf(chain, err, at), from: at, until: at.Add(distrustFor)}
	for _, c := range chain {
		if c.NotBefore.After(at) {
			t.until = earlier(t.until, c.NotBefore.Add(-1))
		}
		if !c.NotAfter.Before(at) {
			t.until = earlier(t.until, c.NotAfter)
		}
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// failureOf is the kind of what crypto/x509 objected to.
func failureOf(chain []*x509.Certificate, err error, at time.Time) report.Failure {
	var invalid x509.CertificateInvalidError
	var system x509.SystemRootsError
	switch {
	case errors.As(err, &system):
		return failedNoRoots
	case !errors.As(err, &invalid) && bytes.Equal(chain[0].RawIssuer, chain[0].RawSubject):
		return failedSelf
	case !errors.As(err, &invalid):
		return failedIssuer
	case invalid.Reason == x509.Expired && at.Before(invalid.Cert.NotBefore):
		return failedTooEarly
	case invalid.Reason == x509.Expired:
		return failedExpired
	case invalid.Reason == x509.IncompatibleUsage:
		return failedPurpose
	}
	return failedChain
}
