package peers

import (
	"errors"
	"testing"
	"time"

	"postern/store"
)

// merged has one process learn, and then another one that has not got what the first
// has written; and returns the other when it has got it.
func merged(t *testing.T, one, other func(c *correspondence)) *correspondence {
	t.Helper()
	c := begin(t)
	one(c)
	if err := c.m.Flush(); err != nil {
		t.Fatal(err)
	}
	late := begin(t)
	late.clock = c.clock
	h := store.NewHandover(late.clock.now, store.Bounds{})
	late.store = h
	late.restart()
	other(late)
	if err := late.m.Rebase(func() error { return h.Attach(c.store, late.m.Merge) }); err != nil {
		t.Fatal(err)
	}
	return late
}

func nothing(*correspondence) {}

// host is the record of mx1.
func (c *correspondence) host() *HostRecord {
	c.Helper()
	e := c.m.servers.lock(c.m.now(), mx1.ref())[0]
	defer c.m.servers.mu.Unlock()
	return e.host()
}

func TestWhatIsRememberedProtectsAgainOnceItIsThere(t *testing.T) {
	c := merged(t, func(c *correspondence) { c.becomesRemembered(mx1) }, func(c *correspondence) {
		c.remembers(mx1, false, false) // it does not know yet
		c.passes(time.Hour)
		c.secured(mx1) // with a certificate that is not valid
	})
	c.remembers(mx1, true, false)
	c.known(mx1, true)
	if r := c.host(); r.Secured.Count != 4 || r.Valid.Count != 3 {
		t.Errorf("secured %d times, valid %d times", r.Secured.Count, r.Valid.Count)
	}
	c.restart() // and it has been written
	c.remembers(mx1, true, false)
}

func TestBothCountTowardsWhatIsRemembered(t *testing.T) {
	c := merged(t, func(c *correspondence) { c.verified(mx1); c.passes(20 * time.Hour) }, func(c *correspondence) { c.verified(mx1); c.passes(5 * time.Hour) })
	c.remembers(mx1, false, false)
	c.verified(mx1)
	c.remembers(mx1, true, false)
}

func TestASkipIsKeptUntilASuccess(t *testing.T) {
	breaks := func(c *correspondence) { c.fails(mx1, true); c.clear(mx1) }
	merged(t, breaks, nothing).skipped(mx1, time.Hour)
	merged(t, nothing, breaks).skipped(mx1, time.Hour)
	merged(t, breaks, func(c *correspondence) { c.passes(time.Minute); c.secured(mx1) }).tried(mx1)
	merged(t, breaks, func(c *correspondence) { c.passes(time.Minute); c.AskedForTLS(mx1) }).tried(mx1)
	merged(t, func(c *correspondence) { c.secured(mx1); c.passes(time.Minute) }, func(c *correspondence) {
		c.fails(mx1, true)
		c.clear(mx1)
	}).skipped(mx1, time.Hour)
}

func TestFailuresCountOnlyBehindTheLastSuccess(t *testing.T) {
	fail := func(c *correspondence) { c.TLSFailed(domain, mx1, "x"); c.passes(time.Minute) }
	if r := merged(t, fail, fail).host(); r.Failing.Count != 2 || r.Failed.Count != 2 {
		t.Errorf("failing %d times", r.Failing.Count)
	}
	if r := merged(t, fail, func(c *correspondence) { c.secured(mx1) }).host(); r.Failing.Count != 0 || r.Failed.Count != 1 {
		t.Errorf("after a success failing %d times", r.Failing.Count)
	}
}

func TestWhatWasReleasedStaysReleased(t *testing.T) {
	c := merged(t, func(c *correspondence) {
		c.becomesRemembered(mx1)
		for range 6 {
			c.rejected(mx1)
			c.passes(24 * time.Hour)
		}
		c.remembers(mx1, false, false)
	}, func(c *correspondence) { c.rejected(mx1) })
	c.remembers(mx1, false, false)
}

func TestAnOutageGoesOn(t *testing.T) {
	c := merged(t, func(c *correspondence) {
		c.becomesRemembered(mx1)
		c.rejected(mx1)
		c.passes(24 * time.Hour)
	}, func(c *correspondence) { c.fails(mx1, true) })
	for range 4 {
		c.remembers(mx1, true, false)
		c.rejected(mx1)
		c.passes(24 * time.Hour)
	}
	c.remembers(mx1, false, false) // 72 hours after the first attempt that was rejected, not the second
}

func TestARecordThatGoesOnFromAnotherTakesItsPlace(t *testing.T) {
	c := begin(t)
	c.verified(mx1)
	if err := c.m.Flush(); err != nil {
		t.Fatal(err)
	}
	key := mx1.ref().key()
	kept, err := c.store.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	c.verified(mx1)
	learned := c.m.servers.lock(c.m.now(), mx1.ref())[0].change()
	c.m.servers.mu.Unlock()
	if got := c.m.Merge(kept, learned); string(got.Value) != string(learned.Value) || !got.Expires.Equal(learned.Expires) {
		t.Errorf("merged: %s", got.Value)
	}
	if got := c.m.Merge([]byte("{"), learned); string(got.Value) != string(learned.Value) {
		t.Errorf("with a damaged record: %s", got.Value)
	}
	if got := c.m.Merge(kept, store.Change{Key: key, Value: []byte("{")}); string(got.Value) != string(kept) {
		t.Errorf("what was learned is damaged: %s", got.Value)
	}
	if got := c.m.Merge(kept, store.Change{Key: "sts/x", Value: []byte("new")}); string(got.Value) != "new" {
		t.Errorf("what is no record: %s", got.Value)
	}
}

func TestARebaseThatFailsChangesNothing(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	wrong := errors.New("no")
	if err := c.m.Rebase(func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("it says %v", err)
	}
	c.remembers(mx1, true, false)
}

func TestClientsAreMerged(t *testing.T) {
	a := newRecord(clientKind).(*ClientRecord)
	b := newRecord(clientKind).(*ClientRecord)
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	a.Seen.add(at)
	a.Failed.add(at)
	a.Failing, a.Held = at, at.Add(2*time.Minute)
	b.Seen.add(at.Add(time.Hour))
	b.Habits.add(at.Add(time.Hour), valid)
	b.Expected = at.Add(time.Hour)
	a.merge(b)
	if a.Seen.Count != 2 || !a.Failing.IsZero() || !a.Held.IsZero() || a.Expected.IsZero() || a.Failed.Count != 1 || len(a.Versions) != 1 {
		t.Errorf("%+v", a)
	}
}
