package resolve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

const mxZone = "example.com. MX 10 mx.example.com.\nmx.example.com. A 192.0.2.1\n"

// sends returns a fault that sends what the functions make of the right answer.
func sends(parts ...func(m *dns.Msg)) dnstest.Fault {
	return dnstest.Fault{Mangle: func(_, answer []byte) (all [][]byte) {
		for _, change := range parts {
			m := new(dns.Msg)
			if err := m.Unpack(answer); err != nil {
				panic(err)
			}
			change(m)
			packed, err := m.Pack()
			if err != nil {
				panic(err)
			}
			all = append(all, packed)
		}
		return all
	}}
}

// raw returns a fault that sends octets.
func raw(octets func(query, answer []byte) []byte) dnstest.Fault {
	return dnstest.Fault{Mangle: func(query, answer []byte) [][]byte { return [][]byte{octets(query, answer)} }}
}

// on limits f to a transport.
func on(f dnstest.Fault, udp, tcp bool) dnstest.Fault { f.UDP, f.TCP = udp, tcp; return f }

func right(*dns.Msg)         {}
func wrongID(m *dns.Msg)     { m.Id++ }
func aQuestion(m *dns.Msg)   { m.Response = false }
func otherName(m *dns.Msg)   { m.Question[0].Name = "evil.example." }
func otherType(m *dns.Msg)   { m.Question[0].Qtype = dns.TypeA }
func otherClass(m *dns.Msg)  { m.Question[0].Qclass = dns.ClassCHAOS }
func twoAsked(m *dns.Msg)    { m.Question = append(m.Question, m.Question[0]) }
func noQuestion(m *dns.Msg)  { m.Question = nil }
func update(m *dns.Msg)      { m.Opcode = dns.OpcodeUpdate }
func upperCase(m *dns.Msg)   { m.Question[0].Name = strings.ToUpper(m.Question[0].Name) }
func nobody(m *dns.Msg)      { m.Answer, m.Ns, m.RecursionAvailable = nil, nil, false }
func empty(m *dns.Msg)       { m.Answer, m.Ns = nil, nil }
func referral(m *dns.Msg)    { m.Answer, m.Ns = nil, records("com. NS a.gtld-servers.net.") }
func truncated(m *dns.Msg)   { m.Truncated = true }
func evilRecord(m *dns.Msg)  { m.Answer[0].Header().Name = "evil.example." }
func chaosRecord(m *dns.Msg) { m.Answer[0].Header().Class = dns.ClassCHAOS }
func upperOwner(m *dns.Msg)  { m.Answer[0].Header().Name = "EXAMPLE.com." }
func evilSOA(m *dns.Msg)     { m.Answer, m.Ns = nil, records("evil.example. 60 SOA a. b. 1 1 1 1 60") }

// forged makes what is wrong in another way say something as well.
func forged(change func(*dns.Msg)) func(*dns.Msg) {
	return func(m *dns.Msg) { m.Answer = records("example.com. MX 1 evil."); change(m) }
}

func records(zone string) (all []dns.RR) {
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	p.SetDefaultTTL(60)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		all = append(all, rr)
	}
	return all
}

// many returns n functions.
func many(n int, f func(*dns.Msg)) (all []func(*dns.Msg)) {
	for range n {
		all = append(all, f)
	}
	return all
}

const (
	theMX    = "10 mx.example.com as example.com"
	implicit = "0 example.com implicit as example.com"
	domains  = " for MX example.com"
)

