package resolve

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// wire answers each question with the same octets, under the question's ID.
type wire struct {
	net.Conn
	answer []byte
	id     [2]byte
	spent  bool
}

func (w *wire) Write(p []byte) (int, error) { copy(w.id[:], p); return len(p), nil }

func (w *wire) Read(p []byte) (int, error) {
	if w.spent {
		return 0, net.ErrClosed
	}
	w.spent = true
	n := copy(p, w.answer)
	copy(p[:n], w.id[:])
	return n, nil
}

func (*wire) Close() error                { return nil }
func (*wire) SetDeadline(time.Time) error { return nil }

// FuzzAnswer lets any octets be the answer to each kind of question. What leaves
// the package must be fit for a command, a log and a reply.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{
		"example.com. MX 10 mx.example.com.\nexample.com. MX 0 .", "example.com. CNAME a.example.", "example.com. AAAA ::1\nexample.com. A 0.0.0.0",
		`example.com. MX 0 a\013\010QUIT.example.`, reverse4 + ". PTR " + `a\000b.example.`, reverse4 + ". PTR mail.example.", "example.com. CNAME example.com.",
	} {
		m := new(dns.Msg)
		m.Answer = records(text)
		m.SetQuestion(m.Answer[0].Header().Name, m.Answer[0].Header().Rrtype)
		m.Response, m.RecursionAvailable, m.Compress = true, true, true
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := build(Options{Servers: []string{"192.0.2.1"}, Hosts: "/none", Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
			if network == "tcp" {
				return nil, net.ErrClosed
			}
			return &wire{answer: answer}, nil
		}})
		ctx := t.Context()
		mx, err := r.MX(ctx, "example.com")
		check(t, err, mx.Canonical)
		if err == nil && len(mx.Hosts) == 0 {
			t.Error("no hosts and no error")
		}
		for _, one := range mx.Hosts {
			check(t, nil, one.Host)
			if one.Host == "" || one.Host != strings.ToLower(one.Host) {
				t.Errorf("host %q", one.Host)
			}
		}
		a, err := r.Addresses(ctx, "example.com", Both)
		check(t, err, a.Canonical)
		if (err == nil) != (len(a.Addrs) > 0) || len(a.Addrs) > 2*maxHosts {
			t.Errorf("%d addresses and %v", len(a.Addrs), err)
		}
		name := r.ClientName(ctx, netip.MustParseAddr("192.0.2.1"))
		check(t, nil, name.Name)
		check(t, nil, name.Reverse)
		if (name.Reverse != "") != (name.ReverseStatus == Found) || (name.Name != "") != (name.NameStatus == Found) {
			t.Errorf("got %+v", name)
		}
	})
}

// check looks for what may not stand in a command, and in an error what may not
// stand in a line.
func check(t *testing.T, err error, name string) {
	t.Helper()
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*.") != "" || len(name) > maxName {
		t.Errorf("name %q", name)
	}
	if err == nil {
		return
	}
	if strings.HasPrefix(err.Error(), "a defect") {
		t.Error(err)
	}
	for _, c := range err.Error() {
		if c < ' ' || c > '~' {
			t.Errorf("error %q", err)
		}
	}
}

// FuzzHosts reads any hosts file and asks it for what it holds.
func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost # us\n::1 localhost ip6-localhost\nfe80::1%lo0 x\n")
	f.Fuzz(func(t *testing.T, text string) {
		table := parseHosts(strings.NewReader(text))
		for name := range table.byName {
			if len(table.addresses(name, Both)) != len(table.byName[name]) {
				t.Errorf("%q is not found again", name)
			}
		}
	})
}

// FuzzResolvconf reads any resolv.conf: there is always a server in it.
func FuzzResolvconf(f *testing.F) {
	f.Add("nameserver 127.0.0.1\nsearch a b\noptions ndots:2 timeout:x\n", "host")
	f.Fuzz(func(t *testing.T, text, host string) {
		s := parseResolvconf(strings.NewReader(text))
		if n := len(s.servers); n < 1 || n > maxSystem || len(s.names(host)) == 0 {
			t.Errorf("%d servers, names %q", n, s.names(host))
		}
	})
}

// FuzzAnchors reads any file of anchors: without an error there is one.
func FuzzAnchors(f *testing.F) {
	f.Add(rootKeys)
	f.Add(". 86400 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ== ;;state=1")
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := ParseAnchors(text); (err == nil) != (len(a.zones) > 0) {
			t.Errorf("%v, %v", a, err)
		}
	})
}

