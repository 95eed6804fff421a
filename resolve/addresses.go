package resolve

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Family says which kinds of addresses are wanted.
type Family uint8

const (
	Both     Family = iota // IPv6 and IPv4
	IPv4Only               // A records
	IPv6Only               // AAAA records
)

// AddrAnswer is where a host is. The caller may change it.
type AddrAnswer struct {
	Name      string       // that the DNS was asked for; "" where it was not
	Addrs     []netip.Addr // at least one; those of IPv6 first, each family as it was answered
	Canonical string       // where CNAMEs lead from the name; the name itself without; "" if that is no usable name
	Expires   time.Time    // when the records are asked for again; zero for what is not from the DNS
	Security  Security     // the weaker one of both families', with the CNAMEs on the way
	Why       string       // it is so, one line for people; "" where nobody looked
	// ChainSecure: all CNAMEs on the way to Canonical are Secure, or there is
	// none and the addresses are (RFC 7672, 2.2.2).
	ChainSecure bool
	// FirstSecurity is that of the CNAME that stands at the name, or of the
	// addresses where there is none: where it is Secure, the name itself may have
	// TLSA records that count even though Canonical has none (RFC 7671, 7).
	FirstSecurity Security
}

// Addresses returns the addresses of a host from the DNS alone. A host that is
// an address in text is that address: some MX records hold one. Addresses that
// nobody can connect to (0.0.0.0, multicast, IPv4 inside IPv6) are left out.
//
// It returns a [PermanentError] with [ErrNoAddress] or [ErrBadName]. A
// [TemporaryError] comes only if nothing usable did: with the addresses of one
// family there, that those of the other could not be had is no error, but
// Expires is soon and Security is Indeterminate then.
func (r *Resolver) Addresses(ctx context.Context, host string, f Family) (AddrAnswer, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return literal(host, addr, f)
	}
	name, err := ToASCII(host)
	if err != nil {
		return AddrAnswer{}, err
	}
	if addr, err := netip.ParseAddr(name); err == nil { // with the final dot of an MX record
		return literal(name, addr, f)
	}
	answer, err := r.addresses(ctx, name, f, r.mode)
	if err == nil {
		answer.Name = name
	}
	return answer, err
}

func literal(host string, addr netip.Addr, f Family) (AddrAnswer, error) {
	if !f.has(addr) {
		return AddrAnswer{}, &PermanentError{Name: host, Type: f.types(), Err: ErrNoAddress}
	}
	return AddrAnswer{Addrs: []netip.Addr{addr}, Canonical: addr.String()}, nil
}

// addresses asks for both families at the same time.
func (r *Resolver) addresses(ctx context.Context, name string, f Family, mode Mode) (AddrAnswer, error) {
	var flights []pending
	if f != IPv4Only {
		flights = append(flights, r.begin(question{name, dns.TypeAAAA, mode}))
	}
	if f != IPv6Only {
		flights = append(flights, r.begin(question{name, dns.TypeA, mode}))
	}
	answer, missing := AddrAnswer{Security: Secure, FirstSecurity: Secure, ChainSecure: true}, error(nil)
	var nothing *PermanentError
	for _, flight := range flights {
		a, err := flight.wait(ctx)
		if err != nil {
			missing = err
			answer.weaken(Indeterminate, Indeterminate, Indeterminate, err.Error())
		} else if wrong := answer.add(a); wrong != nil {
			nothing = wrong
		}
		answer.expire(a)
	}
	switch {
	case len(answer.Addrs) > 0:
		return answer, nil
	case missing != nil:
		return AddrAnswer{}, missing
	}
	nothing.Type = f.types()
	return AddrAnswer{}, nothing
}

// add takes over what a says, or returns that it says there is none.
func (all *AddrAnswer) add(a *answer) *PermanentError {
	all.weaken(a.security, a.first, a.chain, a.why)
	before := len(all.Addrs)
	for _, record := range a.records {
		if addr := address(record); usable(addr) && len(all.Addrs)-before < maxHosts {
			all.Addrs = append(all.Addrs, addr)
		}
	}
	if len(all.Addrs) > before {
		all.Canonical = a.canonical()
		return nil
	}
	if a.status == noName {
		return a.permanent(errNowhere)
	}
	return a.permanent(ErrNoAddress)
}

func (all *AddrAnswer) weaken(security, first, chain Security, why string) {
	if security < all.Security || all.Why == "" {
		all.Why = why
	}
	all.Security, all.FirstSecurity = min(all.Security, security), min(all.FirstSecurity, first)
	all.ChainSecure = all.ChainSecure && chain == Secure && first == Secure
}

func (all *AddrAnswer) expire(a *answer) {
	if a != nil && (all.Expires.IsZero() || a.expires.Before(all.Expires)) {
		all.Expires = a.expires
	}
}

// address returns what an A or AAAA record holds, or an invalid address.
func address(record dns.RR) netip.Addr {
	switch rr := record.(type) {
	case *dns.A:
		if ip := rr.A.To4(); ip != nil {
			return netip.AddrFrom4([4]byte(ip))
		}
	case *dns.AAAA:
		if len(rr.AAAA) == 16 {
			return netip.AddrFrom16([16]byte(rr.AAAA))
		}
	}
	return netip.Addr{}
}

func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && a != broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func (f Family) has(a netip.Addr) bool {
	return f == Both || (f == IPv4Only) == a.Unmap().Is4()
}

func (f Family) types() string {
	switch f {
	case IPv4Only:
		return "A"
	case IPv6Only:
		return "AAAA"
	default:
		return "A and AAAA"
	}
}

// HostAddresses returns the addresses of a host that the operator named, such
// as a smarthost or a backend: what /etc/hosts says, if it says anything of a
// family that is wanted, else what the DNS says. Where the servers are those of
// /etc/resolv.conf, its search list is used too, so that short names work as
// they do everywhere on the machine; a final dot keeps it out. Only a name that does not
// exist, or has no address, leads on to the next: else who makes it fail could answer for another one.
//
// The errors are those of [Resolver.Addresses].
func (r *Resolver) HostAddresses(ctx context.Context, host string, f Family) (AddrAnswer, error) {
	if addrs := r.hosts.get().addresses(host, f); len(addrs) > 0 {
		return AddrAnswer{Addrs: addrs, Canonical: lower(host)}, nil
	}
	var first error
	for _, name := range r.servers.names(host) {
		answer, err := r.Addresses(ctx, name, f)
		if _, temporary := errors.AsType[*TemporaryError](err); err == nil || temporary {
			return answer, err
		}
		first = cmp.Or(first, err)
	}
	return AddrAnswer{}, first
}
