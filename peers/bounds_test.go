package peers

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern/store"
)

// stranger is the i-th of many addresses.
func stranger(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestTheMemoryIsBoundedThoughNothingIsWritten(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.Succeeded(bob, mail, true)
	for i := range clientCapacity {
		flood := stranger(i)
		s.Succeeded(flood, mail, true)
		s.Failed(flood, other)
	}
	c := s.Handshakes.m.clients
	if c.entries.Len() != clientCapacity || len(c.changed) > clientCapacity {
		t.Errorf("%d in the cache, %d changed", c.entries.Len(), len(c.changed))
	}
	s.offered(alice, mail)
	s.usedForwardSecrecy(bob, mail, false)
}

func TestAClientThatComesBackOutlivesAFlood(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	for i := range 2 * clientCapacity {
		s.Failed(stranger(i), mail)
		if i%(clientCapacity/2) == 0 {
			s.notOffered(alice, mail)
		}
	}
	s.notOffered(alice, mail)
}

func TestManySessionsAtOnce(t *testing.T) {
	h := NewHandshakes(time.Now)
	var sessions sync.WaitGroup
	for i := range 8 {
		sessions.Go(func() {
			for j := range 500 {
				name := fmt.Sprint("host", j%7)
				h.Failed(alice, name)
				h.Avoid(alice, name)
				h.Succeeded(bob, name, i%2 == 0)
				h.UsedForwardSecrecy(bob, name)
			}
		})
	}
	sessions.Wait()
	for j := range 7 {
		if name := fmt.Sprint("host", j); !h.UsedForwardSecrecy(bob, name) {
			t.Errorf("%s is forgotten", name)
		}
	}
}

func calls(h *Handshakes) map[string]func() {
	const name = "Mail-Out.Example.ORG" // not lower-case yet
	return map[string]func(){
		"Avoid":              func() { h.Avoid(alice, name) },
		"Failed":             func() { h.Failed(bob, name) },
		"Succeeded":          func() { h.Succeeded(alice, name, true) },
		"UsedForwardSecrecy": func() { h.UsedForwardSecrecy(alice, name) },
	}
}

func TestAKnownClientCostsNoAllocation(t *testing.T) {
	for name, call := range calls(NewHandshakes(time.Now)) {
		call()
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkHandshakes(b *testing.B) {
	for name, call := range calls(NewHandshakes(time.Now)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call()
				}
			})
		})
	}
}

// Succeeded is Secured for tests in which only forward secrecy matters.
func (h *Handshakes) Succeeded(address netip.Addr, hello string, forwardSecret bool) {
	h.Secured(address, hello, Facts{ForwardSecret: forwardSecret})
}

// Who has mail sent to very many domains of his own makes the memory forget none that is remembered.
func TestStrangersCannotPushOutWhoIsRemembered(t *testing.T) {
	c := begin(t)
	c.store = store.NewBoundedMemory(c.clock.now, store.Bounds{Quotas: []store.Quota{{Prefix: "domain/", MaxBytes: 40_000}}})
	c.Outbound = nil
	c.restart()
	c.becomesRemembered(mx1)
	c.restart()
	c.passes(25 * day)
	for range 3 { // until they are remembered, too
		for i := range 300 {
			c.Secured(fmt.Sprintf("d%d.evil.org", i), mx1, valid)
		}
		c.passes(day)
	}
	c.restart()
	c.remembers(mx1, true, false)
	forgotten := 0
	for i := range 300 {
		if r := c.Remembered(fmt.Sprintf("d%d.evil.org", i), mx1); !r.Host {
			forgotten++
		}
	}
	if forgotten < 100 {
		t.Errorf("there was room for all but %d", forgotten)
	}
}
