// Package grade turns two words of the configuration, a grade and a
// forward-secrecy policy, into crypto/tls settings.
//
// A grade is a promise about the weakest handshake that will be accepted, not
// about the strongest: a modern client gets TLS 1.3 with a hybrid post-quantum
// key exchange at every grade. On port 25 the alternative to weak encryption is
// no encryption (RFC 7435, 3), so the grade to choose for mail from the world is
// Mail, and Legacy beside very old senders; Modern and Intermediate are for
// listeners whose clients are known.
//
//	                        modern  intermediate  mail  legacy
//	TLS 1.3                   x          x          x     x
//	TLS 1.2                   -          x          x     x
//	TLS 1.1, 1.0              -          -          -     x   (never for submission)
//	ECDHE AES-GCM, ChaCha20   1.3        x          x     x
//	ECDHE AES-CBC-SHA         -          -          x     x
//	ECDHE 3DES                -          -          -     x
//	RSA AES-GCM, AES-CBC-SHA  -          -          r     r   r: where forward secrecy is waived
//	RSA 3DES                  -          -          -     p   p: only under "prefer"
//
// In no grade: RC4, NULL, export and anonymous suites, and the CBC suites with
// SHA-256, for which crypto/tls has no defence against Lucky 13 (clients that
// have them have CBC-SHA as well). Suites with finite-field Diffie-Hellman and
// SSLv3 do not exist in crypto/tls. "The strongest that both have" is
// crypto/tls's own order, which cannot be changed: forward secrecy first, then
// AEAD before CBC, AES-128 before AES-256, 3DES last.
//
// Names follow Mozilla's server-side TLS recommendations where they overlap; the
// suites of Intermediate are also those that RFC 9325, 4.2 asks for and
// that internet.nl accepts.
package grade

import (
	"crypto/tls"
	"fmt"
)

// Grade is a named set of TLS versions and cipher suites, ordered from the
// strictest to the most lenient. The zero value is Mail.
type Grade int8

// The grades; the package comment has the table.
const (
	Modern       Grade = iota - 2 // TLS 1.3
	Intermediate                  // and TLS 1.2 with ECDHE and AEAD
	Mail                          // and CBC-SHA, RSA key exchange where safe
	Legacy                        // and TLS 1.0, 1.1 and 3DES
)

var gradeNames = map[Grade]string{
	Modern: "modern", Intermediate: "intermediate", Mail: "mail", Legacy: "legacy",
}

// Parse returns the grade with that name. The error says which names there are.
func Parse(name string) (Grade, error) {
	for g, n := range gradeNames {
		if n == name {
			return g, nil
		}
	}
	return Mail, fmt.Errorf("unknown grade %q: write modern, intermediate, mail or legacy", name)
}

// String returns the name as Parse takes it.
func (g Grade) String() string {
	if n, ok := gradeNames[g]; ok {
		return n
	}
	return fmt.Sprintf("grade(%d)", int8(g))
}

// Server fills the versions, cipher suites and key exchange groups of the
// configuration of a TLS server and touches nothing else in it.
//
// rsaKeyExchange includes the suites without forward secrecy, as far as the grade
// has any (AES only: SEM 33). The caller decides that per connection, with
// OffersForwardSecrecy and what it remembers of the client. submission raises
// the oldest version to TLS 1.2 whatever the grade (RFC 8314, 4.1 as
// updated by RFC 8997, 3).
func (g Grade) Server(c *tls.Config, rsaKeyExchange, submission bool) {
	c.MinVersion = g.minVersion(submission)
	c.MaxVersion = 0 // the newest that crypto/tls has
	c.CipherSuites = g.suites(rsaKeyExchange)
	// The order is ignored by crypto/tls, which prefers the hybrids. They are named
	// rather than left to the default so that no GODEBUG changes a grade.
	c.CurvePreferences = append([]tls.CurveID(nil), groups...)
}

// ServerPrefer is Server for forward_secrecy = "prefer", which never refuses a
// client for what it lacks: RSA key exchange is included, and at grade Legacy RSA
// with 3DES too. SEM 33 allows RSA key exchange with AES only under "where-safe",
// hence the separate name; the clients that have nothing else are Windows 2003
// and XP with the mail servers of their time.
func (g Grade) ServerPrefer(c *tls.Config, submission bool) {
	g.Server(c, true, submission)
	if g >= Legacy {
		c.CipherSuites = append(c.CipherSuites, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
	}
}

func (g Grade) minVersion(submission bool) uint16 {
	switch {
	case g <= Modern:
		return tls.VersionTLS13
	case g >= Legacy && !submission:
		return tls.VersionTLS10
	}
	return tls.VersionTLS12
}

func (g Grade) suites(rsaKeyExchange bool) []uint16 {
	// Never nil, which would mean crypto/tls's own list. At Modern the list is
	// not used, because the suites of TLS 1.3 cannot be chosen, but SupportsCertificate
	// and readers of the configuration see it.
	s := append([]uint16(nil), ecdheAEAD...)
	if g >= Mail {
		s = append(s, ecdheCBC...)
	}
	if g >= Mail && rsaKeyExchange {
		s = append(s, rsaAES...)
	}
	if g >= Legacy {
		s = append(s, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA)
	}
	return s
}

var (
	ecdheAEAD = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	ecdheCBC = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	}
	rsaAES = []uint16{
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	}
	groups = []tls.CurveID{
		tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024,
		tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521,
	}
)
