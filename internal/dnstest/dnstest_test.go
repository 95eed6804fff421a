package dnstest_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

const zone = `
example.com.      300 IN SOA ns hostmaster 1 1 1 1 90
example.com.          IN MX  10 mx.example.com.
mx.example.com.       IN A   192.0.2.1
*.example.com.        IN TXT "any"
alias.example.com.    IN CNAME mx.example.com.
away.example.com.     IN CNAME none.example.net.
a.b.example.org.      IN A   192.0.2.2
`

// ask puts a question over a transport of miekg/dns.
func ask(t *testing.T, s *dnstest.Server, network, name, kind string, change ...func(*dns.Msg)) (*dns.Msg, error) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.StringToType[kind])
	for _, c := range change {
		c(m)
	}
	client := dns.Client{Net: network}
	reply, _, err := client.Exchange(m, s.Address)
	return reply, err
}

// line is an answer in short: the code, the records' data, the authority.
func line(m *dns.Msg) string {
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		words = append(words, strings.Join(strings.Fields(strings.TrimPrefix(rr.String(), rr.Header().String())), " "))
	}
	for _, rr := range m.Ns {
		words = append(words, "in "+rr.Header().Name)
	}
	if m.Truncated {
		words = append(words, "TC")
	}
	return strings.Join(words, ", ")
}

func TestItAnswersAsAResolverDoes(t *testing.T) {
	s := dnstest.Start(t, zone)
	for _, c := range []struct{ name, kind, want string }{
		{"example.com.", "MX", "NOERROR, 10 mx.example.com."},
		{"EXAMPLE.com.", "MX", "NOERROR, 10 mx.example.com."},
		{"example.com.", "A", "NOERROR, in example.com."},
		{"alias.example.com.", "A", "NOERROR, mx.example.com., 192.0.2.1"},
		{"alias.example.com.", "CNAME", "NOERROR, mx.example.com."},
		{"away.example.com.", "A", "NXDOMAIN, none.example.net., in ."},
		{"any.thing.example.com.", "TXT", `NOERROR, "any"`},
		{"any.example.com.", "A", "NOERROR, in example.com."},
		{"mx.example.com.", "TXT", "NOERROR, in example.com."},
		{"below.mx.example.com.", "TXT", "NXDOMAIN, in example.com."},
		{"b.example.org.", "A", "NOERROR, in ."},
		{"c.example.org.", "A", "NXDOMAIN, in ."},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m, err := ask(t, s, network, c.name, c.kind)
			if err != nil {
				t.Fatal(err)
			}
			if got := line(m); got != c.want || m.Answer != nil && m.Question[0].Name != c.name {
				t.Errorf("%s %s over %s: got %s, want %s", c.kind, c.name, network, got, c.want)
			}
		}
	}
}

func TestItFailsAsItIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		fault   dnstest.Fault
		network string
		edns    bool
		want    string // "" for none
	}{
		"SERVFAIL":            {dnstest.ServFail, "udp", false, "SERVFAIL"},
		"REFUSED":             {dnstest.Refused, "tcp", false, "REFUSED"},
		"NXDOMAIN":            {dnstest.NoName, "udp", false, "NXDOMAIN"},
		"truncated":           {dnstest.Truncated, "udp", false, "NOERROR, TC"},
		"not over TCP":        {dnstest.Truncated, "tcp", false, "NOERROR, 10 mx.example.com."},
		"EDNS":                {dnstest.PlainOnly, "udp", true, "FORMERR"},
		"not without":         {dnstest.PlainOnly, "udp", false, "NOERROR, 10 mx.example.com."},
		"UDP alone":           {dnstest.Fault{Rcode: "SERVFAIL", UDP: true}, "tcp", false, "NOERROR, 10 mx.example.com."},
		"TCP alone":           {dnstest.Fault{Rcode: "SERVFAIL", TCP: true}, "tcp", false, "SERVFAIL"},
		"something else":      {dnstest.Fault{Mangle: func(_, answer []byte) [][]byte { answer[3] |= 5; return [][]byte{answer} }}, "udp", false, "REFUSED, 10 mx.example.com."},
		"the second time not": {dnstest.Fault{Rcode: "SERVFAIL", Times: 1}, "udp", false, "SERVFAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			s := dnstest.Start(t, zone)
			s.Break("Example.com", "MX", c.fault)
			m, err := ask(t, s, c.network, "example.com.", "MX", func(m *dns.Msg) {
				if c.edns {
					m.SetEdns0(1232, false)
				}
			})
			if err != nil || line(m) != c.want {
				t.Errorf("got %v, %v", m, err)
			}
			if other, err := ask(t, s, "udp", "mx.example.com.", "A"); err != nil || line(other) != "NOERROR, 192.0.2.1" {
				t.Errorf("another name: %v, %v", other, err)
			}
			if c.fault.Times == 0 {
				s.Mend()
			}
			if m, err := ask(t, s, "udp", "example.com.", "MX"); err != nil || line(m) != "NOERROR, 10 mx.example.com." {
				t.Errorf("mended: %v, %v", m, err)
			}
		})
	}
}

