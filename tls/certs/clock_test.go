package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// What waits runs here under a false clock, so that a day takes no time.

// pass lets that much of a bubble's time go by, and then all that it sets off.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestSelfSignedIsRenewedWithTheSameKeys(t *testing.T) {
	now := time.Now()
	s, err := selfSigned("demo", []string{"mx.example.org"}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	first := s.Certificates()
	now = first[0].Leaf.NotAfter.Add(-31 * 24 * time.Hour)
	if changed, err := s.Reload(); changed || err != nil {
		t.Errorf("31 days before the end: got %v, %v", changed, err)
	}
	now = now.Add(2 * 24 * time.Hour)
	if changed, err := s.Reload(); !changed || err != nil {
		t.Fatalf("29 days before the end: got %v, %v", changed, err)
	}
	second := s.Certificates()
	if !second[0].Leaf.NotAfter.After(first[0].Leaf.NotAfter) || len(second) != 2 {
		t.Error("nothing was renewed")
	}
	if !first[0].Leaf.PublicKey.(*ecdsa.PublicKey).Equal(second[0].Leaf.PublicKey) {
		t.Error("the key has changed")
	}
}

// scripted is a source whose reloads are counted and answered from a script.
type scripted struct {
	*Source
	mu      sync.Mutex
	reloads int
	err     error
	changes bool
}

func (sc *scripted) answer(err error, changes bool) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.err, sc.changes = err, changes
}

func (sc *scripted) count() int {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.reloads
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	sc := &scripted{}
	s, err := newSource("mx", func(old *loaded) (*loaded, error) {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		sc.reloads++
		if old == nil || sc.changes {
			return &loaded{}, sc.err
		}
		return old, sc.err
	})
	if err != nil {
		t.Fatal(err)
	}
	sc.Source, sc.reloads = s, 0
	return sc
}

func TestWatchWaitsForTheOtherHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t)
		events, errs := make(chan fsnotify.Event), make(chan error)
		runWatch(t, newWatch([]*Source{s.Source}, WatchOptions{}), events, errs)
		expect := func(when string, n int) {
			t.Helper()
			pass(0)
			if got := s.count(); got != n {
				t.Errorf("%s: %d reloads, want %d", when, got, n)
			}
		}
		expect("at the start", 1)
		events <- fsnotify.Event{}
		pass(600 * time.Millisecond)
		expect("within the second", 1)
		events <- fsnotify.Event{}
		pass(500 * time.Millisecond)
		expect("a second after the first event", 2)
		pass(10 * time.Second)
		expect("when nothing happens", 2)
		errs <- fsnotify.ErrEventOverflow
		pass(2 * time.Second)
		expect("after lost events", 3)
		pass(time.Minute)
		expect("at the next poll", 4)
	})
}

func TestWatchWorksWithoutNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t)
		runWatch(t, newWatch([]*Source{s.Source}, WatchOptions{Poll: 5 * time.Second}), nil, nil)
		pass(21 * time.Second)
		if n := s.count(); n != 5 {
			t.Errorf("%d reloads", n)
		}
	})
}

func TestWatchSaysAnErrorOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t)
		s.files = []string{"/nowhere/cert.pem"}
		var out bytes.Buffer
		w := newWatch([]*Source{s.Source}, WatchOptions{Log: slog.New(slog.NewTextHandler(&out, nil))})
		w.watchDir = func(string) error { return errors.New("no more watches") }
		runWatch(t, w, nil, nil)
		polls := func(n int) { pass(time.Duration(n) * time.Minute) }
		polls(2)
		s.answer(errors.New("wrong key"), false)
		polls(5)
		s.answer(nil, false)
		polls(5)
		s.answer(errors.New("wrong key"), false)
		polls(5)
		s.answer(nil, true)
		polls(1)
		for text, want := range map[string]int{"no more watches": 1, "wrong key": 2, "in order again": 1} {
			if n := strings.Count(out.String(), text); n != want {
				t.Errorf("%q is said %d times, want %d:\n%s", text, n, want, out.String())
			}
		}
	})
}

func runWatch(t *testing.T, w *watch, events <-chan fsnotify.Event, errs <-chan error) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx, events, errs) }()
	t.Cleanup(func() { stop(); <-done })
}

func TestTicketKeysRotateByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tickets := NewTickets(nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); tickets.Run(ctx) }()
		current := func() [][32]byte {
			tickets.mu.Lock()
			defer tickets.mu.Unlock()
			return tickets.current()
		}
		first := current()[0]
		pass(23 * time.Hour)
		if keys := current(); len(keys) != 1 || keys[0] != first {
			t.Error("rotated too early")
		}
		pass(90 * time.Minute)
		if keys := current(); len(keys) != 2 || keys[1] != first || keys[0] == first {
			t.Errorf("not rotated after a day: %d keys", len(keys))
		}
		pass(10 * 24 * time.Hour)
		if keys := current(); len(keys) != 2 || keys[1] == first {
			t.Errorf("%d keys after ten days more", len(keys))
		}
		stop()
		<-done
	})
}

func TestTicketsLetGoOfConfigurations(t *testing.T) {
	tickets := NewTickets(nil)
	gone := make(chan struct{})
	func() {
		c := &tls.Config{}
		runtime.AddCleanup(c, func(ch chan struct{}) { close(ch) }, gone)
		tickets.Apply(c)
		tickets.Apply(c)
	}()
	kept := &tls.Config{}
	for collected := false; !collected; {
		runtime.GC()
		select {
		case <-gone:
			collected = true
		default:
			runtime.Gosched()
		}
	}
	tickets.Apply(kept)
	if len(tickets.configs) != 1 || tickets.configs[0].Value() != kept {
		t.Errorf("%d configurations are remembered", len(tickets.configs))
	}
}
