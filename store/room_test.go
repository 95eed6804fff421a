package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// inClasses runs a test on both engines with two quotas, and a list of the classes
// that were crowded.
func inClasses(t *testing.T, test func(s *tester, crowded func() []string)) {
	var seen []string
	b := Bounds{MaxBytes: bounded, Quotas: []Quota{{"names/", bounded}, {"notes/", bounded}}, Crowded: func(prefix string) { seen = append(seen, prefix) }}
	crowded := func() []string { all := slices.Compact(slices.Clone(seen)); seen = nil; return all }
	t.Run("memory", func(t *testing.T) {
		c := newClock()
		test(&tester{t, NewBoundedMemory(c.now, b), c}, crowded)
	})
	t.Run("bolt", func(t *testing.T) {
		c := newClock()
		s := mustOpen(t, BoltOptions{Path: filepath.Join(t.TempDir(), "state.db"), Now: c.now, Bounds: b})
		test(&tester{t, s, c}, crowded)
		consistent(t, s)
	})
}

var big = strings.Repeat("v", 900)

// floods writes many entries that last for a year.
func (s *tester) floods(prefix string, pinned bool) {
	s.Helper()
	for i := range 60 {
		c := s.change(365*24*time.Hour, fmt.Sprintf("%s%d", prefix, i), big)
		c.Pinned = pinned
		s.write(c)
	}
}

func (s *tester) pins(d time.Duration, key, value string) {
	s.Helper()
	c := s.change(d, key, value)
	c.Pinned = true
	s.write(c)
}

func TestAClassThatIsFullTakesNoRoomFromAnother(t *testing.T) {
	inClasses(t, func(s *tester, _ func() []string) {
		s.setFor(time.Hour, "names/a", big)
		s.setFor(time.Hour, "notes/a", big)
		s.setFor(time.Hour, "a", big)
		s.floods("names/", false)
		s.lacks("names/a")
		s.holds("notes/a", big)
		s.holds("a", big)
		s.floods("", false)
		s.lacks("a")
		s.holds("notes/a", big)
		s.holds("names/59", big)
	})
}

func TestWhatIsPinnedMakesNoRoom(t *testing.T) {
	inClasses(t, func(s *tester, crowded func() []string) {
		s.pins(time.Hour, "names/first", "1")
		s.floods("names/", false)
		s.holds("names/first", "1")
		s.floods("names/", true)
		s.holds("names/first", "1")
		s.holds("names/0", big) // pinned before there was no room
		s.lacks("names/30")     // after that
		s.setFor(2*time.Hour, "names/last", "2")
		s.pins(3*time.Hour, "names/first", "2")
		s.holds("names/first", "2")
		if got := crowded(); !slices.Equal(got, []string{"names/"}) {
			s.Errorf("crowded: %q", got)
		}
		s.passes(3 * time.Hour)
		s.lacks("names/first")
	})
}

func TestWhatIsNoLongerPinnedOrThereLeavesItsRoomToOthers(t *testing.T) {
	inClasses(t, func(s *tester, crowded func() []string) {
		s.floods("names/", true)
		crowded()
		s.setFor(time.Hour, "names/0", big)
		s.delete("names/1")
		s.pins(time.Hour, "names/a", big)
		s.pins(time.Hour, "names/b", big)
		if got := crowded(); got != nil {
			s.Errorf("crowded: %q", got)
		}
		s.floods("names/x", false)
		s.holds("names/a", big)
		s.holds("names/b", big)
		s.lacks("names/0")
	})
}

func TestWhatIsPinnedIsStillPinnedAfterARestart(t *testing.T) {
	c := newClock()
	o := BoltOptions{Path: filepath.Join(t.TempDir(), "state.db"), Now: c.now, Bounds: bounds}
	s := &tester{t, mustOpen(t, o), c}
	s.pins(time.Hour, "first", "1")
	s.setFor(time.Hour, "second", "1")
	s.closes()
	b := mustOpen(t, o)
	s.Store = b
	s.floods("", false)
	s.holds("first", "1")
	s.lacks("second")
	consistent(t, b)
}

func TestAFileOfAVersionThatPinnedNothingIsTaken(t *testing.T) {
	c := newClock()
	o := BoltOptions{Path: filepath.Join(t.TempDir(), "state.db"), Now: c.now, Bounds: bounds}
	b := mustOpen(t, o)
	check(t, b.Write(Change{Key: "a", Value: []byte("1"), Expires: c.now().Add(time.Hour)}), nil)
	check(t, b.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket(pinnedBucket) }), nil)
	check(t, b.Close(), nil)
	b = mustOpen(t, o)
	s := &tester{t, b, c}
	s.holds("a", "1")
	s.pins(time.Hour, "b", "1")
	consistent(t, b)
}