func TestASilentServerAnswersNothing(t *testing.T) {
	s := dnstest.Start(t, zone)
	s.Break("", "", dnstest.Fault{Drop: true, Times: 1})
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := &dns.Conn{Conn: conn}
	for _, name := range []string{"a.example.com.", "b.example.com."} {
		if err := client.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := client.ReadMsg(); err != nil || m.Question[0].Name != "b.example.com." {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestAHeldAnswerWaits(t *testing.T) {
	s := dnstest.Start(t, zone)
	release := make(chan struct{})
	s.Break("example.com", "", dnstest.Fault{Hold: release})
	done := make(chan string)
	go func() {
		m, err := ask(t, s, "udp", "example.com.", "MX")
		if err != nil {
			done <- err.Error()
			return
		}
		done <- line(m)
	}()
	if m, err := ask(t, s, "udp", "mx.example.com.", "A"); err != nil || line(m) != "NOERROR, 192.0.2.1" {
		t.Errorf("another question meanwhile: %v, %v", m, err)
	}
	close(release)
	if got := <-done; got != "NOERROR, 10 mx.example.com." {
		t.Error(got)
	}
}

func TestRecordsChangeWhileItRuns(t *testing.T) {
	s := dnstest.Start(t, zone)
	expect := func(name, kind, want string) {
		t.Helper()
		if m, err := ask(t, s, "udp", name, kind); err != nil || line(m) != want {
			t.Errorf("got %v, %v; want %s", m, err, want)
		}
	}
	s.Set("example.com. 0 IN MX 20 other.example.com.")
	expect("example.com.", "MX", "NOERROR, 20 other.example.com.")
	s.Remove("example.com", "MX")
	expect("example.com.", "MX", "NOERROR, in example.com.")
	s.Remove("mx.example.com", "")
	expect("mx.example.com.", "A", "NOERROR, in example.com.") // the wildcard's, that has no A
	if err := s.Load("example.net. A 192.0.2.9"); err != nil {
		t.Fatal(err)
	}
	expect("example.com.", "MX", "NXDOMAIN, in .")
	expect("example.net.", "A", "NOERROR, 192.0.2.9")
	if err := s.Load("example.net. A nonsense"); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestQuestionsAreCounted(t *testing.T) {
	s := dnstest.Start(t, zone)
	for _, network := range []string{"udp", "tcp", "udp"} {
		if _, err := ask(t, s, network, "Example.com.", "MX"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ask(t, s, "udp", "example.com.", "A"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"MX example.com. udp", "MX example.com. tcp", "MX example.com. udp", "A example.com. udp"}; !slices.Equal(s.Asked(), want) {
		t.Errorf("got %q", s.Asked())
	}
	if a, b, c, d := s.Count("example.com", "MX"), s.Count("", "A"), s.Count("", ""), s.Count("x", ""); a != 3 || b != 1 || c != 4 || d != 0 {
		t.Errorf("counted %d %d %d %d", a, b, c, d)
	}
}

func TestWhatDoesNotFitIsTruncated(t *testing.T) {
	s := dnstest.Start(t, "")
	for range 5 {
		s.Set("example.com. TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 4))
	}
	for size, want := range map[uint16]bool{0: true, 1232: false} {
		m, err := ask(t, s, "udp", "example.com.", "TXT", func(m *dns.Msg) {
			if size > 0 {
				m.SetEdns0(size, false)
			}
		})
		if err != nil || m.Truncated != want {
			t.Errorf("%d octets: truncated is %v, %v", size, m != nil && m.Truncated, err)
		}
	}
}

func TestItIsReachedThroughPipes(t *testing.T) {
	s, err := dnstest.New(zone)
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		conn, err := s.Dial(context.Background(), network, "192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		q, err := new(dns.Msg).SetQuestion("example.com.", dns.TypeMX).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if network == "tcp" {
			q = append([]byte{0, byte(len(q))}, q...)
		}
		if _, err := conn.Write(q); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, 512)
		if n, err := conn.Read(reply); err != nil || n == 0 {
			t.Errorf("%s: %d octets, %v", network, n, err)
		}
		conn.Close()
	}
	s.Close()
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	s := dnstest.Start(t, zone)
	other, err := dnstest.New(zone)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Listen(s.Address); err == nil {
		t.Error("both listen")
	}
}
