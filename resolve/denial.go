package resolve

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// denial is the NSEC and NSEC3 records of one zone in one message, each verified
// already, and what they say does not exist.
type denial struct {
	zone  string
	nsec  []*dns.NSEC
	nsec3 []*dns.NSEC3
	keep  time.Duration // how long all of them may be kept

	iterations uint16            // the most of any NSEC3 record
	hashed     map[string]string // names that were hashed
	budget     *budget
}

// finding is what was proved of a name.
type finding struct {
	verdict
	status status // noRecords, noName
	cut    bool   // a delegation without DS record stands there
}

// add takes over one verified record. NSEC3 records that cannot be understood
// are left out (RFC 5155, 8.1, 8.2), and so are those with other parameters than
// the first.
func (d *denial) add(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.NSEC:
		d.nsec = append(d.nsec, rr)
	case *dns.NSEC3:
		if !d.understands(rr) {
			return
		}
		d.iterations = max(d.iterations, rr.Iterations)
		if len(d.nsec3) == 0 || d.nsec3[0].Iterations == rr.Iterations && d.nsec3[0].Salt == rr.Salt {
			d.nsec3 = append(d.nsec3, rr)
		}
	}
}

// weak says that the names would have to be hashed more often than anybody
// should be asked to (RFC 9276, 3.2). Nothing is hashed then.
func (d *denial) weak() (verdict, bool) {
	if d.iterations <= maxIterations {
		return verdict{}, false
	}
	return insecure(d.keep, "%s hashes its names %d times; more than %d are not followed", shown(d.zone), d.iterations, maxIterations), true
}

// denies says what is proved of name and kind. nxdomain is what the server says:
// that the name does not exist.
func (d *denial) denies(name string, kind uint16, nxdomain bool) finding {
	if v, ok := d.weak(); ok {
		return finding{verdict: v, status: noRecords}
	}
	if nxdomain {
		if f := d.either(d.nsecNoName, d.nsec3NoName, name, kind); f.security != Bogus {
			return f
		}
		// Some signers answer NXDOMAIN to what their records call an empty
		// name (RFC 9824, 5): the records count.
	}
	return d.either(d.nsecNoRecords, d.nsec3NoRecords, name, kind)
}

type prover func(name string, kind uint16) finding

func (d *denial) either(nsec, nsec3 prover, name string, kind uint16) finding {
	f := finding{verdict: bogus("no proof that there is no %s of %s", kindName(kind), shown(name))}
	if len(d.nsec) > 0 {
		f = nsec(name, kind)
	}
	if f.security == Bogus && len(d.nsec3) > 0 {
		f = nsec3(name, kind)
	}
	return f
}

// expanded says whether a wildcard was rightly taken for name: the name itself,
// and what is between it and the wildcard, must not exist (RFC 4035, 5.3.4; RFC
// 5155, 8.8). n is how many labels the wildcard has behind its asterisk.
func (d *denial) expanded(name string, n int) verdict {
	if v, ok := d.weak(); ok {
		return v
	}
	next := ancestor(name, n+1)
	for _, nsec := range d.nsec {
		// What exists below next would be the owner, or come after it.
		if d.covers(nsec, name) && !within(lower(nsec.Hdr.Name), next) && !within(lower(nsec.NextDomain), next) {
			return secure(d.keep, "signed by %s", shown(d.zone))
		}
	}
	nsec3, ok := d.find3(next, covering)
	switch {
	case !ok:
		return tooMuch
	case nsec3 == nil:
		return bogus("%s was made from a wildcard, and there is no proof that it does not exist itself", shown(name))
	case optOut(nsec3):
		return insecure(d.keep, "%s may be a delegation that is not signed (opt-out)", shown(next))
	}
	return secure(d.keep, "signed by %s", shown(d.zone))
}

// hasType says whether a bitmap names a type.
func hasType(bitmap []uint16, kind uint16) bool { return slices.Contains(bitmap, kind) }

// says is what the bitmap at a name that exists says of kind: that there is none
// of it, unless the record is one of the wrong side of a zone cut (RFC 6840,
// 4.1, 4.4).
func (d *denial) says(bitmap []uint16, name string, kind uint16) finding {
	ns, soa := hasType(bitmap, dns.TypeNS), hasType(bitmap, dns.TypeSOA)
	switch {
	case kind == dns.TypeDS && soa && name != "":
		return finding{verdict: bogus("the proof of no DS record of %s is from the wrong side of the cut", shown(name))}
	case kind != dns.TypeDS && ns && !soa:
		return finding{verdict: bogus("the proof of no %s of %s is from above its zone", kindName(kind), shown(name))}
	case hasType(bitmap, kind), hasType(bitmap, dns.TypeCNAME):
		return finding{verdict: bogus("%s has %s records, and they were not sent", shown(name), kindName(kind))}
	}
	f := finding{verdict: d.proved(), status: noRecords, cut: kind == dns.TypeDS && ns}
	if hasType(bitmap, dns.TypeNXNAME) { // RFC 9824, 3.1
		f.status = noName
	}
	return f
}

func (d *denial) proved() verdict {
	return secure(d.keep, "its absence is signed by %s", shown(d.zone))
}
