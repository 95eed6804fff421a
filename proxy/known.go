package proxy

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"postern/resolve"
)

// knownHosts remembers which addresses the mail exchangers of a domain had, for
// connections that were redirected: between the client's look at the DNS and ours
// the answer may have changed (SEM 16 a).
type knownHosts struct {
	mu     sync.Mutex
	byName *simplelru.LRU[string, exchangersAt]
}

// exchangersAt are the exchangers of a domain, and where they were.
type exchangersAt struct {
	hosts []knownHost                // as of the last look
	at    map[netip.Addr][]knownHost // several, where hosts share an address
}

type knownHost struct {
	name string
	mx   mxAnswer
	seen time.Time
}

// maxKnown bounds the domains that are remembered, knownFor the time.
const (
	maxKnown = 16384
	knownFor = 24 * time.Hour
	// maxKnownHosts bounds the hosts that are looked up for one domain.
	maxKnownHosts = 10
)

func newKnownHosts() *knownHosts {
	return &knownHosts{byName: newLRU[string, exchangersAt](maxKnown)}
}

// namesOf gives the exchangers of a domain with every address that was seen within
// 24 hours. Where the DNS fails, what was seen before comes back with the error.
func (k *knownHosts) namesOf(ctx context.Context, g *Gateway, domain string) (exchangersAt, error) {
	now := time.Now()
	found := exchangersAt{at: map[netip.Addr][]knownHost{}}
	hosts, err := g.exchangers(ctx, domain)
	for i, h := range hosts {
		known := knownHost{h.name, h.mx, now}
		found.hosts = append(found.hosts, known)
		if i >= maxKnownHosts {
			continue
		}
		answer, wrong := g.o.Resolver.Addresses(ctx, h.name, resolve.Both)
		if wrong != nil {
			continue // another host may have the address; if none has, it is not known
		}
		for _, a := range answer.Addrs {
			found.at[a.Unmap()] = append(found.at[a.Unmap()], known)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	old, _ := k.byName.Get(domain)
	for a, before := range old.at {
		if _, again := found.at[a]; !again && now.Sub(before[0].seen) < knownFor {
			found.at[a] = before
		}
	}
	if err == nil {
		k.byName.Add(domain, found)
	}
	return found, err
}
