package resolve

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// MX is one mail exchanger of a domain.
type MX struct {
	Host       string // lower case, A-label, no final dot; may hold underscores and asterisks, or be an address
	Preference uint16 // the lowest is tried first (RFC 5321, 5.1)
}

// MXAnswer says who takes the mail of a domain. The caller may change it.
type MXAnswer struct {
	Hosts     []MX      // at least one, the lowest preference first, equal ones as they came
	Implicit  bool      // there is no MX record: the domain itself is the one host (RFC 5321, 5.1)
	Canonical string    // where CNAMEs lead from the domain; the domain itself without; "" if that is no usable name
	Expires   time.Time // when the records are asked for again
	Security  Security  // of the MX records, or of the proof that there is none, and of the CNAMEs on the way
	Why       string    // it is so, one line for people; "" where nobody looked
}

// maxHosts are the mail exchangers that are kept of one domain, and the
// addresses of one host: nobody tries more.
const maxHosts = 64

// MX returns the hosts that take the mail of a domain. Names that cannot be
// those of a host are left out, and so is the "." of a null MX that is not
// alone.
//
// It returns a [PermanentError] with [ErrNullMX], [ErrNoDomain] or [ErrBadName],
// or a [TemporaryError]; also when all that the records hold is unusable.
func (r *Resolver) MX(ctx context.Context, domain string) (MXAnswer, error) {
	name, err := ToASCII(domain)
	if err != nil {
		return MXAnswer{}, err
	}
	a, err := r.lookup(ctx, r.about(name, dns.TypeMX))
	if err != nil {
		return MXAnswer{}, err
	}
	answer := MXAnswer{Canonical: a.canonical(), Expires: a.expires, Security: a.security, Why: a.why}
	switch a.status {
	case noName: // STANDARDS 76: that is no implicit MX
		return MXAnswer{}, a.permanent(ErrNoDomain)
	case noRecords:
		answer.Hosts, answer.Implicit = []MX{{Host: name}}, true
		return answer, nil
	}
	var null bool
	if answer.Hosts, null = hosts(a.records); null {
		return MXAnswer{}, a.permanent(ErrNullMX)
	}
	if len(answer.Hosts) == 0 {
		return MXAnswer{}, a.temporary("MX records without a usable host name")
	}
	return answer, nil
}

// hosts returns the usable ones, or that there is a null MX and nothing else.
func hosts(records []dns.RR) (all []MX, null bool) {
	null = true
	all = make([]MX, 0, len(records))
	for _, record := range records {
		mx, ok := record.(*dns.MX)
		if !ok || mx.Mx == "." { // RFC 7505, 3: "." counts only if it is alone
			continue
		}
		null = false
		if host := strings.ToLower(strings.TrimSuffix(mx.Mx, ".")); validDomain(host) && len(all) < maxHosts {
			all = append(all, MX{host, mx.Preference})
		}
	}
	slices.SortStableFunc(all, func(a, b MX) int { return cmp.Compare(a.Preference, b.Preference) })
	return once(all), null
}

// once leaves out what has stood before, of hosts that are sorted: nobody tries a host twice.
func once(all []MX) []MX {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(mx MX) bool {
		again := seen[mx.Host]
		seen[mx.Host] = true
		return again
	})
}
