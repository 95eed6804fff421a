package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// memo remembers one value per key for ever. A look-up takes no lock and
// allocates nothing, not even for a key with strings in it, which a sync.Map
// would have to box. The first look-up of a key copies the whole map, so a
// memo is for keys that are few: here, sets of labels.
type memo[K comparable, V any] struct {
	build func(K) V

	mu     sync.Mutex // held to add a key
	values atomic.Pointer[map[K]V]
}

func newMemo[K comparable, V any](build func(K) V) *memo[K, V] {
	m := &memo[K, V]{build: build}
	m.values.Store(&map[K]V{})
	return m
}

// get returns the value of key; every caller gets the same one.
func (m *memo[K, V]) get(key K) V {
	if v, ok := (*m.values.Load())[key]; ok {
		return v
	}
	return m.add(key)
}

func (m *memo[K, V]) add(key K) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Another goroutine may have added it between our look and the lock.
	if v, ok := (*m.values.Load())[key]; ok {
		return v
	}
	next := maps.Clone(*m.values.Load())
	next[key] = m.build(key)
	m.values.Store(&next)
	return next[key]
}

// all returns every key and value so far, not to be changed.
func (m *memo[K, V]) all() map[K]V { return *m.values.Load() }
