package app

import (
	"context"
	"reflect"
	"sync"

	"postern/config"
	"postern/proxy"
	"postern/resolve"
)

// backends are the mail servers behind an inbound, and what they were made
// from: as long as that stays the same over a reload, they are kept, with what
// was learned of their capabilities and their health.
type backends struct {
	*proxy.Backends
	from madeFrom
	stop context.CancelFunc // of Run; nil before start
}

type madeFrom struct {
	inbound  string
	hostname string
	mark     int
	backend  config.Backend
	timeouts config.Timeouts
	servers  []string // that names are asked of
}

func (b builder) backends(names *resolve.Resolver, in config.Inbound) *backends {
	from := madeFrom{in.Name, b.hostname, b.cfg.Mark, in.Backend, in.Timeouts, b.cfg.Resolver.Servers}
	if old := b.old.inbound(in.Name); old != nil && reflect.DeepEqual(old.backends.from, from) {
		return old.backends
	}
	return &backends{from: from, Backends: proxy.NewBackends(proxy.BackendOptions{
		Addresses: in.Backend.Addresses, RoundRobin: in.Backend.Balance == "round-robin",
		Convey: conveys[in.Backend.ClientAddress], Inbound: in.Name, Hostname: b.hostname,
		Timeouts: timeouts(in.Timeouts), Names: names, Mark: uint32(b.cfg.Mark), Observer: b.observer, Log: b.log,
	})}
}

var conveys = map[string]proxy.Convey{
	"none": proxy.ConveyNone, "xclient": proxy.ConveyXCLIENT,
	"proxy-v1": proxy.ConveyProxyV1, "proxy-v2": proxy.ConveyProxyV2,
	"transparent": proxy.ConveyTransparent,
}

// start lets the backends be probed until end is called; group waits for it.
func (b *backends) start(group *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	group.Go(func() { b.Run(ctx) })
}

// end stops the probes; sessions that use the backends go on.
func (b *backends) end() { b.stop() }
