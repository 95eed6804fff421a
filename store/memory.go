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

// Memory is a Store that ends with the process. Like Bolt it is bounded, to
// DefaultMaxBytes: the entries that expire soonest make room for others.
type Memory struct {
	now func() time.Time
	max int64

	mu      sync.RWMutex
	entries map[string]item // nil once closed
	bytes   int64
}

type item struct {
	value   []byte
	expires time.Time
}

func (i item) expired(now time.Time) bool { return !i.expires.IsZero() && !now.Before(i.expires) }

// NewMemory returns an empty store that takes the time from now, which is
// time.Now outside tests.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, max: DefaultMaxBytes, entries: map[string]item{}}
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
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		return ErrClosed
	}
	for _, c := range changes {
		if err := c.valid(); err != nil {
			return err
		}
	}
	before := m.old(changes)
	for _, c := range changes {
		m.remove(c.Key)
		if c.Value != nil {
			m.add(c.Key, item{bytes.Clone(c.Value), c.Expires})
		}
	}
	if m.bytes <= m.max || m.evict() {
		return nil
	}
	for _, c := range changes {
		m.remove(c.Key)
	}
	for key, i := range before {
		m.add(key, i)
	}
	return ErrFull
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
	m.bytes += cost(key, i.value)
}

func (m *Memory) remove(key string) {
	if i, ok := m.entries[key]; ok {
		m.bytes -= cost(key, i.value)
		delete(m.entries, key)
	}
}

// evict makes room for a tenth of the bound, so that it need not be done again
// at once, or says that it cannot make enough, and removes nothing.
func (m *Memory) evict() bool {
	var mortal []string
	var forGood int64
	for key, i := range m.entries {
		if i.expires.IsZero() {
			forGood += cost(key, i.value)
		} else {
			mortal = append(mortal, key)
		}
	}
	if forGood > m.max {
		return false
	}
	slices.SortFunc(mortal, func(a, b string) int { return m.entries[a].expires.Compare(m.entries[b].expires) })
	for _, key := range mortal {
		if m.bytes <= m.max-m.max/10 {
			break
		}
		m.remove(key)
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
	m.entries, m.bytes = nil, 0
	return nil
}
