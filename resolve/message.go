package resolve

import (
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxLinks   = 10  // CNAMEs from a name to its records; real ones have three
	maxRecords = 128 // of one name and kind that are kept
	tooLong    = "a chain of more than 10 CNAMEs, or a loop of them"
)

// read takes from a message what it says to q, at the time now, as an answer
// without server and security, or the reason why it says nothing. Only records
// that belong to the chain that starts at q.name are looked at: a server has
// nothing to say of other names here.
func read(m *dns.Msg, q question, now time.Time) (*answer, string) {
	a := &answer{question: q, target: q.name, since: now}
	keep := keepMost
	for {
		var cname *dns.CNAME
		a.records, cname, keep = pick(m.Answer, question{name: a.target, kind: q.kind}, keep)
		if len(a.records) > 0 {
			a.status = found
			break
		}
		if cname == nil {
			var why string
			if keep, why = a.readNothing(m, keep); why != "" {
				return nil, why
			}
			break
		}
		if a.links++; a.links > maxLinks {
			return nil, tooLong
		}
		a.path = append(a.path, a.target)
		a.target = lower(cname.Target)
	}
	a.expires = now.Add(keep)
	return a, ""
}

// pick returns the records that answer q, or the CNAME that stands in their
// place, and the time that they and what came before may be kept.
func pick(section []dns.RR, q question, keep time.Duration) (records []dns.RR, cname *dns.CNAME, _ time.Duration) {
	for _, record := range section {
		header := record.Header()
		if header.Class != dns.ClassINET || header.Rrtype != q.kind && header.Rrtype != dns.TypeCNAME || !sameName(header.Name, q.name) {
			continue
		}
		if header.Rrtype != q.kind {
			if cname == nil {
				cname = record.(*dns.CNAME)
			}
		} else if len(records) < maxRecords {
			records = append(records, record)
			keep = min(keep, ttl(header))
		}
	}
	if len(records) == 0 && cname != nil {
		keep = min(keep, ttl(cname.Header()))
	}
	return records, cname, keep
}

// readNothing says what it means that there are no records at a.target, and how
// long that holds; or why it means nothing.
func (a *answer) readNothing(m *dns.Msg, keep time.Duration) (time.Duration, string) {
	soa, referral := authority(m.Ns, a.target)
	negative := keepUnsaid
	if soa != nil { // RFC 2308, 5
		negative = min(keepNothing, ttl(soa.Header()), seconds(soa.Minttl))
	}
	switch {
	case m.Rcode == dns.RcodeNameError: // of the last name in the chain (RFC 6604, 3)
		a.status = noName
	case soa != nil:
		a.status = noRecords
	case a.links > 0:
		a.status = leadsOn
		return keep, ""
	case referral && !m.Authoritative, !m.Authoritative && !m.RecursionAvailable:
		return 0, "lame: an answer that leads elsewhere (does it offer recursion to us?)"
	default:
		a.status = noRecords
	}
	return min(keep, negative), ""
}

// authority finds the SOA record of a zone that name is in, and says whether
// there are NS records instead.
func authority(section []dns.RR, name string) (soa *dns.SOA, referral bool) {
	for _, record := range section {
		switch rr := record.(type) {
		case *dns.SOA:
			if soa == nil && rr.Hdr.Class == dns.ClassINET && dns.IsSubDomain(lower(rr.Hdr.Name)+".", name+".") {
				soa = rr
			}
		case *dns.NS:
			referral = true
		}
	}
	return soa, referral && soa == nil
}

// ttl is the time that a record may be kept (RFC 2181, 8: negative ones are 0).
func ttl(h *dns.RR_Header) time.Duration { return seconds(h.Ttl) }

func seconds(n uint32) time.Duration {
	if n > 1<<31-1 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// sameName compares the name of a record with that of a question. Case means
// nothing (RFC 4343), whichever of it a server chose to repeat.
func sameName(owner, name string) bool {
	return strings.EqualFold(strings.TrimSuffix(owner, "."), name)
}

// refusal says in words why a message with this code is no answer.
func refusal(m *dns.Msg) string {
	word, ok := dns.RcodeToString[m.Rcode]
	if !ok {
		word = fmt.Sprintf("RCODE %d", m.Rcode)
	}
	opt := m.IsEdns0()
	if opt == nil {
		return word
	}
	for _, option := range opt.Option {
		// RFC 8914. Its text is the server's own and left out.
		if ede, ok := option.(*dns.EDNS0_EDE); ok {
			if text, ok := dns.ExtendedErrorCodeToString[ede.InfoCode]; ok {
				return word + " (" + text + ")"
			}
		}
	}
	return word
}
