package mtasts_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/tls/mtasts"
)

// TestAPolicyIsRefreshedEveryDay is STANDARDS 131: nobody can wait for the end of a policy, though
// no mail asks for it and its id stays the same.
func TestAPolicyIsRefreshedEveryDay(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		l := n.lookup(t, s.use)
		running(t, l)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		pass(time.Hour)
		cost(t, n, 2, 1) // the second of them because of the mail
		for range 30 {
			pass(day)
			cost(t, n, 1, 1)
		}
		if e, _, err := s.Get(domain); err != nil || time.Since(e.Fetched) > day || s.expires[domain].Sub(e.Fetched) != week {
			t.Errorf("kept %+v, %v", e, err)
		}
		found(t, l.Find(t.Context(), domain), "enforce cache")
	})
}

// TestARestartDoesNotLetAPolicyAge is STANDARDS 131 and 132 together: Run finds in the cache
// what nobody asks for.
func TestARestartDoesNotLetAPolicyAge(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		first := n.lookup(t, s.use)
		found(t, first.Find(t.Context(), domain), "enforce fetched")
		first.Close()
		pass(6 * day)
		cost(t, n, 1, 1)
		l := n.lookup(t, s.use)
		running(t, l)
		synctest.Wait()
		cost(t, n, 1, 1)
		pass(2 * day)
		cost(t, n, 2, 2)
		f := l.Find(t.Context(), domain)
		found(t, f, "enforce cache")
		if f.Age > day {
			t.Errorf("%v old", f.Age)
		}
	})
}

func TestWhatNobodyAsksForEndsAfterHalfAYear(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		l := n.lookup(t, s.use)
		running(t, l)
		l.Find(t.Context(), domain)
		pass(179 * day)
		found(t, l.Find(t.Context(), domain), "enforce cache") // a use
		pass(178 * day)
		n.set(func() { n.asked, n.got = nil, nil })
		pass(day)
		cost(t, n, 1, 1)
		pass(30 * day)
		cost(t, n, 0, 0)
		if e, _, _ := s.Get(domain); time.Since(e.Used) != 209*day {
			t.Errorf("used %v ago", time.Since(e.Used))
		}
		found(t, l.Find(t.Context(), domain), "enforce fetched")
	})
}

func TestWhatProtectsNobodyIsNotRefreshedForItsOwnSake(t *testing.T) {
	for _, policy := range []string{policyOf("none"), head + "mode: enforce\nmx: a\nmax_age: 86399", ""} {
		bubble(t, func(t *testing.T, n *internet) {
			n.publish("id1", policy)
			l := n.lookup(t)
			running(t, l)
			l.Find(t.Context(), domain)
			pass(time.Hour)
			n.set(func() { n.asked, n.got = nil, nil })
			pass(3 * day)
			cost(t, n, 0, 0)
		})
	}
}

// TestMailNeverWaitsWhileItFlows is about a domain with mail every minute: what is due is
// checked before a delivery has to.
func TestMailNeverWaitsWhileItFlows(t *testing.T) {
	for name, policy := range map[string]string{"a policy": policyOf("enforce"), "a short one": head + "mode: enforce\nmx: a\nmax_age: 600", "none to be had": ""} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *internet) {
				n.publish("id1", policy)
				l := n.lookup(t)
				running(t, l)
				l.Find(t.Context(), domain)
				for range 4 * 60 {
					if f := l.Find(t.Context(), domain); f.Source == mtasts.SourceFetched {
						t.Fatalf("waited: %s", f.Why)
					}
					pass(time.Minute)
				}
			})
		})
	}
}

func TestAPrefetchedDomainIsKnownBeforeTheMail(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		l := n.lookup(t)
		running(t, l)
		synctest.Wait()
		l.Prefetch("a.example", "B.example.", "[192.0.2.1]", "a.example")
		synctest.Wait()
		cost(t, n, 2, 2)
		found(t, l.Find(t.Context(), "a.example"), "enforce cache")
		found(t, l.Find(t.Context(), "b.example"), "enforce cache")
		cost(t, n, 0, 0)
		l.Prefetch("a.example")
		synctest.Wait()
		cost(t, n, 0, 0)
	})
}

func TestADomainThatIsToBePrefetchedCanBeAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		l := n.lookup(t)
		l.Prefetch(domain) // and nobody runs
		found(t, l.Find(t.Context(), domain), "enforce fetched")
	})
}

func TestRunEndsWhileAllHostsHang(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.set(func() { n.held = make(chan struct{}) })
		l := n.lookup(t)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 100 {
			l.Prefetch("d" + strings.Repeat("x", i) + ".com")
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.Run(ctx)
		}()
		synctest.Wait()
		if asked, _ := n.counts(); asked != 16 {
			t.Errorf("%d at once in the background", asked)
		}
		cancel()
		<-ended
		l.Close()
	})
}

// TestAClockThatIsSetBackStopsNothing lets the injected clock jump, both ways.
func TestAClockThatIsSetBackStopsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		off := time.Duration(0)
		l := n.lookup(t, func(o *mtasts.Options) { o.Now = func() time.Time { return time.Now().Add(off) } })
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		off = -365 * day
		n.publish("id2", policyOf("testing"))
		found(t, settled(t, l), "testing cache")
		cost(t, n, 2, 2)
		off += 10 * day
		found(t, l.Find(t.Context(), domain), "testing fetched")
		off -= day
		found(t, settled(t, l), "testing cache") // the same id, and a time of fetch in the future
		cost(t, n, 2, 2)
	})
}

// TestTheAdministratorIsTold is RFC 8461, 3.3: of refreshes that fail, once each, unless the
// policy asks for nothing.
func TestTheAdministratorIsTold(t *testing.T) {
	for mode, want := range map[string]int{"enforce": 1, "testing": 1, "none": 0} {
		for name, happens := range map[string]func(n *internet){"no policy": func(n *internet) { n.publish("id1", "") }, "no record": func(n *internet) { n.publish("", "") }} {
			bubble(t, func(t *testing.T, n *internet) {
				n.publish("id1", policyOf(mode))
				var log bytes.Buffer
				l := n.lookup(t, func(o *mtasts.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
				running(t, l)
				l.Find(t.Context(), domain)
				happens(n)
				for range 60 {
					pass(time.Hour)
					settled(t, l)
				}
				if got := strings.Count(log.String(), "could not be refreshed"); got != want {
					t.Errorf("%s, %s: told %d times: %s", mode, name, got, log.String())
				}
				if strings.Count(log.String(), "a new MTA-STS policy") != 1 {
					t.Errorf("%s, %s: %s", mode, name, log.String())
				}
			})
		}
	}
}

func TestAStoreThatFailsIsToldOf(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		s.err = errors.New("disk on fire")
		var log bytes.Buffer
		l := n.lookup(t, s.use, func(o *mtasts.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		running(t, l)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		for _, want := range []string{"could not be read from the store\"", "will not survive a restart", "are not refreshed"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in %s", want, log.String())
			}
		}
	})
}
