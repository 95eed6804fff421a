package dnstest

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Server is the DNS server. Its methods may be called at any time from any
// goroutine.
type Server struct {
	// Address is where it listens since Start or Listen: "127.0.0.1:40053".
	Address string

	// Anchors are the DS records of the root of a server made by NewSigned.
	Anchors string

	mu      sync.Mutex
	tree    tree
	world   *world // of signed zones, instead of the tree
	faults  []broken
	asked   []string // "MX example.com. udp"
	closers []io.Closer
	end     chan struct{}
	running sync.WaitGroup
}

// broken is a fault of the questions that have this name and type.
type broken struct {
	name string // "": all
	kind uint16 // 0: all
	Fault
}

// Start returns a server on a free port of 127.0.0.1, UDP and TCP, that stops
// with the test.
func Start(t testing.TB, zone string) *Server {
	t.Helper()
	s, err := New(zone)
	if err == nil {
		err = s.Listen("127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New returns a server with these records, in the format of zone files, that
// does not listen yet.
func New(zone string) (*Server, error) {
	t, err := parse(zone)
	return &Server{tree: t, end: make(chan struct{})}, err
}

// Listen makes the server answer on an address, UDP and TCP. With port 0 it
// takes one that is free for both.
func (s *Server) Listen(address string) error {
	for attempt := 0; ; attempt++ {
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			return fmt.Errorf("dnstest: %w", err)
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			s.Address = udp.LocalAddr().String()
			s.keep(udp)
			s.running.Go(func() { s.servePackets(udp) })
			s.accept(tcp)
			return nil
		}
		udp.Close()
		if attempt == 9 || !strings.HasSuffix(address, ":0") {
			return fmt.Errorf("dnstest: %w", err)
		}
	}
}

// ListenTLS makes the server answer DNS over TLS on an address, and returns the
// one that it took.
func (s *Server) ListenTLS(address string, config *tls.Config) (string, error) {
	l, err := tls.Listen("tcp", address, config)
	if err != nil {
		return "", fmt.Errorf("dnstest: %w", err)
	}
	s.accept(l)
	return l.Addr().String(), nil
}

// Dial returns a connection to the server that goes through no network,
// whatever address is meant: with it everything can happen in a synctest bubble.
// It never fails.
func (s *Server) Dial(_ context.Context, network, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.running.Go(func() {
		defer ours.Close()
		if network == "udp" {
			s.serveDatagrams(ours)
		} else {
			s.serveStream(ours)
		}
	})
	return theirs, nil
}

// Close stops the server and waits for it. Connections made with Dial have to
// be closed by those who made them.
func (s *Server) Close() {
	close(s.end)
	s.mu.Lock()
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()
	for _, c := range closers {
		c.Close()
	}
	s.running.Wait()
}

// keep has c closed with the server.
func (s *Server) keep(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.end:
		c.Close()
	default:
		s.closers = append(s.closers, c)
	}
}

func (s *Server) accept(l net.Listener) {
	s.keep(l)
	s.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.keep(conn)
			s.running.Go(func() {
				defer conn.Close()
				s.serveStream(conn)
			})
		}
	})
}

// servePackets answers each datagram in a goroutine of its own: one that is
// held keeps no other waiting.
func (s *Server) servePackets(conn net.PacketConn) {
	packet := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		query := append([]byte(nil), packet[:n]...)
		s.running.Go(func() {
			for _, reply := range s.reply(query, "udp") {
				_, _ = conn.WriteTo(reply, from)
			}
		})
	}
}

func (s *Server) serveDatagrams(conn net.Conn) {
	packet := make([]byte, dns.MaxMsgSize)
	for {
		n, err := conn.Read(packet)
		if err != nil {
			return
		}
		for _, reply := range s.reply(packet[:n], "udp") {
			if _, err := conn.Write(reply); err != nil {
				return
			}
		}
	}
}

// serveStream answers what comes with its length in front (RFC 1035, 4.2.2). A
// question that is not to be answered ends the connection's use, not the
// connection.
func (s *Server) serveStream(conn net.Conn) {
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		for _, reply := range s.reply(query, "tcp") {
			framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)
			if _, err := conn.Write(framed); err != nil {
				return
			}
		}
	}
}

// reply returns what is sent in answer to a query.
func (s *Server) reply(query []byte, network string) [][]byte {
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil || len(q.Question) != 1 {
		return nil
	}
	m, fault := s.answer(q, network)
	if fault.Hold != nil {
		select {
		case <-fault.Hold:
		case <-s.end:
			return nil
		}
	}
	if fault.Drop {
		return nil
	}
	packed, err := m.Pack()
	if err != nil {
		panic(errors.Join(errors.New("dnstest: the records make no message"), err))
	}
	if fault.Mangle != nil {
		return fault.Mangle(query, packed)
	}
	return [][]byte{packed}
}

// answer counts the question, and returns the answer and what is wrong with it.
func (s *Server) answer(q *dns.Msg, network string) (*dns.Msg, Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := q.Question[0]
	s.asked = append(s.asked, dns.TypeToString[asked.Qtype]+" "+dns.CanonicalName(asked.Name)+" "+network)
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	opt := q.IsEdns0()
	if s.world != nil {
		s.world.answer(m, opt != nil && opt.Do())
	} else {
		s.tree.answer(m)
	}
	fault := s.fault(q, network)
	fault.apply(m, network)
	size := dns.MinMsgSize
	if opt != nil {
		size = max(size, int(opt.UDPSize()))
		if !fault.EDNS {
			m.SetEdns0(1232, s.world != nil && opt.Do())
		}
	}
	m.Compress = true
	if network == "udp" {
		truncated := m.Truncated
		m.Truncate(size)
		m.Truncated = m.Truncated || truncated
	}
	return m, fault
}

// fault returns the one that hits q, and counts it.
func (s *Server) fault(q *dns.Msg, network string) Fault {
	asked := q.Question[0]
	for i := len(s.faults) - 1; i >= 0; i-- {
		f := &s.faults[i]
		named := f.name == "" || f.name == dns.CanonicalName(asked.Name)
		if !named || f.kind != 0 && f.kind != asked.Qtype || !f.hits(q, network) {
			continue
		}
		found := f.Fault
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = append(s.faults[:i], s.faults[i+1:]...)
			}
		}
		return found
	}
	return Fault{}
}
