package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/store"
)

// fragile is a store that fails when told to, and counts.
type fragile struct {
	store.Store
	full, unreadable atomic.Bool
	writes           atomic.Int64
	between          func() // happens once, between a reading and its use
}

var (
	errDiskFull   = errors.New("no space left on device")
	errUnreadable = errors.New("input/output error")
)

func (f *fragile) Write(changes ...store.Change) error {
	f.writes.Add(1)
	if f.full.Load() {
		return errDiskFull
	}
	return f.Store.Write(changes...)
}

func (f *fragile) Get(key string) ([]byte, error) {
	if f.unreadable.Load() {
		return nil, errUnreadable
	}
	value, err := f.Store.Get(key)
	if happens := f.between; happens != nil {
		f.between = nil
		happens()
	}
	return value, err
}

func beginFragile(t *testing.T) (*correspondence, *fragile) {
	c := begin(t)
	f := &fragile{Store: c.store}
	c.store = f
	c.restart()
	return c, f
}

// observed tells when it is called.
type observed struct {
	store.Store
	writes, sweeps chan struct{}
}

func (o observed) Write(changes ...store.Change) error {
	err := o.Store.Write(changes...)
	o.writes <- struct{}{}
	return err
}

func (o observed) Sweep() (int, error) {
	o.sweeps <- struct{}{}
	return o.Store.Sweep()
}

func TestRunWritesSweepsAndWritesForTheLastTimeAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := observed{store.NewMemory(time.Now), make(chan struct{}, 1), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		m := New(Options{Store: s})
		var running sync.WaitGroup
		running.Go(func() { m.Run(ctx) })
		start := time.Now()
		m.Outbound(DefaultRules()).AskedForTLS(mx1)
		<-s.writes
		if d := time.Since(start); d != writeEvery {
			t.Errorf("written after %v", d)
		}
		stored(t, s, "host/mx1.example.com:25")
		<-s.sweeps
		if d := time.Since(start); d != sweepEvery {
			t.Errorf("swept after %v", d)
		}
		m.Outbound(DefaultRules()).AskedForTLS(mx2)
		cancel()
		running.Wait()
		stored(t, s, "host/mx1.example.com:25", "host/mx2.example.com:25")
	})
}

func TestNothingIsRemovedWhileTheClockRunsAway(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	c.restart()
	last := c.clock.now()
	c.passes(365 * day)
	last = c.m.sweep(last)
	c.passes(-365 * day)
	last = c.m.sweep(last)
	c.remembers(mx1, true, false)
	c.passes(100 * day)
	last = c.m.sweep(last)
	c.passes(time.Hour)
	stored(t, c.store) // they are not found
	c.passes(-time.Hour - 50*day)
	stored(t, c.store, "domain/example.com", "host/mx1.example.com:25")
	c.passes(50*day + time.Hour)
	c.m.sweep(last) // and now an ordinary hour has passed
	c.passes(-50 * day)
	stored(t, c.store)
}

// stored checks the keys in a store.
func stored(t *testing.T, s store.Store, want ...string) {
	t.Helper()
	var got []string
	err := s.Scan("", func(key string, _ []byte) error { got = append(got, key); return nil })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("stored: %q, %v; want %q", got, err, want)
	}
}

func TestAStoreThatFailsIsLoggedOnceAndTriedAgain(t *testing.T) {
	c, f := beginFragile(t)
	c.becomesRemembered(mx1)
	c.log.take()
	f.full.Store(true)
	for range 5 {
		c.verified(mx1)
		if err := c.m.Flush(); !errors.Is(err, errDiskFull) {
			t.Errorf("error %v", err)
		}
	}
	if got := c.log.take(); strings.Count(got, "level=ERROR") != 1 || strings.Count(got, "\n") != 1 || !strings.Contains(got, errDiskFull.Error()) {
		t.Errorf("logged: %s", got)
	}
	c.remembers(mx1, true, false)
	f.full.Store(false)
	c.restart()
	c.logs("level=INFO", "written again", "records_lost=0")
	if r := c.Remembered(domain, mx1); r.Sessions != 8 {
		t.Errorf("%+v", r)
	}
}

func TestARecordThatCouldNotBeReadIsNotOverwritten(t *testing.T) {
	c, f := beginFragile(t)
	c.becomesRemembered(mx1)
	c.restart()
	c.log.take()
	f.unreadable.Store(true)
	c.remembers(mx1, false, false)
	c.verified(mx1)
	c.logs("level=ERROR", "cannot be read")
	f.unreadable.Store(false)
	c.remembers(mx1, true, false)
	c.restart()
	c.remembers(mx1, true, false)
}

// TestWhatIsReadWhileItChangesIsReadAgain has a session read a record from the
// store, and before it can use it, another one change it, that be written, and
// the cache let go of it.
func TestWhatIsReadWhileItChangesIsReadAgain(t *testing.T) {
	c, f := beginFragile(t)
	c.secured(mx1)
	c.restart()
	f.between = func() {
		c.secured(mx1)
		if err := c.m.Flush(); err != nil {
			t.Error(err)
		}
		c.m.servers.entries.Purge()
	}
	c.secured(mx1)
	if l := c.lists(); l[0].Secured != 3 {
		t.Errorf("%d of 3 sessions are counted", l[0].Secured)
	}
}

