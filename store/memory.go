package store

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a Store that ends with the process. Like Bolt it is bounded.
type Memory struct {
	now func() time.Time

	mu      sync.RWMutex
	entries map[string]item // nil once closed
	room    room
}

type item struct {
	value   []byte
	expires time.Time
	pinned  bool
}

func (i item) expired(now time.Time) bool { return !i.expires.IsZero() && !now.Before(i.expires) }

// NewMemory returns an empty store that takes the time from now, which is
// time.Now outside tests, and is bounded by DefaultMaxBytes.
func NewMemory(now func() time.Time) *Memory { return NewBoundedMemory(now, Bounds{}) }

// NewBoundedMemory is NewMemory with other bounds.
func NewBoundedMemory(now func() time.Time, b Bounds) *Memory {
	return &Memory{now: now, room: newRoom(b), entries: map[string]item{}}
}

// Get implements Store.
func (m *Memory) Get(key string) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.entries == nil {
		return nil, ErrClosed
	}
	i, ok := m.entries[key]
	if !ok || i.expired(m.now()) {
		return nil, ErrNotFound
	}
	return bytes.Clone(i.value), nil
}

// Write implements Store. Its errors are ErrClosed and ErrFull.
func (m *Memory) Write(changes ...Change) error {
	for _, c := range changes {
		if err := c.valid(); err != nil {
			return err
		}
	}
	crowded, err := m.write(changes)
	if err == nil {
		m.room.tell(crowded)
	}
	return err
}

func (m *Memory) write(changes []Change) (crowded []int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		return nil, ErrClosed
	}
	before := m.old(changes)
	for _, c := range changes {
		m.remove(c.Key)
		if c.Value == nil {
			continue
		}
		pinned := c.Pinned && m.room.pins(c.Key, cost(c.Key, c.Value))
		if c.Pinned && !pinned {
			crowded = append(crowded, m.room.class(c.Key))
		}
		m.add(c.Key, item{bytes.Clone(c.Value), c.Expires, pinned})
	}
	if m.evict(m.room.excess()) {
		return crowded, nil
	}
	for _, c := range changes {
		m.remove(c.Key)
	}
	for key, i := range before {
		m.add(key, i)
	}
	return nil, ErrFull
}

// old returns what stands where changes will be made.
func (m *Memory) old(changes []Change) map[string]item {
	old := make(map[string]item, len(changes))
	for _, c := range changes {
		if i, ok := m.entries[c.Key]; ok {
			old[c.Key] = i
		}
	}
	return old
}

func (m *Memory) add(key string, i item) {
	m.entries[key] = i
	m.room.count(key, cost(key, i.value), i.pinned)
}

func (m *Memory) remove(key string) {
	if i, ok := m.entries[key]; ok {
		m.room.count(key, -cost(key, i.value), i.pinned)
		delete(m.entries, key)
	}
}

// evict makes room in classes, or says that it cannot make enough, and removes
// nothing.
func (m *Memory) evict(classes []int) bool {
	mortal := make(map[int][]string, len(classes))
	for _, class := range classes {
		left := m.room.taken[class].bytes
		for key, i := range m.entries {
			if m.room.class(key) == class && !i.pinned && !i.expires.IsZero() {
				mortal[class] = append(mortal[class], key)
				left -= cost(key, i.value)
			}
		}
		if left > m.room.limit(class) {
			return false
		}
	}
	for class, keys := range mortal {
		slices.SortFunc(keys, func(a, b string) int { return m.entries[a].expires.Compare(m.entries[b].expires) })
		goal := m.room.goal(class)
		for _, key := range keys {
			if m.room.taken[class].bytes <= goal {
				break
			}
			m.remove(key)
		}
	}
	return true
}

// Scan implements Store.
func (m *Memory) Scan(prefix string, f func(key string, value []byte) error) error {
	m.mu.RLock()
	if m.entries == nil {
		m.mu.RUnlock()
		return ErrClosed
	}
	keys := slices.Sorted(maps.Keys(m.entries))
	m.mu.RUnlock()
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		value, err := m.Get(key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// Sweep implements Store.
func (m *Memory) Sweep() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		return 0, ErrClosed
	}
	n, now := 0, m.now()
	for key, i := range m.entries {
		if i.expired(now) {
			m.remove(key)
			n++
		}
	}
	return n, nil
}

// Close implements Store: everything is forgotten.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = nil
	return nil
}
