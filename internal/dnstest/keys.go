package dnstest

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/miekg/dns"
)

// pair is a key of a zone. private is nil for algorithms that nobody here can
// compute: what they sign is made up.
type pair struct {
	public  *dns.DNSKEY
	private crypto.Signer
}

// rsaKeys are used for all zones: each takes a while to make.
var rsaKeys struct {
	sync.Mutex
	made map[int][]pair
}

// newPair makes a key of the zone. nth tells two RSA keys of a zone apart.
func newPair(zone string, algorithm uint8, flags uint16, size, nth int) pair {
	k := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: defaultTTL},
		Flags: flags, Protocol: 3, Algorithm: algorithm,
	}
	switch algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
		made := rsaPair(size, nth)
		k.PublicKey = made.public.PublicKey
		return pair{k, made.private}
	case dns.ECDSAP256SHA256, dns.ED25519:
		return pair{k, generate(k, 256)}
	case dns.ECDSAP384SHA384:
		return pair{k, generate(k, 384)}
	}
	raw := make([]byte, 57)
	_, _ = rand.Read(raw) // never fails
	k.PublicKey = base64.StdEncoding.EncodeToString(raw)
	return pair{public: k}
}

func rsaPair(size, nth int) pair {
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	if rsaKeys.made == nil {
		rsaKeys.made = map[int][]pair{}
	}
	for len(rsaKeys.made[size]) <= nth {
		k := &dns.DNSKEY{Algorithm: dns.RSASHA256}
		rsaKeys.made[size] = append(rsaKeys.made[size], pair{k, generate(k, size)})
	}
	return rsaKeys.made[size][nth]
}

// generate makes a key with another tag than 0, by which package dns does not sign.
func generate(k *dns.DNSKEY, size int) crypto.Signer {
	for {
		private, err := k.Generate(size)
		if err != nil {
			panic(fmt.Sprintf("dnstest: no key: %v", err))
		}
		if k.KeyTag() != 0 {
			return private.(crypto.Signer)
		}
	}
}

// tag is 1 for a key that cannot be packed.
func (p pair) tag() uint16 { return max(p.public.KeyTag(), 1) }

// sign completes a signature over a set of records.
func (p pair) sign(sig *dns.RRSIG, set []dns.RR) {
	if p.private == nil {
		raw := make([]byte, 114)
		_, _ = rand.Read(raw) // never fails
		sig.Signature = base64.StdEncoding.EncodeToString(raw)
		return
	}
	if err := sig.Sign(p.private, set); err != nil {
		panic(fmt.Sprintf("dnstest: %v is not signed: %v", set[0], err))
	}
}
