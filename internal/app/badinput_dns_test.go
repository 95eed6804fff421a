package app

import (
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/resolve"
)

// dnsTrouble is one way in which the resolver fails, and what becomes of mail then: the
// beginning of the reply and the cause in it, or "" where the mail goes out.
type dnsTrouble struct {
	what, kind string // of the questions that meet the fault; "" for all
	faults     []dnstest.Fault
	signed     string // for example.com
	plain      string // for plain.com
}

// late is released when the reply is there.
func dnsTroubles(late <-chan struct{}, stranger *dnstest.Server) []dnsTrouble {
	one := func(f dnstest.Fault) []dnstest.Fault { return []dnstest.Fault{f} }
	noTCP := []dnstest.Fault{dnstest.Truncated, {Rcode: "REFUSED", TCP: true}}
	const (
		mx    = "451 4.4.3 cannot look up the mail exchangers of DOMAIN: "
		bogus = "451 4.7.5 cannot look up the mail exchangers of DOMAIN: bogus "
		tlsa  = "451 4.7.5 mx.DOMAIN: cannot look up the TLSA records of _PORT._tcp.mx.DOMAIN: "
		addr  = "451 4.7.5 mx.DOMAIN: cannot look up the address of mx.DOMAIN: "
		from  = " from SERVER"
		keys  = mx + "an answer that cannot be validated ("
	)
	return []dnsTrouble{
		{"down", "", one(dnstest.Silent), mx + "timeout" + from, mx + "timeout" + from},
		{"failing", "", one(dnstest.ServFail), mx + "SERVFAIL" + from, mx + "SERVFAIL" + from},
		{"truncating", "", one(dnstest.Truncated), "", ""},
		{"truncating, TCP refused too", "", noTCP, mx + "REFUSED" + from, mx + "REFUSED" + from},
		{"slow", "MX", one(dnstest.Fault{Hold: late}), mx + "timeout" + from, mx + "timeout" + from},
		{"guessing the ID", "MX", one(dnstest.WrongID), mx + "timeout, with 1 stray datagrams", mx + "timeout, with 1 stray datagrams"},
		{"answering for another name", "MX", one(dnstest.OtherName), mx + "timeout, with 1 stray datagrams", mx + "timeout, with 1 stray datagrams"},
		{"forging MX records", "MX", one(dnstest.Instead(stranger)), bogus + "(MX of example.com came without a signature, and the zone example.com is signed)" + from, ""},
		{"denying everything", "MX", one(dnstest.NoName), bogus + "(there is no proof that there is no MX of example.com", "550 5.1.2 domain plain.com does not exist"},
		{"forging addresses", "A", one(dnstest.Instead(stranger)), addr + "bogus (A of mx.example.com came without a signature", ""},
		{"failing for addresses", "A", one(dnstest.ServFail), addr + "SERVFAIL" + from, addr + "SERVFAIL" + from},
		{"failing for TLSA", "TLSA", one(dnstest.ServFail), tlsa + "SERVFAIL" + from, ""},
		{"denying TLSA", "TLSA", one(dnstest.NoName), tlsa + "bogus (there is no proof that there is no TLSA of", ""},
		{"silent about TLSA", "TLSA", one(dnstest.Silent), tlsa + "timeout" + from, ""},
		{"truncating TLSA, TCP refused too", "TLSA", noTCP, tlsa + "REFUSED" + from, ""},
		{"forging TLSA", "TLSA", one(dnstest.Instead(stranger)), tlsa + "bogus (", ""},
		{"without keys", "DNSKEY", one(dnstest.NoName), bogus + "(. has a DS record and no keys)", bogus + "(. has a DS record and no keys)"},
		{"failing for keys", "DNSKEY", one(dnstest.ServFail), keys + "SERVFAIL from SERVER for DNSKEY .)", keys + "SERVFAIL from SERVER for DNSKEY .)"},
	}
}

// STANDARDS 68 to 72, SEM 26: who does not get what he asks the DNS for waits; what is proved
// not to be signed goes out whatever its TLSA records may be.
func TestMailWaitsForADNSThatFailsOrLies(t *testing.T) {
	for _, level := range []string{"auto", "dane", "dane-only"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.twoDestinations(t, time.Now(), nil)
			stranger := dnstest.Start(t, "*.com. MX 10 mx.plain.com.\nexample.com. MX 10 mx.evil.example.\nmx.example.com. A 127.0.0.3\n"+
				"plain.com. MX 10 mx.plain.com.\nmx.plain.com. A 127.0.0.2\n"+w.tlsa(false))
			p := w.begin(t, inMemory+w.admin()+w.resolverWith("")+w.outbound("level = \""+level+"\""))
			p.log.await(t, "signatures through")
			late := make(chan struct{})
			t.Cleanup(func() { close(late) })
			for _, c := range dnsTroubles(late, stranger) {
				p.refit(t, resolve.Options{})
				for _, f := range c.faults {
					w.dns.Break("", c.kind, f)
				}
				if c.plain == "" && level == "dane-only" {
					c.plain = "451 4.7.5 mx.plain.com: level dane-only: the address of mx.plain.com is not signed"
				}
				w.wantReply(t, p, c.what, "example.com", c.signed)
				w.wantReply(t, p, c.what, "plain.com", c.plain)
				w.dns.Mend()
			}
		})
	}
}

// wantReply expects the reply to a RCPT, and the same cause in an explanation. For "" the
// mail goes out.
func (w *world) wantReply(t *testing.T, p *running, what, domain, want string) {
	t.Helper()
	names := strings.NewReplacer("DOMAIN", domain, "PORT", w.port, "SERVER", w.dns.Address)
	if want = names.Replace(want); want == "" {
		want = "250 "
	}
	got := reply(t, p.at(t, "egress"), domain)
	if !strings.HasPrefix(got, want) {
		t.Errorf("%s, %s:\n got %s\nwant %s", what, domain, got, want)
	}
	text, _, err := explained(t, ExplainOptions{Domain: domain, Config: p.file})
	if refused := want != "250 "; refused != (err == ErrReported) {
		t.Errorf("%s, %s: explain: %v\n%s", what, domain, err, text)
	} else if refused {
		if _, behind, ok := strings.Cut(want, ": "); ok {
			want = behind
		}
		wantWords(t, what+", "+domain+": explain", text, want)
	}
}
