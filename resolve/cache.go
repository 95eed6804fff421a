package resolve

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	capacity    = 4096             // clients
	keep        = 60 * time.Second // a busy sender's sessions ask once a minute
	keepFailure = 5 * time.Second  // TempUnavailable: soon asked again
)

// cache remembers the names of the latest clients. It does not know the TTLs
// of the records, hence the short time.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	clients *simplelru.LRU[netip.Addr, entry]
}

type entry struct {
	name  ClientName
	since time.Time
}

func newCache(now func() time.Time) *cache {
	clients, err := simplelru.NewLRU[netip.Addr, entry](capacity, nil)
	if err != nil {
		panic(err) // only for a capacity that is not positive
	}
	return &cache{now: now, clients: clients}
}

func (c *cache) get(addr netip.Addr) (ClientName, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.clients.Get(addr)
	// An entry from the future is from before the clock was set back.
	if age := c.now().Sub(e.since); !ok || age < 0 || age >= e.keep() {
		return ClientName{}, false
	}
	return e.name, true
}

func (c *cache) put(addr netip.Addr, name ClientName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients.Add(addr, entry{name, c.now()})
}

func (e entry) keep() time.Duration {
	if e.name.ReverseStatus == TempUnavailable || e.name.NameStatus == TempUnavailable {
		return keepFailure
	}
	return keep
}
