package app

import (
	"errors"
	"iter"
	"log/slog"
	"time"

	"postern/config"
	"postern/outcomes"
	"postern/peers"
	"postern/proxy"
	"postern/store"
	"postern/tls/certs"
	"postern/tls/mtasts"
)

// lasting is what outlives a reload.
type lasting struct {
	hostname string // a change needs a restart: clients know us by it
	tickets  *certs.Tickets
	memory   *peers.Memory
	memories store.Store       // that memory is kept in, and others are; nil: nothing is kept
	outcomes *outcomes.Counter // nil: nothing is counted
	latest   *latest
	sts      *mtasts.Lookup // nil: nobody asks for MTA-STS policies
	places   *proxy.Places
	own      *ownAddresses
	loops    *proxy.Loops // nil: nothing runs that could go round in circles
	observer proxy.Observer
	log      *slog.Logger
}

// plan is what one configuration was built into. It is not changed once made.
type plan struct {
	cfg       *config.Config
	sources   []source
	roots     []roots
	names     *lookup
	inbounds  []*inbound  // in the order of the file
	outbounds []*outbound // likewise
}

// front is what an inbound and an outbound have in common: listeners, and a
// server with its settings. Their names are unique across both.
type front struct {
	kind     string // inbound or outbound, as the configuration calls it
	name     string
	listen   []string
	anyone   bool          // its listeners take connections to any address (TPROXY)
	grace    time.Duration // for its sessions, at the end
	settings proxy.Service
}

// fronts goes through all of them, inbounds first.
func (p *plan) fronts() iter.Seq[*front] {
	return func(yield func(*front) bool) {
		if p == nil {
			return
		}
		for _, in := range p.inbounds {
			if !yield(&in.front) {
				return
			}
		}
		for _, out := range p.outbounds {
			if !yield(&out.front) {
				return
			}
		}
	}
}

// front returns the one of that name, or nil.
func (p *plan) front(name string) *front {
	for f := range p.fronts() {
		if f.name == name {
			return f
		}
	}
	return nil
}

// inbound returns the one of that name, or nil.
func (p *plan) inbound(name string) *inbound {
	if p != nil {
		for _, in := range p.inbounds {
			if in.name == name {
				return in
			}
		}
	}
	return nil
}

// outbound returns the one of that name, or nil.
func (p *plan) outbound(name string) *outbound {
	if p != nil {
		for _, out := range p.outbounds {
			if out.name == name {
				return out
			}
		}
	}
	return nil
}

// builder turns one configuration into a plan.
type builder struct {
	lasting
	cfg     *config.Config
	old     *plan            // of the configuration before, or nil: what is the same is kept
	sockets map[string][]int // ports of the sockets given by systemd, by inbound
}

// build reads certificates and roots. It starts nothing and listens nowhere.
// The error joins all that is wrong.
func (b builder) build() (*plan, error) {
	p := &plan{cfg: b.cfg}
	var err error
	p.sources, err = b.certificates()
	names, wrong := b.resolver()
	if wrong != nil { // nothing else can be built without
		return nil, errors.Join(err, wrong)
	}
	p.names = names
	for _, in := range b.cfg.Inbounds {
		one, wrong := b.inbound(p, in)
		if wrong != nil {
			err = errors.Join(err, each(wrong, "inbound", in.Name))
		}
		p.inbounds = append(p.inbounds, one)
	}
	for _, out := range b.cfg.Outbounds {
		one, wrong := b.outbound(p, out)
		if wrong != nil {
			err = errors.Join(err, each(wrong, "outbound", out.Name))
		}
		p.outbounds = append(p.outbounds, one)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// each says of what the errors are that err joins.
func each(err error, kind, name string) (all error) {
	for _, one := range Errors(err) {
		all = errors.Join(all, problem(Hint(one), "%s %q: %w", kind, name, one))
	}
	return all
}
