package resolve

import (
	"context"
	"crypto/x509"
	"net"
	"time"

	"golang.org/x/sync/singleflight"
)

// Resolver answers from a bounded cache and from the DNS. Its methods may be
// called from any number of goroutines. New and NewWith make it.
type Resolver struct {
	servers *servers
	hosts   *file[hostTable]
	dial    dialer
	cache   *cache
	flights singleflight.Group
	slots   chan struct{} // one for each question on its way

	mode        Mode
	anchors     Anchors
	zones       *zones
	zoneFlights singleflight.Group
	insecure    []string  // zones that need not be signed
	public      bool      // the anchors are those of the public root
	tests       [2]string // names: a signed one and one that is not
}

// dialer connects to "udp" or "tcp" addresses, as net.Dialer does.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Options are what a Resolver is made of. The zero value is what the machine
// has: the servers of /etc/resolv.conf, its hosts file, its clock and network.
type Options struct {
	// Servers are asked in this order, the next one when one gives no usable
	// answer. Each is one of
	//
	//	192.0.2.53  192.0.2.53:53  [2001:db8::53]:53   UDP, and TCP for what is long
	//	tls://192.0.2.53:853                           DNS over TLS (RFC 7858) to that address
	//	tls://dns.example.net                          the same; the system looks the name up
	//	tls://192.0.2.53#dns.example.net               the certificate is for this name
	//	tls://192.0.2.53?pin-sha256=BASE64             or has this public key (RFC 7858, 4.2)
	Servers []string
	// Roots verify the certificates of DNS over TLS. nil: the system's.
	Roots *x509.CertPool
	// Dial makes the connections. nil: those of net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock that TTLs are counted by. nil: time.Now.
	Now func() time.Time
	// Timeout is how long one server may take the first time it is asked. 0:
	// 2 s, or less where there are many servers: the first round takes 5 s at
	// most.
	Timeout time.Duration
	// Hosts and Resolvconf are the files. "": /etc/hosts and /etc/resolv.conf.
	// They are read again when they have changed, and need not exist.
	Hosts, Resolvconf string

	// DNSSEC says how far answers are believed.
	DNSSEC Mode
	// Anchors are the keys that Validate believes. Zero: [IANA].
	Anchors Anchors
	// Insecure are domains that need not be signed, with all below them, whatever the
	// zones above say: those that servers of one's own answer for in their own way (RFC 7646).
	// Names that the public DNS cannot have need not be either, under its root.
	Insecure []string
	// SignedName and UnsignedName are what SelfTest asks for. "": "ietf.org" and
	// "google.com".
	SignedName, UnsignedName string
}

const (
	capacity   = 16384            // answers in the cache
	mostOctets = 16 << 20         // of them, and as much again of the zones that they are in
	maxSlots   = 512              // questions on their way: each has a socket
	rounds     = 2                // how often a server is asked that gives no sign; it gets twice the time then
	firstRound = 5 * time.Second  // for all servers together
	tryTimeout = 2 * time.Second  // for one of them
	flightTime = 20 * time.Second // for one question, all servers and CNAMEs included
)

// New returns a Resolver that asks these servers, written as in [Options];
// without any it asks the system's. A server that is not well written fails
// each question with the reason.
func New(servers []string) *Resolver {
	return build(Options{Servers: servers})
}

// NewWith returns a Resolver made of o. The error says which server is not well
// written.
func NewWith(o Options) (*Resolver, error) {
	r := build(o)
	for _, s := range r.servers.fixed {
		if s.wrong != nil {
			return nil, s.wrong
		}
	}
	return r, nil
}

func build(o Options) *Resolver {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Anchors.zones == nil {
		o.Anchors = IANA()
	}
	return &Resolver{
		mode: o.DNSSEC, anchors: o.Anchors, zones: newZones(), insecure: lowered(o.Insecure), public: o.Anchors.isPublic(),
		tests:   [2]string{or(o.SignedName, "ietf.org"), or(o.UnsignedName, "google.com")},
		servers: newServers(o),
		hosts:   newFile(or(o.Hosts, "/etc/hosts"), parseHosts),
		dial:    o.Dial,
		cache:   newCache(o.Now),
		slots:   make(chan struct{}, maxSlots),
	}
}

func lowered(names []string) (all []string) {
	for _, name := range names {
		all = append(all, lower(name))
	}
	return all
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
