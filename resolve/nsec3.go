package resolve

import (
	"strings"

	"github.com/miekg/dns"
)

const (
	maxIterations = 100 // of the hash; who asks for more is not followed (RFC 9276, 3.2)
	hashText      = 32  // characters of a SHA-1 in base32hex
)

// understands says whether a record can be used: SHA-1, no flag but opt-out, a
// hash of the right form as the one label before the zone (RFC 5155, 3.1, 8.2).
func (d *denial) understands(n *dns.NSEC3) bool {
	hash, zone := split3(n)
	return n.Hash == dns.SHA1 && n.Flags&^1 == 0 && zone == d.zone && base32hex(hash) && base32hex(strings.ToUpper(n.NextDomain))
}

// split3 returns the hash, in upper case, and the zone of the owner.
func split3(n *dns.NSEC3) (hash, zone string) {
	name := lower(n.Hdr.Name)
	hash, _, _ = strings.Cut(name, ".")
	return strings.ToUpper(hash), parentOf(name)
}

func base32hex(hash string) bool {
	return len(hash) == hashText && strings.Trim(hash, "0123456789ABCDEFGHIJKLMNOPQRSTUV") == ""
}

func optOut(n *dns.NSEC3) bool { return n.Flags&1 != 0 }

// relation is how a record stands to the hash of a name.
type relation func(owner, hash, next string) bool

func matching(owner, hash, _ string) bool { return owner == hash }

// covering: the last record leads round to the first, and the only one of a zone
// to itself.
func covering(owner, hash, next string) bool {
	if owner < next {
		return owner < hash && hash < next
	}
	return hash > owner || hash < next
}

// find3 returns the record that stands so to the hash of name, or nil. ok says
// that it could be looked for.
func (d *denial) find3(name string, stands relation) (_ *dns.NSEC3, ok bool) {
	if len(d.nsec3) == 0 {
		return nil, true
	}
	hash, ok := d.hash(name)
	if !ok {
		return nil, false
	}
	for _, n := range d.nsec3 {
		if owner, _ := split3(n); stands(owner, hash, strings.ToUpper(n.NextDomain)) {
			return n, true
		}
	}
	return nil, true
}

func (d *denial) hash(name string) (string, bool) {
	if hash, ok := d.hashed[name]; ok {
		return hash, true
	}
	if !d.budget.hash() {
		return "", false
	}
	hash := dns.HashName(name+".", dns.SHA1, d.nsec3[0].Iterations, d.nsec3[0].Salt)
	if d.hashed == nil {
		d.hashed = map[string]string{}
	}
	d.hashed[name] = hash
	return hash, hash != ""
}

// closest proves which is the closest name above name that exists (RFC 5155,
// 8.3), and returns it with the record that covers the name next to it. One that
// is a cut, or a DNAME, is not of this zone's concern.
func (d *denial) closest(name string) (encloser string, cover *dns.NSEC3, v verdict) {
	for next := name; next != d.zone; next = encloser {
		encloser = parentOf(next)
		n, ok := d.find3(encloser, matching)
		if !ok {
			return "", nil, tooMuch
		}
		if n == nil {
			continue
		}
		if passes(n.TypeBitMap) {
			return "", nil, bogus("%s is a cut or a DNAME, and was taken for the parent of %s", shown(encloser), shown(name))
		}
		if cover, ok = d.find3(next, covering); !ok {
			return "", nil, tooMuch
		}
		if cover == nil {
			break
		}
		return encloser, cover, verdict{}
	}
	return "", nil, bogus("no proof that %s does not exist", shown(name))
}

// nsec3NoName: the name next to the closest one is covered, and so is the
// wildcard (RFC 5155, 8.4). Where delegations may hide in the gap nothing is sure
// (9.2).
func (d *denial) nsec3NoName(name string, kind uint16) finding {
	if !below(name, d.zone) {
		return finding{verdict: bogus("%s exists, as the apex of its zone", shown(name))}
	}
	encloser, cover, v := d.closest(name)
	if v.why != "" {
		return finding{verdict: v}
	}
	star, ok := d.find3(child("*", encloser), covering)
	switch {
	case !ok:
		return finding{verdict: tooMuch}
	case star == nil:
		return finding{verdict: bogus("no proof that the wildcard *.%s does not exist", shown(encloser))}
	case optOut(cover):
		return finding{verdict: d.gap(name), status: noName}
	}
	return finding{verdict: d.proved(), status: noName}
}

// gap is the verdict on what may be a delegation that is not signed.
func (d *denial) gap(name string) verdict {
	return insecure(d.keep, "%s leaves out delegations that are not signed (opt-out), and %s may be one", shown(d.zone), shown(name))
}

// nsec3NoRecords: the name is there without records of the kind (RFC 5155, 8.5);
// or the wildcard that answers for it has none (8.7); or it may be a delegation
// that was left out (8.6), or a name above such (RFC 5155, errata 3441).
func (d *denial) nsec3NoRecords(name string, kind uint16) finding {
	n, ok := d.find3(name, matching)
	if !ok {
		return finding{verdict: tooMuch}
	}
	if n != nil {
		return d.says(n.TypeBitMap, name, kind)
	}
	if !below(name, d.zone) {
		return finding{verdict: bogus("no proof that there is no %s of %s", kindName(kind), shown(name))}
	}
	encloser, cover, v := d.closest(name)
	if v.why != "" {
		return finding{verdict: v}
	}
	star, ok := d.find3(child("*", encloser), matching)
	switch {
	case !ok:
		return finding{verdict: tooMuch}
	case star == nil && optOut(cover):
		return finding{verdict: d.gap(name), status: noRecords, cut: kind == dns.TypeDS}
	case star == nil:
		return finding{verdict: bogus("no proof that there is no %s of %s", kindName(kind), shown(name))}
	}
	f := d.says(star.TypeBitMap, child("*", encloser), kind)
	f.cut = false
	if f.security == Secure && optOut(cover) {
		f.verdict = d.gap(name)
	}
	return f
}
