package mtasts

import (
	"container/list"
	"sync"
	"time"
)

// The bounds of what is kept of all domains together, in octets as known.cost
// estimates them. A domain without a policy counts 512.
const (
	policySize = 16 << 20 // for policies to enforce
	otherSize  = 8 << 20  // for all else
)

// memory is what is known of the domains that were asked for last. What is
// pushed out of it is in the Cache still, if it was a policy.
//
// The policies to enforce have a shelf of their own, so that no number of domains without one, or
// with one that asks for nothing, pushes them out.
type memory struct {
	mu       sync.Mutex
	items    map[string]*list.Element // of *item
	policies shelf
	others   shelf
}

// shelf holds items up to a size.
type shelf struct {
	recent list.List // of *item, the latest in front
	size   int
	limit  int
}

type item struct {
	domain string
	known  *known
	used   time.Time // when a delivery last asked; zero: never
}

func newMemory(policies, others int) *memory {
	return &memory{items: map[string]*list.Element{}, policies: shelf{limit: policies}, others: shelf{limit: others}}
}

// shelf is where what is known of a domain belongs.
func (m *memory) shelf(k *known) *shelf {
	if k.protects() {
		return &m.policies
	}
	return &m.others
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
	i := e.Value.(*item)
	m.shelf(i.known).recent.MoveToFront(e)
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
		used = later(used, e.Value.(*item).used)
		m.drop(e)
	}
	s := m.shelf(k)
	m.items[domain] = s.recent.PushFront(&item{domain, k, used})
	s.size += k.cost()
	for s.size > s.limit && s.recent.Len() > 1 {
		m.drop(s.recent.Back())
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
	i := e.Value.(*item)
	s := m.shelf(i.known)
	s.recent.Remove(e)
	s.size -= i.known.cost()
	delete(m.items, i.domain)
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
	for _, s := range []*shelf{&m.policies, &m.others} {
		for e := s.recent.Front(); e != nil; e = e.Next() {
			if i := e.Value.(*item); ok(i) {
				domains = append(domains, i.domain)
			}
		}
	}
	return domains
}
