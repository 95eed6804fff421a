package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// together is a Merge that shows both.
func together(kept []byte, learned Change) Change {
	learned.Value = []byte(string(kept) + "+" + string(learned.Value))
	return learned
}

func boltAt(t *testing.T, path string) *Bolt {
	t.Helper()
	b, err := OpenBolt(BoltOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// all is what a store has, as text.
func all(t *testing.T, s Store) string {
	t.Helper()
	var b strings.Builder
	if err := s.Scan("", func(key string, value []byte) error {
		fmt.Fprintf(&b, "%s=%s ", key, value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func put(t *testing.T, s Store, key, value string) {
	t.Helper()
	if err := s.Write(Change{Key: key, Value: []byte(value), Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

func attach(t *testing.T, h *Handover, s Store) {
	t.Helper()
	if err := h.Attach(s, together); err != nil {
		t.Fatal(err)
	}
}

func shows(t *testing.T, s Store, want string) {
	t.Helper()
	if got := all(t, s); got != want {
		t.Errorf("it has %q, not %q", got, want)
	}
}

func TestWhatIsLearnedWithoutAnEngineIsMergedIntoIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	b := boltAt(t, path)
	put(t, b, "both", "old")
	put(t, b, "gone", "old")
	put(t, b, "kept", "old")
	h := NewHandover(time.Now, Bounds{})
	put(t, h, "both", "new")
	put(t, h, "learned", "new")
	if err := h.Write(Change{Key: "gone"}); err != nil {
		t.Fatal(err)
	}
	shows(t, h, "both=new learned=new ")
	attach(t, h, b)
	shows(t, h, "both=old+new kept=old learned=new ")
	if learned, _ := h.Learned(); len(learned) != 0 || !h.Attached() {
		t.Errorf("%v is still due", learned)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	again := boltAt(t, path)
	defer again.Close()
	shows(t, again, "both=old+new kept=old learned=new ")
}

func TestAReleasedFileIsFreeAndWhatItHadIsKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	h := NewHandover(time.Now, Bounds{})
	attach(t, h, boltAt(t, path))
	put(t, h, "a", "1")
	put(t, h, "short", "1")
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	other := boltAt(t, path) // who has it now
	shows(t, other, "a=1 short=1 ")
	put(t, h, "b", "2")
	put(t, h, "a", "3")
	shows(t, h, "a=3 b=2 short=1 ")
	shows(t, other, "a=1 short=1 ")
	learned, lost := h.Learned()
	if len(learned) != 2 || learned[0].Key != "a" || string(learned[0].Value) != "3" || learned[1].Key != "b" || lost != 0 {
		t.Errorf("learned %v, lost %d", learned, lost)
	}
	if d := time.Until(learned[0].Expires); d < 59*time.Minute || d > time.Hour {
		t.Errorf("it expires in %v", d)
	}
	if err := h.Write(Change{Key: "c", Value: []byte("4"), Pinned: true}); err != nil {
		t.Fatal(err)
	}
	if learned, _ := h.Learned(); len(learned) != 3 || !learned[2].Pinned {
		t.Errorf("what is pinned is handed on as %v", learned)
	}
	if err := h.Write(Change{Key: "c"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(); err != nil { // a second time does nothing
		t.Error(err)
	}
	shows(t, h, "a=3 b=2 short=1 ")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	attach(t, h, boltAt(t, path))
	shows(t, h, "a=1+3 b=2 short=1 ")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReleaseKeepsTheTimesOfExpiry(t *testing.T) {
	now := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	b, err := OpenBolt(BoltOptions{Path: filepath.Join(t.TempDir(), "s.db"), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHandover(clock, Bounds{})
	attach(t, h, b)
	if err := h.Write(Change{Key: "hour", Value: []byte("x"), Expires: now.Add(time.Hour)}, Change{Key: "ever", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(59 * time.Minute)
	shows(t, h, "ever=x hour=x ")
	now = now.Add(time.Minute)
	shows(t, h, "ever=x ")
}

func TestWhatOthersHaveLearnedIsTaken(t *testing.T) {
	h := NewHandover(time.Now, Bounds{})
	attach(t, h, boltAt(t, filepath.Join(t.TempDir(), "s.db")))
	put(t, h, "a", "1")
	theirs := []Change{{Key: "a", Value: []byte("2")}, {Key: "b", Value: []byte("3")}}
	if err := h.Take(theirs, together); err != nil {
		t.Fatal(err)
	}
	shows(t, h, "a=1+2 b=3 ")
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if err := h.Take(theirs[1:], together); err != nil {
		t.Fatal(err)
	}
	if learned, _ := h.Learned(); len(learned) != 1 || string(learned[0].Value) != "3+3" {
		t.Errorf("taken without an engine, %v is to be handed on", learned)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// broken is an engine that takes nothing.
type broken struct{ Store }

var errBroken = errors.New("broken")

func (broken) Write(...Change) error { return errBroken }

func TestAnEngineThatTakesNothingIsNotUsed(t *testing.T) {
	h := NewHandover(time.Now, Bounds{})
	put(t, h, "a", "1")
	if err := h.Attach(broken{NewMemory(time.Now)}, together); !errors.Is(err, errBroken) {
		t.Errorf("attached with %v", err)
	}
	if learned, _ := h.Learned(); len(learned) != 1 || h.Attached() {
		t.Errorf("what was learned is %v", learned)
	}
	shows(t, h, "a=1 ")
}

func TestAnEngineGoesAndComesUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	h := NewHandover(time.Now, Bounds{})
	last := func(_ []byte, learned Change) Change { return learned }
	if err := h.Attach(boltAt(t, path), last); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 50 {
				put(t, h, fmt.Sprintf("%d/%02d", worker, i), "x")
				if err := h.Scan(fmt.Sprintf("%d/", worker), func(key string, _ []byte) error { _, err := h.Get(key); return err }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := h.Release(); err != nil {
			t.Error(err)
		}
		if err := h.Attach(boltAt(t, path), last); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
	if n := strings.Count(all(t, h), "=x "); n != 200 {
		t.Errorf("%d of 200 entries are there", n)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Get("0/00"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
