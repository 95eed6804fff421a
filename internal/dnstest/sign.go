package dnstest

import (
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	day   = 24 * time.Hour
	valid = 10 * day // of a signature, to both sides
)

// signatures returns those of a set of records that stands at owner. For what was
// made from a wildcard, from is the wildcard.
func (z *signedZone) signatures(from string, set []dns.RR, owner string) []dns.RR {
	flaw := z.flaw(from)
	if z.Unsigned || flaw == NoSignature {
		return nil
	}
	k := key{from + "/" + owner, set[0].Header().Rrtype}
	if made, ok := z.made[k]; ok {
		return made
	}
	keys := []pair{z.zsk}
	if k.kind == dns.TypeDNSKEY {
		keys = z.keySigners()
	}
	var all []dns.RR
	for _, p := range keys {
		all = append(all, z.flawed(flaw, p, owned(set, from), owner)...)
	}
	z.made[k] = all
	return all
}

func (z *signedZone) keySigners() []pair {
	switch z.Flaws[""] {
	case BareKeys:
		return nil
	case ZoneKeyOnly:
		return []pair{z.zsk}
	}
	return []pair{z.ksk}
}

// flawed returns the signature and what stands around it. Only data is flawed,
// not the keys: a zone that nobody can enter shows nothing else.
func (z *signedZone) flawed(flaw Flaw, p pair, set []dns.RR, owner string) (all []dns.RR) {
	if set[0].Header().Rrtype == dns.TypeDNSKEY {
		flaw = ""
	}
	forged := 0
	switch flaw {
	case WrongKey:
		return []dns.RR{z.forged(p, set, owner)}
	case OneBadFirst:
		forged = 1
	case TwoBadFirst:
		forged = 2
	}
	for range forged {
		all = append(all, z.forged(p, set, owner))
	}
	sig := z.template(p, flaw)
	if flaw == WrongTTL {
		sig.OrigTtl = set[0].Header().Ttl + 1
	}
	p.sign(sig, set)
	switch flaw {
	case TooManyOnes:
		sig.Labels += 2
	case WrongTTL:
		sig.OrigTtl--
	}
	sig.Hdr.Name = owner
	return append(all, sig)
}

// forged returns a signature that looks right until it is computed.
func (z *signedZone) forged(p pair, set []dns.RR, owner string) dns.RR {
	sig := z.template(p, "")
	z.forgers[0].sign(sig, set)
	sig.Hdr.Name = owner
	return sig
}

// template is a signature without the records.
func (z *signedZone) template(p pair, flaw Flaw) *dns.RRSIG {
	from, until, signer := z.At.Add(-valid), z.At.Add(valid), z.name
	switch flaw {
	case Expired:
		from, until = from.Add(-2*valid), until.Add(-2*valid)
	case NotYet:
		from, until = from.Add(2*valid), until.Add(2*valid)
	case ForeignName:
		signer = up(z.name)
	}
	return &dns.RRSIG{
		Hdr:       dns.RR_Header{Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: defaultTTL},
		Algorithm: p.public.Algorithm, KeyTag: p.tag(), SignerName: signer,
		Inception: uint32(from.Unix()), Expiration: uint32(until.Unix()),
	}
}

// altered changes the data of a set, after it was signed.
func altered(set []dns.RR) {
	switch rr := set[0].(type) {
	case *dns.A:
		rr.A = append(rr.A[:len(rr.A)-1:len(rr.A)-1], 99)
	case *dns.MX:
		rr.Preference++
	case *dns.TXT:
		rr.Txt = append([]string{"altered"}, rr.Txt...)
	case *dns.TLSA:
		rr.Usage = 2
	case *dns.CNAME:
		rr.Target = "altered." + rr.Target
	default:
		set[0].Header().Name = strings.ToLower(set[0].Header().Name)
	}
}