func TestARecordHasRoomForTheLatestNames(t *testing.T) {
	c := begin(t)
	for i := range 3 * maxNames {
		c.passes(time.Minute)
		c.Secured(domain, mx1, Facts{Trust: "first"})
		c.Secured(domain, mx1, Facts{Trust: fmt.Sprint(i)})
	}
	verdicts := c.m.servers.get(mx1.ref().id).host().Verdicts
	if len(verdicts) != maxNames || verdicts[0].Name != "first" || verdicts[0].Count != 3*maxNames || verdicts[1].Name != "25" {
		t.Errorf("%+v", verdicts)
	}
}

func TestWhatDoesNotChangeIsNotWritten(t *testing.T) {
	c, f := beginFragile(t)
	c.verified(mx1)
	c.restart()
	before := f.writes.Load()
	c.Standing(mx1)
	c.Standing(mx2)
	c.Remembered(domain, mx1)
	c.m.Handshakes().Avoid(alice, mail)
	c.restart()
	if n := f.writes.Load() - before; n != 0 {
		t.Errorf("%d writes", n)
	}
}

func TestADamagedRecordIsDroppedWithOneLine(t *testing.T) {
	for _, damaged := range []string{"", "{", "null", "{}", "[]", `{"seen":{"count":1},"hosts":{}}`, `{"seen":{"count":-1}}`, "\x00\xff"} {
		c := begin(t)
		c.becomesRemembered(mx1)
		c.restart()
		c.log.take()
		if err := c.store.Write(store.Change{Key: "domain/example.com", Value: []byte(damaged)}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c.remembers(mx1, false, false)
			c.known(mx1, true)
		}
		if got := c.log.take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "domain/example.com") {
			t.Errorf("%q: logged %s", damaged, got)
		}
		c.restart()
		stored(t, c.store, "host/mx1.example.com:25")
		c.becomesRemembered(mx1)
	}
}

func TestAFloodOfClientsDisplacesNoServer(t *testing.T) {
	const flood = clientCapacity * 5 / 4
	c := begin(t)
	c.becomesRemembered(mx1)
	c.passes(28 * day)
	if err := c.m.Flush(); err != nil {
		t.Fatal(err)
	}
	h := c.m.Handshakes()
	for i := range flood {
		h.Secured(stranger(i), strings.Repeat("x", 250), valid)
		if i%10_000 == 0 {
			if err := c.m.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.remembers(mx1, true, false) // from the cache
	c.restart()
	c.remembers(mx1, true, false) // from the store, which was full
	lines := 0
	_ = c.store.Scan("address/", func(string, []byte) error { lines++; return nil })
	if lines >= flood {
		t.Error("the store was never full")
	}
}

// TestSessionsFlushesAndEvictionsAtOnce has many sessions count in a memory
// whose cache is far too small, while it is written: every count must be kept.
func TestSessionsFlushesAndEvictionsAtOnce(t *testing.T) {
	const sessions, each, hosts = 8, 400, 20
	s := store.NewMemory(time.Now)
	m := New(Options{Store: s})
	m.servers = newCache(m, 4)
	m.servers.capacity = hosts * 2 // of changes that wait
	o := m.Outbound(DefaultRules())
	done := make(chan struct{})
	var flusher, all sync.WaitGroup
	flusher.Go(func() {
		for {
			if err := m.Flush(); err != nil {
				t.Error(err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range sessions {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range each {
				h := Host{fmt.Sprintf("mx%d.example.com", r.IntN(hosts)), 25}
				o.Secured(domain, h, valid)
				o.Standing(h)
				o.Remembered(domain, h)
			}
		})
	}
	all.Wait()
	close(done)
	flusher.Wait()
	if err := m.Flush(); err != nil { // what came after its last one began
		t.Error(err)
	}
	lines, err := New(Options{Store: s}).List()
	total := 0
	for _, l := range lines {
		if l.Kind == "host" {
			total += l.Secured
		}
	}
	if err != nil || total != sessions*each || len(lines) != hosts+1 {
		t.Errorf("%d of %d are counted, in %d records, %v", total, sessions*each, len(lines), err)
	}
}

func TestWhatIsInTheCacheIsAskedForWithoutAllocating(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	if n := testing.AllocsPerRun(100, func() { c.Standing(mx1) }); n != 0 {
		t.Errorf("Standing: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { c.Remembered(domain, mx1) }); n != 0 {
		t.Errorf("Remembered: %v allocations", n)
	}
}

func BenchmarkOutbound(b *testing.B) {
	o := New(Options{Store: store.NewMemory(time.Now)}).Outbound(DefaultRules())
	for i := range maxDomainHosts {
		o.Secured(domain, Host{fmt.Sprintf("mx%d.example.com", i), 25}, valid)
	}
	h := Host{"mx7.example.com", 25}
	for name, call := range map[string]func(){
		"Standing":   func() { o.Standing(h) },
		"Remembered": func() { o.Remembered(domain, h) },
		"Secured":    func() { o.Secured(domain, h, valid) },
		"TLSFailed":  func() { o.TLSFailed(domain, h, "stalled") },
	} {
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
