package policy

import (
	"crypto/x509"
	"testing"
	"time"

	"postern/internal/catest"
)

// chainOf is a chain of three, with the root's pool as roots.
func chainOf(t testing.TB, l catest.Leaf) ([]*x509.Certificate, *Roots) {
	t.Helper()
	root := catest.New(t)
	middle := root.Intermediate(t)
	return []*x509.Certificate{middle.Issue(t, l).Leaf, middle.Cert}, &Roots{Pool: root.Pool()}
}

// TestACachedVerdictIsTheVerdict asks cache and crypto/x509 the same, back and forth over all dates.
func TestACachedVerdictIsTheVerdict(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	begin, end := now.Add(-30*time.Minute), now.Add(2*time.Hour)
	chain, roots := chainOf(t, catest.Leaf{NotBefore: begin, NotAfter: end})
	other := &Roots{Pool: catest.New(t).Pool()}
	cache := newChainCache(10)
	for range 3 {
		for _, at := range []time.Time{
			now, begin, begin.Add(-1), begin.Add(-time.Minute), end, end.Add(1), end.Add(time.Minute), now,
			now.Add(-2 * time.Hour), now.Add(25 * time.Hour), end.Add(-time.Minute),
		} {
			for _, r := range []*Roots{roots, other} {
				for _, grace := range []time.Duration{0, 30 * time.Second, time.Hour} {
					got, want := cache.verify(chain, r, grace, at), verifyChain(prolong(chain, grace), r, at)
					if got.ok != want.ok || got.flaw != want.flaw || !got.stands(at) {
						t.Fatalf("at %v with grace %v: got %+v, want %+v", at, grace, got, want)
					}
				}
			}
		}
	}
}

func TestATrustedChainStandsUntilItsFirstCertificateEnds(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, leaf := range []catest.Leaf{
		{NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Minute)},         // the leaf is the shortest
		{NotBefore: now.Add(-100 * time.Hour), NotAfter: now.Add(100 * time.Hour)}, // the authorities are
	} {
		chain, roots := chainOf(t, leaf)
		got := newChainCache(1).verify(chain, roots, 0, now)
		for _, c := range chain {
			if !got.ok || got.until.After(c.NotAfter) || got.from.Before(c.NotBefore) {
				t.Errorf("got %+v, with a certificate from %v until %v", got, c.NotBefore, c.NotAfter)
			}
		}
		if !got.stands(got.until) || got.stands(got.until.Add(1)) || got.stands(got.from.Add(-1)) {
			t.Errorf("%v to %v does not say what stands", got.from, got.until)
		}
	}
}

func TestDistrustDoesNotLast(t *testing.T) {
	now := time.Now()
	soon := now.Add(time.Minute).Truncate(time.Second)
	for want, leaf := range map[time.Time]catest.Leaf{
		soon.Add(-1):         {NotBefore: soon, NotAfter: soon.Add(time.Hour)},
		now.Add(distrustFor): {NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)},
	} {
		chain, roots := chainOf(t, leaf)
		if got := newChainCache(1).verify(chain, roots, 0, now); got.ok || !got.until.Equal(want) {
			t.Errorf("got %+v, want until %v", got, want)
		}
	}
}

func TestTheCacheIsUsedAndBounded(t *testing.T) {
	cache := newChainCache(2)
	now := time.Now()
	var chains [][]*x509.Certificate
	roots := &Roots{Pool: catest.New(t).Pool()}
	for range 3 {
		chain, _ := chainOf(t, catest.Leaf{})
		chains = append(chains, chain)
		cache.verify(chain, roots, 0, now)
	}
	if n := cache.lru.Len(); n != 2 {
		t.Errorf("%d chains are kept", n)
	}
	if _, ok := cache.get(chainKey{roots, chainSum(chains[2]), 0}); !ok {
		t.Error("the latest chain is not kept")
	}
	// A marked verdict comes back: it was not found out again.
	cache.put(chainKey{roots, chainSum(chains[2]), 0}, trust{flaw: "marked", from: now, until: now.Add(1)})
	if got := cache.verify(chains[2], roots, 0, now); got.flaw != "marked" {
		t.Errorf("got %+v", got)
	}
	if got := cache.verify(chains[2][:1], roots, 0, now); got.flaw == "marked" {
		t.Error("a part of the chain has the verdict of the whole")
	}
}
