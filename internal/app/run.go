package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"postern/config"
	"postern/outcomes"
	"postern/peers"
	"postern/proxy"
	"postern/tls/certs"
)

// Run runs the proxy with the configuration in the file that was named, or in
// the first of the usual places, until it is told to stop: SIGHUP reloads,
// SIGUSR2 has a new process take over, SIGTERM or SIGINT drains, a second one
// leaves at once. The log goes to w. Started by a process that it is to take over
// from, it does that.
//
// It returns nil after a clean drain. An error may have a Hint, and
// NeedsEditing says whether it is of the configuration.
func Run(ctx context.Context, named string, w io.Writer) error {
	// From the first moment: a SIGHUP that comes early must not kill us.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	estate, err := inherit()
	if err != nil {
		return err
	}
	cfg, path, err := load(named)
	if err != nil {
		return estate.failed(unconfigured{err})
	}
	tuneMemory()
	p, err := start(cfg, startOptions{path: path, log: w, estate: estate})
	if err != nil {
		return estate.failed(err)
	}
	return p.loop(ctx, signals)
}

// startOptions is what start needs beside a configuration.
type startOptions struct {
	path    string       // of the configuration; empty when there is no file
	log     io.Writer    //
	sockets []*listener  // opened already, in the place of listen addresses; nil: systemd's
	admin   net.Listener // likewise
	estate  *estate      // of the process to take over from; nil: there is none
}

// process is a service with all that surrounds it.
type process struct {
	*service
	cfg     *config.Config // of the start: what needs a restart is compared with it
	state   *keeper        // of the memory
	admin   adminListeners
	metrics func(context.Context) error

	succession *succession
	leaving    chan struct{} // closed when it begins to drain

	flushLog func()
}

// start brings everything up. An error means that nothing is left running.
func start(cfg *config.Config, o startOptions) (*process, error) {
	log, flush := newLogger(o.log, cfg.Log)
	p := &process{
		cfg: cfg, flushLog: flush, metrics: func(context.Context) error { return nil },
		succession: newSuccession(), leaving: make(chan struct{}),
	}
	observer, pages, err := p.observer(cfg, o.admin)
	if err != nil {
		return nil, err
	}
	if p.state, err = openKeeper(cfg.State, log, o.estate != nil); err != nil {
		return nil, p.failed(err)
	}
	p.state.memory, p.state.outcomes = peers.New(peers.Options{Store: p.state, Log: log}), outcomes.New(outcomes.Options{Store: p.state, Log: log})
	p.service = newService(lasting{
		hostname: cfg.Hostname, tickets: certs.NewTickets(nil), places: newPlaces(), own: new(ownAddresses), loops: proxy.NewLoops(), latest: new(latest),
		memory: p.state.memory, memories: p.state, outcomes: p.state.outcomes,
		observer: observer, log: log,
	}, o.path)
	p.sts = p.policies()
	if err := p.open(o); err != nil {
		return nil, p.failed(err)
	}
	p.admin.serve(pages, p)
	p.sayHello()
	p.state.begin()
	p.beside.Go(func() { p.tickets.Run(p.ctx) })
	p.beside.Go(func() { p.memory.Run(p.ctx) })
	p.beside.Go(func() { p.outcomes.Run(p.ctx) })
	p.beside.Go(func() { (&janitor{count: p.handshakes, release: debug.FreeOSMemory}).run(p.ctx) })
	p.beside.Go(func() { warnNames(p.ctx, p.log, cfg) })
	flush()
	summary := p.summary()
	o.estate.serving(&p.beside, func() { p.notify.ready(summary) })
	return p, nil
}

// failed undoes what start had done until it failed.
func (p *process) failed(err error) error {
	p.flushLog()
	if p.service != nil {
		shutAll(p.listeners)
		p.sts.Close()
	}
	p.admin.close()
	// The error before them is the one to tell.
	_ = p.metrics(context.Background())
	if p.state != nil {
		p.state.finish()
	}
	return err
}

// open opens all sockets and takes the first configuration.
func (p *process) open(o startOptions) (err error) {
	switch {
	case o.estate != nil:
		p.listeners = o.estate.fronts(p.cfg)
	case o.sockets != nil:
		p.listeners = o.sockets
	default:
		if p.listeners, err = systemdSockets(p.cfg); err != nil {
			return err
		}
	}
	if p.admin, err = openAdmin(p.cfg.Admin, o); err != nil {
		return err
	}
	next, bound, err := p.prepare(p.cfg)
	if err != nil {
		return err
	}
	if o.estate.prepared(); o.estate != nil {
		if err := p.state.claim(0); err != nil && !isInUse(err) {
			shutAll(bound.fresh)
			return problem(stateHint, "state: %w", err)
		}
	}
	p.swap(nil, next, bound)
	return nil
}

