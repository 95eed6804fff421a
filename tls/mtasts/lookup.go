package mtasts

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// DefaultWait is how long the fetch of a policy may have lasted for a delivery to wait
	// for it, where nothing is known of the domain (SEM 26).
	DefaultWait = 10 * time.Second

	maxFlights    = 256 // at once, for deliveries that wait
	maxBackground = 16  // at once, besides
)

// Options are the settings of a Lookup. Only Resolver must be set.
type Options struct {
	Resolver Resolver
	Cache    Cache // nil: policies are forgotten with the process
	// Dial connects to mta-sts.DOMAIN:443. nil: as the operating system does it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots are who may vouch for a policy host. nil: the system's.
	Roots *x509.CertPool
	// AnyMediaType takes a policy of whatever Content-Type; otherwise it must be
	// text/plain, with any parameters (RFC 8461, 3.2).
	AnyMediaType bool
	UserAgent    string        // empty: "postern"
	Wait         time.Duration // 0: DefaultWait
	Log          *slog.Logger  // nil: nothing is logged
	Now          func() time.Time
}

// Lookup finds the policies of domains. It is safe for concurrent use. Close it.
type Lookup struct {
	resolver Resolver
	cache    Cache
	fetcher  *fetcher
	wait     time.Duration
	log      *slog.Logger
	clock    func() time.Time
	memory   *memory

	slots      chan struct{} // holds one for each flight that a delivery waits for,
	background chan struct{} // and one for each other flight
	wake       chan struct{} // tells Run that there is something to do

	flights
}

// flights are what is being found out, by domain.
type flights struct {
	mu      sync.Mutex
	flying  map[string]*flight
	closed  bool
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// New makes a Lookup.
func New(o Options) *Lookup {
	if o.Cache == nil {
		o.Cache = noCache{}
	}
	if o.UserAgent == "" {
		o.UserAgent = "postern"
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Lookup{
		resolver: o.Resolver, cache: o.Cache, fetcher: newFetcher(&o),
		wait: o.Wait, log: o.Log, clock: o.Now, memory: newMemory(policySize, otherSize),
		slots: make(chan struct{}, maxFlights), background: make(chan struct{}, maxBackground),
		wake: make(chan struct{}, 1),
	}
	l.flying = map[string]*flight{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Close ends what goes on in the background and waits for it. A later Find
// answers from what is known.
func (l *Lookup) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.running.Wait()
}

// now is the wall clock: policies outlive the process, and the clock may be set.
func (l *Lookup) now() time.Time { return l.clock().Round(0) }

// Find says what policy mail for a domain is under: what stands behind the @ of the
// recipient, not the MX's name, or the name of a smart host (RFC 8461, 3.4). What
// is known is answered at once, and checked in the background when that is due. Otherwise Find
// waits: until it is known whether there is a policy, ctx is done, or Options.Wait is over.
func (l *Lookup) Find(ctx context.Context, domain string) Finding {
	name, ok := canonical(domain)
	if !ok {
		return noPolicyDomain(domain)
	}
	now := l.now()
	k := l.recall(name, now)
	if k == nil || !k.counts(now) {
		return l.discoverNow(ctx, name, nil)
	}
	f := k.finding(SourceCache, now)
	if k.due(now) {
		going := l.tryBackground(name)
		f.Pending = going && f.Policy == nil
	}
	return f
}

// Refresh is Find after a look whether the TXT record has a new id, and a fetch if it
// has: what RFC 8461, 5.1, wants before a message is given up because its policy was not met.
// It waits no longer than Find does, and looks at most once a minute.
func (l *Lookup) Refresh(ctx context.Context, domain string) Finding {
	name, ok := canonical(domain)
	if !ok {
		return noPolicyDomain(domain)
	}
	now := l.now()
	k := l.recall(name, now)
	if k == nil || !k.counts(now) {
		return l.discoverNow(ctx, name, nil)
	}
	if age := now.Sub(k.asked); age >= 0 && age < hold {
		return k.finding(SourceCache, now)
	}
	return l.discoverNow(ctx, name, k)
}

// Forget drops what is known of a domain beside the Cache, of which the caller has deleted the entry before:
// mail finds out anew whether there is a policy.
func (l *Lookup) Forget(domain string) {
	name, ok := canonical(domain)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.flying[name]; f != nil {
		f.forgotten = true // what it began with is not to come back
	}
	l.memory.remove(name)
}

func noPolicyDomain(domain string) Finding {
	return Finding{Source: SourceNone, Why: quote(domain) + " is no domain name: only those have policies"}
}

// recall is what is known of a domain without asking anybody, for a delivery.
func (l *Lookup) recall(domain string, now time.Time) *known {
	if k := l.memory.get(domain, now); k != nil {
		return k
	}
	k := l.load(domain)
	if k == nil {
		return nil
	}
	return l.memory.add(domain, k, now)
}

// load is what the cache has of a domain, which may be over.
func (l *Lookup) load(domain string) *known {
	e, ok, err := l.cache.Get(domain)
	if err != nil {
		l.log.Warn("an MTA-STS policy could not be read from the store", "domain", domain, "err", err)
	}
	if err != nil || !ok {
		return nil
	}
	k, err := remembered(e)
	if err != nil {
		l.log.Warn("an MTA-STS policy in the store is none, and is fetched anew", "domain", domain, "err", err)
		return nil
	}
	return k
}
