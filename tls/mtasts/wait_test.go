package mtasts_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestAFailedFetchIsNotRepeatedForFiveMinutes is STANDARDS 126, and that a new id is a new chance.
func TestAFailedFetchIsNotRepeatedForFiveMinutes(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.publish("id1", "")
		n.ttl = 0
		l := n.lookup(t)
		found(t, l.Find(t.Context(), domain), "none sts-policy-fetch-error")
		for _, wait := range []time.Duration{5, 10, 20, 40, 60, 60, 60} {
			_, before := n.counts()
			for range wait {
				settled(t, l)
				l.Refresh(t.Context(), domain)
				if _, got := n.counts(); got != before {
					t.Fatalf("a fetch within %d minutes", wait)
				}
				pass(time.Minute)
			}
			found(t, l.Find(t.Context(), domain), "none sts-policy-fetch-error pending") // nobody waits for it
			synctest.Wait()
			if _, got := n.counts(); got != before+1 {
				t.Fatalf("%d fetches after %d minutes", got-before, wait)
			}
		}
		n.publish("id2", policyOf("enforce"))
		pass(5 * time.Minute)
		found(t, settled(t, l), "enforce cache")
	})
}

func TestAHostThatComesBackIsFoundInTheBackground(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.publish("id1", "")
		l := n.lookup(t)
		found(t, l.Find(t.Context(), domain), "none sts-policy-fetch-error")
		n.publish("id1", policyOf("enforce"))
		pass(5 * time.Minute)
		found(t, settled(t, l), "enforce cache")
	})
}

func TestAnOldFailureIsNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.publish("id1", "")
		l := n.lookup(t)
		found(t, l.Find(t.Context(), domain), "none sts-policy-fetch-error")
		n.publish("id1", policyOf("enforce"))
		pass(time.Hour)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
	})
}

// TestNoRecordIsBelievedForItsTTL is about the domains without MTA-STS, which are most.
func TestNoRecordIsBelievedForItsTTL(t *testing.T) {
	for ttl, stands := range map[time.Duration]time.Duration{0: time.Minute, time.Minute: time.Minute, 10 * time.Minute: 10 * time.Minute, day: time.Hour} {
		bubble(t, func(t *testing.T, n *internet) {
			n.publish("", "")
			n.ttl = ttl
			l := n.lookup(t)
			f := l.Find(t.Context(), domain)
			found(t, f, "none")
			if !f.Expires.Equal(time.Now().Add(stands)) {
				t.Errorf("stands for %v", time.Until(f.Expires))
			}
			n.publish("id1", policyOf("enforce"))
			pass(stands - 1)
			found(t, l.Find(t.Context(), domain), "none")
			cost(t, n, 1, 0)
			pass(1)
			found(t, l.Find(t.Context(), domain), "enforce fetched")
		})
	}
}

func TestADNSErrorIsBelievedForAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.fail()
		l := n.lookup(t)
		found(t, l.Find(t.Context(), domain), "none txt-error")
		n.publish("id1", policyOf("enforce"))
		pass(time.Minute - 1)
		found(t, l.Find(t.Context(), domain), "none txt-error")
		pass(1)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
	})
}

// TestNoDeliveryWaitsLongerThanTenSeconds is SEM 26: the fetch goes on, for up to a minute
// (STANDARDS 126), and the next delivery has its result.
func TestNoDeliveryWaitsLongerThanTenSeconds(t *testing.T) {
	slow := func(each time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			for _, c := range []byte(policyOf("enforce")) {
				select {
				case <-time.After(each):
				case <-r.Context().Done():
				}
				w.Write([]byte{c})
				w.(http.Flusher).Flush()
			}
		}
	}
	tests := map[string]struct {
		happens func(n *internet)
		want    string // after a minute
	}{
		"a slow host":               {func(n *internet) { n.page = slow(500 * time.Millisecond) }, "enforce cache"},
		"a host that is too slow":   {func(n *internet) { n.page = slow(2 * time.Second) }, "none sts-policy-fetch-error"},
		"a host that never answers": {func(n *internet) { n.page = stall }, "none sts-policy-fetch-error"},
		"no connection": {func(n *internet) {
			n.dial = func(ctx context.Context) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}, "none sts-policy-fetch-error"},
		"no handshake": {func(n *internet) {
			n.dial = func(context.Context) (net.Conn, error) {
				here, there := net.Pipe() // which is closed by its other end alone
				go io.Copy(io.Discard, there)
				return here, nil
			}
		}, "none sts-policy-fetch-error"},
		"a slow resolver":               {func(n *internet) { n.held = after(20 * time.Second) }, "enforce cache"},
		"a resolver that never answers": {func(n *internet) { n.held = make(chan struct{}) }, "none txt-error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *internet) {
				n.set(func() { tt.happens(n) })
				l, began := n.lookup(t), time.Now()
				found(t, l.Find(t.Context(), domain), "none pending")
				if waited := time.Since(began); waited != 10*time.Second {
					t.Errorf("waited %v", waited)
				}
				for range 2 {
					found(t, l.Find(t.Context(), domain), "none pending")
				}
				if waited := time.Since(began); waited != 10*time.Second {
					t.Errorf("the next ones waited too: %v", waited)
				}
				pass(time.Minute)
				found(t, l.Find(t.Context(), domain), tt.want)
				if asked, got := n.counts(); asked > 2 || got > 1 {
					t.Errorf("%d questions, %d requests", asked, got)
				}
			})
		})
	}
}

