package proxy

import "time"

// workers are goroutines that do one thing after the other, for what needs a
// deep stack: a fresh goroutine would grow its own, by copying it, each time.
// There are as many as were busy at once, and they go when nothing is left.
type workers struct {
	next chan func()
}

func newWorkers() workers { return workers{next: make(chan func())} }

// workerIdle is how long a worker waits for more to do.
const workerIdle = 250 * time.Millisecond

// do has f done by a worker, and does not wait for it.
func (w workers) do(f func()) {
	select {
	case w.next <- f:
	default:
		go w.work(f)
	}
}

func (w workers) work(f func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		f()
		idle.Reset(workerIdle)
		select {
		case f = <-w.next:
		case <-idle.C:
			return
		}
	}
}
