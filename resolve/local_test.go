package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

func TestNamesThatThePublicDNSCannotHaveNeedNotBeSigned(t *testing.T) {
	for name, want := range map[string]bool{
		"smarthost": true, "mail.lan": true, "mail.local": true, "a.b.internal": true, "x.home.arpa": true, "home.arpa": true, "mail.corp": true, "localhost": true, "relay.mail": true,
		"example.com": false, "lan.example.com": false, "1.in-addr.arpa": false, "nothome.arpa": false, "notlan.de": false,
	} {
		if got := isLocal(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	own := dnstest.Start(t, "relay.lan. A 127.0.0.2\nrelay.example.com. A 127.0.0.2")
	r := with(t, Options{Servers: []string{own.Address}, Hosts: "/none", DNSSEC: Validate})
	if a, err := r.Addresses(t.Context(), "relay.lan", IPv4Only); err != nil || a.Security != Insecure {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := r.Addresses(t.Context(), "relay.example.com", IPv4Only); err == nil {
		t.Errorf("not signed, and should be: %+v", a)
	}
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "lan"}, dnstest.Zone{Name: "example.com"})...)
	public := validating(t, s)
	public.public = true
	if a, err := public.MX(t.Context(), "example.com"); err != nil || a.Security != Secure {
		t.Errorf("a top-level domain is no name of one's own: %+v, %v", a, err)
	}
	s.Break("mail.lan", "A", dnstest.Instead(dnstest.Start(t, "mail.lan. A 192.0.2.66")))
	if a, err := validating(t, s).Addresses(t.Context(), "mail.lan", IPv4Only); err == nil {
		t.Errorf("forged, where the root is another one: %+v", a)
	}
}