// TestWhoComesLaterWaitsForTheRest is SEM 26 as well: it is the fetch that gets 10 s.
func TestWhoComesLaterWaitsForTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.set(func() { n.page = stall })
		l := n.lookup(t)
		go l.Find(t.Context(), domain)
		pass(4 * time.Second)
		began := time.Now()
		found(t, l.Find(t.Context(), domain), "none pending")
		if waited := time.Since(began); waited != 6*time.Second {
			t.Errorf("waited %v", waited)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		found(t, l.Find(cancelled, domain), "none pending")
		pass(time.Minute)
	})
}

func after(d time.Duration) chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

func TestOneFlightPerDomain(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.set(func() { n.held = after(5 * time.Second) })
		l := n.lookup(t)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { found(t, l.Find(t.Context(), domain), "enforce fetched") })
		}
		all.Wait()
		cost(t, n, 1, 1)
	})
}

// TestTooManyAtOnceWaitTheirTurn is about 300 domains whose policy hosts hang, and what they may take.
func TestTooManyAtOnceWaitTheirTurn(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		n.set(func() { n.held = make(chan struct{}) })
		l := n.lookup(t)
		var all sync.WaitGroup
		var mu sync.Mutex
		pending := 0
		for i := range 300 {
			all.Go(func() {
				f := l.Find(t.Context(), "d"+string(rune('a'+i/26%26))+string(rune('a'+i%26))+".example")
				mu.Lock()
				defer mu.Unlock()
				if f.Pending {
					pending++
				}
			})
		}
		all.Wait()
		if asked, _ := n.counts(); asked != 256 || pending != 300 { // the others are looked at as soon as there is room
			t.Errorf("%d questions for %d domains", asked, pending)
		}
	})
}

// TestAPolicyThatWasNotMetIsLookedAtAgain is STANDARDS 134: before a message is given up, the record is
// asked for a new id.
func TestAPolicyThatWasNotMetIsLookedAtAgain(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		l := n.lookup(t)
		found(t, l.Refresh(t.Context(), domain), "enforce fetched")
		cost(t, n, 1, 1)
		n.publish("id2", policyOf("testing"))
		pass(time.Minute - 1)
		found(t, l.Refresh(t.Context(), domain), "enforce cache") // a storm of failures costs nothing
		cost(t, n, 0, 0)
		pass(1)
		found(t, l.Refresh(t.Context(), domain), "testing fetched")
		cost(t, n, 1, 1)
		pass(time.Minute)
		found(t, l.Refresh(t.Context(), domain), "testing cache")
		cost(t, n, 1, 0)
		n.set(func() { n.held = make(chan struct{}) })
		pass(time.Minute)
		found(t, l.Refresh(t.Context(), domain), "testing cache") // after 10 s
		n.set(func() { n.held = nil })
		pass(time.Minute)
		n.fail()
		found(t, l.Refresh(t.Context(), domain), "testing cache txt-error")
	})
}

// TestTheModesAreTold is STANDARDS 133 and 135, as far as they are this package's: which
// mode it is, and which hosts.
func TestTheModesAreTold(t *testing.T) {
	for _, mode := range []string{"none", "testing", "enforce"} {
		bubble(t, func(t *testing.T, n *internet) {
			n.publish("id1", policyOf(mode))
			f := n.lookup(t).Find(t.Context(), domain)
			found(t, f, mode+" fetched")
			if !f.Policy.Match("mx."+mode+".example") || f.Policy.Match("mx.example.com") {
				t.Errorf("found %v", f.Policy)
			}
		})
	}
}

func TestADefectCostsAnAnswerNotTheProcess(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		l := n.lookup(t)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		n.set(func() { n.record = func(string) ([]string, error) { panic("\r\nnil") } })
		pass(5 * time.Minute)
		found(t, settled(t, l), "enforce cache txt-error")
		found(t, l.Find(t.Context(), "example.org"), "none txt-error")
	})
}

func TestAClosedLookupAnswersFromWhatItKnows(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		l := n.lookup(t)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		l.Close()
		l.Close()
		cost(t, n, 1, 1)
		pass(week - 1)
		found(t, settled(t, l), "enforce cache")
		found(t, l.Refresh(t.Context(), domain), "enforce cache")
		found(t, l.Find(t.Context(), "example.org"), "none")
		pass(1)
		found(t, l.Find(t.Context(), domain), "none")
		cost(t, n, 0, 0)
	})
}