// fixed is a zone whose key is known to everybody, so that signatures in the
// corpus last.
func fixed() signer {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 257, Protocol: 3, Algorithm: dns.ED25519}
	k.PublicKey = toBase64(private.Public().(ed25519.PublicKey))
	return signer{"example.com", k, private}
}

// knowing returns a resolver without servers that knows the zones on the way to
// example.com.
func knowing(s signer) *Resolver {
	r := build(Options{Servers: []string{"-"}, Hosts: "/none", DNSSEC: Validate, Now: noon().now})
	until := noon().Add(time.Hour)
	for name, z := range map[string]*zone{"": {kind: signed}, "com": {kind: signed}, "example.com": {kind: signed, keys: s.keys()}, "a.example.com": {kind: inside}, "bare.com": {kind: unsigned, verdict: insecure(time.Hour, "not signed")}} {
		z.name, z.expires = name, until
		r.zones.put(z)
	}
	return r
}

// FuzzValidation lets any message be the answer: it never panics, and nothing is
// Secure in it without a signature that verifies.
func FuzzValidation(f *testing.F) {
	s := fixed()
	for _, text := range []string{
		"a.example.com. 300 IN MX 10 mx.example.com.", "a.example.com. 300 IN CNAME b.example.com.\nb.example.com. 300 IN MX 1 a.example.com.",
		"example.com. 300 IN SOA ns.example.com. h.example.com. 1 1 1 1 300\nexample.com. 300 IN NSEC b.example.com. NS SOA RRSIG NSEC",
		"*.example.com. 300 IN MX 10 mx.example.com.\nexample.com. 300 IN NSEC b.example.com. NS SOA RRSIG NSEC",
		"example.com. 300 IN SOA ns.example.com. h.example.com. 1 1 1 1 300\n" + chain3("example.com", true, 1, "example.com NS SOA", "b.example.com"),
	} {
		for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
			f.Add(message(f, s, text, rcode))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := new(dns.Msg)
		if m.Unpack(raw) != nil {
			return
		}
		for _, q := range []question{{"a.example.com", dns.TypeMX, Validate}, {"a.example.com", dns.TypeDS, Validate}, {"x.y.example.com", dns.TypeA, Validate}, {"bare.com", dns.TypeTLSA, Validate}} {
			a, why := read(m, q, noon().Time)
			if why != "" {
				continue
			}
			spent := new(effort)
			err := (&validator{r: knowing(s), spent: spent}).judge(t.Context(), m, a)
			if (err == nil) != (a.security >= Insecure) {
				t.Errorf("%v, and %v", a.security, err)
			}
			if err == nil && a.security == Secure && !verifies(m, s, a) {
				t.Errorf("%v is secure (%s):\n%v", q, a.why, m)
			}
			if spent.verified > maxAllVerified || spent.hashed > maxHashed {
				t.Errorf("%+v", spent)
			}
		}
	})
}

// message packs records, each set signed, those of negative answers into the
// authority section.
func message(t testing.TB, s signer, text string, rcode int) []byte {
	m := new(dns.Msg)
	m.SetQuestion("a.example.com.", dns.TypeMX)
	m.Response, m.RecursionAvailable, m.Rcode = true, true, rcode
	for _, rr := range records(text) {
		sig := s.sign(t, []dns.RR{rr}, nil)
		if rest, ok := strings.CutPrefix(rr.Header().Name, "*."); ok { // made from a wildcard
			rr.Header().Name, sig.Hdr.Name = "a."+rest, "a."+rest
		}
		switch rr.Header().Rrtype {
		case dns.TypeSOA, dns.TypeNSEC, dns.TypeNSEC3:
			m.Ns = append(m.Ns, rr, sig)
		default:
			m.Answer = append(m.Answer, rr, sig)
		}
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// verifies looks for a signature by the key of the zone: over the records that
// were found, or else over anything that proves that there is none.
func verifies(m *dns.Msg, s signer, a *answer) bool {
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			sig, ok := rr.(*dns.RRSIG)
			if !ok || !sig.ValidityPeriod(noon().Time) {
				continue
			}
			set := collect(section, lower(sig.Hdr.Name), sig.TypeCovered)
			if (a.status != found || set.name == a.target && set.kind == a.kind) && len(set.records) > 0 && sig.Verify(s.key, set.records) == nil {
				return true
			}
		}
	}
	return false
}