func TestAServerThatMisbehaves(t *testing.T) {
	const later = 2 * time.Second
	for name, c := range map[string]struct {
		first dnstest.Fault
		want  string
		takes time.Duration
		asked string // of the first server
	}{
		// What does not match the question is passed over: the answer may still come.
		"wrong ID, then right":        {sends(forged(wrongID), right), theMX, 0, "udp"},
		"wrong name, then right":      {sends(forged(otherName), right), theMX, 0, "udp"},
		"wrong type, then right":      {sends(forged(otherType), right), theMX, 0, "udp"},
		"wrong class, then right":     {sends(forged(otherClass), right), theMX, 0, "udp"},
		"two questions, then right":   {sends(forged(twoAsked), right), theMX, 0, "udp"},
		"no question, then right":     {sends(forged(noQuestion), right), theMX, 0, "udp"},
		"the question, then right":    {sends(forged(aQuestion), right), theMX, 0, "udp"},
		"an update, then right":       {sends(forged(update), right), theMX, 0, "udp"},
		"three octets, then right":    {dnstest.Fault{Mangle: func(_, a []byte) [][]byte { return [][]byte{a[:3], a} }}, theMX, 0, "udp"},
		"the name in another case":    {sends(upperCase), theMX, 0, "udp"},
		"the owner in another case":   {sends(upperOwner), theMX, 0, "udp"},
		"wrong ID alone":              {on(sends(wrongID), true, false), "second", later, "udp"},
		"a flood of wrong IDs":        {on(sends(many(40, wrongID)...), true, false), theMX, 0, "udp tcp"},
		"silence":                     {dnstest.Silent, "second", later, "udp"},
		"truncated":                   {dnstest.Truncated, theMX, 0, "udp tcp"},
		"truncated, without question": {on(sends(func(m *dns.Msg) { truncated(m); noQuestion(m); empty(m) }), true, false), theMX, 0, "udp tcp"},
		"cut off in the middle":       {on(raw(func(_, a []byte) []byte { a[2] |= 2; return a[:len(a)-20] }), true, false), theMX, 0, "udp tcp"},
		"truncated over TCP":          {sends(truncated), "second", 0, "udp tcp"},
		"garbage with the right ID":   {on(raw(func(_, a []byte) []byte { return a[:len(a)-20] }), true, false), theMX, 0, "udp tcp"},
		"garbage over TCP too":        {raw(func(_, a []byte) []byte { return a[:len(a)-20] }), "second", 0, "udp tcp"},
		"SERVFAIL":                    {dnstest.ServFail, "second", 0, "udp"},
		"REFUSED":                     {dnstest.Refused, "second", 0, "udp"},
		"REFUSED, a header alone":     {sends(func(m *dns.Msg) { *m = dns.Msg{MsgHdr: m.MsgHdr}; m.Rcode = dns.RcodeRefused }), "second", 0, "udp"},
		"FORMERR to EDNS":             {dnstest.PlainOnly, theMX, 0, "udp udp"},
		"FORMERR to EDNS, a header":   {dnstest.Fault{EDNS: true, Mangle: func(q, a []byte) [][]byte { return [][]byte{header(a, dns.RcodeFormatError)} }}, theMX, 0, "udp udp"},
		"NOTIMP to EDNS":              {dnstest.Fault{Rcode: "NOTIMP", EDNS: true}, theMX, 0, "udp udp"},
		"BADVERS to EDNS":             {dnstest.Fault{EDNS: true, Mangle: badVersion}, theMX, 0, "udp udp"},
		"FORMERR to everything":       {dnstest.Fault{Rcode: "FORMERR"}, "second", 0, "udp udp"},
		"lame: nothing, for nobody":   {sends(nobody), "second", 0, "udp"},
		"lame: a referral":            {sends(referral), "second", 0, "udp"},
		"empty, without an SOA":       {sends(empty), implicit, 0, "udp"},
		"an SOA of elsewhere":         {sends(evilSOA), implicit, 0, "udp"},
		"a record of another name":    {sends(evilRecord), implicit, 0, "udp"},
		"a record of another class":   {sends(chaosRecord), implicit, 0, "udp"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := script(mxZone)
				first.Break("", "", c.first)
				second := script("example.com. MX 10 second.example.com.")
				want := strings.Replace(c.want, "second", "10 second.example.com as example.com", 1)
				begin := time.Now()
				got := said(piped(first, second).MX(context.Background(), "example.com"))
				if took := time.Since(begin); got != want || took != c.takes {
					t.Errorf("got %s after %v, want %s", got, took, want)
				}
				if asked := transports(first); asked != c.asked {
					t.Errorf("the first was asked over %s", asked)
				}
				settle()
			})
		})
	}
}

func header(answer []byte, rcode byte) []byte {
	h := append([]byte(nil), answer[:12]...)
	h[3] = h[3]&0xf0 | rcode
	for i := 4; i < 12; i++ {
		h[i] = 0
	}
	return h
}

func badVersion(_, answer []byte) [][]byte {
	m := new(dns.Msg)
	if err := m.Unpack(answer); err != nil {
		panic(err)
	}
	m.Answer, m.Ns = nil, nil
	m.SetEdns0(1232, false)
	m.Rcode = dns.RcodeBadVers
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return [][]byte{packed}
}

func transports(s *dnstest.Server) string {
	var all []string
	for _, asked := range s.Asked() {
		all = append(all, strings.Fields(asked)[2])
	}
	return strings.Join(all, " ")
}

