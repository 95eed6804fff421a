package app

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strconv"

	"postern/config"
	"postern/peers"
	"postern/proxy"
	"postern/resolve"
	"postern/tls/policy"
)

// outbound is one outbound of a configuration.
type outbound struct {
	front
	cfg     config.Outbound
	gateway *gateway
}

func (b builder) outbound(p *plan, out config.Outbound) (*outbound, error) {
	gateway, err := b.gateway(p, out)
	if err != nil {
		return nil, err
	}
	settings := &proxy.Outbound{
		Front: proxy.Front{
			Name: out.Name, Hostname: b.hostname,
			Message:  proxy.MessagePolicy{Newlines: newlines[out.BareNewline], TraceHeader: out.TraceHeader, MaxSize: out.Limits.MessageSize},
			Networks: proxy.Networks{Normalize: out.BareNewlineExempt, Exempt: out.Limits.Exempt},
			Limits:   b.limits(out.Limits), Timeouts: timeouts(out.Timeouts), Observer: b.observer, Log: b.log,
		},
		From: out.From, LMTP: out.Protocol == "lmtp", DSN: out.DSN, Gateway: gateway.Gateway,
	}
	if out.Route == "original" && !out.FromWritten {
		settings.Also = ofThisHost // SEM 17: a redirected connection arrives from there
	}
	return &outbound{
		front: front{kind: "outbound", name: out.Name, listen: out.Listen, anyone: out.Transparent, grace: out.ShutdownGrace, settings: settings},
		cfg:   out, gateway: gateway,
	}, nil
}

// gateway is the way out of an outbound, and what it was made of: as long as
// that stays the same over a reload, it is kept, with the connections that it
// holds open and what it knows of servers that failed a moment ago.
type gateway struct {
	*proxy.Gateway
	from gatewayOf
}

type gatewayOf struct {
	hostname string
	mark     int
	out      config.Outbound // what the gateway does not look at is left out
	names    *lookup
	roots    []*policy.Roots
}

// essence leaves out of an outbound what concerns its clients alone.
func essence(out config.Outbound) config.Outbound {
	out.Listen, out.From, out.FromWritten, out.Transparent, out.Protocol, out.DSN = nil, nil, false, false, "", false
	out.BareNewline, out.BareNewlineExempt, out.TraceHeader = "", nil, false
	out.ShutdownGrace, out.Limits = 0, config.Limits{}
	return out
}

func (b builder) gateway(p *plan, out config.Outbound) (*gateway, error) {
	rules, err := b.rules(p, out)
	smarthosts, wrong := smarthosts(out.Smarthost)
	if err = errors.Join(err, wrong); err != nil {
		return nil, err
	}
	from := gatewayOf{hostname: b.hostname, mark: b.cfg.Mark, out: essence(out), names: p.names, roots: rules.roots()}
	if old := b.old.outbound(out.Name); old != nil && old.gateway.from.same(from) {
		return old.gateway, nil
	}
	memory := b.memory.Outbound(peerRules(out))
	return &gateway{from: from, Gateway: proxy.NewGateway(proxy.GatewayOptions{
		Outbound: out.Name, Hostname: b.hostname, EHLO: out.EHLO,
		Route: routes[out.Route], MXPort: uint16(out.MXPort), Smarthosts: smarthosts,
		Fallback: fallbacks[out.Fallback], RefuseBits: out.EightBit == "refuse",
		Source: out.SourceAddress, Family: families[out.AddressFamily], Preference: preferences[out.AddressFamily],
		ReuseIdle: out.ReuseIdle, Concurrency: out.Concurrency, Places: b.places, Timeouts: timeouts(out.Timeouts),
		Resolver: p.names, Policy: b.engine(p, rules, out, memory), Peers: memory, Own: b.own.has, Loops: b.loops, Mark: uint32(b.cfg.Mark),
		Observer: b.gatewayObserver(), Log: b.log,
	})}, nil
}

// same compares what two gateways were made of. Resolver and roots are the
// same only if they are the same objects.
func (g gatewayOf) same(other gatewayOf) bool {
	if g.names != other.names || len(g.roots) != len(other.roots) {
		return false
	}
	for i := range g.roots {
		if g.roots[i] != other.roots[i] {
			return false
		}
	}
	return g.hostname == other.hostname && g.mark == other.mark && reflect.DeepEqual(g.out, other.out)
}

var routes = map[string]proxy.Route{"mx": proxy.RouteMX, "original": proxy.RouteOriginal, "smarthost": proxy.RouteSmarthost}

var fallbacks = map[string]proxy.Fallback{
	"same-session": proxy.FallbackSameSession, "next-session": proxy.FallbackNextSession, "never": proxy.FallbackNever,
}

// What is not named here has both families and no preference.
var (
	families    = map[string]resolve.Family{"ipv4": resolve.IPv4Only, "ipv6": resolve.IPv6Only}
	preferences = map[string]proxy.Preference{"prefer-ipv4": proxy.PreferIPv4, "prefer-ipv6": proxy.PreferIPv6}
)

func smarthosts(h *config.Smarthost) (all []proxy.Smarthost, err error) {
	if h == nil {
		return nil, nil
	}
	for _, address := range h.Addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, err
		}
		all = append(all, proxy.Smarthost{Host: host, Port: uint16(n), Implicit: h.TLS == "implicit"})
	}
	return all, nil
}

func peerRules(out config.Outbound) peers.Rules {
	after := out.RememberAfter
	return peers.Rules{
		Skip:     peers.SkipRules{Hold: out.Skip.Hold, Max: out.Skip.Max},
		Remember: peers.RememberRules{Sessions: after.Sessions, Age: after.Age, Expire: after.Expire, Grace: after.Grace},
	}
}

// remembering lets policy ask the memory of peers.
type remembering struct{ *peers.Outbound }

// Remembered implements policy.Memory.
func (r remembering) Remembered(domain, host string, port uint16) policy.Remembered {
	known := r.Outbound.Remembered(domain, peers.Host{Name: host, Port: port})
	return policy.Remembered{Host: known.Host, Domain: known.Domain, Since: known.Since,
		LastSuccess: known.LastSuccess, Expires: known.Expires, Sessions: known.Sessions}
}

// ofThisHost says whether an address is one of this machine's. Where that cannot
// be found out it is not.
func ofThisHost(a netip.Addr) bool {
	here, err := net.InterfaceAddrs()
	return err == nil && onThisMachine(a, here)
}
