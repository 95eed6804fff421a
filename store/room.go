package store

import (
	"slices"
	"strings"
)

// DefaultMaxBytes bounds a store that was given no bound.
const DefaultMaxBytes = 64 << 20

// Bounds say how much a store holds, in octets of keys (twice) and values and 64
// for each entry. Where there is no room, the entries of the same class that
// expire soonest make it: no class can push out what belongs to another.
type Bounds struct {
	// MaxBytes is for the entries of no quota: DefaultMaxBytes when zero.
	MaxBytes int64
	Quotas   []Quota
	// Crowded is told, after a write, of each class in which an entry that was to
	// be Pinned was not, because the pinned ones have taken all they may. nil:
	// nobody is told.
	Crowded func(prefix string)
}

// A Quota is the room of a class: the entries whose keys start with Prefix.
type Quota struct {
	Prefix   string
	MaxBytes int64
}

// room is how much of its bounds a store has taken.
type room struct {
	bounds Bounds
	taken  []taken // of each quota, and of the rest
}

type taken struct {
	bytes  int64 // of all entries of the class
	pinned int64 // of those that are pinned
}

func newRoom(b Bounds) room {
	if b.MaxBytes == 0 {
		b.MaxBytes = DefaultMaxBytes
	}
	return room{bounds: b, taken: make([]taken, len(b.Quotas)+1)}
}

// clone is for a transaction that may fail.
func (r room) clone() room {
	r.taken = slices.Clone(r.taken)
	return r
}

// class is the index of the quota for a key; behind the last is the rest.
func (r room) class(key string) int {
	for i, q := range r.bounds.Quotas {
		if strings.HasPrefix(key, q.Prefix) {
			return i
		}
	}
	return len(r.bounds.Quotas)
}

func (r room) limit(class int) int64 {
	if class < len(r.bounds.Quotas) {
		return r.bounds.Quotas[class].MaxBytes
	}
	return r.bounds.MaxBytes
}

func (r room) prefix(class int) string {
	if class < len(r.bounds.Quotas) {
		return r.bounds.Quotas[class].Prefix
	}
	return ""
}

// count adds what an entry takes, or with a negative cost takes it back.
func (r room) count(key string, cost int64, pinned bool) {
	t := &r.taken[r.class(key)]
	t.bytes += cost
	if pinned {
		t.pinned += cost
	}
}

// pins says whether an entry of that cost can be pinned. A quarter of the room is
// for what is not, so that there is always something that can make room.
func (r room) pins(key string, cost int64) bool {
	c := r.class(key)
	return r.taken[c].pinned+cost <= r.limit(c)/4*3
}

// excess lists the classes that have taken more than they may.
func (r room) excess() (classes []int) {
	for c := range r.taken {
		if r.taken[c].bytes > r.limit(c) {
			classes = append(classes, c)
		}
	}
	return classes
}

// goal is what a class is cut down to once it has taken too much, so that it need
// not be done again at once.
func (r room) goal(class int) int64 { return r.limit(class) / 10 * 9 }

// tell tells of the classes that had to leave an entry unpinned.
func (r room) tell(crowded []int) {
	if r.bounds.Crowded == nil {
		return
	}
	slices.Sort(crowded)
	for _, c := range slices.Compact(crowded) {
		r.bounds.Crowded(r.prefix(c))
	}
}
