package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	"postern/store"
	"postern/tls/certs"
)

// Run runs the proxy with the configuration in the file that was named, or in
// the first of the usual places, until it is told to stop: SIGHUP reloads,
// SIGTERM or SIGINT drains, a second one leaves at once. The log goes to w.
//
// It returns nil after a clean drain. An error may have a Hint, and
// NeedsEditing says whether it is of the configuration.
func Run(ctx context.Context, named string, w io.Writer) error {
	// From the first moment: a SIGHUP that comes early must not kill us.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	cfg, path, err := load(named)
	if err != nil {
		return unconfigured{err}
	}
	tuneMemory()
	p, err := start(cfg, startOptions{path: path, log: w})
	if err != nil {
		return err
	}
	return p.loop(ctx, signals)
}

// startOptions is what start needs beside a configuration.
type startOptions struct {
	path    string       // of the configuration; empty when there is no file
	log     io.Writer    //
	sockets []*listener  // opened already, in the place of listen addresses; nil: systemd's
	admin   net.Listener // likewise
}

// process is a service with all that surrounds it.
type process struct {
	*service
	cfg     *config.Config // of the start: what needs a restart is compared with it
	state   store.Store    // of the memory; closed at the end
	admin   adminListeners
	metrics func(context.Context) error

	flushLog func()
}

// start brings everything up. An error means that nothing is left running.
func start(cfg *config.Config, o startOptions) (*process, error) {
	log, flush := newLogger(o.log, cfg.Log)
	p := &process{cfg: cfg, flushLog: flush, metrics: func(context.Context) error { return nil }}
	observer, pages, err := p.observer(cfg, o.admin)
	if err != nil {
		return nil, err
	}
	if err := p.remember(cfg.State, log); err != nil {
		return nil, p.failed(err)
	}
	p.service = newService(lasting{
		hostname: cfg.Hostname, tickets: certs.NewTickets(nil), places: newPlaces(), own: new(ownAddresses), loops: proxy.NewLoops(), latest: new(latest),
		memory: peers.New(peers.Options{Store: p.state, Log: log}), memories: p.state, outcomes: outcomes.New(outcomes.Options{Store: p.state, Log: log}),
		observer: observer, log: log,
	}, o.path)
	p.sts = p.policies()
	if err := p.open(o); err != nil {
		return nil, p.failed(err)
	}
	p.admin.serve(pages, p.service)
	p.sayHello()
	p.beside.Go(func() { p.tickets.Run(p.ctx) })
	p.beside.Go(func() { p.memory.Run(p.ctx) })
	p.beside.Go(func() { p.outcomes.Run(p.ctx) })
	p.beside.Go(func() { (&janitor{count: p.handshakes, release: debug.FreeOSMemory}).run(p.ctx) })
	p.beside.Go(func() { warnNames(p.ctx, p.log, cfg) })
	flush()
	p.notify.ready(p.summary())
	return p, nil
}

// remember opens the state.
func (p *process) remember(c config.State, log *slog.Logger) (err error) {
	p.state, err = openState(c, log)
	return err
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
		_ = p.state.Close()
	}
	return err
}

// open opens all sockets and takes the first configuration.
func (p *process) open(o startOptions) (err error) {
	if p.listeners = o.sockets; o.sockets == nil {
		if p.listeners, err = systemdSockets(p.cfg); err != nil {
			return err
		}
	}
	if p.admin, err = openAdmin(p.cfg.Admin, o.admin); err != nil {
		return err
	}
	return p.take(p.cfg)
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
			if sig != syscall.SIGHUP {
				return p.drain(signals, watchdog)
			}
			p.reload()
		case <-watchdog:
			p.notify.watchdog()
		}
	}
}

// errImpatient is the end by a second signal.
var errImpatient = errors.New("stopped at once by a second signal")

// drain stops accepting, lets the sessions end within their grace, and leaves.
// The admin page answers until the end, and says that we are not ready.
func (p *process) drain(signals <-chan os.Signal, watchdog <-chan time.Time) error {
	p.draining.Store(true)
	p.notify.stopping("finishing messages that are under way")
	p.log.Info("stopping: no new sessions, messages under way are finished", "sessions", p.sessions())
	shutAll(p.listeners)
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
			if sig != syscall.SIGHUP {
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
	var group sync.WaitGroup
	var mu sync.Mutex
	var all error
	for name, server := range p.servers {
		f := p.plan.front(name)
		group.Go(func() {
			if err := shutdown(ctx, server, f.grace); err != nil {
				mu.Lock()
				defer mu.Unlock()
				all = errors.Join(all, fmt.Errorf("%s %q: %w", f.kind, name, err))
			}
		})
	}
	group.Wait()
	p.retiring.Wait()
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
	// Both have logged what could not be written.
	_ = p.memory.Flush()
	_ = p.outcomes.Flush()
	if err := p.state.Close(); err != nil {
		p.log.Warn("the state was not closed well", "error", err)
	}
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
