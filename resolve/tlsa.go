package resolve

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// TLSA is one record of RFC 6698, 2.1. Whether it can be used is not judged here.
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte // may be empty
}

// TLSAAnswer says which certificates a service may show. The caller may change
// it. It is worth something only where Security is Secure.
type TLSAAnswer struct {
	Records  []TLSA    // none: there are none, and Security is that of the proof
	Owner    string    // where CNAMEs lead; the name itself without; "" if that is no usable name
	Security Security  // of the records or the proof, with the CNAMEs on the way
	Why      string    // it is so, one line for people; "" where nobody looked
	Expires  time.Time // when the records are asked for again
	// TTL is that of the records in their zone, whatever a cache on the way has left of
	// it: of a signed answer. Of another it is what the server said.
	TTL time.Duration
}

// TLSA returns the TLSA records of a name such as "_25._tcp.mx.example.com".
// That there are none is an answer; it keeps nobody from going on without DANE
// only where it is Secure or Insecure (STANDARDS 71, 72). A set of 128 records or more
// is none that can be used: only so many are kept.
//
// It returns a [PermanentError] with [ErrBadName], or a [TemporaryError].
func (r *Resolver) TLSA(ctx context.Context, owner string) (TLSAAnswer, error) {
	a, err := r.named(ctx, owner, dns.TypeTLSA)
	if err != nil {
		return TLSAAnswer{}, err
	}
	if len(a.records) >= maxRecords { // some may have been left out, and the one that matches among them
		return TLSAAnswer{}, a.temporary(fmt.Sprintf("too many TLSA records (%d or more)", maxRecords))
	}
	answer := TLSAAnswer{Owner: a.canonical(), Security: a.security, Why: a.why, Expires: a.expires, TTL: a.ttl}
	if answer.TTL == 0 {
		answer.TTL = a.expires.Sub(a.since)
	}
	for _, record := range a.records {
		rr, ok := record.(*dns.TLSA)
		if !ok {
			continue
		}
		data, err := hex.DecodeString(rr.Certificate)
		if err != nil {
			return TLSAAnswer{}, a.temporary("a TLSA record that cannot be read")
		}
		answer.Records = append(answer.Records, TLSA{rr.Usage, rr.Selector, rr.MatchingType, data})
	}
	return answer, nil
}

// named looks up the records of a name that came from a caller.
func (r *Resolver) named(ctx context.Context, domain string, kind uint16) (*answer, error) {
	name, err := ToASCII(domain)
	if err != nil {
		return nil, err
	}
	return r.lookup(ctx, r.about(name, kind))
}
