package peers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"postern/store"
)

// Options are what a Memory is made of. Only Store is needed.
type Options struct {
	// Store keeps the records. The Memory does not close it.
	Store store.Store
	// Now is the wall clock: time.Now when nil.
	Now func() time.Time
	// Log is told of what is remembered, skipped and released, and of a store
	// that fails: nowhere when nil.
	Log *slog.Logger
}

// Memory is what is remembered of all peers, in both directions.
type Memory struct {
	store    store.Store
	now      func() time.Time
	log      *slog.Logger
	outage   outage
	flushing sync.Mutex
	expire   atomic.Int64 // the longest Expire of any Outbound: for List

	// Apart, so that clients of an inbound, whom anyone can invent, do not
	// displace servers.
	clients *cache
	servers *cache
}

// The capacities are in records, of some hundred octets each.
const (
	clientCapacity = 65536
	serverCapacity = 16384
)

// New returns the memory that a store holds. What changes is written by Run or
// Flush.
func New(o Options) *Memory {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &Memory{store: o.Store, log: o.Log, outage: outage{log: o.Log}}
	// The wall clock alone: a monotonic reading would not be in the store.
	m.now = func() time.Time { return o.Now().Round(0).UTC() }
	m.clients, m.servers = newCache(m, clientCapacity), newCache(m, serverCapacity)
	return m
}

// How often changes are written and, after that has failed, tried again; and
// how often what has expired is removed.
const (
	writeEvery = 250 * time.Millisecond
	retryEvery = 5 * time.Second
	sweepEvery = time.Hour
)

// Run writes what changes to the store, about every 250 ms, and removes what
// has expired, about every hour. When ctx ends it writes for the last time and
// returns. A store that fails, because the disk is full, say, is logged once,
// and once when it works again; until then the changes are kept in memory.
func (m *Memory) Run(ctx context.Context) {
	write := time.NewTimer(writeEvery)
	defer write.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	swept := m.now()
	for {
		select {
		case <-ctx.Done():
			_ = m.Flush() // has been logged
			return
		case <-write.C:
			if m.Flush() == nil {
				write.Reset(writeEvery)
			} else {
				write.Reset(retryEvery)
			}
		case <-sweep.C:
			swept = m.sweep(swept)
		}
	}
}

// sweep removes what has expired, unless the clock has run away since the last
// time: it may be set right again, and until then nothing should be lost.
func (m *Memory) sweep(last time.Time) time.Time {
	now := m.now()
	if d := now.Sub(last); d < -skew || d > 2*sweepEvery {
		return now
	}
	if _, err := m.store.Sweep(); err != nil {
		m.outage.failed("what has expired cannot be removed from the memory of peers", err)
	}
	return now
}

// Flush writes what has changed. An error is the store's, and has been logged;
// what was not written is still due.
func (m *Memory) Flush() error {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	err := errors.Join(m.servers.flush(), m.clients.flush())
	if err != nil {
		m.outage.failed("the memory of peers cannot be written: it is kept until it can be", err)
		return err
	}
	m.outage.ended(m.servers.lost() + m.clients.lost())
	return nil
}

// lost returns, once, how many changes there was no room for.
func (c *cache) lost() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.dropped
	c.dropped = 0
	return n
}

// outage logs that the store fails once, and once that it works again.
type outage struct {
	log *slog.Logger
	mu  sync.Mutex
	on  bool
}

func (o *outage) failed(what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on {
		o.log.Error(what, "error", err)
	}
	o.on = true
}

func (o *outage) ended(lost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.on {
		o.log.Info("the memory of peers is written again", "records_lost", lost)
	}
	o.on = false
}
