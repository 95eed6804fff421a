package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// consistent fails the test unless the index and the count of octets say of
// the entries what is true.
func consistent(t testing.TB, b *Bolt) {
	t.Helper()
	err := b.view(func(tx *bbolt.Tx) error {
		tab := open(tx, b.room)
		counted := newRoom(b.room.bounds)
		expiring, pinned := 0, 0
		_ = tab.entries.ForEach(func(k, raw []byte) error {
			expires, v, ok := split(raw)
			if !ok {
				t.Errorf("%s: %q", k, raw)
			}
			counted.count(string(k), cost(string(k), v), tab.isPinned(k))
			if tab.isPinned(k) {
				pinned++
			}
			if !expires.never() {
				expiring++
				if tab.expiry.Get(append(expires[:], k...)) == nil {
					t.Errorf("%s is not in the index", k)
				}
			}
			return nil
		})
		if n := tab.expiry.Stats().KeyN; n != expiring {
			t.Errorf("%d in the index, %d that expire", n, expiring)
		}
		if n := tab.pinned.Stats().KeyN; n != pinned {
			t.Errorf("%d that are pinned, %d of them there", n, pinned)
		}
		if !slices.Equal(tab.room.taken, counted.taken) {
			t.Errorf("%v counted, there are %v", tab.room.taken, counted.taken)
		}
		return nil
	})
	if err != nil && err != ErrClosed {
		t.Error(err)
	}
}

// fingerprint changes with the content of a file, and with when it was written.
func fingerprint(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Sprint(info.Mode())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x %v %v", sha256.Sum256(content), info.ModTime(), info.Mode())
}

func TestTheFileIsForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	mustOpen(t, BoltOptions{Path: path})
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAnEmptyFileBecomesAStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	check(t, os.WriteFile(path, nil, 0o600), nil)
	mustOpen(t, BoltOptions{Path: path})
}

func TestAStoreWhoseMakingWasInterruptedIsFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db, err := bbolt.Open(path, 0o600, nil)
	check(t, err, nil)
	check(t, db.Close(), nil)
	mustOpen(t, BoltOptions{Path: path})
}

func TestWhatAnInterruptedMakingLeftBehindIsRemoved(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, ".state.db.new-123"), []byte("half"), 0o600), nil)
	check(t, os.WriteFile(filepath.Join(dir, ".other.db.new-123"), []byte("another's"), 0o600), nil)
	mustOpen(t, BoltOptions{Path: filepath.Join(dir, "state.db")})
	left, err := os.ReadDir(dir)
	if len(left) != 2 || err != nil || left[0].Name() != ".other.db.new-123" {
		t.Errorf("%v, %v", left, err)
	}
}

func TestOnlyTheFirstMayHaveItOpen(t *testing.T) {
	o := BoltOptions{Path: filepath.Join(t.TempDir(), "state.db"), Timeout: 60 * time.Millisecond}
	first := mustOpen(t, o)
	_, err := OpenBolt(o)
	check(t, err, ErrInUse)
	for _, part := range []string{o.Path, fmt.Sprintf("by process %d", os.Getpid()), "stop the other one"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	check(t, first.Close(), nil)
	mustOpen(t, o)
}

func TestOpeningWritesNothing(t *testing.T) {
	o := BoltOptions{Path: filepath.Join(t.TempDir(), "state.db")}
	b := mustOpen(t, o)
	check(t, b.Write(Change{Key: "a", Value: []byte("1")}), nil)
	check(t, b.Close(), nil)
	before := fingerprint(t, o.Path)
	b = mustOpen(t, o)
	_, err := b.Sweep()
	check(t, err, nil)
	check(t, b.Close(), nil)
	if fingerprint(t, o.Path) != before {
		t.Error("the file has changed")
	}
}

func TestTheFileStaysWithinFourTimesItsBound(t *testing.T) {
	const limit = 256 << 10
	c := newClock()
	path := filepath.Join(t.TempDir(), "state.db")
	b := mustOpen(t, BoltOptions{Path: path, Now: c.now, Bounds: Bounds{MaxBytes: limit}})
	b.db.NoSync = true // this is not about a crash
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var changes []Change
		for range 64 {
			changes = append(changes, Change{Key: fmt.Sprintf("client/%d", r.IntN(1<<30)), Value: bytes.Repeat([]byte("v"), 100+r.IntN(300)), Expires: c.now().Add(time.Duration(r.IntN(90*24)) * time.Hour)})
		}
		check(t, b.Write(changes...), nil)
		c.passes(time.Minute)
	}
	consistent(t, b)
	if info, _ := os.Stat(path); info.Size() > 4*limit {
		t.Errorf("%d octets for %d", info.Size(), limit)
	}
}

func BenchmarkBolt(b *testing.B) {
	s := mustOpen(b, BoltOptions{Path: filepath.Join(b.TempDir(), "state.db")})
	var changes []Change
	for i := range batchOfBench {
		changes = append(changes, Change{Key: fmt.Sprintf("host/mx%d.example.com:25", i), Value: bytes.Repeat([]byte("v"), 600), Expires: time.Now().Add(time.Hour)})
	}
	b.Run("Write", func(b *testing.B) {
		for b.Loop() {
			check(b, s.Write(changes...), nil)
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := s.Get("host/mx7.example.com:25")
			check(b, err, nil)
		}
	})
}

const batchOfBench = 100
