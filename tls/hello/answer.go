package hello

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/big"
)

// Answer is what a server chooses. Of TLS 1.3 only Version, Suite and Group are
// known: all else is encrypted.
type Answer struct {
	Version, Suite uint16
	// Group is the key exchange group, 0 where the suite has none, or one
	// without a name. A finite-field group of RFC 7919 is known by its prime,
	// whether or not it was offered.
	Group tls.CurveID
	// DHBits is the size of the prime of a finite-field key exchange, in bits.
	DHBits int
	// Signature is what the key exchange is signed with, in TLS 1.2 alone. Before,
	// it is MD5 and SHA-1 together with an RSA key and SHA-1 with others
	// (RFC 4346, 7.4.3).
	Signature           tls.SignatureScheme
	EMS                 bool // extended master secret (RFC 7627)
	EncryptThenMAC      bool // RFC 7366
	SecureRenegotiation bool // RFC 5746
	Ticket              bool // it will give a session ticket (RFC 5077)
	Compression         bool // DEFLATE
	CertificateStatus   bool // an OCSP response came with the certificate
	// Certificates are DER, the server's own first.
	Certificates [][]byte
}

// retryRandom is the random of a ServerHello that is a HelloRetryRequest: the
// SHA-256 of that name (RFC 8446, 4.1.3).
var retryRandom = []byte("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c")

// read reads a server's first flight, as far as it is in clear.
func read(r io.Reader) (a Answer, err error) {
	m := &messages{r: r}
	for first := true; ; first = false {
		kind, body, err := m.next()
		if err != nil {
			return Answer{}, err
		}
		if first != (kind == serverHello) {
			return Answer{}, fmt.Errorf("%w: message type %d out of turn", errAnswer, kind)
		}
		if !a.take(kind, body) {
			return Answer{}, fmt.Errorf("%w: message type %d is malformed", errAnswer, kind)
		}
		if kind == serverHelloDone || a.Version >= tls.VersionTLS13 {
			return a, nil
		}
	}
}

// take adds what one message tells. False means that it is malformed. Messages that
// tell nothing here, such as CertificateRequest, are passed over.
func (a *Answer) take(kind uint8, body cursor) bool {
	switch kind {
	case serverHello:
		return a.hello(body)
	case certificate:
		return a.certificates(body)
	case certificateStatus:
		a.CertificateStatus = true
	case serverKeyExchange:
		return a.keyExchange(body)
	}
	return true
}

func (a *Answer) hello(c cursor) bool {
	var random, session, extensions cursor
	var compression uint8
	if !c.uint16(&a.Version) || !c.bytes(32, &random) || !c.vector(1, &session) || !c.uint16(&a.Suite) || !c.uint8(&compression) {
		return false
	}
	a.Compression = compression != 0
	if len(c) == 0 {
		return true // a server of SSLv3 or one with nothing to add
	}
	if !c.vector(2, &extensions) || len(c) != 0 {
		return false
	}
	retry := bytes.Equal(random, retryRandom)
	for len(extensions) > 0 {
		var kind uint16
		var body cursor
		if !extensions.uint16(&kind) || !extensions.vector(2, &body) || !a.extension(kind, body, retry) {
			return false
		}
	}
	return true
}

func (a *Answer) extension(kind uint16, body cursor, retry bool) bool {
	switch kind {
	case extSupportedVersions:
		return body.uint16(&a.Version) && len(body) == 0
	case extKeyShare:
		var share cursor
		return body.uint16((*uint16)(&a.Group)) && (retry || body.vector(2, &share)) && len(body) == 0
	case extEMS:
		a.EMS = true
	case extEncryptThenMAC:
		a.EncryptThenMAC = true
	case extSessionTicket:
		a.Ticket = true
	case extRenegotiationInfo:
		a.SecureRenegotiation = true
	}
	return true
}

func (a *Answer) certificates(c cursor) bool {
	var list cursor
	if !c.vector(3, &list) || len(c) != 0 {
		return false
	}
	for len(list) > 0 {
		var der cursor
		if !list.vector(3, &der) {
			return false
		}
		a.Certificates = append(a.Certificates, bytes.Clone(der))
	}
	return true
}

// keyExchange reads the parameters of a ServerKeyExchange, whose form depends on
// the suite. Those of temporary RSA keys, SRP, GOST and shared secrets
// are passed over.
func (a *Answer) keyExchange(c cursor) bool {
	suite := Suite(a.Suite)
	const namedCurve = 3
	ok := false
	switch {
	case suite.Authentication == "PSK":
		return true
	case suite.KeyExchange == "DHE" || suite.KeyExchange == "DH":
		ok = a.prime(&c)
	case suite.KeyExchange != "ECDHE" && suite.KeyExchange != "ECDH":
		return true
	case len(c) > 0 && c[0] != namedCurve:
		return true // RFC 4492 had curves without a name
	default:
		var point cursor
		ok = c.skip(1) && c.uint16((*uint16)(&a.Group)) && c.vector(1, &point) // RFC 8422, 5.4
	}
	if !ok || suite.Authentication == "anon" || a.Version < tls.VersionTLS12 {
		return ok
	}
	return c.uint16((*uint16)(&a.Signature))
}

// prime reads finite-field parameters (RFC 5246, 7.4.3): the prime, the generator,
// the server's value.
func (a *Answer) prime(c *cursor) bool {
	var p, g, y cursor
	if !c.vector(2, &p) || !c.vector(2, &g) || !c.vector(2, &y) {
		return false
	}
	prime := new(big.Int).SetBytes(p)
	a.DHBits, a.Group = prime.BitLen(), ffdheOf(prime)
	return true
}
