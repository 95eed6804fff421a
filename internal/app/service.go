package app

import (
	"context"
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
	ctx       context.Context    // of what goes on until the end
	cancel    context.CancelFunc
	beside    sync.WaitGroup // all goroutines but those of sessions
	retiring  sync.WaitGroup // servers of inbounds that a reload removed
	draining  atomic.Bool

	mu      sync.Mutex // of what follows, which the other goroutines read
	edges   *edges
	servers map[string]*proxy.Server // by inbound
}

func newService(l lasting, path string) *service {
	s := &service{lasting: l, path: path, notify: systemd(l.log), servers: make(map[string]*proxy.Server)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// take makes a configuration the one in use. Until all that can fail has been
// done, nothing is changed: an error leaves everything as it was.
func (s *service) take(cfg *config.Config) error {
	old := s.edges
	b := builder{lasting: s.lasting, cfg: cfg, old: old, sockets: socketPorts(s.listeners)}
	next, err := b.build()
	if err != nil {
		return err
	}
	bound, err := bind(cfg.Inbounds, s.listeners)
	if err != nil {
		s.serve(bound)
		return err
	}
	s.swap(old, next, bound)
	return nil
}

// serve accepts on the listeners that are not served yet.
func (s *service) serve(b binding) {
	s.listeners = b.next
	for _, l := range b.next {
		if server := s.servers[l.inbound]; l.served == nil && server != nil {
			l.serve(server, &s.beside)
		}
	}
}

// swap cannot fail. Servers have their new settings before a new listener is
// served, and old listeners are closed after that.
func (s *service) swap(old, next *edges, b binding) {
	retired := s.configure(next)
	for _, one := range next.each {
		if before := old.find(one.cfg.Name); before == nil || before.backends != one.backends {
			one.backends.start(&s.beside)
		}
	}
	s.serve(b)
	s.watch(next)
	shutAll(b.gone)
	s.retire(old, next, retired)
}

// configure gives every server its settings, makes those that are missing and
// returns those that are not needed any more.
func (s *service) configure(next *edges) (retired map[string]*proxy.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edges = next
	retired = make(map[string]*proxy.Server)
	for name, server := range s.servers {
		if next.find(name) == nil {
			retired[name] = server
			delete(s.servers, name)
		}
	}
	for _, one := range next.each {
		if server := s.servers[one.cfg.Name]; server != nil {
			server.Configure(one.settings)
		} else {
			s.servers[one.cfg.Name] = proxy.NewServer(one.settings)
		}
	}
	return retired
}

// retire ends what only the old edges had: probes at once, the sessions of
// inbounds that are gone within their grace.
func (s *service) retire(old, next *edges, servers map[string]*proxy.Server) {
	if old == nil {
		return
	}
	for _, one := range old.each {
		if after := next.find(one.cfg.Name); after == nil || after.backends != one.backends {
			one.backends.end()
		}
	}
	for name, server := range servers {
		grace := old.find(name).cfg.ShutdownGrace
		s.retiring.Go(func() {
			if err := shutdown(s.ctx, server, grace); err != nil {
				s.log.Warn("inbound removed, not all sessions could end in time", "inbound", name, "error", err)
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
func (s *service) watch(e *edges) {
	if s.unwatch != nil {
		s.unwatch()
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.unwatch = cancel
	sources := e.all()
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

// ready says whether mail can be taken, and why not.
func (s *service) ready() (ok bool, reasons []string) {
	s.mu.Lock()
	e := s.edges
	s.mu.Unlock()
	if s.draining.Load() {
		reasons = append(reasons, "postern is stopping")
	}
	if e == nil {
		return false, append(reasons, "postern is starting")
	}
	for _, one := range e.each {
		if !one.backends.Ready() {
			reasons = append(reasons, fmt.Sprintf("inbound %q: no backend answers", one.cfg.Name))
		}
		if one.certs != nil && !one.certs.Usable() {
			reasons = append(reasons, fmt.Sprintf("inbound %q: no certificate can be used", one.cfg.Name))
		}
	}
	return len(reasons) == 0, reasons
}

// addresses returns what an inbound listens on, or all of them for "".
func (s *service) addresses(inbound string) (all []string) {
	for _, l := range s.listeners {
		if inbound == "" || l.inbound == inbound {
			all = append(all, l.Addr().String())
		}
	}
	slices.Sort(all)
	return all
}
