package proxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// timer is the time limit of one socket. There is a new limit for nearly every
// read and write, and a real deadline costs a third of a microsecond to set; so
// long ones are only noted, and a sweeper that comes by once a second sets the
// deadline when the time is up.
type timer struct {
	socket net.Conn
	sweep  *sweeper // nil: every limit is a real deadline

	pace     time.Duration // while message data moves: for each read and write
	paceLast time.Time     // and for all of them

	mu    sync.Mutex
	limit time.Duration // on the sweeper's clock; 0 is none
	set   bool          // the socket has a deadline
	idle  bool          // waiting for a command
	woken bool
}

// exact is the length of limit from which on a second more or less does not
// matter. Shorter ones are real deadlines.
const exact = 8 * time.Second

// margin is by how much a limit of this length may come too early.
func margin(d time.Duration) time.Duration {
	if d < exact {
		return 0
	}
	return 2 * sweepEvery
}

var aLongTimeAgo = time.Unix(1, 0)

// within gives what follows d time, at most until last (when that is set).
func (t *timer) within(d time.Duration, last time.Time) { t.arm(d, last, false) }

// waiting is within for the wait for the next command, which Wake ends.
func (t *timer) waiting(d time.Duration, last time.Time) { t.arm(d, last, true) }

// moving gives each read and write from now on d time, and all of them until
// last; 0 ends that.
func (t *timer) moving(d time.Duration, last time.Time) { t.pace, t.paceLast = d, last }

func (t *timer) keepPace() {
	if t.pace > 0 {
		t.arm(t.pace, t.paceLast, false)
	}
}

func (t *timer) arm(d time.Duration, last time.Time, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = idle
	if t.sweep != nil {
		now := t.sweep.now()
		t.limit = now + d
		if !last.IsZero() {
			t.limit = min(t.limit, last.Sub(t.sweep.start))
		}
		if d = t.limit - now; d >= exact && !(t.woken && idle) {
			if t.set {
				t.set = false
				t.socket.SetDeadline(time.Time{})
			}
			return
		}
	}
	t.set, t.limit = true, 0
	at := time.Now().Add(d)
	if !last.IsZero() && last.Before(at) {
		at = last
	}
	t.socket.SetDeadline(at)
	if t.woken && idle {
		t.socket.SetReadDeadline(aLongTimeAgo)
	}
}

// busy ends the wait for a command.
func (t *timer) busy() {
	t.mu.Lock()
	t.idle = false
	t.mu.Unlock()
}

// Wake ends the present wait for a command, and all later ones at once.
func (t *timer) Wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.woken = true
	if t.idle {
		t.set = true
		t.socket.SetReadDeadline(aLongTimeAgo)
	}
}

// over has the sweeper look after the socket from now on, until stop.
func (t *timer) over(s *sweeper) {
	t.sweep = s
	s.add(t)
}

func (t *timer) stop() {
	if t.sweep != nil {
		t.sweep.remove(t)
	}
}

// expire sets the deadline of a limit that is over.
func (t *timer) expire(now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit > 0 && t.limit <= now && !t.set {
		t.set = true
		t.socket.SetDeadline(aLongTimeAgo)
	}
}

// sweeper enforces the long limits of many sockets. It runs while it has any.
type sweeper struct {
	start time.Time
	clock atomic.Int64 // time since start, as of the last sweep

	mu     sync.Mutex
	timers map[*timer]struct{}
	quit   chan struct{} // ends run; nil while it does not run
}

// sweepEvery is the time between two sweeps.
const sweepEvery = time.Second

func newSweeper() *sweeper {
	return &sweeper{start: time.Now(), timers: make(map[*timer]struct{})}
}

// now is the time since start, at most sweepEvery ago.
func (s *sweeper) now() time.Duration { return time.Duration(s.clock.Load()) }

func (s *sweeper) add(t *timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers[t] = struct{}{}
	if s.quit == nil {
		s.quit = make(chan struct{})
		s.clock.Store(int64(time.Since(s.start)))
		go s.run(s.quit)
	}
}

func (s *sweeper) remove(t *timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.timers, t)
	if len(s.timers) == 0 && s.quit != nil {
		close(s.quit)
		s.quit = nil
	}
}

func (s *sweeper) run(quit <-chan struct{}) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			now := time.Since(s.start)
			s.clock.Store(int64(now))
			s.once(now)
		}
	}
}

// once goes over all timers.
func (s *sweeper) once(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.timers {
		t.expire(now)
	}
}
