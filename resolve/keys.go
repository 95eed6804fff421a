package resolve

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// algorithms are those that are validated. 5 and 7 are weak, and a zone that is
// signed with them is still better known than one that is not (Unbound thinks
// so too). What is not here makes a zone insecure, not bogus (RFC 4035, 5.2):
// RSAMD5, DSA, GOST and Ed448 among them.
var algorithms = map[uint8]bool{
	dns.RSASHA1: true, dns.RSASHA1NSEC3SHA1: true, dns.RSASHA256: true, dns.RSASHA512: true,
	dns.ECDSAP256SHA256: true, dns.ECDSAP384SHA384: true, dns.ED25519: true,
}

// key is a DNSKEY record and its tag, which is not free to compute.
type key struct {
	*dns.DNSKEY
	tag uint16
}

// keysOf returns the keys of a set that may sign the records of a zone (RFC
// 4034, 2.1; RFC 5011, 2.1): what else stands there is of no use here.
func keysOf(records []dns.RR) (all []key) {
	for _, rr := range records {
		k, ok := rr.(*dns.DNSKEY)
		if ok && k.Flags&dns.ZONE != 0 && k.Flags&dns.REVOKE == 0 && k.Protocol == 3 && algorithms[k.Algorithm] {
			all = append(all, key{k, k.KeyTag()})
		}
	}
	return all
}

func withTag(keys []key, sig *dns.RRSIG) (matching []key) {
	for _, k := range keys {
		if k.tag == sig.KeyTag && k.Algorithm == sig.Algorithm {
			matching = append(matching, k)
		}
	}
	return matching
}

// digests are those of DS records, by their number, and how many octets they have.
// The stronger ones make SHA-1 count for nothing (RFC 4509, 3).
var digests = map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.SHA384: 48}

// usableDS returns the DS records that a key can be believed by. None: the zone
// is signed in a way that is not understood here, and insecure (RFC 4035, 5.2).
func usableDS(records []*dns.DS) (usable []*dns.DS) {
	strong := false
	for _, ds := range records {
		if algorithms[ds.Algorithm] && digests[ds.DigestType] > 0 && !slices.ContainsFunc(usable, func(u *dns.DS) bool { return sameDS(u, ds) }) {
			usable = append(usable, ds)
			strong = strong || ds.DigestType != dns.SHA1
		}
	}
	if strong {
		usable = slices.DeleteFunc(usable, func(ds *dns.DS) bool { return ds.DigestType == dns.SHA1 })
	}
	return usable[:min(len(usable), maxDS)]
}

const maxDS = 32 // of one zone that are used

func sameDS(a, b *dns.DS) bool {
	return a.KeyTag == b.KeyTag && a.Algorithm == b.Algorithm && a.DigestType == b.DigestType && strings.EqualFold(a.Digest, b.Digest)
}

// entry finds the keys that DS records stand for. By digest, not by tag alone:
// anybody can make a key with a given tag. foreign says that each DS record
// stands for a key that this program cannot compute with.
func entry(keys []key, all []*dns.DS) (entries []key, foreign bool, v verdict) {
	foreign = true
	for _, ds := range all {
		odd, colliding := false, 0
		for _, k := range keys {
			if k.tag != ds.KeyTag || k.Algorithm != ds.Algorithm {
				continue
			}
			if colliding++; colliding > maxColliding {
				return nil, false, unknown("more than %d keys of %s have the tag %d", maxColliding, shown(lower(k.Hdr.Name)), k.tag)
			}
			if made := k.ToDS(ds.DigestType); made == nil || !strings.EqualFold(made.Digest, ds.Digest) {
				continue
			}
			if odd = !computable(k.DNSKEY); !odd {
				entries = append(entries, k)
			}
		}
		foreign = foreign && odd
	}
	return entries, foreign, verdict{}
}

// computable: Go takes RSA keys of 1024 bits and more, package dns moduli up to
// 4096 bits and exponents up to 31 bits. Others are like an algorithm that is
// not supported.
func computable(k *dns.DNSKEY) bool {
	switch k.Algorithm {
	case dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	raw, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil || len(raw) < 3 {
		return false
	}
	size, rest := int(raw[0]), raw[1:] // RFC 3110, 2
	if size == 0 {
		size, rest = int(raw[1])<<8|int(raw[2]), raw[3:]
	}
	if size == 0 || len(rest) <= size {
		return false
	}
	exponent, modulus := rest[:size], rest[size:]
	return bits(exponent) <= 31 && bits(modulus) >= 1024 && bits(modulus) <= 4096 && exponent[0] != 0 && modulus[0] != 0
}

func bits(number []byte) (n int) {
	for i, octet := range number {
		for octet != 0 {
			n++
			octet >>= 1
		}
		if n > 0 {
			return n + 8*(len(number)-i-1)
		}
	}
	return 0
}

// trusted returns the keys of a zone, if the set of them is signed by one that a
// DS record of its parent, or an anchor, stands for (RFC 4035, 5.2). One valid
// path suffices, whatever other algorithms the DS records name (RFC 6840, 5.11).
func trusted(set rrset, all []*dns.DS, now time.Time, b *budget) ([]key, verdict) {
	if len(set.records) > maxSet {
		return nil, unknown("more than %d records: %v", maxSet, set)
	}
	keys := keysOf(set.records)
	entries, foreign, v := entry(keys, all)
	switch {
	case v.why != "":
		return nil, v
	case len(entries) == 0 && foreign:
		return nil, insecure(keepMost, "%s is signed with keys of a size that is not supported", shown(set.name))
	case len(set.sigs) == 0:
		v := bogus("the keys of %s came without a signature", shown(set.name))
		v.stripped = true
		return nil, v
	case len(entries) == 0:
		return nil, bogus("no key of %s is the one that its DS record stands for", shown(set.name))
	}
	sig, v := set.verify(set.name, entries, now, b)
	if sig == nil {
		return nil, v
	}
	return keys, v
}
