package resolve

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// TestMain makes package net read resolv.conf before any test does: what it
// keeps of that must not belong to the bubble of one test.
func TestMain(m *testing.M) {
	nowhere := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, net.ErrClosed
	}}
	_, _ = nowhere.LookupAddr(context.Background(), "192.0.2.1")
	m.Run()
}

// records is what the scripted DNS server says, by "name type", such as
// "1.2.0.192.in-addr.arpa. PTR". What is not in it does not exist.
type records map[string]answer

// answer is what is said to one question: an error, or records.
type answer struct {
	code   dnsmessage.RCode
	names  []string // for PTR
	addrs  []string // for A and AAAA
	silent bool     // no answer at all
}

var fails = answer{code: dnsmessage.RCodeServerFailure}

// ptr and addrs say what a name has.
func ptr(names ...string) answer   { return answer{names: names} }
func addrs(texts ...string) answer { return answer{addrs: texts} }

// server is a DNS server on loopback that answers from its records.
type server struct {
	records
	address string

	mu    sync.Mutex
	count map[string]int
}

func dns(t testing.TB, r records) *server {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{records: r, address: conn.LocalAddr().String(), count: map[string]int{}}
	var running sync.WaitGroup
	running.Go(func() { s.serve(conn) })
	t.Cleanup(func() { conn.Close(); running.Wait() })
	return s
}

// serve answers datagrams until conn is closed.
func (s *server) serve(conn net.PacketConn) {
	packet := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if reply := s.reply(packet[:n]); reply != nil {
			_, _ = conn.WriteTo(reply, from)
		}
	}
}

// serveStream answers one question as over TCP (RFC 1035, 4.2.2).
func (s *server) serveStream(conn net.Conn) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	if reply := s.reply(query); reply != nil {
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	}
}

func (s *server) reply(query []byte) []byte {
	var q dnsmessage.Message
	if err := q.Unpack(query); err != nil || len(q.Questions) != 1 {
		return nil
	}
	question := q.Questions[0]
	key := question.Name.String() + " " + question.Type.String()[len("Type"):]
	a, known := s.records[key]
	s.note(key)
	if a.silent {
		return nil
	}
	if !known {
		a.code = dnsmessage.RCodeNameError
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, RCode: a.code, RecursionAvailable: true},
		Questions: q.Questions, Answers: a.resources(question),
	}
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return packed
}

func (s *server) note(question string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[question]++
}

// questions says how often it was asked this.
func (s *server) questions(question string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[question]
}

func (a answer) resources(q dnsmessage.Question) []dnsmessage.Resource {
	var all []dnsmessage.Resource
	add := func(body dnsmessage.ResourceBody) {
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
		all = append(all, dnsmessage.Resource{Header: header, Body: body})
	}
	for _, name := range a.names {
		add(&dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(name)})
	}
	for _, text := range a.addrs {
		if addr := netip.MustParseAddr(text); addr.Is4() {
			add(&dnsmessage.AResource{A: addr.As4()})
		} else {
			add(&dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
	}
	return all
}
