package dane

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The usages, selectors and matching types that are known here (RFC 7218, 2; RFC 7671, 2).
const (
	UsageTA = 2 // DANE-TA: an issuer of the server's certificate
	UsageEE = 3 // DANE-EE: the server's certificate itself

	SelectorCert = 0 // the whole certificate, DER
	SelectorSPKI = 1 // its SubjectPublicKeyInfo, DER

	MatchingFull   = 0 // the octets as they are
	MatchingSHA256 = 1
	MatchingSHA512 = 2
)

// Record is the content of a TLSA record (RFC 6698, 2.1).
type Record struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte // the certificate association data
}

// String returns the record as it stands in a zone: "3 1 1 8cb0…", the data in lower-case hex.
func (r Record) String() string {
	return r.kind() + " " + hex.EncodeToString(r.Data)
}

// kind returns the three numbers: "3 1 1".
func (r Record) kind() string {
	return fmt.Sprintf("%d %d %d", r.Usage, r.Selector, r.MatchingType)
}

// short is String, cut to a length that fits into a line for people.
func (r Record) short() string {
	const shown = 8 // octets; enough to tell two records apart
	if len(r.Data) <= shown {
		return r.String()
	}
	return r.kind() + " " + hex.EncodeToString(r.Data[:shown]) + "..."
}

// Parse reads what String writes. The data may be in pieces and in either case (RFC 6698,
// 2.2); it may be empty, and the numbers unknown ones: Usable tells.
func Parse(text string) (Record, error) {
	fields := strings.Fields(text)
	if len(fields) < 3 {
		return Record{}, fmt.Errorf("TLSA record %.80q: write usage, selector, matching type and data, such as 3 1 1 and 64 hex digits", text)
	}
	var numbers [3]uint8
	for i := range numbers {
		n, err := strconv.ParseUint(fields[i], 10, 8)
		if err != nil {
			return Record{}, fmt.Errorf("TLSA record: %.20q is not a number from 0 to 255", fields[i])
		}
		numbers[i] = uint8(n)
	}
	data, err := hex.DecodeString(strings.Join(fields[3:], ""))
	if err != nil {
		return Record{}, fmt.Errorf("TLSA record: the data must be pairs of hex digits: %w", err)
	}
	return Record{numbers[0], numbers[1], numbers[2], data}, nil
}

// Usable returns nil, or an error that says why no certificate can match the record
// (RFC 7671, 4.1; RFC 7672, 3.1.3). When none of the records of a host is usable, TLS is
// still mandatory, without authentication (RFC 7672, 2.2).
func (r Record) Usable() error {
	_, err := r.parse()
	return err
}

// usable is a record that can be matched, with what its data holds if that is no digest.
type usable struct {
	*Record
	cert *x509.Certificate // selector 0, matching type 0
	key  crypto.PublicKey  // selector 1, matching type 0
}

func (r *Record) parse() (usable, error) {
	switch {
	case r.Usage < UsageTA:
		return usable{}, fmt.Errorf("usage %d needs public authorities and is not for SMTP", r.Usage)
	case r.Usage > UsageEE:
		return usable{}, fmt.Errorf("usage %d is unknown", r.Usage)
	case r.Selector > SelectorSPKI:
		return usable{}, fmt.Errorf("selector %d is unknown", r.Selector)
	}
	switch r.MatchingType {
	case MatchingFull:
		return r.parseFull()
	case MatchingSHA256:
		return usable{Record: r}, r.checkLength(sha256.Size)
	case MatchingSHA512:
		return usable{Record: r}, r.checkLength(sha512.Size)
	}
	return usable{}, fmt.Errorf("matching type %d is unknown", r.MatchingType)
}

func (r *Record) checkLength(want int) error {
	if len(r.Data) != want {
		return fmt.Errorf("the digest has %d octets and should have %d", len(r.Data), want)
	}
	return nil
}

// parseFull refuses what this program could not verify a signature with: such a record is
// as good as one of an unknown matching type.
func (r *Record) parseFull() (usable, error) {
	u := usable{Record: r}
	var err error
	if r.Selector == SelectorCert {
		if u.cert, err = x509.ParseCertificate(r.Data); err != nil {
			return usable{}, fmt.Errorf("the data is no certificate: %w", err)
		}
		return u, checkKey(u.cert.PublicKey)
	}
	if u.key, err = x509.ParsePKIXPublicKey(r.Data); err != nil {
		return usable{}, fmt.Errorf("the data is no public key: %w", err)
	}
	return u, checkKey(u.key)
}

// maxRSA is in bits. crypto/tls refuses longer keys from a server, because verifying with
// them takes long; this is for those in the DNS.
const maxRSA = 8192

func checkKey(key crypto.PublicKey) error {
	if r, ok := key.(*rsa.PublicKey); ok && r.N.BitLen() > maxRSA {
		return fmt.Errorf("the RSA key has more than %d bits", maxRSA)
	}
	if algorithm(key) == x509.UnknownPublicKeyAlgorithm {
		return errors.New("the key is of an unknown kind")
	}
	return nil
}

func algorithm(key crypto.PublicKey) x509.PublicKeyAlgorithm {
	switch key.(type) {
	case *rsa.PublicKey:
		return x509.RSA
	case *ecdsa.PublicKey:
		return x509.ECDSA
	case ed25519.PublicKey:
		return x509.Ed25519
	}
	return x509.UnknownPublicKeyAlgorithm
}

// maxRecords are looked at; in the order of Sort the rest is not. Nobody needs that many, and each may cost
// a comparison with every certificate of a chain.
const maxRecords = 256

// effective returns the usable records that count. Digest agility: of the digests for one usage
// and selector only those of the strongest algorithm do, so that nobody is bound to
// the weakest one that is published; full data always counts (RFC 7671, 9).
func effective(records []Record) []usable {
	all := make([]usable, 0, min(len(records), maxRecords))
	var strongest [UsageEE + 1][SelectorSPKI + 1]uint8
	for i := range records[:min(len(records), maxRecords)] {
		u, err := records[i].parse()
		if err != nil {
			continue
		}
		s := &strongest[u.Usage][u.Selector]
		*s = max(*s, u.MatchingType)
		all = append(all, u)
	}
	return slices.DeleteFunc(all, func(u usable) bool {
		return u.MatchingType != MatchingFull && u.MatchingType < strongest[u.Usage][u.Selector]
	})
}

// WhyNot says of each record of a host why it does not count, or "" where it does: of what
// effective leaves out.
func WhyNot(records []Record) []string {
	why := make([]string, len(records))
	counts := map[*Record]bool{}
	for _, u := range effective(records) {
		counts[u.Record] = true
	}
	for i := range records {
		err := records[i].Usable()
		switch {
		case counts[&records[i]]:
		case err != nil:
			why[i] = Clean(err.Error())
		case i >= maxRecords:
			why[i] = fmt.Sprintf("only %d records are looked at", maxRecords)
		default: // RFC 7671, 9
			why[i] = "there is one with a stronger digest"
		}
	}
	return why
}

// Sort puts records into one order, whatever the order in which a name server gave them, and drops
// repeated ones. It returns the shortened slice; those of usage 3, which cost least, come first.
func Sort(records []Record) []Record {
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(b.Usage, a.Usage), cmp.Compare(a.Selector, b.Selector),
			cmp.Compare(a.MatchingType, b.MatchingType), slices.Compare(a.Data, b.Data))
	})
	return slices.CompactFunc(records, func(a, b Record) bool {
		return a.kind() == b.kind() && slices.Equal(a.Data, b.Data)
	})
}
