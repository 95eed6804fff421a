package resolve

import (
	"context"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// TXTAnswer is what is written at a name. The caller may change it.
type TXTAnswer struct {
	Texts    []string  // of each record; its strings joined, any octets. None: there are none
	Security Security  // of the records or the proof, with the CNAMEs on the way
	Why      string    // it is so, one line for people; "" where nobody looked
	Expires  time.Time // when the records are asked for again
}

// TXT returns the TXT records of a name such as "_mta-sts.example.com". That
// there are none is an answer.
//
// It returns a [PermanentError] with [ErrBadName], or a [TemporaryError].
func (r *Resolver) TXT(ctx context.Context, name string) (TXTAnswer, error) {
	a, err := r.named(ctx, name, dns.TypeTXT)
	if err != nil {
		return TXTAnswer{}, err
	}
	answer := TXTAnswer{Security: a.security, Why: a.why, Expires: a.expires}
	for _, record := range a.records {
		if rr, ok := record.(*dns.TXT); ok {
			var text strings.Builder
			for _, part := range rr.Txt {
				text.WriteString(octets(part))
			}
			answer.Texts = append(answer.Texts, text.String())
		}
	}
	return answer, nil
}
