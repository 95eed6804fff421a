package mtasts

import (
	"container/list"
	"sync"
	"time"
)

// memorySize bounds what is kept of all domains together, in octets as
// known.cost estimates them. A domain without a policy counts 512.
const memorySize = 24 << 20

// memory is what is known of the domains that were asked for last. What is
// pushed out of it is in the Cache still, if it was a policy.
type memory struct {
	mu     sync.Mutex
	items  map[string]*list.Element // of *item
	recent list.List                // the latest in front
	size   int
	limit  int
}

type item struct {
	domain string
	known  *known
	used   time.Time // when a delivery last asked; zero: never
}

func newMemory(limit int) *memory {
	return &memory{items: map[string]*list.Element{}, limit: limit}
}

// get returns what is known of a domain, or nil, and notes its use for a delivery
// unless the time is zero.
func (m *memory) get(domain string, used time.Time) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.items[domain]
	if e == nil {
		return nil
	}
	m.recent.MoveToFront(e)
	i := e.Value.(*item)
	if !used.IsZero() {
		i.used = used
	}
	return i.known
}

// put replaces what is known of a domain.
func (m *memory) put(domain string, k *known, used time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(domain, k, used)
}

// add is put for a domain of which nothing is known yet; it returns what is then known.
func (m *memory) add(domain string, k *known, used time.Time) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.items[domain]; e != nil {
		return e.Value.(*item).known
	}
	m.set(domain, k, used)
	return k
}

func (m *memory) set(domain string, k *known, used time.Time) {
	if e := m.items[domain]; e != nil {
		i := e.Value.(*item)
		m.size += k.cost() - i.known.cost()
		i.known = k
		if used.After(i.used) {
			i.used = used
		}
		m.recent.MoveToFront(e)
	} else {
		m.items[domain] = m.recent.PushFront(&item{domain, k, used})
		m.size += k.cost()
	}
	for m.size > m.limit && m.recent.Len() > 1 {
		m.drop(m.recent.Back())
	}
}

func (m *memory) remove(domain string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.items[domain]; e != nil {
		m.drop(e)
	}
}

func (m *memory) drop(e *list.Element) {
	i := m.recent.Remove(e).(*item)
	delete(m.items, i.domain)
	m.size -= i.known.cost()
}

// lastUse is when a delivery last asked for a domain; ok is false when it is not in memory.
func (m *memory) lastUse(domain string) (used time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.items[domain]
	if e == nil {
		return time.Time{}, false
	}
	return e.Value.(*item).used, true
}

// which lists the domains that ok says yes to.
func (m *memory) which(ok func(*item) bool) (domains []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for e := m.recent.Front(); e != nil; e = e.Next() {
		if i := e.Value.(*item); ok(i) {
			domains = append(domains, i.domain)
		}
	}
	return domains
}