func TestATopLevelDomainThatTheRootDeniesIsOnesOwn(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	own := dnstest.Instead(dnstest.Start(t, "mx.acme. A 127.0.0.2\nmx.acme.com. A 127.0.0.2"))
	s.Break("mx.acme", "", own)
	s.Break("mx.acme.com", "", own)
	r := validating(t, s)
	if a, err := r.Addresses(t.Context(), "mx.acme", IPv4Only); err != nil || a.Security != Insecure || !strings.Contains(a.Why, "no top-level domain acme") {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := r.Addresses(t.Context(), "mx.acme.com", IPv4Only); err == nil {
		t.Errorf("below a domain that others can have: %+v", a)
	}
}

// RFC 7646.
func TestADomainThatIsDeclaredUnsignedIsNotValidated(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	view := dnstest.Instead(dnstest.Start(t, "mail.corp.example.com. A 127.0.0.2\ncorp.example.com. MX 5 mail.corp.example.com."))
	s.Break("corp.example.com", "", view)
	s.Break("mail.corp.example.com", "", view)
	strict := validating(t, s)
	_, err := strict.MX(t.Context(), "corp.example.com")
	if wrong := (*TemporaryError)(nil); !errors.As(err, &wrong) || wrong.Security != Bogus || !wrong.Unsigned {
		t.Errorf("not declared: %v", err)
	}
	r := with(t, Options{Servers: []string{s.Address}, Hosts: "/none", DNSSEC: Validate, Anchors: strict.anchors, Insecure: []string{"Corp.example.com."}})
	if a, err := r.MX(t.Context(), "corp.example.com"); err != nil || a.Security != Insecure || a.Hosts[0].Host != "mail.corp.example.com" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := r.Addresses(t.Context(), "mail.corp.example.com", Both); err != nil || a.Security != Insecure {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := r.MX(t.Context(), "example.com"); err != nil || a.Security != Secure {
		t.Errorf("the domain above: %+v, %v", a, err)
	}
}

// What one question has cost says nothing about the zone at which it was given up.
func TestAZoneIsNotLostToOthersByAQuestionThatCostTooMuch(t *testing.T) {
	r := validating(t, dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...))
	spent := &effort{verified: maxAllVerified}
	if z := (&validator{r: r, spent: spent}).zone(t.Context(), "example.com"); z.kind != lost {
		t.Fatalf("%d (%s)", z.kind, z.why)
	}
	if a, err := r.MX(t.Context(), "example.com"); err != nil || a.Security != Secure {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestWhatIsKeptIsBoundedByItsSizeToo(t *testing.T) {
	c, now := newCache(time.Now), time.Now()
	var large []dns.RR
	for range maxRecords {
		large = append(large, &dns.TXT{Hdr: dns.RR_Header{Name: "example.com."}, Txt: []string{strings.Repeat("x", 255)}})
	}
	for i := range 2000 {
		q := question{name: fmt.Sprintf("d%d.example", i), kind: dns.TypeTXT}
		c.put(q, &answer{question: q, records: large, since: now, expires: now.Add(time.Hour)})
	}
	if n := c.answers.all.Len() * maxRecords * 255; n > mostOctets || n < mostOctets/8 {
		t.Errorf("%d octets of text", n)
	}
	q := question{name: "d1999.example", kind: dns.TypeTXT}
	c.put(q, &answer{question: q, since: now, expires: now.Add(time.Hour)}) // in the place of a large one
	sum := 0
	for _, a := range c.answers.all.Values() {
		sum += a.cost()
	}
	if sum != c.answers.used {
		t.Errorf("%d octets are counted, %d there", c.answers.used, sum)
	}
}

func TestAHostStandsInTheAnswerOnce(t *testing.T) {
	s := dnstest.Start(t, "a.example. MX 20 mx.a.example.\na.example. MX 10 MX.a.example.\na.example. MX 15 other.example.")
	a, err := over(t, s).MX(t.Context(), "a.example")
	if err != nil || fmt.Sprint(a.Hosts) != "[{mx.a.example 10} {other.example 15}]" {
		t.Errorf("%v, %v", a.Hosts, err)
	}
}

func TestWithoutTCPALongAnswerComesInALargeDatagram(t *testing.T) {
	s := dnstest.Start(t, `a.example. TXT "`+strings.Repeat("x", 250)+`" "`+strings.Repeat(`" "`+strings.Repeat("y", 250), 5)+`"`)
	r := with(t, Options{Servers: []string{s.Address}, Hosts: "/none", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == "tcp" {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	if a, err := r.TXT(t.Context(), "a.example"); err != nil || len(a.Texts) != 1 || len(a.Texts[0]) != 1500 {
		t.Errorf("%v, %v", a.Texts, err)
	}
}

// STANDARDS 116: one of several servers behind an address strips signatures, or a datagram is forged.
func TestWhatComesWithoutSignaturesIsAskedForAgain(t *testing.T) {
	s := dnstest.StartSigned(t, family(dnstest.Zone{Name: "example.com"})...)
	stripped := dnstest.Instead(dnstest.Start(t, "example.com. MX 10 mx.evil.example."))
	stripped.UDP = true
	s.Break("example.com", "MX", stripped)
	if a, err := validating(t, s).MX(t.Context(), "example.com"); err != nil || a.Security != Secure {
		t.Errorf("%+v, %v", a, err)
	}
}

// Who makes a name fail does not choose another one.
func TestTheSearchListIsForNamesThatDoNotExist(t *testing.T) {
	s := dnstest.Start(t, "relay.example.com.corp.example. A 192.0.2.66\nshort.corp.example. A 192.0.2.1\nhollow.example. TXT x\nhollow.example.corp.example. A 192.0.2.2")
	s.Break("relay.example.com", "", dnstest.ServFail)
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	host, port, _ := net.SplitHostPort(s.Address)
	if err := os.WriteFile(conf, []byte("nameserver "+host+"\nsearch corp.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := with(t, Options{Hosts: "/none", Resolvconf: conf, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, port))
	}})
	if a, err := r.HostAddresses(t.Context(), "relay.example.com", IPv4Only); err == nil {
		t.Errorf("%+v", a)
	}
	for name, want := range map[string]string{"short": "short.corp.example", "hollow.example": "hollow.example.corp.example"} {
		if a, err := r.HostAddresses(t.Context(), name, IPv4Only); err != nil || a.Name != want {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}
