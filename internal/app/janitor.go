package app

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	janitorEvery = time.Second
	janitorAfter = 256 // handshakes, below which it is not worth the work
)

// janitor returns memory to the system after a burst of new sessions. A TLS
// handshake needs some 50 KiB of stack and heap that the session which follows
// does not; the runtime keeps them for a while, and the stacks until the next
// collection that looks at them. While handshakes come in, that is right:
// they are used again at once. In the first quiet second it is not.
type janitor struct {
	count   func() int64 // handshakes so far
	release func()

	last     int64 // the count a tick ago
	released int64 // the count at the last release
}

// tick looks once.
func (j *janitor) tick() {
	n := j.count()
	if n < j.last { // an inbound is gone, and its count with it
		j.released = min(j.released, n)
	}
	if n == j.last && n-j.released >= janitorAfter {
		j.released = n
		j.release()
	}
	j.last = n
}

// run ticks until ctx ends.
func (j *janitor) run(ctx context.Context) {
	t := time.NewTicker(janitorEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			j.tick()
		}
	}
}

// gcPercent is how much garbage may pile up beside what lives. A session leaves
// much behind and keeps little: a few KiB against the 100 that its handshake
// allocates. With Go's 100 percent a busy edge of few open sessions would
// collect hundreds of times a second. The heap of a proxy that holds no
// message is small, so five times of it is still small.
const gcPercent = 400

// tuneMemory sets it, unless the operator has said otherwise with GOGC.
func tuneMemory() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
}
