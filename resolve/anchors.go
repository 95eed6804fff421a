package resolve

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Anchors are the keys that all others are believed by, each for a zone, which
// is the root for most. The zero value has none.
type Anchors struct {
	zones map[string][]*dns.DS
}

// rootKeys are KSK-2017 and KSK-2024, as IANA publishes them in
// https://data.iana.org/root-anchors/root-anchors.xml.
const rootKeys = `
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
`

// IANA returns the keys of the public root.
func IANA() Anchors {
	a, err := ParseAnchors(rootKeys)
	if err != nil {
		panic(err)
	}
	return a
}

// WithRoot adds the keys of the public root where there are none of any root: who writes down
// the keys of zones of his own does not mean to give up what all others have signed.
func (a Anchors) WithRoot() Anchors {
	if len(a.zones[""]) > 0 {
		return a
	}
	zones := maps.Clone(a.zones)
	zones[""] = IANA().zones[""]
	return Anchors{zones: zones}
}

// ParseAnchors reads DS and DNSKEY records in the format of zone files, such as
// /usr/share/dns/root.key. In a file that unbound keeps (RFC 5011) the keys
// count that are VALID or MISSING. The error says which line cannot be read, or
// that nothing in it can be used.
func ParseAnchors(text string) (Anchors, error) {
	a, unknown := Anchors{zones: map[string][]*dns.DS{}}, 0
	p := dns.NewZoneParser(strings.NewReader(text), ".", "")
	p.SetDefaultTTL(0)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if waits(p.Comment()) {
			continue
		}
		ds, err := anchor(rr)
		if err != nil {
			return Anchors{}, err
		}
		if zone := lower(rr.Header().Name); len(usableDS([]*dns.DS{ds})) > 0 {
			a.zones[zone] = append(a.zones[zone], ds)
		} else {
			unknown++
		}
	}
	if err := p.Err(); err != nil {
		return Anchors{}, fmt.Errorf("trust anchors: %w", err)
	}
	if len(a.zones) == 0 && unknown > 0 {
		return Anchors{}, errors.New("trust anchors: the algorithm or digest of none is supported")
	} else if len(a.zones) == 0 {
		return Anchors{}, errors.New("trust anchors: write at least one DS or DNSKEY record")
	}
	return a, nil
}

// waits says whether unbound does not trust this key, not yet or no longer.
func waits(comment string) bool {
	return slices.ContainsFunc([]string{"state=0", "state=1", "state=4", "state=5"}, func(s string) bool { return strings.Contains(comment, s) })
}

func anchor(rr dns.RR) (*dns.DS, error) {
	switch rr := rr.(type) {
	case *dns.DS:
		if want := digests[rr.DigestType]; algorithms[rr.Algorithm] && want > 0 && len(rr.Digest) != 2*want {
			return nil, fmt.Errorf("trust anchors: the DS record of %s has a digest of %d octets instead of %d: is the file cut short?",
				shown(lower(rr.Hdr.Name)), len(rr.Digest)/2, want)
		}
		return rr, nil
	case *dns.DNSKEY:
		if len(keysOf([]dns.RR{rr})) == 0 {
			return &dns.DS{Hdr: rr.Hdr}, nil // of no use here
		}
		if ds := rr.ToDS(dns.SHA256); ds != nil {
			return ds, nil
		}
		return nil, fmt.Errorf("trust anchors: the key of %s is not base64", shown(lower(rr.Hdr.Name)))
	}
	return nil, fmt.Errorf("trust anchors: a %s record is none: write DS or DNSKEY records", kindName(rr.Header().Rrtype))
}

// above returns the zone next to name, upwards, that has an anchor.
func (a Anchors) above(name string) (zone string, ok bool) {
	for {
		if _, ok := a.zones[name]; ok || name == "" {
			return name, ok
		}
		name = parentOf(name)
	}
}
