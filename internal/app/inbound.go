package app

import (
	"postern/config"
	"postern/proxy"
	"postern/smtpwire"
	"postern/tls/certs"
)

// inbound is one inbound of a configuration.
type inbound struct {
	front
	cfg      config.Inbound
	certs    *certs.Set // nil without TLS
	backends *backends
}

func (b builder) inbound(p *plan, in config.Inbound) (*inbound, error) {
	one := &inbound{cfg: in, backends: b.backends(p.names.plain, in)}
	mode := tlsModes[in.TLS]
	var termination *proxy.Termination
	if mode != proxy.TLSOff {
		one.certs = p.set(in.Certificates)
		var err error
		if termination, err = b.termination(in, one.certs); err != nil {
			return nil, err
		}
	}
	settings := &proxy.Inbound{
		Front: proxy.Front{
			Name: in.Name, Hostname: b.hostname,
			Message:  proxy.MessagePolicy{Newlines: newlines[in.BareNewline], TraceHeader: in.TraceHeader, MaxSize: in.Limits.MessageSize},
			Networks: proxy.Networks{Proxy: in.ProxyProtocol, Normalize: in.BareNewlineExempt, AuthPlaintext: in.AuthPlaintextFrom, Exempt: in.Limits.Exempt},
			Limits:   b.limits(in.Limits), Timeouts: timeouts(in.Timeouts), Observer: b.observer, Log: b.log,
		},
		Mode: mode, TLS: termination, Backends: one.backends.Backends,
	}
	if in.HandshakeMemory {
		settings.Handshake = b.memory.Handshakes()
	}
	one.front = front{kind: "inbound", name: in.Name, listen: in.Listen, grace: in.ShutdownGrace, settings: settings}
	return one, nil
}

var tlsModes = map[string]proxy.TLSMode{
	"off": proxy.TLSOff, "offer": proxy.TLSOffer, "require": proxy.TLSRequire, "implicit": proxy.TLSImplicit,
}

var newlines = map[string]smtpwire.Newlines{"reject": smtpwire.Reject, "normalize": smtpwire.Normalize}

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
		Final: t.Final, Session: t.Session, Connect: t.Connect, Route: t.Route,
	}
}
