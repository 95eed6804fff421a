package dnstest

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

const defaultTTL = 60 // seconds

// key is a name in lower case with its final dot, and a type.
type key struct {
	name string
	kind uint16
}

// tree is all that the server knows. Its owner locks it.
type tree map[key][]dns.RR

// parse reads records in the format of zone files. The origin is the root.
func parse(zone string) (tree, error) {
	t := tree{}
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	p.SetDefaultTTL(defaultTTL)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		h := rr.Header()
		k := key{dns.CanonicalName(h.Name), h.Rrtype}
		t[k] = append(t[k], rr)
	}
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("dnstest: %w", err)
	}
	return t, nil
}

// answer fills m with what the tree says to its question.
func (t tree) answer(m *dns.Msg) {
	q := m.Question[0]
	name := dns.CanonicalName(q.Name)
	owner := q.Name // as it was asked, in that case
	for range 16 {
		at, exists := t.find(name)
		if rrs := t[key{at, q.Qtype}]; len(rrs) > 0 {
			m.Answer = append(m.Answer, owned(rrs, owner)...)
			return
		}
		if cname := t[key{at, dns.TypeCNAME}]; len(cname) > 0 {
			m.Answer = append(m.Answer, owned(cname[:1], owner)...)
			owner = cname[0].(*dns.CNAME).Target
			name = dns.CanonicalName(owner)
			continue
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = append(m.Ns, t.soa(name))
		return
	}
}

// find returns where the records of name are: at a wildcard, if it has none
// itself (RFC 4592); and whether it exists.
func (t tree) find(name string) (at string, exists bool) {
	if t.exists(name) {
		return name, true
	}
	for parent := name; parent != "."; {
		parent = up(parent)
		if star := strings.TrimSuffix("*."+parent, ".") + "."; t.exists(star) {
			return star, true
		}
		if t.exists(parent) {
			break
		}
	}
	return name, false
}

// exists says whether there is a record at name or below.
func (t tree) exists(name string) bool {
	for k := range t {
		if dns.IsSubDomain(name, k.name) {
			return true
		}
	}
	return false
}

// soa returns the SOA record of the zone that name is in; one is made up if
// there is none.
func (t tree) soa(name string) dns.RR {
	for {
		if rrs := t[key{name, dns.TypeSOA}]; len(rrs) > 0 {
			return rrs[0]
		}
		if name == "." {
			break
		}
		name = up(name)
	}
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: defaultTTL},
		Ns:  "ns.", Mbox: "hostmaster.", Serial: 1, Refresh: 1, Retry: 1, Expire: 1, Minttl: defaultTTL,
	}
}

// up returns the parent of a name that is not the root.
func up(name string) string {
	next, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[next:]
}

// owned returns copies that belong to owner: the name as it was asked, or the
// one that a wildcard stands for.
func owned(rrs []dns.RR, owner string) []dns.RR {
	all := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		all[i] = dns.Copy(rr)
		all[i].Header().Name = owner
	}
	return all
}
