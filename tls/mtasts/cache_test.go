package mtasts_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"postern/tls/mtasts"
)

// bubble runs a test under a false clock, which only goes on when nothing else does.
func bubble(t *testing.T, test func(t *testing.T, n *internet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newFalseInternet(t)) })
}

// settled is what a delivery finds after the check that it has set off.
func settled(t *testing.T, l *mtasts.Lookup) mtasts.Finding {
	l.Find(t.Context(), domain)
	synctest.Wait()
	return l.Find(t.Context(), domain)
}

func records(texts ...string) func(string) ([]string, error) {
	return func(string) ([]string, error) { return texts, nil }
}

// breaks are the ways in which a domain's publication may break. Each happens to
// a domain with the policy id1.
func breaks(t *testing.T) []struct {
	name    string
	happens func(n *internet)
	at5min  string // what a delivery is told after the next check
	after   string // and when the policy's time is over
} {
	const fetch, invalid, webPKI = " sts-policy-fetch-error", " sts-policy-invalid", " sts-webpki-invalid"
	return []struct {
		name    string
		happens func(n *internet)
		at5min  string
		after   string
	}{
		{"the record is gone", func(n *internet) { n.publish("", policyOf("none")) }, "", ""},
		{"the DNS fails", (*internet).fail, " txt-error", " txt-error"},
		{"two records", func(n *internet) { n.set(func() { n.record = records("v=STSv1; id=2;", "v=STSv1; id=3;") }) }, invalid, invalid},
		{"a broken record", func(n *internet) { n.set(func() { n.record = records("v=STSv1; id=?") }) }, invalid, invalid},
		{"the policy is gone", func(n *internet) { n.publish("id1", "") }, "", fetch},
		{"a new id without a policy", func(n *internet) { n.publish("id2", "") }, fetch, fetch},
		{"a new id with a broken policy", func(n *internet) { n.publish("id2", "mode: none") }, invalid, invalid},
		{"a new id with the certificate of another", func(n *internet) {
			n.publish("id2", policyOf("none"))
			other := newFalseInternet(t)
			n.set(func() { n.dial = other.dial })
		}, webPKI, webPKI},
		{"a new id and nobody there", func(n *internet) {
			n.publish("id2", policyOf("none"))
			n.set(func() { n.dial = func(context.Context) (net.Conn, error) { return nil, errors.New("refused") } })
		}, fetch, fetch},
		{"a new id and a host that never answers", func(n *internet) {
			n.publish("id2", policyOf("none"))
			n.set(func() { n.page = stall })
		}, "", fetch},
	}
}

// stall never answers.
func stall(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// TestAKnownPolicyOutlivesItsSources is STANDARDS 130: it stands until its last second, and no longer.
func TestAKnownPolicyOutlivesItsSources(t *testing.T) {
	for i := range breaks(t) {
		t.Run(breaks(t)[i].name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *internet) { outlives(t, n, i) })
		})
	}
}

func outlives(t *testing.T, n *internet, i int) {
	tt := breaks(t)[i]
	n.publish("id1", head+"mode: enforce\nmx: a\nmax_age: 86400")
	l := n.lookup(t)
	running(t, l)
	found(t, l.Find(t.Context(), domain), "enforce fetched")
	tt.happens(n)
	pass(5 * time.Minute)
	found(t, settled(t, l), "enforce cache"+tt.at5min)
	pass(18 * time.Hour)
	settled(t, l)
	pass(2 * time.Minute) // a host that never answers is given up
	found(t, l.Find(t.Context(), domain), "enforce cache"+tt.after)
	pass(6*time.Hour - 7*time.Minute - time.Second)
	f := l.Find(t.Context(), domain)
	if f.Policy == nil || !f.Expires.Equal(time.Now().Add(time.Second)) || f.Age != day-time.Second {
		t.Fatalf("a second before its end: %+v", f)
	}
	pass(time.Second)
	if f = l.Find(t.Context(), domain); f.Pending {
		pass(time.Minute)
		f = l.Find(t.Context(), domain)
	}
	found(t, f, "none"+tt.after)
}

// TestANewIDBringsANewPolicy is STANDARDS 131 and 132: the same id costs no fetch, a new one
// does, no delivery waits for either, and mode none replaces enforce.
func TestANewIDBringsANewPolicy(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		l := n.lookup(t, s.use)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		cost(t, n, 1, 1)
		n.publish("id1", policyOf("testing"))
		for range 3 {
			pass(5*time.Minute - 1)
			found(t, l.Find(t.Context(), domain), "enforce cache")
			cost(t, n, 0, 0)
			pass(1)
			found(t, settled(t, l), "enforce cache")
			cost(t, n, 1, 0)
		}
		for id, mode := range map[string]string{"id2": "testing", "id3": "none", "id4": "enforce"} {
			before := l.Find(t.Context(), domain)
			n.publish(id, policyOf(mode))
			pass(5 * time.Minute)
			if f := l.Find(t.Context(), domain); f.Policy != before.Policy {
				t.Errorf("a delivery waited for %v", f.Policy)
			}
			synctest.Wait()
			f := l.Find(t.Context(), domain)
			found(t, f, mode+" cache")
			cost(t, n, 1, 1)
			if e, ok, err := s.Get(domain); f.ID != id || !ok || err != nil || e.ID != id || e.Policy != policyOf(mode) || !e.Fetched.Equal(time.Now()) || !s.expires[domain].Equal(f.Expires) {
				t.Errorf("found %+v, kept %+v", f, e)
			}
		}
	})
}

