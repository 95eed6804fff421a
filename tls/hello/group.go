package hello

import (
	"crypto/tls"
	"fmt"
	"math/big"
	"slices"
	"sync"
)

// groupNames are IANA's names of the key exchange groups, in the order in which
// they are offered: hybrids, then curves, then those of RFC 7919.
var groupNames = []struct {
	id   tls.CurveID
	name string
}{
	{tls.X25519MLKEM768, "X25519MLKEM768"},
	{tls.SecP256r1MLKEM768, "SecP256r1MLKEM768"},
	{tls.SecP384r1MLKEM1024, "SecP384r1MLKEM1024"},
	{512, "MLKEM512"}, {513, "MLKEM768"}, {514, "MLKEM1024"},
	{0x6399, "X25519Kyber768Draft00"},
	{tls.X25519, "x25519"}, {tls.CurveP256, "secp256r1"}, {30, "x448"},
	{tls.CurveP384, "secp384r1"}, {tls.CurveP521, "secp521r1"},
	{31, "brainpoolP256r1tls13"}, {32, "brainpoolP384r1tls13"}, {33, "brainpoolP512r1tls13"},
	{26, "brainpoolP256r1"}, {27, "brainpoolP384r1"}, {28, "brainpoolP512r1"},
	{22, "secp256k1"}, {21, "secp224r1"}, {20, "secp224k1"},
	{19, "secp192r1"}, {18, "secp192k1"}, {17, "secp160r2"}, {16, "secp160r1"}, {15, "secp160k1"},
	{14, "sect571r1"}, {13, "sect571k1"}, {12, "sect409r1"}, {11, "sect409k1"},
	{10, "sect283r1"}, {9, "sect283k1"}, {8, "sect239k1"}, {7, "sect233r1"}, {6, "sect233k1"},
	{5, "sect193r2"}, {4, "sect193r1"}, {3, "sect163r2"}, {2, "sect163r1"}, {1, "sect163k1"},
	{41, "curveSM2"},
	{256, "ffdhe2048"}, {257, "ffdhe3072"}, {258, "ffdhe4096"}, {259, "ffdhe6144"}, {260, "ffdhe8192"},
}

// GroupName returns the name of a key exchange group in IANA's registry, or its
// number as 0x1A2B.
func GroupName(id tls.CurveID) string {
	for _, g := range groupNames {
		if g.id == id {
			return g.name
		}
	}
	return fmt.Sprintf("0x%04X", uint16(id))
}

// Groups returns all key exchange groups, what is in use and strong first.
func Groups() []tls.CurveID {
	all := make([]tls.CurveID, len(groupNames))
	for i, g := range groupNames {
		all[i] = g.id
	}
	return all
}

// DefaultGroups returns all groups but those of finite-field Diffie-Hellman, whose
// presence makes some servers use them instead of parameters of their own, or
// drop the key exchange altogether (RFC 7919, 4).
func DefaultGroups() []tls.CurveID {
	return slices.DeleteFunc(Groups(), finiteField)
}

func finiteField(id tls.CurveID) bool { return id >= 256 && id < 512 }

// ffdhePrimes are the primes of RFC 7919, appendix A, by group. They are
// 2^b - 2^(b-64) + (floor(2^(b-130) e) + x) 2^64 - 1, for the smallest fitting x.
var ffdhePrimes = sync.OnceValue(func() map[tls.CurveID]*big.Int {
	primes := map[tls.CurveID]*big.Int{}
	for id, p := range map[tls.CurveID]struct {
		bits uint
		x    int64
	}{256: {2048, 560316}, 257: {3072, 2625351}, 258: {4096, 5736041}, 259: {6144, 15705020}, 260: {8192, 10965728}} {
		middle := new(big.Int).Add(euler(p.bits-130), big.NewInt(p.x))
		prime := new(big.Int).Sub(power(p.bits), power(p.bits-64))
		prime.Add(prime, middle.Lsh(middle, 64))
		primes[id] = prime.Sub(prime, big.NewInt(1))
	}
	return primes
})

// ffdheOf returns the group of RFC 7919 that has the prime, or 0.
func ffdheOf(prime *big.Int) tls.CurveID {
	for id, p := range ffdhePrimes() {
		if p.Cmp(prime) == 0 {
			return id
		}
	}
	return 0
}

// euler returns the integer part of 2^n e, from the sum of 1/k!.
func euler(n uint) *big.Int {
	const guard = 64 // bits for the error that each term leaves
	sum, term := new(big.Int), power(n+guard)
	for k := int64(1); term.Sign() > 0; k++ {
		sum.Add(sum, term)
		term = new(big.Int).Quo(term, big.NewInt(k))
	}
	return sum.Rsh(sum, guard)
}

func power(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
