package resolve

import (
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/miekg/dns"
)

// bounded keeps what was used last, within a number of things and of octets:
// who answers for a domain chooses how large its records are.
type bounded[K comparable, V any] struct {
	all  *simplelru.LRU[K, V]
	cost func(V) int // octets, roughly
	most int
	used int
}

func newBounded[K comparable, V any](number, octets int, cost func(V) int) *bounded[K, V] {
	b := &bounded[K, V]{cost: cost, most: octets}
	all, err := simplelru.NewLRU(number, func(_ K, v V) { b.used -= cost(v) })
	if err != nil {
		panic(err) // only for a capacity that is not positive
	}
	b.all = all
	return b
}

func (b *bounded[K, V]) get(k K) (V, bool) { return b.all.Get(k) }

// put keeps v in the place of what was there, and lets go of what was not used for the
// longest time as far as that is needed: of v itself where it is too large for all of it.
func (b *bounded[K, V]) put(k K, v V) {
	b.all.Remove(k)
	b.all.Add(k, v)
	b.used += b.cost(v)
	for b.used > b.most {
		b.all.RemoveOldest()
	}
}

const (
	costOfOne    = 768 // octets of an answer or a zone without its records
	costOfRecord = 192 // of a record besides what is in it
)

func costOf(records []dns.RR) (n int) {
	for _, rr := range records {
		n += costOfRecord + len(rr.Header().Name) + dns.Len(rr)
	}
	return n
}