func TestAnErrorNamesEachServerAndWhatItDid(t *testing.T) {
	ede := func(m *dns.Msg) {
		empty(m)
		m.Rcode = dns.RcodeServerFailure
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "a\r\nQUIT"}}
	}
	for name, c := range map[string]struct {
		first, second dnstest.Fault
		want          string
	}{
		"SERVFAIL twice":        {dnstest.ServFail, dnstest.ServFail, "SERVFAIL from 192.0.2.1:53, SERVFAIL from 192.0.2.2:53" + domains},
		"with extended errors":  {sends(ede), dnstest.Refused, "SERVFAIL (DNSSEC Bogus) from 192.0.2.1:53, REFUSED from 192.0.2.2:53" + domains},
		"silence and wrong IDs": {dnstest.Silent, sends(wrongID, wrongID), "timeout from 192.0.2.1:53, timeout, with 2 stray datagrams, from 192.0.2.2:53" + domains},
		"lame and unreadable":   {sends(nobody), raw(func(_, a []byte) []byte { return a[:len(a)-20] }), "lame: an answer that leads elsewhere (does it offer recursion to us?) from 192.0.2.1:53, an unreadable answer from 192.0.2.2:53" + domains},
		"an RCODE of its own":   {raw(func(_, a []byte) []byte { a[3] = a[3]&0xf0 | 14; return a }), dnstest.Fault{Rcode: "NOTAUTH"}, "RCODE 14 from 192.0.2.1:53, NOTAUTH from 192.0.2.2:53" + domains},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := script(mxZone), script(mxZone)
				first.Break("", "", c.first)
				second.Break("", "", c.second)
				if _, err := piped(first, second).MX(context.Background(), "example.com"); err == nil || err.Error() != c.want {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
				settle()
			})
		})
	}
}

func TestAnErrorStaysOnItsLine(t *testing.T) {
	got := failures([]*server{{text: "tls://dns.example:853"}}, []error{errors.New("valid for a\r\nQUIT\x1b[1mü")})
	if want := (Failure{"tls://dns.example:853", "valid for a??QUIT?[1m?"}); len(got) != 1 || got[0] != want {
		t.Errorf("got %q", got)
	}
}

func TestAServerThatGivesNoSignIsAskedTwiceAndOneThatFailsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent, failing := stuck(mxZone, ""), script(mxZone)
		failing.Break("", "", dnstest.ServFail)
		begin := time.Now()
		_, err := piped(silent, failing).MX(context.Background(), "example.com")
		if took := time.Since(begin); !isTemporary(err) || took != 6*time.Second { // 2 s and then 4 s
			t.Errorf("%v after %v", err, took)
		}
		if silent.Count("", "") != 2 || failing.Count("", "") != 1 {
			t.Errorf("asked %q and %q", silent.Asked(), failing.Asked())
		}
		settle()
	})
}

func TestADatagramThatGotLostIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(mxZone)
		s.Break("", "", dnstest.Fault{Drop: true, Times: 1})
		r := piped(s)
		if got := said(r.MX(context.Background(), "example.com")); got != theMX {
			t.Error(got)
		}
		if r.servers.fixed[0].avoided(time.Now()) {
			t.Error("the server is avoided though it answered in the end")
		}
		settle()
	})
}

func TestASlowAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := script(mxZone), make(chan struct{})
		s.Break("", "", dnstest.Fault{Hold: release})
		time.AfterFunc(1900*time.Millisecond, func() { close(release) })
		if got := said(piped(s).MX(context.Background(), "example.com")); got != theMX || s.Count("", "") != 1 {
			t.Errorf("%s, asked %q", got, s.Asked())
		}
		settle()
	})
}

func TestOneThatDidNotAnswerIsAskedLastForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := stuck(mxZone, ""), script("*.example. MX 10 mx.example.")
		r := piped(first, second)
		ask := func(domain string) {
			if _, err := r.MX(context.Background(), domain); err != nil {
				t.Errorf("%s: %v", domain, err)
			}
		}
		ask("a.example")
		ask("b.example")
		if n := first.Count("", ""); n != 1 {
			t.Errorf("the silent one was asked %d times at first", n)
		}
		<-time.After(avoid)
		first.Mend()
		first.Set("*.example. MX 10 mx.example.")
		ask("c.example")
		ask("d.example")
		if n := first.Count("", ""); n != 3 {
			t.Errorf("the mended one was asked %d times", n)
		}
		settle()
	})
}

func TestAServerWithoutEDNSIsNotAskedWithItEachTime(t *testing.T) {
	at, s := noon(), dnstest.Start(t, "*.example. MX 10 mx.example.")
	s.Break("", "", dnstest.PlainOnly)
	r := at.in(over(t, s))
	for i, want := range []int{2, 3, 4} {
		if _, err := r.MX(t.Context(), fmt.Sprintf("d%d.example", i)); err != nil || s.Count("", "") != want {
			t.Errorf("asked %d times, %v", s.Count("", ""), err)
		}
	}
	at.pass(askPlain)
	if _, err := r.MX(t.Context(), "later.example"); err != nil || s.Count("", "") != 6 {
		t.Errorf("asked %d times, %v", s.Count("", ""), err)
	}
}
