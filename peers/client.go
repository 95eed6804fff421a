package peers

import (
	"hash/maphash"
	"net/netip"
)

// client is the key of a client. The name is there as a hash, so that a key
// has a fixed size whatever the client calls itself, and is made without
// allocating. Two names with one hash could only be taken for each other at
// one address, and the seed is random.
type client struct {
	address netip.Addr
	name    uint64
}

// maxName is the longest domain name in octets (RFC 5321, 4.5.3.1.2).
const maxName = 255

type hasher struct{ seed maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed()} }

func (h hasher) client(address netip.Addr, hello string) client {
	var lower [maxName]byte
	n := copy(lower[:], hello)
	for i, c := range lower[:n] {
		// RFC 5321, 2.4: the case of domain names has no meaning.
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + ('a' - 'A')
		}
	}
	return client{address.Unmap().WithZone(""), maphash.Bytes(h.seed, lower[:n])}
}
