package dnstest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// hashed is a name of an NSEC3 chain.
type hashed struct{ hash, name string }

// chain puts the names of a zone in order.
func (z *signedZone) chain() {
	names := map[string]bool{}
	for k := range z.tree {
		names[k.name] = true
	}
	for name := range names {
		z.names = append(z.names, name)
	}
	slices.SortFunc(z.names, compare)
	if z.Denial != NSEC3 && z.Denial != OptOut {
		return
	}
	all := map[string]bool{}
	for name := range names {
		if z.Denial == OptOut && z.isCut(name) && !z.has(name, dns.TypeDS) {
			continue
		}
		for ; name != z.name; name = up(name) {
			all[name] = true
		}
	}
	all[z.name] = true
	for name := range all {
		z.hashes = append(z.hashes, hashed{z.hash(name), name})
	}
	slices.SortFunc(z.hashes, func(a, b hashed) int { return strings.Compare(a.hash, b.hash) })
}

func (z *signedZone) hash(name string) string {
	return dns.HashName(name, dns.SHA1, z.Iterations, z.Salt)
}

// compare is the canonical order (RFC 4034, 6.1), for names without backslashes.
func compare(a, b string) int {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(x)
	slices.Reverse(y)
	return cmp.Or(slices.Compare(x, y), cmp.Compare(len(x), len(y)))
}

// proof adds what proves the answer to a question for name to the authority
// section. star is the wildcard that was taken for it, or would have been; exists
// says that it is there.
func (z *signedZone) proof(r *reply, name, star string, exists bool) {
	flaw := z.flaw(name)
	switch {
	case z.Unsigned || flaw == NoProof:
		return
	case flaw == WrongProof:
		z.near(r, z.name)
		return
	case z.Denial == Compact:
		z.compact(r, name)
	case z.Denial == NSEC:
		z.near(r, name)
		if star != "" {
			z.near(r, star)
		}
	default:
		z.proof3(r, name, star, exists)
	}
}

// near adds the NSEC record of name, or the one before it.
func (z *signedZone) near(r *reply, name string) {
	if z.Denial == NSEC3 || z.Denial == OptOut {
		z.near3(r, name)
		return
	}
	i, found := slices.BinarySearchFunc(z.names, name, compare)
	if !found {
		i--
	}
	types := append(z.types(z.names[i]), dns.TypeRRSIG, dns.TypeNSEC)
	z.addNSEC(r, z.names[i], z.names[(i+1)%len(z.names)], types)
}

// compact adds a record made for the question.
func (z *signedZone) compact(r *reply, name string) {
	types := append(z.types(name), dns.TypeRRSIG, dns.TypeNSEC)
	if !z.tree.exists(name) {
		types = append(types, dns.TypeNXNAME)
	}
	z.addNSEC(r, name, `\000.`+name, types)
}

func (z *signedZone) addNSEC(r *reply, owner, next string, types []uint16) {
	if z.flaw(owner) == BitmapLies {
		types = append(types, dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypeTLSA)
	}
	slices.Sort(types)
	r.authority(z, &dns.NSEC{Hdr: z.header(owner, dns.TypeNSEC), NextDomain: next, TypeBitMap: slices.Compact(types)})
}

func (z *signedZone) header(owner string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: kind, Class: dns.ClassINET, Ttl: defaultTTL}
}

// proof3 adds the closest encloser, and what is not below it.
func (z *signedZone) proof3(r *reply, name, star string, exists bool) {
	encloser, next := name, ""
	for !z.chained(encloser) {
		encloser, next = up(encloser), encloser
	}
	if next == "" {
		z.near3(r, name)
		return
	}
	z.near3(r, next)
	if star != "" && exists && r.found {
		return // a wildcard's answer: its signature says the rest
	}
	z.near3(r, encloser)
	z.near3(r, strings.TrimSuffix("*."+encloser, ".")+".")
}

func (z *signedZone) chained(name string) bool {
	return name == z.name || slices.ContainsFunc(z.hashes, func(h hashed) bool { return h.name == name })
}

// near3 adds the NSEC3 record of name, or the one before it.
func (z *signedZone) near3(r *reply, name string) {
	i, found := slices.BinarySearchFunc(z.hashes, z.hash(name), func(h hashed, hash string) int { return strings.Compare(h.hash, hash) })
	if !found {
		i += len(z.hashes) - 1
	}
	at, next := z.hashes[i%len(z.hashes)], z.hashes[(i+1)%len(z.hashes)]
	types := z.types(at.name)
	if len(types) > 0 && (!z.isCut(at.name) || z.has(at.name, dns.TypeDS)) {
		types = append(types, dns.TypeRRSIG)
	}
	if z.flaw(at.name) == BitmapLies {
		types = append(types, dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypeTLSA)
	}
	slices.Sort(types)
	n := &dns.NSEC3{
		Hdr: z.header(strings.ToLower(at.hash)+"."+strings.TrimPrefix(z.name, "."), dns.TypeNSEC3), Hash: dns.SHA1,
		Iterations: z.Iterations, SaltLength: uint8(len(z.Salt) / 2), Salt: z.Salt, HashLength: 20, NextDomain: next.hash, TypeBitMap: slices.Compact(types),
	}
	if z.Denial == OptOut {
		n.Flags = 1
	}
	r.authority(z, n)
}