// loop does what signals ask for, until one of them or ctx ends it.
func (p *process) loop(ctx context.Context, signals <-chan os.Signal) error {
	defer p.flushLog()
	watchdog, stop := watchdogTicker(p.log)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return p.drain(signals, watchdog)
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				p.reload()
			case syscall.SIGUSR2:
				p.begin(request{answer: func(handover) {}})
			default:
				return p.drain(signals, watchdog)
			}
		case r := <-p.succession.requests:
			p.begin(r)
		case o := <-p.succession.outcome:
			if p.ended(o); o.err == nil {
				return p.retire(signals)
			}
		case <-watchdog:
			p.notify.watchdog()
		}
	}
}

// errImpatient is the end by a second signal.
var errImpatient = errors.New("stopped at once by a second signal")

// retire is the end of a process that another one has taken over from. Nobody is
// told to go: sessions end when their clients have done what they came for, within
// their grace. After that, or at a signal, the rest is drained.
func (p *process) retire(signals <-chan os.Signal) error {
	p.leave()
	p.handedOver()
	p.admin.close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.eachServer(func(f *front, server *proxy.Server) error {
			ctx, cancel := context.WithTimeout(ctx, f.grace)
			defer cancel()
			return server.Finish(ctx)
		})
	}()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case sig := <-signals:
			waiting = sig == syscall.SIGHUP || sig == syscall.SIGUSR2
		}
	}
	stop()
	<-done
	return p.drain(signals, nil)
}

// handedOver leaves to the successor what is for one process alone.
func (p *process) handedOver() {
	p.notify.send = func(string) error { return nil } // it tells the manager
	p.admin.removeSocket(false)
}

// leave stops accepting, and lets go of what another process may wait for.
func (p *process) leave() {
	if !p.draining.Swap(true) {
		close(p.leaving)
		shutAll(p.listeners)
		p.state.letGo()
	}
}

// drain stops accepting, lets the sessions end within their grace, and leaves.
// The admin page answers until the end, and says that we are not ready.
func (p *process) drain(signals <-chan os.Signal, watchdog <-chan time.Time) error {
	if p.succession.abort != nil {
		p.succession.abort()
		o := <-p.succession.outcome
		if p.ended(o); o.err == nil { // it was faster
			p.handedOver()
		}
	}
	p.notify.stopping("finishing messages that are under way")
	p.log.Info("stopping: no new sessions, messages under way are finished", "sessions", p.sessions())
	p.leave()
	done := make(chan error, 1)
	ctx, cut := context.WithCancel(context.Background())
	defer cut()
	go func() { done <- p.shutdownAll(ctx) }()
	for {
		select {
		case err := <-done:
			p.end()
			if err != nil {
				p.log.Warn("stopped, sessions had to be cut off: no message is lost, their senders will try again", "error", err)
				return nil
			}
			p.log.Info("stopped")
			return nil
		case sig := <-signals:
			if sig != syscall.SIGHUP && sig != syscall.SIGUSR2 {
				cut()
				p.cancel()
				<-done
				p.end()
				p.log.Warn("stopped at once by a second signal")
				return errImpatient
			}
		case <-watchdog:
			p.notify.watchdog()
		}
	}
}

// shutdownAll drains all servers side by side.
func (p *process) shutdownAll(ctx context.Context) error {
	err := p.eachServer(func(f *front, server *proxy.Server) error {
		if err := shutdown(ctx, server, f.grace); err != nil {
			return fmt.Errorf("%s %q: %w", f.kind, f.name, err)
		}
		return nil
	})
	p.retiring.Wait()
	return err
}

// eachServer does something with all servers, side by side.
func (p *process) eachServer(do func(*front, *proxy.Server) error) (all error) {
	var group sync.WaitGroup
	var mu sync.Mutex
	for name, server := range p.servers {
		group.Go(func() {
			err := do(p.plan.front(name), server)
			mu.Lock()
			defer mu.Unlock()
			all = errors.Join(all, err)
		})
	}
	group.Wait()
	return all
}

// end stops what goes on beside the sessions, and waits for it. What the last of
// them have taught is written then.
func (p *process) end() {
	for _, in := range p.plan.inbounds {
		in.backends.end()
	}
	for _, out := range p.plan.outbounds {
		out.gateway.Close()
	}
	p.cancel()
	p.admin.close()
	p.beside.Wait()
	p.sts.Close()
	p.state.finish()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// Nobody is left to read what could not be measured.
	_ = p.metrics(ctx)
}

// sessions is how many are open.
func (p *process) sessions() (n int) {
	for _, server := range p.servers {
		n += server.Sessions()
	}
	return n
}
