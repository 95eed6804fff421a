package resolve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// rrset is all records of one name and type in a section of a message, and the
// signatures that stand beside them.
type rrset struct {
	name    string
	kind    uint16
	records []dns.RR
	sigs    []*dns.RRSIG
}

func (s rrset) String() string { return kindName(s.kind) + " of " + shown(s.name) }

func kindName(kind uint16) string { return dns.Type(kind).String() }

// shown is a name for people: the root has one too.
func shown(name string) string {
	if name == "" {
		return "."
	}
	return strings.Map(graphic, name)
}

// fold puts the owners of all records into lower case: they are compared, and
// hashed, in that form (RFC 4034, 6.2).
func fold(m *dns.Msg) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			rr.Header().Name = lower(rr.Header().Name) + "."
		}
	}
}

// collect returns the set of that name and type. The section is folded.
func collect(section []dns.RR, name string, kind uint16) rrset {
	s := rrset{name: name, kind: kind}
	for _, rr := range section {
		h := rr.Header()
		if h.Class != dns.ClassINET || h.Name != name+"." {
			continue
		}
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == kind {
			s.sigs = append(s.sigs, sig)
		} else if h.Rrtype == kind {
			s.records = append(s.records, rr)
		}
	}
	return s
}

// signersOf returns the zones that say to have signed something and might, the
// deepest first.
func signersOf(sigs []*dns.RRSIG, may func(zone string) bool) (zones []string) {
	for _, sig := range sigs {
		if zone := lower(sig.SignerName); may(zone) && !slices.Contains(zones, zone) {
			zones = append(zones, zone)
		}
	}
	slices.SortStableFunc(zones, func(a, b string) int { return countLabels(b) - countLabels(a) })
	return zones[:min(len(zones), maxSigners)]
}

// mayBeSignedBy: a zone signs what is within it, by labels: evilexample.com is
// not within example.com; and a DS record is its parent's (RFC 4035, 2.4).
func (s rrset) mayBeSignedBy(zone string) bool {
	return within(s.name, zone) && (s.kind != dns.TypeDS || s.name != zone)
}

// unusable says why a signature says nothing of the set, whatever the key, or ""
// (RFC 4035, 5.3.1). Owner, type and class are those of the set already.
func (s rrset) unusable(sig *dns.RRSIG, now time.Time) string {
	at := uint32(now.Unix())
	switch {
	case !s.mayBeSignedBy(lower(sig.SignerName)):
		return "is by a zone that it is not in"
	case int(sig.Labels) > countLabels(s.name):
		return "has more labels than the name"
	case int32(sig.Expiration-sig.Inception) < 0: // RFC 1982 arithmetic: they wrap in 2106
		return "ends before it begins"
	case int32(at-sig.Inception) < 0:
		return fmt.Sprintf("is valid from %s only; is the clock right that says %s?", day(sig.Inception, now), now.UTC().Format(time.DateTime))
	case int32(sig.Expiration-at) < 0:
		return fmt.Sprintf("expired on %s; is the clock right that says %s?", day(sig.Expiration, now), now.UTC().Format(time.DateTime))
	case !algorithms[sig.Algorithm]:
		return fmt.Sprintf("has algorithm %d, which is not supported", sig.Algorithm)
	}
	return ""
}

// day is a time of a signature, the one that is nearest to now.
func day(t uint32, now time.Time) string {
	return now.Add(time.Duration(int32(t-uint32(now.Unix()))) * time.Second).UTC().Format(time.DateOnly)
}

// verify looks for a signature by one of the keys of a zone that holds now. All
// that is concluded later comes from the one that is returned, and not from
// another that stands beside it. Without one the verdict says why.
func (s rrset) verify(zone string, keys []key, now time.Time, b *budget) (*dns.RRSIG, verdict) {
	if len(s.records) > maxSet {
		return nil, unknown("more than %d records: %v", maxSet, s)
	}
	v, tried, failed := bogus("no signature by %s for %v", shown(zone), s), 0, 0
	for _, sig := range s.sigs {
		if lower(sig.SignerName) != zone {
			continue
		}
		if why := s.unusable(sig, now); why != "" {
			v = bogus("the signature for %v %s", s, why)
			continue
		}
		matching := withTag(keys, sig)
		if len(matching) > maxColliding {
			return nil, unknown("more than %d keys of %s have the tag %d", maxColliding, shown(zone), sig.KeyTag)
		}
		for _, k := range matching {
			if tried++; tried > maxPerSet || failed == maxFailed || !b.verify() {
				return nil, tooMuch
			}
			if sig.Verify(k.DNSKEY, s.records) == nil {
				good := secure(s.keep(sig, now), "signed by %s", shown(zone))
				good.ttl = seconds(sig.OrigTtl)
				return sig, good
			}
			failed++
			v = bogus("the signature for %v does not verify", s)
		}
	}
	return nil, v
}

// keep is how long the set may be kept (RFC 4035, 5.3.3).
func (s rrset) keep(sig *dns.RRSIG, now time.Time) time.Duration {
	keep := min(keepMost, seconds(sig.OrigTtl), time.Duration(int32(sig.Expiration-uint32(now.Unix())))*time.Second)
	for _, rr := range s.records {
		keep = min(keep, ttl(rr.Header()))
	}
	return keep
}
