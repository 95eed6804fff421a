package app

import (
	"context"
	"errors"
	"time"

	"postern/config"
	"postern/probe"
	"postern/proxy"
	"postern/resolve"
)

// prober is a probe.Prober and what it was made of.
type prober struct {
	*probe.Prober
	close func()
}

// newProber makes one of a configuration; with an empty name and no configuration in the usual places, of the
// defaults.
func newProber(o ProbeOptions) (*prober, error) {
	cfg, err := probeConfig(o)
	if err != nil {
		return nil, err
	}
	l := forNow(cfg, emptyMemory())
	l.sts = l.policies()
	b, out := builder{cfg: cfg, lasting: l}, cfg.Outbounds[0]
	p, err := b.build()
	if err != nil {
		l.sts.Close()
		return nil, err
	}
	l.latest.names.Store(p.names)
	rules, err := b.rules(p, out) // that build has found right
	if err != nil {
		l.sts.Close()
		return nil, err
	}
	options := probe.Options{
		Gateway: p.outbounds[0].gateway.Gateway, Policy: b.engine(p, rules, out, l.memory.Outbound(peerRules(out))),
		Resolver: probeNames{p.names}, STS: l.sts, Roots: rules.own.Roots,
		Family: families[out.AddressFamily], AllAddresses: o.AllAddresses, Limit: o.Limit,
	}
	if p.names.checked != nil {
		options.DANE = newTLSAFinder(tlsaNames{lookup: p.names}, nil, l.log)
	}
	return &prober{probe.New(options), l.sts.Close}, nil
}

// probeConfig is what a stranger would have: an outbound that asks what domains publish, and no memory. Of the
// configuration it has how this machine asks the DNS, calls itself, and reaches the world.
func probeConfig(o ProbeOptions) (*config.Config, error) {
	cfg, _, err := load(o.Config)
	if noConfig := errors.Is(err, errNoConfig); noConfig && o.Config == "" {
		cfg = config.Default()
	} else if err != nil {
		return nil, err
	}
	out := config.DefaultOutbound("probe")
	for _, from := range cfg.Outbounds {
		if from.Route == "smarthost" {
			continue // its roots and port are for that
		}
		out.TrustedRoots, out.MXPort, out.EHLO = from.TrustedRoots, from.MXPort, from.EHLO
		out.SourceAddress, out.AddressFamily = from.SourceAddress, from.AddressFamily
		break
	}
	if o.Port != 0 {
		out.MXPort = int(o.Port)
	}
	out.Remember, out.ReuseIdle = "off", 0
	out.Timeouts.Connect = min(out.Timeouts.Connect, probeConnect)
	only := *cfg
	only.Inbounds, only.Certificates, only.Outbounds = nil, nil, []config.Outbound{out}
	if proxy.MayMark(uint32(only.Mark)) != nil {
		only.Mark = 0 // who only looks may be anybody; without a redirect no mark is needed
	}
	return &only, nil
}

// probeConnect is how long a server may take to be reached: nobody's mail waits for it.
const probeConnect = 15 * time.Second

// probeNames asks the DNS for what mail does not need.
type probeNames struct{ *lookup }

// TXT implements probe.Resolver.
func (n probeNames) TXT(ctx context.Context, name string) (resolve.TXTAnswer, error) {
	return ask(ctx, n.lookup, func(r *resolve.Resolver) (resolve.TXTAnswer, error) { return r.TXT(ctx, name) })
}
