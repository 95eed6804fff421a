package resolve

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

func TestAQuestionCarriesARandomIDAndEDNS(t *testing.T) {
	ids := map[uint16]bool{}
	for range 20 {
		q, err := question{name: "example.com", kind: dns.TypeMX}.pack(true, ednsSize)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(q.packed); err != nil {
			t.Fatal(err)
		}
		if m.Id != q.id || !m.RecursionDesired || m.IsEdns0() == nil || m.IsEdns0().UDPSize() != 1232 {
			t.Errorf("got %v", m)
		}
		ids[m.Id] = true
	}
	if len(ids) < 15 {
		t.Errorf("%d IDs in 20 questions", len(ids))
	}
}

func TestAnswersFromElsewhereAreNotRead(t *testing.T) {
	// The socket is connected: what another one sends, with the right ID, is
	// dropped by the system.
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	forger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	go func() {
		packet := make([]byte, 1500)
		n, from, err := server.ReadFrom(packet)
		if err != nil {
			return
		}
		for host, conn := range map[string]net.PacketConn{"evil.": forger, "mx.": server} {
			q, m := new(dns.Msg), new(dns.Msg)
			if q.Unpack(packet[:n]) != nil {
				return
			}
			m.SetReply(q)
			m.Answer = records("example.com. MX 1 " + host)
			packed, _ := m.Pack()
			_, _ = conn.WriteTo(packed, from)
		}
	}()
	r := over(t, &dnstest.Server{Address: server.LocalAddr().String()})
	if got := said(r.MX(t.Context(), "example.com")); got != "1 mx as example.com" {
		t.Error(got)
	}
}

func TestLongAnswersComeOverTCP(t *testing.T) {
	zone := ""
	for i := range 40 {
		zone += fmt.Sprintf("example.com. MX %d mx%d.a-rather-long-name-of-a-provider-%d.example.\n", i, i, i)
	}
	s := dnstest.Start(t, zone)
	a, err := over(t, s).MX(t.Context(), "example.com")
	if err != nil || len(a.Hosts) != 40 || transports(s) != "udp tcp" {
		t.Errorf("%d hosts, %v, over %s", len(a.Hosts), err, transports(s))
	}
}

func TestADatagramLongerThanWeSaidIsReadAsWell(t *testing.T) {
	s := dnstest.Start(t, "example.com. MX 10 mx.example.com.")
	s.Break("", "", sends(func(m *dns.Msg) {
		for i := range 60 {
			m.Answer = append(m.Answer, records(fmt.Sprintf("example.com. MX 20 mx%d.a-rather-long-name.example.", i))...)
		}
		m.Compress = true
	}))
	a, err := over(t, s).MX(t.Context(), "example.com")
	if err != nil || len(a.Hosts) != 61 || transports(s) != "udp" {
		t.Errorf("%d hosts, %v, over %s", len(a.Hosts), err, transports(s))
	}
}

func TestNoMoreQuestionsAreOnTheirWayThanThereArePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := script("*.example. MX 1 mx.example."), make(chan struct{})
		s.Break("", "", dnstest.Fault{Hold: release})
		r := piped(s)
		r.slots = make(chan struct{}, 3)
		done := make(chan error)
		for i := range 10 {
			go func() {
				_, err := r.MX(context.Background(), fmt.Sprintf("d%d.example", i))
				done <- err
			}()
		}
		synctest.Wait()
		if n := s.Count("", ""); n != 3 {
			t.Errorf("%d questions on their way", n)
		}
		close(release)
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		settle()
	})
}

func TestACNAMEThatAServerDoesNotFollowIsFollowed(t *testing.T) {
	alone := func(m *dns.Msg) { m.Answer, m.Ns = m.Answer[:1], nil }
	for name, c := range map[string]struct{ zone, want string }{
		"to records":                  {"a.example. CNAME b.example.\nb.example. MX 1 mx.example.", "1 mx.example as b.example"},
		"to nothing":                  {"a.example. CNAME b.example.\nb.example. A 192.0.2.1", "0 a.example implicit as b.example"},
		"to a name that is not there": {"a.example. CNAME b.example.\nb.example. CNAME c.example.", "error: no such domain: MX of a.example (SERVER)"},
		"in a loop":                   {"a.example. CNAME b.example.\nb.example. CNAME a.example.", "error: a chain of more than 10 CNAMEs, or a loop of them from SERVER for MX a.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := dnstest.Start(t, c.zone)
			for _, link := range []string{"a.example", "b.example"} {
				if strings.Contains(c.zone, link+". CNAME") {
					s.Break(link, "", sends(func(m *dns.Msg) { alone(m); m.Rcode = dns.RcodeSuccess }))
				}
			}
			got := strings.ReplaceAll(said(over(t, s).MX(t.Context(), "a.example")), s.Address, "SERVER")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if n := s.Count("", ""); n > maxLinks+1 {
				t.Errorf("it took %d questions", n)
			}
		})
	}
}

func TestAFailureBehindACNAMEIsToldOfTheNameThatWasAskedFor(t *testing.T) {
	s := dnstest.Start(t, "a.example. CNAME b.example.")
	s.Break("a.example", "", sends(func(m *dns.Msg) { m.Ns, m.Rcode = nil, dns.RcodeSuccess }))
	s.Break("b.example", "", dnstest.ServFail)
	_, err := over(t, s).MX(t.Context(), "a.example")
	if want := "SERVFAIL from " + s.Address + " for MX a.example"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAConnectionThatClosesIsAFailure(t *testing.T) {
	for name, f := range map[string]func(answer []byte) []byte{
		"before the length":    func([]byte) []byte { return nil },
		"within the length":    func([]byte) []byte { return []byte{0} },
		"within the answer":    func(a []byte) []byte { return binary.BigEndian.AppendUint16(nil, uint16(len(a)+5)) },
		"an answer of nothing": func([]byte) []byte { return []byte{0, 0} },
		"with the question":    func(a []byte) []byte { return append([]byte{0, byte(len(a))}, a...) },
		"with another ID":      func(a []byte) []byte { a[0]++; a[2] |= 0x80; return append([]byte{0, byte(len(a))}, a...) },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			q, _ := question{name: "example.com", kind: dns.TypeMX}.pack(true, ednsSize)
			go func() {
				_, _ = theirs.Read(make([]byte, 2000))
				_, _ = theirs.Write(f(q.packed))
				theirs.Close()
			}()
			if m, _, err := converse(ours, q); err == nil || m != nil {
				t.Errorf("got %v, %v", m, err)
			}
		})
	}
}
