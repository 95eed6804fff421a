package dane

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Failure says what kind of failure a Result is, in the words of RFC 8460, 4.3, so
// that a report can use it.
type Failure string

// The kinds of failures.
const (
	HostMismatch Failure = "certificate-host-mismatch" // the issuer is right, the names are not
	Expired      Failure = "certificate-expired"       // or not yet valid
	NotTrusted   Failure = "certificate-not-trusted"   // the issuer was sent, and there is no valid path to it
	Mismatch     Failure = "validation-failure"        // no record matches anything that the server sent
	NotUsable    Failure = "tlsa-invalid"              // there is no record that could match
)

// Result is what came of comparing a server with its TLSA records.
type Result struct {
	OK     bool
	Record *Record // that matched: one of those that were given; nil if not OK
	// Depth is where in the path it matched: 0 is the server's certificate, 1 its issuer. Of a
	// key whose certificate is nowhere it is the place of the certificate that the key signed.
	Depth   int
	Name    string  // with usage 2, the name in the certificate that is one of the wanted
	Failure Failure // what kind; "" if OK
	Why     string  // one line for people: what matched, or what did not; printable ASCII
}

// Match compares the certificates of a connection with the TLSA records of its server. It
// does not change its arguments, and depends on nothing else; the records need not be all usable.
//
// The state must be that of a completed handshake, or come from VerifyConnection: before, the peer has
// shown a certificate and not yet that it is its own. A resumed session is compared as a
// new one is. Which versions and cipher suites will do is the caller's business.
func Match(records []Record, state tls.ConnectionState, names Names, now time.Time) Result {
	return MatchChain(records, state.PeerCertificates, names, now)
}

// MatchChain is Match for certificates as a server sends them, its own first: for those that are
// about to be used, say.
func MatchChain(records []Record, chain []*x509.Certificate, names Names, now time.Time) Result {
	if len(chain) == 0 {
		return Result{Failure: Mismatch, Why: "the server sent no certificate"}
	}
	m := &matcher{all: effective(records), chain: chain[:min(len(chain), maxChain)], names: names, now: now}
	if len(m.all) == 0 {
		return Result{Failure: NotUsable, Why: "none of the TLSA records is usable"}
	}
	// RFC 7671, 5.1: usage 3 is asked first, and where it matches nothing else matters.
	if r := m.find(UsageEE, &associations{cert: chain[0]}); r != nil {
		return Result{OK: true, Record: r, Why: "the server's certificate matches " + r.short()}
	}
	for _, u := range m.all {
		if u.Usage == UsageTA {
			return m.matchIssuer()
		}
	}
	return m.mismatch("the server's certificate matches none of the TLSA records")
}

// maxChain are the certificates of a server that are looked at. Some send a whole bundle of
// authorities; the path to theirs begins at the front.
const maxChain = 32

// matcher is one comparison.
type matcher struct {
	all   []usable
	chain []*x509.Certificate // not empty
	names Names
	now   time.Time
}

// associations are what records can hold for one certificate, by selector and matching type. They
// are made when they are first needed.
type associations struct {
	cert *x509.Certificate
	data [SelectorSPKI + 1][MatchingSHA512 + 1][]byte
}

func (a *associations) matches(r *Record) bool {
	data := &a.data[r.Selector][r.MatchingType]
	if *data == nil {
		*data = association(a.cert, r.Selector, r.MatchingType)
	}
	return bytes.Equal(*data, r.Data)
}

// find returns the first record of a usage that matches a certificate, or nil.
func (m *matcher) find(usage uint8, a *associations) *Record {
	for _, u := range m.all {
		if u.Usage == usage && a.matches(u.Record) {
			return u.Record
		}
	}
	return nil
}

// mismatch names the record that the server's certificate would have matched: what an
// administrator compares with the zone.
func (m *matcher) mismatch(text string) Result {
	would := From(m.chain[0], UsageEE, SelectorSPKI, MatchingSHA256)
	first := m.all[0].short()
	if more := len(m.all) - 1; more > 0 {
		first += fmt.Sprintf(" and %d more", more)
	}
	return Result{Failure: Mismatch, Why: text + " (" + first + "): it would match " + would.short()}
}
