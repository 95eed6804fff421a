package resolve

import (
	"github.com/miekg/dns"
)

// covers says whether an NSEC record proves that name does not exist: it falls
// between the owner and the next name, and not below a cut or a DNAME at the
// owner, of which the record knows nothing (RFC 6840, 4.1; RFC 6672, 5.3.4.1).
func (d *denial) covers(n *dns.NSEC, name string) bool {
	owner, next := lower(n.Hdr.Name), lower(n.NextDomain)
	if !below(name, d.zone) || compareNames(owner, name) >= 0 {
		return false
	}
	if below(name, owner) && passes(n.TypeBitMap) {
		return false
	}
	// The next name of the last one is the apex.
	return compareNames(name, next) < 0 || compareNames(next, owner) <= 0
}

// passes says that what is below a name with these types is not its zone's.
func passes(bitmap []uint16) bool {
	return hasType(bitmap, dns.TypeNS) && !hasType(bitmap, dns.TypeSOA) || hasType(bitmap, dns.TypeDNAME)
}

// empty says whether n proves that name exists and has no records: names below
// it come next.
func (d *denial) empty(n *dns.NSEC, name string) bool {
	return d.covers(n, name) && below(lower(n.NextDomain), name)
}

func (d *denial) covering(name string) *dns.NSEC {
	for _, n := range d.nsec {
		if d.covers(n, name) && !d.empty(n, name) {
			return n
		}
	}
	return nil
}

func (d *denial) matching(name string) *dns.NSEC {
	for _, n := range d.nsec {
		if lower(n.Hdr.Name) == name {
			return n
		}
	}
	return nil
}

// encloser returns the closest name above name that exists: it can be told from
// the record that covers name, as both its names do.
func encloser(n *dns.NSEC, name string) string {
	a, b := common(name, lower(n.Hdr.Name)), common(name, lower(n.NextDomain))
	if countLabels(a) > countLabels(b) {
		return a
	}
	return b
}

// nsecNoName: the name is covered, and so is the wildcard that might have
// answered for it (RFC 4035, 5.4).
func (d *denial) nsecNoName(name string, kind uint16) finding {
	n := d.covering(name)
	if n == nil {
		return finding{verdict: bogus("no proof that %s does not exist", shown(name))}
	}
	if star := child("*", encloser(n, name)); d.covering(star) == nil {
		return finding{verdict: bogus("no proof that the wildcard %s does not exist", shown(star))}
	}
	return finding{verdict: d.proved(), status: noName}
}

// nsecNoRecords: the name is there without records of the kind; or it is empty;
// or the wildcard that answers for it has none (RFC 4035, 5.4, 3.1.3.4).
func (d *denial) nsecNoRecords(name string, kind uint16) finding {
	if n := d.matching(name); n != nil {
		return d.says(n.TypeBitMap, name, kind)
	}
	for _, n := range d.nsec {
		if d.empty(n, name) {
			return finding{verdict: d.proved(), status: noRecords}
		}
	}
	n := d.covering(name)
	if n == nil {
		return finding{verdict: bogus("no proof that there is no %s of %s", kindName(kind), shown(name))}
	}
	star := child("*", encloser(n, name))
	for _, w := range d.nsec {
		if lower(w.Hdr.Name) == star {
			f := d.says(w.TypeBitMap, star, kind)
			f.cut = false
			return f
		}
		if d.empty(w, star) {
			return finding{verdict: d.proved(), status: noRecords}
		}
	}
	return finding{verdict: bogus("no proof that the wildcard %s has no %s", shown(star), kindName(kind))}
}
