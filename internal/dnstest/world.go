package dnstest

import (
	"strings"

	"github.com/miekg/dns"
)

// world is a tree of zones. Its owner locks it.
type world struct{ zones map[string]*signedZone }

// reply is an answer in the making.
type reply struct {
	*dns.Msg
	signed bool // signatures are wanted
	found  bool // there are records of what was asked for
}

// parent returns the zone above the one of that name.
func (w *world) parent(name string) *signedZone { return w.zoneOf(up(name)) }

// zoneOf returns the zone that a name is in.
func (w *world) zoneOf(name string) *signedZone {
	for ; ; name = up(name) {
		if z := w.zones[name]; z != nil {
			return z
		}
	}
}

// answer fills m with what the zones say to its question, following CNAMEs as a
// resolver does.
func (w *world) answer(m *dns.Msg, signed bool) {
	r, asked := &reply{Msg: m, signed: signed}, m.Question[0]
	name := asked.Name
	for range 16 {
		lowered := dns.CanonicalName(name)
		z := w.zoneOf(lowered)
		if asked.Qtype == dns.TypeDS && lowered == z.name && z.parent != nil {
			z = z.parent
		}
		flaw := z.Flaws[""]
		if flaw == Lame || flaw == LameKeys && asked.Qtype == dns.TypeDNSKEY {
			*m = dns.Msg{MsgHdr: m.MsgHdr, Question: m.Question}
			m.Rcode = dns.RcodeServerFailure
			return
		}
		if asked.Qtype == dns.TypeDS && w.zones[lowered] != nil && w.zones[lowered].Flaws[""] == HidDS {
			z.negative(r, lowered, "", false)
			m.Ns = m.Ns[:1]
			return
		}
		if name = z.respond(r, name, asked.Qtype); name == "" {
			return
		}
	}
}

// respond adds what a zone says of a name, and returns where that leads.
func (z *signedZone) respond(r *reply, name string, kind uint16) string {
	lowered := dns.CanonicalName(name)
	if z.tree.exists(lowered) {
		return z.at(r, lowered, name, kind, "")
	}
	encloser := up(lowered)
	for ; ; encloser = up(encloser) {
		if set := z.tree[key{encloser, dns.TypeDNAME}]; len(set) > 0 {
			return z.rename(r, name, set)
		}
		if z.tree.exists(encloser) {
			break
		}
	}
	star := strings.TrimSuffix("*."+encloser, ".") + "."
	if z.tree.exists(star) {
		return z.at(r, star, name, kind, star)
	}
	z.negative(r, lowered, star, false)
	if z.Denial != Compact || z.Unsigned {
		r.Rcode = dns.RcodeNameError
	}
	return ""
}

// at answers from the records at a name, which is star for a wildcard.
func (z *signedZone) at(r *reply, from, name string, kind uint16, star string) string {
	lowered, next := dns.CanonicalName(name), ""
	set := z.tree[key{from, kind}]
	if cname := z.tree[key{from, dns.TypeCNAME}]; len(set) == 0 && len(cname) > 0 {
		set, next = cname, cname[0].(*dns.CNAME).Target
	}
	if len(set) == 0 {
		z.negative(r, lowered, star, star != "")
		return ""
	}
	r.found = true
	if z.Denial == Compact {
		from = lowered // signed as if it stood there
	}
	r.add(z, &r.Answer, set, from, name)
	if star != "" && z.Denial != Compact {
		z.prove(r, func() { z.proof(r, lowered, starOf(z, star), true) })
	}
	r.found = false
	return next
}

// starOf: with NSEC the record before the name is enough for a wildcard's answer.
func starOf(z *signedZone, star string) string {
	if z.Denial == NSEC {
		return ""
	}
	return star
}

// rename answers from a DNAME, with the CNAME that is made from it.
func (z *signedZone) rename(r *reply, name string, set []dns.RR) string {
	dname := set[0].(*dns.DNAME)
	owner := dns.CanonicalName(dname.Hdr.Name)
	target := name[:len(name)-len(owner)] + dname.Target
	r.add(z, &r.Answer, set, owner, owner)
	r.Answer = append(r.Answer, &dns.CNAME{Hdr: z.header(name, dns.TypeCNAME), Target: target})
	return target
}

// negative says that there is nothing.
func (z *signedZone) negative(r *reply, name, star string, exists bool) {
	r.add(z, &r.Ns, z.tree[key{z.name, dns.TypeSOA}], z.name, z.name)
	z.prove(r, func() { z.proof(r, name, star, exists) })
}

func (z *signedZone) prove(r *reply, proof func()) {
	if r.signed {
		proof()
	}
}

// authority adds a record of the chain once.
func (r *reply) authority(z *signedZone, rr dns.RR) {
	for _, there := range r.Ns {
		if there.Header().Name == rr.Header().Name && there.Header().Rrtype == rr.Header().Rrtype {
			return
		}
	}
	r.add(z, &r.Ns, []dns.RR{rr}, rr.Header().Name, rr.Header().Name)
}

// add puts a set into a section under owner, with its signatures. from is where
// it stands in the zone.
func (r *reply) add(z *signedZone, section *[]dns.RR, set []dns.RR, from, owner string) {
	sent := owned(set, owner)
	var sigs []dns.RR
	if r.signed && !z.isCutOnly(from, set) {
		sigs = owned(z.signatures(from, set, owner), owner)
	}
	switch z.flaw(from) {
	case AlteredData:
		altered(sent)
	case RepeatedName:
		for _, rr := range append(sent, sigs...) {
			rr.Header().Name = strings.ToUpper(owner)
		}
	}
	*section = append(append(*section, sent...), sigs...)
}

// isCutOnly: of the records at a cut, DS and NSEC alone are signed.
func (z *signedZone) isCutOnly(from string, set []dns.RR) bool {
	kind := set[0].Header().Rrtype
	return z.isCut(from) && kind != dns.TypeDS && kind != dns.TypeNSEC
}
