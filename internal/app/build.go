package app

import (
	"errors"
	"log/slog"
	"reflect"

	"postern/config"
	"postern/peers"
	"postern/proxy"
	"postern/resolve"
	"postern/smtpwire"
	"postern/tls/certs"
)

// lasting is what outlives a reload.
type lasting struct {
	hostname string // a change needs a restart: clients know us by it
	tickets  *certs.Tickets
	memory   *peers.Handshakes
	places   *proxy.Places
	observer proxy.Observer
	log      *slog.Logger
}

// edges is what one configuration was built into. It is not changed once made.
type edges struct {
	cfg     *config.Config
	sources []source
	names   *resolve.Resolver
	each    []*edge // in the order of the file
}

// edge is one inbound.
type edge struct {
	cfg      config.Inbound
	settings *proxy.Inbound
	certs    *certs.Set // nil without TLS
	backends *backends
}

// find returns the edge of that name, or nil.
func (e *edges) find(name string) *edge {
	if e == nil {
		return nil
	}
	for _, one := range e.each {
		if one.cfg.Name == name {
			return one
		}
	}
	return nil
}

// builder turns one configuration into edges.
type builder struct {
	lasting
	cfg     *config.Config
	old     *edges           // of the configuration before, or nil: what is the same is kept
	sockets map[string][]int // ports of the sockets given by systemd, by inbound
}

// build reads certificates and roots. It starts nothing and listens nowhere.
// The error joins all that is wrong.
func (b builder) build() (*edges, error) {
	e := &edges{cfg: b.cfg}
	var err error
	e.sources, err = b.certificates()
	if b.old != nil && reflect.DeepEqual(b.old.cfg.Resolver, b.cfg.Resolver) {
		e.names = b.old.names
	} else {
		e.names = resolve.New(b.cfg.Resolver.Servers)
	}
	for _, in := range b.cfg.Inbounds {
		one, wrong := b.edge(e, in)
		if wrong != nil {
			err = errors.Join(err, problem(Hint(wrong), "inbound %q: %w", in.Name, wrong))
		}
		e.each = append(e.each, one)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (b builder) edge(e *edges, in config.Inbound) (*edge, error) {
	one := &edge{cfg: in, backends: b.backends(e.names, in)}
	mode := tlsModes[in.TLS]
	var termination *proxy.Termination
	if mode != proxy.TLSOff {
		one.certs = e.set(in.Certificates)
		var err error
		if termination, err = b.termination(in, one.certs); err != nil {
			return nil, err
		}
	}
	newlines := smtpwire.Reject
	if in.BareNewline == "normalize" {
		newlines = smtpwire.Normalize
	}
	one.settings = &proxy.Inbound{
		Front: proxy.Front{
			Name: in.Name, Hostname: b.hostname,
			Message:  proxy.MessagePolicy{Newlines: newlines, TraceHeader: in.TraceHeader, MaxSize: in.Limits.MessageSize},
			Networks: proxy.Networks{Proxy: in.ProxyProtocol, Normalize: in.BareNewlineExempt, AuthPlaintext: in.AuthPlaintextFrom, Exempt: in.Limits.Exempt},
			Limits:   b.limits(in.Limits), Timeouts: timeouts(in.Timeouts), Observer: b.observer, Log: b.log,
		},
		Mode: mode, TLS: termination, Backends: one.backends.Backends,
	}
	if in.HandshakeMemory {
		one.settings.Handshake = b.memory
	}
	return one, nil
}

var tlsModes = map[string]proxy.TLSMode{
	"off": proxy.TLSOff, "offer": proxy.TLSOffer, "require": proxy.TLSRequire, "implicit": proxy.TLSImplicit,
}

func (b builder) limits(l config.Limits) proxy.Limits {
	return proxy.Limits{
		Places:      b.places,
		Connections: l.Connections, PerClient: l.PerClient, Errors: l.Errors,
		Handshakes: float64(l.Handshakes), HandshakesPerClient: float64(l.HandshakesPerClient),
	}
}

func timeouts(t config.Timeouts) proxy.Timeouts {
	return proxy.Timeouts{
		Proxy: t.Proxy, StartTLS: t.StartTLS, Command: t.Command, Data: t.Data,
		Final: t.Final, Session: t.Session, Connect: t.Connect,
	}
}
