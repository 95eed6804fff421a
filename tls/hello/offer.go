package hello

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// Offer is what a ClientHello offers. Versions and Suites must not be empty.
type Offer struct {
	// Versions are VersionSSL30 to tls.VersionTLS13. Up to TLS 1.2 a client
	// can only name the highest, and the server may choose any below it: the others
	// then say nothing. TLS 1.3 and what is offered beside it are listed.
	Versions []uint16
	// Suites stand in the client's order of preference.
	Suites []uint16
	// Groups are the key exchange groups, DefaultGroups when nil.
	Groups []tls.CurveID
	// Signatures are the algorithms that the server may sign its part of the key
	// exchange with, all that there are when nil. Before TLS 1.2 the
	// protocol has no such list.
	Signatures []tls.SignatureScheme
	// ServerName is sent to choose the certificate (RFC 6066, 3). Empty, or an
	// address: not sent.
	ServerName string
	// Compression offers DEFLATE beside none. It has no effect with TLS 1.3,
	// which forbids it (RFC 8446, 4.1.2).
	Compression bool
}

// VersionSSL30 is SSLv3 (RFC 6101), which crypto/tls calls deprecated even as a
// number.
const VersionSSL30 uint16 = 0x0300

// FallbackSCSV, among the suites of an offer below the server's best version,
// makes a server that knows it refuse with the alert inappropriate_fallback, 86
// (RFC 7507).
const FallbackSCSV uint16 = 0x5600

// renegotiationSCSV stands for an empty renegotiation_info and, unlike an
// extension, is harmless even to a server of SSLv3 (RFC 5746, 3.3).
const renegotiationSCSV uint16 = 0x00ff

// Extensions, by their number in IANA's registry.
const (
	extServerName        = 0
	extStatusRequest     = 5
	extSupportedGroups   = 10
	extPointFormats      = 11
	extSignatures        = 13
	extEncryptThenMAC    = 22
	extEMS               = 23
	extSessionTicket     = 35
	extSupportedVersions = 43
	extKeyShare          = 51
	extRenegotiationInfo = 0xff01
)

// highest is the newest version of the offer, 0 without any.
func (o Offer) highest() (v uint16) {
	for _, w := range o.Versions {
		v = max(v, w)
	}
	return v
}

func (o Offer) has13() bool { return o.highest() >= tls.VersionTLS13 }

// record returns the offer as one record with one ClientHello.
func (o Offer) record() []byte {
	version := min(o.highest(), tls.VersionTLS10) // RFC 8446, 5.1: what the oldest servers take
	b := binary.BigEndian.AppendUint16([]byte{recordHandshake}, version)
	return vector16(b, func(b []byte) []byte {
		return vector(append(b, clientHello), 3, o.body)
	})
}

// body appends the ClientHello (RFC 5246, 7.4.1.2; RFC 8446, 4.1.2).
func (o Offer) body(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, min(o.highest(), tls.VersionTLS12))
	b = append(b, random()...)
	session := []byte(nil)
	if o.has13() {
		session = random() // RFC 8446, D.4: what old middleboxes expect
	}
	b = vector8(b, octets(session...))
	suites := slices.Clip(o.Suites)
	if slices.Min(o.Versions) < tls.VersionTLS13 {
		suites = append(suites, renegotiationSCSV)
	}
	b = vector16(b, numbers(suites))
	compression := []byte{0}
	if o.Compression && !o.has13() {
		compression = []byte{1, 0}
	}
	b = vector8(b, octets(compression...))
	if o.highest() == VersionSSL30 {
		return b // it has no extensions
	}
	return vector16(b, o.extensions)
}

func (o Offer) extensions(b []byte) []byte {
	if name := strings.TrimSuffix(o.ServerName, "."); sendable(name) {
		b = extension(b, extServerName, func(b []byte) []byte {
			return vector16(b, func(b []byte) []byte { return vector16(append(b, 0), octets([]byte(name)...)) })
		})
	}
	b = extension(b, extEMS, octets())
	b = extension(b, extSessionTicket, octets())
	b = extension(b, extEncryptThenMAC, octets())
	b = extension(b, extStatusRequest, octets(1, 0, 0, 0, 0)) // OCSP, from any responder
	b = extension(b, extPointFormats, octets(1, 0))           // uncompressed
	b = extension(b, extSupportedGroups, list(2, o.groups()))
	if o.highest() >= tls.VersionTLS12 {
		b = extension(b, extSignatures, list(2, o.signatures()))
	}
	if o.has13() {
		b = extension(b, extSupportedVersions, list(1, o.Versions))
		b = extension(b, extKeyShare, octets(0, 0)) // none: see the package comment
	}
	return b
}

func (o Offer) groups() []tls.CurveID {
	if o.Groups == nil {
		return DefaultGroups()
	}
	return o.Groups
}

func (o Offer) signatures() []tls.SignatureScheme {
	if o.Signatures == nil {
		return Signatures()
	}
	return o.Signatures
}

// sendable says that a name may stand in server_name: RFC 6066, 3 forbids
// addresses.
func sendable(name string) bool {
	_, err := netip.ParseAddr(name)
	return err != nil && name != "" && len(name) <= 255
}

func extension(b []byte, kind uint16, fill func([]byte) []byte) []byte {
	return vector16(binary.BigEndian.AppendUint16(b, kind), fill)
}

// list returns a fill that appends a list of numbers with its length, of size
// octets, in front.
func list[N ~uint16](size int, all []N) func([]byte) []byte {
	return func(b []byte) []byte { return vector(b, size, numbers(all)) }
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return b
}
