package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is turned by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) passes(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// tester is a store under test, and what one line of a test says about it.
type tester struct {
	testing.TB
	Store
	*clock
}

// bounds are how much the stores of these tests hold.
var bounds = Bounds{MaxBytes: bounded}

const bounded = 20_000

// onBoth runs a test on both engines.
func onBoth(t *testing.T, test func(s *tester)) {
	t.Run("memory", func(t *testing.T) {
		c := newClock()
		test(&tester{t, NewBoundedMemory(c.now, bounds), c})
	})
	t.Run("bolt", func(t *testing.T) {
		c := newClock()
		b := mustOpen(t, BoltOptions{Path: filepath.Join(t.TempDir(), "state.db"), Now: c.now, Bounds: bounds})
		test(&tester{t, b, c})
		consistent(t, b)
	})
}

func mustOpen(t testing.TB, o BoltOptions) *Bolt {
	t.Helper()
	b, err := OpenBolt(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func (s *tester) set(key, value string) { s.Helper(); s.setFor(0, key, value) }
func (s *tester) delete(key string)     { s.Helper(); s.write(Change{Key: key}) }
func (s *tester) setFor(d time.Duration, key, value string) {
	s.Helper()
	s.write(s.change(d, key, value))
}
func (s *tester) write(changes ...Change) { s.Helper(); s.fails(s.Write(changes...), nil) }
func (s *tester) closes()                 { s.Helper(); s.fails(s.Close(), nil) }
func (s *tester) fails(err, want error)   { s.Helper(); check(s, err, want) }
func (s *tester) change(d time.Duration, k, v string) Change {
	return Change{Key: k, Value: []byte(v), Expires: s.in(d)}
}

func check(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// in is the time in so long, or never.
func (s *tester) in(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return s.now().Add(d)
}

func (s *tester) holds(key, want string) {
	s.Helper()
	if got, err := s.Get(key); err != nil || string(got) != want {
		s.Errorf("%s: %q, %v; want %q", key, got, err, want)
	}
}

func (s *tester) lacks(keys ...string) {
	s.Helper()
	for _, key := range keys {
		if got, err := s.Get(key); !errors.Is(err, ErrNotFound) {
			s.Errorf("%s: %q, %v; want none", key, got, err)
		}
	}
}

func (s *tester) scans(prefix string, want ...string) {
	s.Helper()
	var got []string
	err := s.Scan(prefix, func(key string, value []byte) error {
		got = append(got, key+"="+string(value))
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		s.Errorf("scan of %q: %q, %v; want %q", prefix, got, err, want)
	}
}

func TestWhatIsWrittenIsFound(t *testing.T) {
	onBoth(t, func(s *tester) {
		s.lacks("a")
		s.set("a", "1")
		s.set("empty", "")
		s.holds("a", "1")
		s.holds("empty", "")
		s.set("a", "2")
		s.holds("a", "2")
		s.delete("a")
		s.delete("a")
		s.lacks("a")
	})
}

func TestTheChangesOfAWriteAreMadeInTheirOrder(t *testing.T) {
	onBoth(t, func(s *tester) {
		s.write(s.change(0, "a", "1"), s.change(time.Hour, "a", "2"), Change{Key: "b"}, s.change(0, "b", "3"), Change{Key: "b"})
		s.holds("a", "2")
		s.lacks("b")
		s.passes(2 * time.Hour)
		s.lacks("a")
	})
}

func TestAnEntryIsFoundUntilItExpires(t *testing.T) {
	onBoth(t, func(s *tester) {
		s.setFor(time.Hour, "a", "1")
		s.setFor(time.Hour, "b", "1")
		s.setFor(2*time.Hour, "b", "2") // lasts longer
		s.setFor(-time.Second, "c", "1")
		s.set("d", "1")
		s.lacks("c")
		s.passes(time.Hour - time.Nanosecond)
		s.holds("a", "1")
		s.passes(time.Nanosecond)
		s.lacks("a")
		s.holds("b", "2")
		s.scans("", "b=2", "d=1")
		s.passes(290 * 365 * 24 * time.Hour) // to beyond the nanoseconds
		s.lacks("b")
		s.holds("d", "1")
	})
}

func TestSweepRemovesWhatHasExpiredAndNothingElse(t *testing.T) {
	onBoth(t, func(s *tester) {
		const n = 2*scanned + 3
		var changes []Change
		for i := range n {
			changes = append(changes, Change{Key: fmt.Sprint("old", i), Value: []byte{}, Expires: s.in(time.Hour)})
		}
		s.write(changes[:100]...)
		s.set("for good", "1")
		s.setFor(2*time.Hour, "later", "1")
		for _, want := range []int{0, 100, 0} {
			if got, err := s.Sweep(); got != want || err != nil {
				s.Errorf("removed %d, %v; want %d", got, err, want)
			}
			s.passes(time.Hour)
			s.set("later", "1")
		}
		s.scans("", "for good=1", "later=1")
	})
}

func TestScanGoesInTheOrderOfKeysAndEndsWithAnError(t *testing.T) {
	onBoth(t, func(s *tester) {
		for _, key := range []string{"b/2", "a", "b/10", "b", "c/1", "b/\xff", "b0"} {
			s.set(key, "")
		}
		s.scans("b/", "b/10=", "b/2=", "b/\xff=")
		s.scans("x")
		enough := errors.New("enough")
		n := 0
		s.fails(s.Scan("b", func(string, []byte) error { n++; return enough }), enough)
		if n != 1 {
			s.Errorf("went on: %d", n)
		}
	})
}

func TestScanMayCallTheStore(t *testing.T) {
	onBoth(t, func(s *tester) {
		for i := range 100 {
			s.set(fmt.Sprintf("k%03d", i), "1")
		}
		seen := 0
		s.fails(s.Scan("k", func(key string, value []byte) error {
			seen++
			value[0] = '9' // it is ours
			s.holds(key, "1")
			return s.Write(Change{Key: key}, s.change(0, "x"+key, strings.Repeat("x", 20)))
		}), nil)
		if seen != 100 {
			s.Errorf("saw %d", seen)
		}
		s.scans("k")
	})
}

func TestScanSeesAllOfManyEntries(t *testing.T) {
	b := mustOpen(t, BoltOptions{Path: filepath.Join(t.TempDir(), "state.db")})
	var changes []Change
	const n = 2*scanned + 1
	for i := range n {
		changes = append(changes, Change{Key: fmt.Sprintf("k%05d", i), Value: []byte{1}})
	}
	check(t, b.Write(changes...), nil)
	next := 0
	check(t, b.Scan("k", func(key string, _ []byte) error {
		if want := fmt.Sprintf("k%05d", next); key != want {
			t.Errorf("%s, want %s", key, want)
		}
		next++
		return nil
	}), nil)
	if next != n {
		t.Errorf("%d entries, want %d", next, n)
	}
}

func TestTheValuesAreCopies(t *testing.T) {
	onBoth(t, func(s *tester) {
		value := []byte("1")
		s.write(Change{Key: "a", Value: value})
		value[0] = '2'
		got, _ := s.Get("a")
		got[0] = '3'
		s.holds("a", "1")
	})
}

func TestABadKeyIsRefusedAndNothingIsWritten(t *testing.T) {
	onBoth(t, func(s *tester) {
		for _, key := range []string{"", strings.Repeat("k", 40_000)} {
			if err := s.Write(s.change(0, "a", "1"), Change{Key: key, Value: []byte{1}}); err == nil {
				s.Errorf("a key of %d octets", len(key))
			}
			s.lacks("a")
		}
	})
}

func TestWhenFullTheEntriesThatExpireSoonestGo(t *testing.T) {
	onBoth(t, func(s *tester) {
		s.set("for good", "1")
		big := strings.Repeat("v", 900)
		for i := range 100 {
			s.setFor(time.Duration(1000-i)*time.Hour, fmt.Sprint("k", i), big)
		}
		s.holds("for good", "1")
		s.holds("k0", big)
		s.holds("k10", big)
		s.lacks("k90", "k70", "k50")
	})
}

func TestWhenOnlyEntriesForGoodAreLeftNothingIsWritten(t *testing.T) {
	onBoth(t, func(s *tester) {
		big := strings.Repeat("v", 9000)
		s.set("a", big)
		s.set("b", big)
		s.setFor(time.Hour, "mortal", "1")
		s.fails(s.Write(s.change(0, "c", big), Change{Key: "a"}, s.change(0, "a", big+"x"), s.change(time.Hour, "mortal", "2")), ErrFull)
		s.lacks("c")
		s.holds("a", big)
		s.holds("mortal", "1")
		s.delete("a")
		s.set("c", big)
	})
}

func TestAClosedStoreSaysSo(t *testing.T) {
	onBoth(t, func(s *tester) {
		s.set("a", "1")
		s.closes()
		s.closes()
		_, err := s.Get("a")
		s.fails(err, ErrClosed)
		s.fails(s.Write(s.change(0, "a", "1")), ErrClosed)
		s.fails(s.Scan("", func(string, []byte) error { return nil }), ErrClosed)
		_, err = s.Sweep()
		s.fails(err, ErrClosed)
	})
}

func TestManyAtOnce(t *testing.T) {
	onBoth(t, func(s *tester) {
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for j := range 20 {
					key := fmt.Sprint("k", i, j)
					s.set(key, key)
					s.holds(key, key)
					s.fails(s.Scan(fmt.Sprint("k", i), func(key string, value []byte) error {
						if key != string(value) {
							s.Errorf("%s: %s", key, value)
						}
						return nil
					}), nil)
				}
				if _, err := s.Sweep(); err != nil {
					s.Error(err)
				}
			})
		}
		all.Wait()
	})
}
