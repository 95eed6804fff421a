package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Places bounds the sessions of several servers together, by what the process has
// files for: a client that is told 421 comes back, one that cannot be accepted
// hangs.
type Places struct {
	most  int64
	taken atomic.Int64
}

// NewPlaces makes so many places.
func NewPlaces(most int) *Places { return &Places{most: int64(most)} }

func (p *Places) take() bool {
	if p == nil || p.taken.Add(1) <= p.most {
		return true
	}
	p.taken.Add(-1)
	return false
}

func (p *Places) giveBack() {
	if p != nil {
		p.taken.Add(-1)
	}
}

// clients counts what each client network takes (SEM 13). An IPv4 client is its
// address, an IPv6 client its /64: a host has that many addresses of its own.
type clients struct {
	mu    sync.Mutex
	open  map[netip.Addr]int
	total *rate.Limiter // nil until there is such a limit
	rates *simplelru.LRU[netip.Addr, *rate.Limiter]
}

// maxRates bounds the clients whose rate of handshakes is known. One that is
// forgotten begins anew.
const maxRates = 16384

func newClients() *clients {
	return &clients{open: make(map[netip.Addr]int), rates: newLRU[netip.Addr, *rate.Limiter](maxRates)}
}

// newLRU makes a bounded map that forgets what was not used for longest.
func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	l, err := simplelru.NewLRU[K, V](size, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return l
}

// network is what a client is counted as.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// enter gives a client a place, if it has not too many. leave gives it back.
func (c *clients) enter(client netip.Addr, f *Front) bool {
	key := network(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := f.Limits.PerClient; n > 0 && c.open[key] >= n && !contains(f.Networks.Exempt, client) {
		return false
	}
	c.open[key]++
	return true
}

func (c *clients) leave(client netip.Addr) {
	key := network(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[key]--; c.open[key] <= 0 {
		delete(c.open, key)
	}
}

// mayHandshake says whether a client may begin a TLS handshake now, and counts
// it.
func (c *clients) mayHandshake(client netip.Addr, f *Front) bool {
	total, each := f.Limits.Handshakes, f.Limits.HandshakesPerClient
	if total <= 0 && each <= 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if each > 0 && !contains(f.Networks.Exempt, client) && !c.rateOf(network(client), each).AllowN(now, 1) {
		return false
	}
	if total > 0 && c.total == nil {
		c.total = rate.NewLimiter(rate.Limit(total), burst(total))
	}
	return total <= 0 || follow(c.total, total, total).AllowN(now, 1)
}

func (c *clients) rateOf(key netip.Addr, perMinute float64) *rate.Limiter {
	l, ok := c.rates.Get(key)
	if !ok {
		l = rate.NewLimiter(rate.Limit(perMinute/60), burst(perMinute))
		c.rates.Add(key, l)
	}
	return follow(l, perMinute/60, perMinute)
}

// follow makes a limiter keep to what the configuration says now.
func follow(l *rate.Limiter, perSecond, most float64) *rate.Limiter {
	if l.Limit() != rate.Limit(perSecond) {
		l.SetLimit(rate.Limit(perSecond))
		l.SetBurst(burst(most))
	}
	return l
}

// burst is how many may come at once: as many as in the whole time.
func burst(most float64) int { return max(1, int(most)) }
