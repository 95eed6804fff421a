package peers

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"postern/store"
)

// entry is a record in the cache. All its fields are under the lock of the
// cache, but for id and key, which never change.
type entry struct {
	id      id
	key     string // in the store
	record  record
	version uint64 // one more with every change
	blind   bool   // the store could not be read: serves one call, and is not written
}

// cache holds the records that are in use, decoded, and those that have changed
// since they were written. It is bounded: of the former by its capacity, and of
// the latter likewise, should the store take nothing for long.
type cache struct {
	memory   *Memory
	capacity int

	mu      sync.Mutex
	entries *simplelru.LRU[id, *entry]
	changed map[id]*entry
	latest  time.Time // that the clock has shown
	settled uint64    // one more whenever something has been written
	dropped int       // changes that never were, because there were too many
}

func newCache(m *Memory, capacity int) *cache {
	c := &cache{memory: m, capacity: capacity, changed: map[id]*entry{}}
	var err error
	if c.entries, err = simplelru.NewLRU(capacity, c.evicted); err != nil {
		panic(err) // only for a capacity that is not positive
	}
	return c
}

// evicted is told of every entry that leaves the cache. One that has changed
// stays in changed, as long as there is room there, with the two that lock may
// be about to add.
func (c *cache) evicted(id id, _ *entry) {
	if _, changed := c.changed[id]; changed && len(c.changed) > c.capacity-2 {
		delete(c.changed, id)
		c.dropped++
	}
}

// lock locks the cache and returns the entries of one or two refs, having read
// them from the store where needed, outside of the lock.
func (c *cache) lock(now time.Time, refs ...ref) (found [2]*entry) {
	var blind [2]*entry
	c.mu.Lock()
	c.watch(now)
	for i := 0; i < len(refs); {
		if found[i] = blind[i]; found[i] == nil {
			found[i] = c.get(refs[i].id)
		}
		if found[i] != nil {
			i++
			continue
		}
		if e := c.fetch(now, refs[i]); e.blind {
			blind[i] = e
		}
		i = 0 // the lock was not held: look again
	}
	return found
}

// get returns an entry that is in memory, or nil.
func (c *cache) get(id id) *entry {
	if e, ok := c.entries.Get(id); ok {
		return e
	}
	e, ok := c.changed[id]
	if ok {
		c.entries.Add(id, e)
	}
	return e
}

// fetch reads an entry from the store, and keeps it unless it may have been
// changed by others meanwhile. It lets go of the lock while it reads.
func (c *cache) fetch(now time.Time, r ref) *entry {
	settled := c.settled
	c.mu.Unlock()
	e, repaired := c.memory.read(now, r)
	c.mu.Lock()
	if e.blind || c.settled != settled || c.get(r.id) != nil {
		return e
	}
	c.entries.Add(r.id, e)
	if repaired {
		c.change(e)
	}
	return e
}

// change notes that an entry is about to be changed, and is to be written.
func (c *cache) change(e *entry) {
	if !e.blind {
		e.version++
		c.changed[e.id] = e
	}
}

// watch makes up for a clock that has been set back: what was read under the
// later time may have seemed to have expired, and is read again; what cannot
// be is repaired.
func (c *cache) watch(now time.Time) {
	if c.latest.Sub(now) > skew {
		c.entries.Purge()
		for _, e := range c.changed {
			repair(now, e.record.times())
			e.record.mend(now)
		}
		c.latest = now
	}
	if now.After(c.latest) {
		c.latest = now
	}
}

// read reads a record from the store. A damaged one is dropped.
func (m *Memory) read(now time.Time, of ref) (e *entry, changed bool) {
	e = &entry{id: of.id, key: of.key(), record: newRecord(of.kind)}
	value, err := m.store.Get(e.key)
	if errors.Is(err, store.ErrNotFound) {
		return e, false
	}
	if err != nil {
		m.outage.failed("the memory of peers cannot be read: nothing is remembered", err)
		e.blind = true
		return e, false
	}
	r, repaired, err := decode(of.kind, value, now)
	if err != nil {
		m.log.Warn("a damaged record is dropped", "key", clip(e.key), "error", err)
		return e, true // is written as what it is: nothing
	}
	e.record = r
	return e, repaired
}

// batch is how many records are written in one transaction, and encoded how
// many at a time, for which the lock is held.
const (
	batch   = 512
	encoded = 16
)

// written is what was encoded of an entry.
type written struct {
	entry   *entry
	version uint64
}

// flush writes what has changed when it is called.
func (c *cache) flush() error {
	for all := c.due(); len(all) > 0; {
		n := min(batch, len(all))
		changes, what := c.encode(all[:n])
		if err := c.memory.store.Write(changes...); err != nil {
			return err
		}
		c.settle(what)
		all = all[n:]
	}
	return nil
}

func (c *cache) due() []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*entry, 0, len(c.changed))
	for _, e := range c.changed {
		all = append(all, e)
	}
	return all
}

// encode lets go of the lock now and then, so that no session waits for long.
func (c *cache) encode(all []*entry) (changes []store.Change, what []written) {
	for start := 0; start < len(all); start += encoded {
		c.mu.Lock()
		for _, e := range all[start:min(start+encoded, len(all))] {
			changes = append(changes, e.change())
			what = append(what, written{e, e.version})
		}
		c.mu.Unlock()
	}
	return changes, what
}

// settle takes note of what has been written. What has changed since then is
// still due.
func (c *cache) settle(what []written) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled++
	for _, w := range what {
		if w.entry.version == w.version && c.changed[w.entry.id] == w.entry {
			delete(c.changed, w.entry.id)
		}
	}
}
