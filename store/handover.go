package store

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Handover is a Store whose engine can be taken away and given back while it
// is in use: a file is for one process at a time, and one that takes over from
// another must have it while the other still has sessions to finish. Without
// an engine it goes on from memory, and takes note of what was changed there.
//
// Its zero value cannot be used: NewHandover makes it.
type Handover struct {
	now    func() time.Time
	bounds Bounds // of the memory

	mu      sync.RWMutex
	engine  *lease
	learned map[string]Change // since there is no engine that lasts; nil while there is
	lost    int               // changes that there was no room for
}

// lease is an engine and who is in the middle of a Scan of it.
type lease struct {
	Store
	scans sync.WaitGroup
}

// Merge returns what is to be written when something was learned that has the
// key of an entry: kept is its value.
type Merge func(kept []byte, learned Change) Change

// maxLearned bounds what is kept of changes beside the memory itself.
const maxLearned = 1 << 17

// NewHandover returns one without an engine, and with nothing in memory. It
// takes the time from now, which is time.Now outside tests, and is bounded as the
// engine should be.
func NewHandover(now func() time.Time, b Bounds) *Handover {
	return &Handover{now: now, bounds: b, engine: &lease{Store: NewBoundedMemory(now, b)}, learned: map[string]Change{}}
}

// Attach makes s the engine, with what was learned without one, and owns it
// then: Release or Close close it. An error is that of s, which is not used
// then; what was learned is still due.
func (h *Handover) Attach(s Store, merge Merge) error {
	h.mu.Lock()
	old := h.engine
	if err := write(s, h.due(), merge); err != nil {
		h.mu.Unlock()
		return err
	}
	h.engine, h.learned = &lease{Store: s}, nil
	h.mu.Unlock()
	old.scans.Wait()
	return old.Close()
}

// Take writes what others have learned.
func (h *Handover) Take(changes []Change, merge Merge) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := write(h.engine, changes, merge); err != nil {
		return err
	}
	for _, c := range changes {
		if value, err := h.engine.Get(c.Key); err == nil {
			c.Value = value
		}
		h.note(c)
	}
	return nil
}

// write merges changes into s, all or none.
func write(s Store, changes []Change, merge Merge) error {
	if len(changes) == 0 {
		return nil
	}
	merged := make([]Change, 0, len(changes))
	for _, c := range changes {
		kept, err := s.Get(c.Key)
		switch {
		case err == nil && c.Value != nil:
			c = merge(kept, c)
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		}
		merged = append(merged, c)
	}
	return s.Write(merged...)
}

// dumper is an engine that tells all that it has, with the times of expiry.
type dumper interface {
	dump(f func(Change)) error
}

// Release copies what the engine has into memory and closes it. Everybody
// waits meanwhile: for some 100 ms where there are 100,000 entries. An engine
// that cannot be read to its end is closed all the same: what was read is in
// memory. Without an engine nothing happens.
func (h *Handover) Release() error {
	h.mu.Lock()
	old := h.engine
	from, ok := old.Store.(dumper)
	if h.learned != nil || !ok {
		h.mu.Unlock()
		return nil
	}
	memory := NewBoundedMemory(h.now, h.bounds)
	err := from.dump(func(c Change) { memory.add(c.Key, item{c.Value, c.Expires, c.Pinned}) })
	h.engine, h.learned = &lease{Store: memory}, map[string]Change{}
	h.mu.Unlock()
	old.scans.Wait()
	return errors.Join(err, old.Close())
}

// Attached says whether there is an engine.
func (h *Handover) Attached() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.learned == nil
}

// Learned returns what was changed since there is no engine, in the order of
// keys, and how many changes more there was no room for.
func (h *Handover) Learned() (changes []Change, lost int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.due(), h.lost
}

func (h *Handover) due() []Change {
	changes := make([]Change, 0, len(h.learned))
	for _, c := range h.learned {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	return changes
}

// note takes note of a change, where there is no engine.
func (h *Handover) note(c Change) {
	if h.learned == nil {
		return
	}
	if _, known := h.learned[c.Key]; !known && len(h.learned) >= maxLearned {
		h.lost++
		return
	}
	h.learned[c.Key] = c
}

// Get implements Store.
func (h *Handover) Get(key string) ([]byte, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.engine.Get(key)
}

// Write implements Store.
func (h *Handover) Write(changes ...Change) error {
	h.mu.RLock()
	if h.learned == nil {
		defer h.mu.RUnlock()
		return h.engine.Write(changes...)
	}
	h.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.engine.Write(changes...); err != nil {
		return err
	}
	for _, c := range changes {
		c.Value = slices.Clone(c.Value)
		h.note(c)
	}
	return nil
}

// Scan implements Store. It goes on with the engine that it has begun with,
// and f may call the store: the lock is not held then.
func (h *Handover) Scan(prefix string, f func(key string, value []byte) error) error {
	h.mu.RLock()
	engine := h.engine
	engine.scans.Add(1)
	h.mu.RUnlock()
	defer engine.scans.Done()
	return engine.Scan(prefix, f)
}

// Sweep implements Store.
func (h *Handover) Sweep() (int, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.engine.Sweep()
}

// Close implements Store.
func (h *Handover) Close() error {
	h.mu.Lock()
	engine := h.engine
	h.mu.Unlock()
	engine.scans.Wait()
	return engine.Close()
}
