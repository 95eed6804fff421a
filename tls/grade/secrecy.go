package grade

import (
	"crypto/tls"
	"fmt"
	"slices"
)

// ForwardSecrecy says what becomes of a client that cannot do it: whose recorded
// mail can be read by whoever gets hold of the server's private key later. The
// zero value is WhereSafe.
type ForwardSecrecy int8

// The policies of SEM 33. They matter at grades Mail and Legacy; the others
// have no suite without forward secrecy.
const (
	// WhereSafe lets a client that offers none have RSA key exchange with AES,
	// unless the same client is known to be capable of better.
	WhereSafe ForwardSecrecy = iota
	// Require refuses it. The default where passwords cross.
	Require
	// Prefer never refuses it.
	Prefer
)

var secrecyNames = [...]string{WhereSafe: "where-safe", Require: "require", Prefer: "prefer"}

// ParseForwardSecrecy returns the policy with that name. The error says which
// names there are.
func ParseForwardSecrecy(name string) (ForwardSecrecy, error) {
	if i := slices.Index(secrecyNames[:], name); i >= 0 {
		return ForwardSecrecy(i), nil
	}
	return WhereSafe, fmt.Errorf("unknown forward_secrecy %q: write require, where-safe or prefer", name)
}

// String returns the name as ParseForwardSecrecy takes it.
func (f ForwardSecrecy) String() string {
	if f >= 0 && int(f) < len(secrecyNames) {
		return secrecyNames[f]
	}
	return fmt.Sprintf("forward_secrecy(%d)", int8(f))
}

// OffersForwardSecrecy reports whether the client offers a key exchange with
// forward secrecy that a grade from Mail on would take: TLS 1.3, or an ECDHE
// suite with AES or ChaCha20 together with a group that both have.
//
// An offer that cannot be taken up is none: a client with ECDHE over Brainpool
// curves alone, or without the supported_groups extension (crypto/tls then has no
// ECDHE), or with finite-field Diffie-Hellman, would be refused although RSA key
// exchange works with it. The certificate is not looked at: a client
// that has ECDHE with ECDSA only counts as offering it, also where only an RSA
// certificate is loaded.
func OffersForwardSecrecy(h *tls.ClientHelloInfo) bool {
	if slices.Contains(h.SupportedVersions, tls.VersionTLS13) {
		return true
	}
	return overlap(h.SupportedCurves, groups) &&
		(overlap(h.CipherSuites, ecdheAEAD) || overlap(h.CipherSuites, ecdheCBC))
}

// ForwardSecret reports whether a completed handshake with this version and
// suite, as in tls.ConnectionState, has forward secrecy.
func ForwardSecret(version, suite uint16) bool {
	// RFC 8446, 1.2: static RSA is gone, every public-key key exchange has
	// forward secrecy. (Resumption by PSK alone exists, crypto/tls never does it.)
	return version >= tls.VersionTLS13 ||
		slices.Contains(ecdheAEAD, suite) || slices.Contains(ecdheCBC, suite) ||
		slices.Contains(ecdheWeak, suite)
}

// ecdheWeak are the remaining ECDHE suites of crypto/tls. Apart from 3DES none is
// in a grade, but a peer's suite is described as what it is.
var ecdheWeak = []uint16{
	tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA,
	tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA,
}

func overlap[T comparable](offered, ours []T) bool {
	for _, o := range offered {
		if slices.Contains(ours, o) {
			return true
		}
	}
	return false
}
