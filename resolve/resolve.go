// Package resolve asks the DNS. Its signatures have plain types only, so that
// nobody else needs to know which library does the asking.
//
// So far it answers one question: who is this client? An SMTP server names a
// client by what its address says of itself (PTR), and believes that name only
// if the name leads back to the address: whoever runs an address block can
// write any name into its reverse zone, and a server that trusted it would
// relay for anybody who calls himself its friend. A server behind a proxy
// cannot find out by itself, so the proxy does and tells it (XCLIENT).
//
// What a name may look like is checked here: it goes into a command and into
// message headers, and the owner of a reverse zone is free to put line ends
// and brackets into it.
//
// Not done here: DNSSEC. The answers are as good as the path to the resolver.
package resolve

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/singleflight"
)

// Status says what became of a look-up. The zero value is no valid status.
type Status int

const (
	// Found: the name is there.
	Found Status = iota + 1
	// Unavailable: the DNS says that there is none, or none that is well
	// formed or leads back. XCLIENT: [UNAVAILABLE].
	Unavailable
	// TempUnavailable: the DNS could not say. XCLIENT: [TEMPUNAVAIL].
	TempUnavailable
)

// String returns the status in a word, for logs.
func (s Status) String() string {
	switch s {
	case Found:
		return "found"
	case Unavailable:
		return "unavailable"
	case TempUnavailable:
		return "temporarily unavailable"
	default:
		return "unknown"
	}
}

// ClientName is who a client is.
type ClientName struct {
	Reverse       string // what the PTR record says, without the final dot; empty unless found
	Name          string // the same if it leads back to the address, else empty
	ReverseStatus Status // of Reverse
	NameStatus    Status // of Name
}

const (
	limit    = 5 * time.Second // for all of one ClientName (SEM 10)
	maxNames = 5               // PTR records that are tried; some hosts have hundreds
)

// unknown is the answer when the DNS could not be asked.
var unknown = ClientName{ReverseStatus: TempUnavailable, NameStatus: TempUnavailable}

// Resolver answers from a small cache and from the DNS. Its methods may be
// called from any number of goroutines. New makes it.
type Resolver struct {
	servers []*net.Resolver // asked in this order
	cache   *cache
	flights singleflight.Group
}

// New returns a Resolver that asks these servers, each "address:port", the
// next one when one gives no usable answer; without any it asks the system's,
// as /etc/resolv.conf says. /etc/hosts is looked into first in both cases.
func New(servers []string) *Resolver {
	r := &Resolver{cache: newCache(time.Now)}
	for _, address := range servers {
		r.servers = append(r.servers, &net.Resolver{PreferGo: true, Dial: dialOnly(address)})
	}
	if len(servers) == 0 {
		r.servers = []*net.Resolver{{PreferGo: true}}
	}
	return r
}

// dialOnly connects to address, whichever server of the system is meant.
func dialOnly(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}

// ClientName looks up the name of the client at addr: its PTR record, then the
// addresses of the name found there. It takes at most 5 s; what is not known
// by then, or when ctx is done, is TempUnavailable. Answers are kept for 60 s,
// failures for 5 s; callers that ask for the same address at the same time
// share one look-up, which goes on when one of them gives up.
//
// Of several PTR records the first that leads back is taken, else the first
// that is well formed. An IPv4 address mapped into IPv6 is looked up as IPv4.
func (r *Resolver) ClientName(ctx context.Context, addr netip.Addr) ClientName {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return ClientName{ReverseStatus: Unavailable, NameStatus: Unavailable}
	}
	if name, ok := r.cache.get(addr); ok {
		return name
	}
	flight := r.flights.DoChan(addr.String(), func() (any, error) {
		// Not the caller's ctx: the others would lose their answer with it.
		name := r.lookup(context.WithoutCancel(ctx), addr)
		r.cache.put(addr, name)
		return name, nil
	})
	select {
	case result := <-flight:
		return result.Val.(ClientName)
	case <-ctx.Done():
		return unknown
	}
}

// lookup asks the DNS.
func (r *Resolver) lookup(ctx context.Context, addr netip.Addr) ClientName {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	names, status := r.reverse(ctx, addr)
	if status != Found {
		return ClientName{ReverseStatus: status, NameStatus: status}
	}
	worst := Unavailable
	for _, name := range names {
		switch r.confirm(ctx, name, addr) {
		case Found:
			return ClientName{Reverse: name, Name: name, ReverseStatus: Found, NameStatus: Found}
		case TempUnavailable:
			worst = TempUnavailable
		}
	}
	return ClientName{Reverse: names[0], ReverseStatus: Found, NameStatus: worst}
}

// reverse returns the names that addr has by its PTR records, well formed and
// few; at least one if the status is Found.
func (r *Resolver) reverse(ctx context.Context, addr netip.Addr) ([]string, Status) {
	names, status := ask(ctx, r.servers, func(ctx context.Context, server *net.Resolver) ([]string, error) {
		names, err := server.LookupAddr(ctx, addr.String())
		if names != nil {
			// Names and an error mean that some were malformed and left out.
			err = nil
		}
		return names, err
	})
	if names = wellFormed(names); status == Found && len(names) == 0 {
		return nil, Unavailable
	}
	return names, status
}

// confirm says whether name leads back to addr.
func (r *Resolver) confirm(ctx context.Context, name string, addr netip.Addr) Status {
	network := "ip6"
	if addr.Is4() {
		network = "ip4"
	}
	addresses, status := ask(ctx, r.servers, func(ctx context.Context, server *net.Resolver) ([]netip.Addr, error) {
		// The final dot keeps the search list of resolv.conf out of it.
		return server.LookupNetIP(ctx, network, name+".")
	})
	if status != Found {
		return status
	}
	for _, a := range addresses {
		if a.Unmap().WithZone("") == addr {
			return Found
		}
	}
	return Unavailable
}
