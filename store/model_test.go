package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBothEnginesDoWhatAMapWould runs random calls on both engines, reopening
// the file now and then, and compares all that can be seen.
func TestBothEnginesDoWhatAMapWould(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		c := newClock()
		o := BoltOptions{Path: filepath.Join(dir, fmt.Sprint(n)), Now: c.now}
		bolt := mustOpen(t, o)
		memory, model := NewMemory(c.now), map[string]item{}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			switch rapid.IntRange(0, 5).Draw(r, "step") {
			case 0:
				c.passes(time.Duration(rapid.IntRange(0, 3).Draw(r, "hours")) * time.Hour)
			case 1:
				check(t, bolt.Close(), nil)
				bolt = mustOpen(t, o)
			case 2:
				removed, err := bolt.Sweep()
				check(t, err, nil)
				if same, _ := memory.Sweep(); same != removed {
					r.Fatalf("removed %d and %d", removed, same)
				}
			default:
				changes := drawChanges(r, c.now())
				check(t, bolt.Write(changes...), nil)
				check(t, memory.Write(changes...), nil)
				for _, c := range changes {
					delete(model, c.Key)
					if c.Value != nil {
						model[c.Key] = item{value: c.Value, expires: c.Expires}
					}
				}
			}
			compare(r, c.now(), model, bolt, memory)
		}
		consistent(t, bolt)
		bolt.Close()
	})
}

func drawChanges(r *rapid.T, now time.Time) (changes []Change) {
	for range rapid.IntRange(1, 4).Draw(r, "changes") {
		c := Change{Key: rapid.SampledFrom([]string{"a", "b", "b/1", "b/2", "c"}).Draw(r, "key")}
		if rapid.IntRange(0, 3).Draw(r, "delete") > 0 {
			c.Value = []byte(rapid.StringN(0, 5, 50).Draw(r, "value"))
			if hours := rapid.IntRange(-1, 4).Draw(r, "expires"); hours > 0 {
				c.Expires = now.Add(time.Duration(hours) * time.Hour)
			}
		}
		changes = append(changes, c)
	}
	return changes
}

func compare(r *rapid.T, now time.Time, model map[string]item, stores ...Store) {
	want := map[string]string{}
	for key, i := range model {
		if !i.expired(now) {
			want[key] = string(i.value)
		}
	}
	for _, s := range stores {
		n := 0
		err := s.Scan("", func(key string, value []byte) error {
			if v, ok := want[key]; !ok || v != string(value) {
				r.Fatalf("%T: %s is %q, want %q", s, key, value, v)
			}
			n++
			return nil
		})
		if err != nil || n != len(want) {
			r.Fatalf("%T: %d entries, %v; want %d", s, n, err, len(want))
		}
		for key := range model {
			if v, err := s.Get(key); (err == nil) != (want[key] == string(v) && !model[key].expired(now)) {
				r.Fatalf("%T: %s is %q, %v", s, key, v, err)
			}
		}
	}
}