// TestAPolicySurvivesARestart is STANDARDS 132.
func TestAPolicySurvivesARestart(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		first := n.lookup(t, s.use)
		found(t, first.Find(t.Context(), "EXAMPLE.com."), "enforce fetched")
		first.Close()
		n.fail()
		pass(2 * day)
		l := n.lookup(t, s.use)
		f := l.Find(t.Context(), domain)
		found(t, f, "enforce cache")
		if f.Age != 2*day || f.ID != "id1" || !f.Policy.Match("mx.enforce.example") {
			t.Errorf("found %+v", f)
		}
		synctest.Wait()
		cost(t, n, 2, 1) // one before, one at once after the restart
		found(t, l.Find(t.Context(), domain), "enforce cache txt-error")
		pass(5*day - 1)
		found(t, n.lookup(t, s.use).Find(t.Context(), domain), "enforce cache")
		pass(1)
		found(t, n.lookup(t, s.use).Find(t.Context(), domain), "none txt-error")
	})
}

// TestWhatRunAndPrefetchFindOutHidesNoPolicy is STANDARDS 130 and 132: a check that fails, of a
// domain that is in the cache alone, leaves the policy there where a delivery finds it.
func TestWhatRunAndPrefetchFindOutHidesNoPolicy(t *testing.T) {
	for name, prefetch := range map[string]bool{"Run": false, "Prefetch": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *internet) {
				s := newStore()
				n.lookup(t, s.use).Find(t.Context(), domain)
				n.fail()
				pass(2 * day)
				l := n.lookup(t, s.use)
				if prefetch {
					l.Prefetch(domain)
				}
				running(t, l)
				synctest.Wait()
				cost(t, n, 2, 1)
				found(t, l.Find(t.Context(), domain), "enforce cache txt-error")
			})
		})
	}
}

// TestAShortPolicyIsFetchedBeforeItEnds is STANDARDS 131 where the record's TTL is longer than the policy's age.
func TestAShortPolicyIsFetchedBeforeItEnds(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.publish("id1", head+"mode: enforce\nmx: a\nmax_age: 600")
		n.ttl = time.Hour
		l := n.lookup(t)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		pass(time.Minute)
		found(t, l.Refresh(t.Context(), domain), "enforce cache")
		cost(t, n, 2, 1)
		pass(4 * time.Minute)
		if f := settled(t, l); f.Age != 0 {
			t.Errorf("%v old", f.Age)
		}
		cost(t, n, 1, 1)
	})
}

func TestARestartNoticesANewID(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		n.lookup(t, s.use).Find(t.Context(), domain)
		n.publish("id2", policyOf("testing"))
		found(t, settled(t, n.lookup(t, s.use)), "testing cache")
	})
}

// TestABadCacheIsNoCache is about a store that fails, or holds what is no policy.
func TestABadCacheIsNoCache(t *testing.T) {
	for name, spoil := range map[string]func(s *store){
		"it cannot be read": func(s *store) { s.err = errors.New("disk on fire") },
		"it holds no JSON":  func(s *store) { s.entries[domain] = []byte("{") },
		"it holds nothing":  func(s *store) { s.entries[domain] = []byte("{}") },
		"it holds no policy": func(s *store) {
			s.Put(domain, mtasts.Entry{ID: "1", Policy: "mode: none", Fetched: time.Now()}, time.Now())
		},
		"it holds a bad id": func(s *store) { s.Put(domain, mtasts.Entry{ID: "?", Policy: full, Fetched: time.Now()}, time.Now()) },
		"it holds an old one": func(s *store) {
			s.Put(domain, mtasts.Entry{ID: "1", Policy: full, Fetched: time.Now().Add(-week)}, time.Now())
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *internet) {
				s := newStore()
				spoil(s)
				l := n.lookup(t, s.use)
				running(t, l)
				found(t, l.Find(t.Context(), domain), "enforce fetched")
				found(t, l.Find(t.Context(), domain), "enforce cache")
				cost(t, n, 1, 1)
			})
		})
	}
}

// TestTheAgesAtTheEdge is STANDARDS 128 as time goes by.
func TestTheAgesAtTheEdge(t *testing.T) {
	for age, stands := range map[string]time.Duration{
		"0": time.Minute, "1": time.Minute, "60": time.Minute, "61": 61 * time.Second, "600": 10 * time.Minute, "31557600": mtasts.MaxMaxAge, "9999999999": mtasts.MaxMaxAge,
	} {
		t.Run(age, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *internet) {
				n.publish("id1", head+"mode: enforce\nmx: a\nmax_age: "+age)
				s := newStore()
				f := n.lookup(t, s.use).Find(t.Context(), domain)
				found(t, f, "enforce fetched")
				if !f.Expires.Equal(time.Now().Add(stands)) || !s.expires[domain].Equal(f.Expires) {
					t.Errorf("expires after %v", time.Until(f.Expires))
				}
				n.fail()
				l := n.lookup(t, s.use)
				pass(stands - 1)
				found(t, l.Find(t.Context(), domain), "enforce cache")
				pass(1)
				found(t, l.Find(t.Context(), domain), "none txt-error")
			})
		})
	}
}
