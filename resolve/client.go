package resolve

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
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

// ClientName looks up the name of the client at addr: its PTR record, then the
// addresses of the name found there. /etc/hosts is looked into first for both.
// It takes at most 5 s; what is not known by then, or when ctx is done, is
// TempUnavailable.
//
// Nothing is validated on the way, whatever the mode: nothing is entrusted to a
// client for its name, and mail must not wait for that of a stranger.
//
// Of several PTR records the first that leads back is taken, else the first
// that is well formed. An IPv4 address mapped into IPv6 is looked up as IPv4.
func (r *Resolver) ClientName(ctx context.Context, addr netip.Addr) ClientName {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return ClientName{ReverseStatus: Unavailable, NameStatus: Unavailable}
	}
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

// reverse returns the names that addr has, well formed and few; at least one if
// the status is Found.
func (r *Resolver) reverse(ctx context.Context, addr netip.Addr) ([]string, Status) {
	if names := wellFormed(r.hosts.get().names(addr)); len(names) > 0 {
		return names, Found
	}
	zone, err := dns.ReverseAddr(addr.String())
	if err != nil {
		return nil, Unavailable
	}
	a, err := r.lookup(ctx, question{name: lower(zone), kind: dns.TypePTR})
	if err != nil {
		return nil, TempUnavailable
	}
	var names []string
	for _, record := range a.records {
		if ptr, ok := record.(*dns.PTR); ok {
			names = append(names, ptr.Ptr)
		}
	}
	if names = wellFormed(names); len(names) == 0 {
		return nil, Unavailable
	}
	return names, Found
}

// confirm says whether name leads back to addr.
func (r *Resolver) confirm(ctx context.Context, name string, addr netip.Addr) Status {
	f := IPv6Only
	if addr.Is4() {
		f = IPv4Only
	}
	addrs := r.hosts.get().addresses(name, f)
	if len(addrs) == 0 {
		a, err := r.addresses(ctx, strings.ToLower(name), f, Off)
		if _, nothing := err.(*PermanentError); nothing {
			return Unavailable
		} else if err != nil {
			return TempUnavailable
		}
		addrs = a.Addrs
	}
	if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().WithZone("") == addr }) {
		return Found
	}
	return Unavailable
}
