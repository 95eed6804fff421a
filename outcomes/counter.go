package outcomes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"postern/store"
	"postern/tls/report"
)

const (
	secondsOfDay = 24 * 60 * 60 // Unix time has no others

	prefix     = "outcomes/"        // and the day, the part and the number of the line
	keepFor    = 3 * 24 * time.Hour // after the end of the day
	maxSheets  = 3                  // days in memory, where the store takes nothing
	writeEvery = time.Second
	retryEvery = 5 * time.Second
	batch      = 256 // lines in one transaction
	encoded    = 16  // lines encoded at a time, for which the lock is held
)

// Options are what a Counter is made of. Only Store is needed.
type Options struct {
	Store store.Store // the Counter does not close it
	Now   func() time.Time
	Log   *slog.Logger // of a store that fails; nil: nowhere
}

// Counter counts session attempts. Its methods may be called from any number of goroutines.
type Counter struct {
	store store.Store
	now   func() time.Time
	log   *slog.Logger

	mu     sync.Mutex
	sheets []*sheet // of the days that are not all written, and the one in use last
	lost   int      // lines that were given up with the day that they were of

	flushing sync.Mutex // held around the store
	failing  bool       // the store did not take the last lines
}

// sheet is what this process has counted of one day.
type sheet struct {
	day    int64  // since 1970
	part   string // in the keys: of this sheet alone
	lines  map[key]*line
	others *line
	size   int
	dirty  []*line // not all written
}

type line struct {
	Count
	key   string
	dirty bool // in the sheet's list
}

// New makes a Counter. What it counts is written by Run or Flush.
func New(o Options) *Counter {
	c := &Counter{store: o.Store, now: o.Now, log: o.Log}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Add counts one session attempt, on the present day. It does not wait for the store.
func (c *Counter) Add(o report.Outcome) {
	day := dayOf(c.now())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.today(day).add(&o)
}

// dayOf is the number of a UTC day since 1970 (RFC 8460, 4.1).
func dayOf(t time.Time) int64 {
	return t.Unix() / secondsOfDay
}

// nameOf is a day in keys.
func nameOf(day int64) string {
	return time.Unix(day*secondsOfDay, 0).UTC().Format(time.DateOnly)
}

// today is the sheet of a day, the last one in the list from now on. A clock that is set back and forth
// finds the sheet again, or makes another one with a part of its own.
func (c *Counter) today(day int64) *sheet {
	last := len(c.sheets) - 1
	if last >= 0 && c.sheets[last].day == day {
		return c.sheets[last]
	}
	s := &sheet{day: day, part: rand.Text(), lines: map[key]*line{}}
	if i := slices.IndexFunc(c.sheets, func(s *sheet) bool { return s.day == day }); i >= 0 {
		s = c.sheets[i]
		c.sheets = slices.Delete(c.sheets, i, i+1)
	}
	c.sheets = append(c.sheets, s)
	if len(c.sheets) > maxSheets {
		c.lost += len(c.sheets[0].dirty)
		c.sheets = slices.Delete(c.sheets, 0, 1)
	}
	return s
}

func (s *sheet) add(o *report.Outcome) {
	l := s.line(o)
	s.size += l.add(kindOf(o), 1, l != s.others && s.size < maxSize)
	s.due(l)
}

// due notes that a line is to be written.
func (s *sheet) due(l *line) {
	if !l.dirty {
		l.dirty = true
		s.dirty = append(s.dirty, l)
	}
}

// line is where an outcome is counted: among others, where there is no room for it.
func (s *sheet) line(o *report.Outcome) *line {
	if o.Domain != "" {
		k := keyOf(o)
		if l := s.lines[k]; l != nil {
			return l
		}
		if len(s.lines) < maxLines && s.size < maxSize {
			l := &line{Count: Count{Domain: clip(o.Domain), Policy: bounded(o.Policy)}, key: s.name(len(s.lines) + 1)}
			s.lines[k] = l
			s.size += l.cost()
			return l
		}
	}
	if s.others == nil {
		s.others = &line{key: s.name(0)}
	}
	return s.others
}

func (s *sheet) name(n int) string {
	return prefix + nameOf(s.day) + "/" + s.part + "/" + strconv.Itoa(n)
}

// Run writes what was counted to the store, about every second. When ctx ends it writes for the last time and returns.
func (c *Counter) Run(ctx context.Context) {
	timer := time.NewTimer(writeEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = c.Flush() // has been logged
			return
		case <-timer.C:
			if c.Flush() == nil {
				timer.Reset(writeEvery)
			} else {
				timer.Reset(retryEvery)
			}
		}
	}
}

// Flush writes what was counted. An error is the store's, and has been logged; what was not
// written is still due.
func (c *Counter) Flush() error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	for {
		taken := c.take()
		if len(taken) == 0 {
			c.settle()
			return nil
		}
		if err := c.store.Write(changes(taken)...); err != nil {
			c.putBack(taken)
			if !c.failing {
				c.log.Error("the outcomes of sessions cannot be written: they are kept until they can be", "error", err)
			}
			c.failing = true
			return fmt.Errorf("writing the outcomes of sessions: %w", err)
		}
	}
}

// taken is a line on its way to the store.
type taken struct {
	of     *sheet
	line   *line
	change store.Change
}

func changes(all []taken) (c []store.Change) {
	for _, t := range all {
		c = append(c, t.change)
	}
	return c
}

// take encodes some of what has changed. It lets go of the lock now and then, so that no session waits for long.
func (c *Counter) take() (all []taken) {
	for more := true; more && len(all) < batch; {
		more = false
		c.mu.Lock()
		for _, s := range c.sheets {
			n := min(encoded, len(s.dirty))
			for _, l := range s.dirty[:n] {
				l.dirty = false
				all = append(all, taken{s, l, l.change(s.day)})
			}
			s.dirty = slices.Delete(s.dirty, 0, n)
			more = more || len(s.dirty) > 0
		}
		c.mu.Unlock()
	}
	return all
}

func (l *line) change(day int64) store.Change {
	value, err := json.Marshal(&l.Count)
	if err != nil {
		panic(err) // texts, numbers and addresses
	}
	return store.Change{Key: l.key, Value: value, Expires: time.Unix((day+1)*secondsOfDay, 0).Add(keepFor)}
}

// putBack makes lines due again that were not written.
func (c *Counter) putBack(all []taken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range all {
		t.of.due(t.line)
	}
}

// settle forgets the days that are over and written, and ends an outage.
func (c *Counter) settle() {
	c.mu.Lock()
	if last := len(c.sheets) - 1; last > 0 {
		current := c.sheets[last]
		c.sheets = slices.DeleteFunc(c.sheets, func(s *sheet) bool { return s != current && len(s.dirty) == 0 })
	}
	lost := c.lost
	c.lost = 0
	c.mu.Unlock()
	if c.failing {
		c.log.Info("the outcomes of sessions are written again", "lines_lost", lost)
	}
	c.failing = false
}
