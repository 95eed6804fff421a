package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/proxy"
	"postern/tls/certs"
)

// service is what runs: servers, their listeners, and what goes on beside
// them. start, reload and drain are called by one goroutine; the questions of
// the admin page come from others.
type service struct {
	lasting
	path   string // of the configuration; empty when there is no file
	notify notifier

	listeners []*listener
	unwatch   context.CancelFunc // stops the watch of the certificates
	untry     context.CancelFunc // stops the trials of the resolver
	ctx       context.Context    // of what goes on until the end
	cancel    context.CancelFunc
	beside    sync.WaitGroup // all goroutines but those of sessions
	retiring  sync.WaitGroup // servers of what a reload removed
	draining  atomic.Bool
	renewing  sync.Once // starts what keeps MTA-STS policies up to date

	mu      sync.Mutex // of what follows, which the other goroutines read
	plan    *plan
	servers map[string]*proxy.Server // by the name of the inbound or outbound
}

func newService(l lasting, path string) *service {
	s := &service{lasting: l, path: path, notify: systemd(l.log), servers: make(map[string]*proxy.Server)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// take makes a configuration the one in use. Until all that can fail has been
// done, nothing is changed: an error leaves everything as it was.
func (s *service) take(cfg *config.Config) error {
	next, bound, err := s.prepare(cfg)
	if err != nil {
		return err
	}
	s.swap(s.plan, next, bound)
	return nil
}

// prepare does all that can fail.
func (s *service) prepare(cfg *config.Config) (next *plan, bound binding, err error) {
	b := builder{lasting: s.lasting, cfg: cfg, old: s.plan, sockets: socketPorts(s.listeners)}
	next, err = b.build()
	if err = errors.Join(privileges(cfg), err); err != nil {
		return nil, bound, err
	}
	if bound, err = bind(next, s.listeners); err != nil {
		s.serve(bound)
		return nil, bound, err
	}
	return next, bound, nil
}

// serve accepts on the listeners that are not served yet.
func (s *service) serve(b binding) {
	s.listeners = b.next
	for _, l := range b.next {
		if server := s.servers[l.front]; l.served == nil && server != nil {
			l.serve(server, &s.beside)
		}
	}
}

// swap cannot fail. Servers have their new settings before a new listener is
// served, and old listeners are closed after that.
func (s *service) swap(old, next *plan, b binding) {
	retired := s.configure(next)
	s.look(old, next)
	s.own.set(ownOf(next, b.next))
	for _, in := range next.inbounds {
		if before := old.inbound(in.name); before == nil || before.backends != in.backends {
			in.backends.start(&s.beside)
		}
	}
	s.serve(b)
	s.watch(next)
	shutAll(b.gone)
	s.retire(old, next, retired)
}

// look begins to use the names of a plan, and what depends on them.
func (s *service) look(old, next *plan) {
	s.latest.names.Store(next.names)
	if old == nil || old.names != next.names {
		if s.untry != nil {
			s.untry()
		}
		var ctx context.Context
		ctx, s.untry = context.WithCancel(s.ctx)
		if t := next.names.trial; t != nil {
			s.beside.Go(func() { t.run(ctx) })
		}
	}
	if slices.ContainsFunc(next.outbounds, func(out *outbound) bool { return out.cfg.MTASTS }) {
		s.renewing.Do(func() { s.beside.Go(func() { s.sts.Run(s.ctx) }) })
	}
}

// configure gives every server its settings, makes those that are missing and
// returns those that are not needed any more.
func (s *service) configure(next *plan) (retired map[string]*proxy.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = next
	retired = make(map[string]*proxy.Server)
	for name, server := range s.servers {
		if next.front(name) == nil {
			retired[name] = server
			delete(s.servers, name)
		}
	}
	for f := range next.fronts() {
		if server := s.servers[f.name]; server != nil {
			server.Configure(f.settings)
		} else {
			s.servers[f.name] = proxy.NewServer(f.settings)
		}
	}
	return retired
}

// retire ends what only the old plan had: probes and idle connections at once,
// the sessions of what is gone within their grace.
func (s *service) retire(old, next *plan, servers map[string]*proxy.Server) {
	if old == nil {
		return
	}
	for _, in := range old.inbounds {
		if after := next.inbound(in.name); after == nil || after.backends != in.backends {
			in.backends.end()
		}
	}
	for _, out := range old.outbounds {
		if after := next.outbound(out.name); after == nil || after.gateway != out.gateway {
			out.gateway.Close()
		}
	}
	for name, server := range servers {
		f := old.front(name)
		s.retiring.Go(func() {
			if err := shutdown(s.ctx, server, f.grace); err != nil {
				s.log.Warn(f.kind+" removed, not all sessions could end in time", f.kind, name, "error", err)
			}
		})
	}
}

// shutdown gives the sessions of a server that much time.
func shutdown(ctx context.Context, server *proxy.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return server.Shutdown(ctx)
}

// watch looks after the files of the certificates in use, and no others.
func (s *service) watch(p *plan) {
	if s.unwatch != nil {
		s.unwatch()
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.unwatch = cancel
	sources := p.certificates()
	s.beside.Go(func() { certs.Watch(ctx, sources, certs.WatchOptions{Log: s.log}) })
}

// handshakes is how many TLS handshakes the servers have finished.
func (s *service) handshakes() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, server := range s.servers {
		n += server.Handshakes()
	}
	return n
}

// current returns the plan in use, nil before there is one.
func (s *service) current() *plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan
}

// ready says whether mail can be taken, and why not. An outbound can be as soon
// as it listens: whether a destination can be reached is for each to see.
func (s *service) ready() (ok bool, reasons []string) {
	p := s.current()
	if s.draining.Load() {
		reasons = append(reasons, "postern is stopping")
	}
	if p == nil {
		return false, append(reasons, "postern is starting")
	}
	for _, in := range p.inbounds {
		if !in.backends.Ready() {
			reasons = append(reasons, fmt.Sprintf("inbound %q: no backend answers", in.name))
		}
		if in.certs != nil && !in.certs.Usable() {
			reasons = append(reasons, fmt.Sprintf("inbound %q: no certificate can be used", in.name))
		}
	}
	if doubt := p.names.trial.doubt(); doubt != "" {
		reasons = append(reasons, doubt)
	}
	return len(reasons) == 0, reasons
}

// addresses returns what an inbound or outbound listens on, or all of them for "".
func (s *service) addresses(front string) (all []string) {
	for _, l := range s.listeners {
		if front == "" || l.front == front {
			all = append(all, l.Addr().String())
		}
	}
	slices.Sort(all)
	return all
}
