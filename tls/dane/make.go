package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// From makes the record that a certificate matches. With usage 3 that is the server's
// certificate; with usage 2 one of its issuers, which the server must send along, a root
// included (RFC 7671, 5.2.2). For a selector or matching type that does not exist Data is nil,
// and the record is not Usable.
func From(cert *x509.Certificate, usage, selector, matching uint8) Record {
	return Record{usage, selector, matching, association(cert, selector, matching)}
}

// FromKey makes the record of usage 3 that certificates for a public key match: those that
// there are, and those that are still to be issued for it. spki is its
// SubjectPublicKeyInfo in DER. For a matching type that does not exist Data is nil.
func FromKey(spki []byte, matching uint8) Record {
	cert := x509.Certificate{RawSubjectPublicKeyInfo: spki}
	return From(&cert, UsageEE, SelectorSPKI, matching)
}

// association returns what a record of this kind holds for the certificate.
func association(cert *x509.Certificate, selector, matching uint8) []byte {
	var data []byte
	switch selector {
	case SelectorCert:
		data = cert.Raw
	case SelectorSPKI:
		data = cert.RawSubjectPublicKeyInfo
	default:
		return nil
	}
	switch matching {
	case MatchingFull:
		return data
	case MatchingSHA256:
		sum := sha256.Sum256(data)
		return sum[:]
	case MatchingSHA512:
		sum := sha512.Sum512(data)
		return sum[:]
	}
	return nil
}

// Owner returns the name that TLSA records of a host are under, without the final dot:
// "_25._tcp.mx.example.com" (RFC 6698, 3).
func Owner(base string, port uint16) string {
	return "_" + strconv.Itoa(int(port)) + "._tcp." + canonical(base)
}

// Zone returns the records as lines for a zone file. The owner is taken as a full name, with or
// without its final dot; the TTL is in seconds.
func Zone(owner string, ttl uint32, records []Record) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s. %d IN TLSA %s\n", strings.TrimSuffix(owner, "."), ttl, r)
	}
	return b.String()
}

// Rollover says whether the next certificate can be put into use without a change of what is published
// at the same moment: a second way must be published while the first is in use (RFC 7671, 8.1
// and 8.4). That is a usable record of usage 3 for the next key beside that for the
// current one, or one of usage 2 beside one of usage 3. Else why says what is missing.
func Rollover(published []Record) (ok bool, why string) {
	issuers, servers, most := 0, map[string]int{}, 0
	for _, u := range effective(Sort(slices.Clone(published))) {
		if u.Usage == UsageTA {
			issuers++
			continue
		}
		servers[u.kind()]++
		most = max(most, servers[u.kind()])
	}
	switch {
	case most > 1, most > 0 && issuers > 0:
		return true, ""
	case most > 0:
		return false, "only one certificate or key is published: publish the next key too (3 1 1), or its issuer's (2 1 1), two TTLs before it is used"
	case issuers > 0:
		return false, "only issuers are published: publish the server's key too (3 1 1), so that a change of issuer breaks nothing"
	}
	return false, "no usable TLSA record is published"
}
