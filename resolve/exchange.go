package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	ednsSize  = 1232 // octets that pass everywhere unfragmented (DNS flag day 2020)
	maxUDP    = 4096 // of a datagram that is read: some servers send more than they were told
	maxStray  = 32   // datagrams that do not match; so many are no accident
	headerLen = 12
)

// errUnreadable: it repeats the ID, and cannot be read or is another question's.
var errUnreadable = errors.New("an unreadable answer")

// strayError is why nothing came, and how many datagrams came instead.
type strayError struct {
	n int
	error
}

func (e strayError) Error() string {
	return fmt.Sprintf("%d datagrams that do not match the question", e.n)
}
func (e strayError) Unwrap() error { return e.error }

// exchange puts q to the server once and returns what it says, whatever that
// is. A datagram that was cut off, or that cannot be read, is followed by TCP.
func (s *server) exchange(ctx context.Context, dial dialer, q question, edns bool, by way) (*dns.Msg, error) {
	query, err := q.pack(edns, ednsSize)
	if err != nil {
		return nil, refused("no question can be made of it: " + err.Error())
	}
	truncated := false
	if s.tls == nil && !by.tcp {
		m, err := s.datagram(ctx, dial, query, by.patience)
		if err == nil && !m.Truncated {
			return m, nil
		}
		if stray, ok := errors.AsType[strayError](err); err != nil && !errors.Is(err, errUnreadable) && (!ok || stray.error != nil) {
			return nil, err
		}
		truncated = err == nil
	}
	m, err := s.streamWithin(ctx, dial, query, by.patience)
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" || !truncated || !edns {
		return m, err
	}
	return s.large(ctx, dial, q, by.patience, err)
}

func (s *server) streamWithin(ctx context.Context, dial dialer, q query, patience time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.stream(ctx, dial, q)
}

// large asks for a large datagram, which may come in fragments, where there is no way to
// the server over TCP; else it returns what was wrong with that.
func (s *server) large(ctx context.Context, dial dialer, q question, patience time.Duration, wrong error) (*dns.Msg, error) {
	query, err := q.pack(true, maxUDP)
	if err != nil {
		return nil, wrong
	}
	if m, err := s.datagram(ctx, dial, query, patience); err == nil && !m.Truncated {
		return m, nil
	}
	return nil, wrong
}

// query is a packed question and what an answer must repeat of it.
type query struct {
	question
	id     uint16
	packed []byte
}

// pack gives the question an ID that nobody can guess. Who validates asks for the
// signatures (DO), and for all that there is, whatever the server thinks of it
// (CD; RFC 4035, 3.2); who trusts the server asks what it thinks (RFC 6840, 5.7).
func (q question) pack(edns bool, size uint16) (query, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name+".", q.kind) // with a random ID and RD set
	m.CheckingDisabled = q.mode == Validate
	m.AuthenticatedData = q.mode == TrustAD
	if edns {
		m.SetEdns0(size, q.mode == Validate)
	}
	packed, err := m.Pack()
	return query{q, m.Id, packed}, err
}

// datagram asks over UDP. The socket is connected, so that the system drops
// what comes from elsewhere, and its port is a new one each time.
func (s *server) datagram(ctx context.Context, dial dialer, q query, patience time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dialUntil(ctx, dial, "udp", s.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(q.packed); err != nil {
		return nil, err
	}
	buffer := make([]byte, maxUDP)
	for stray := 0; stray < maxStray; stray++ {
		n, err := conn.Read(buffer)
		if err != nil && stray > 0 {
			return nil, strayError{stray, err}
		}
		if err != nil {
			return nil, err
		}
		if m, err := q.match(buffer[:n]); m != nil || err != nil {
			return m, err
		}
	}
	return nil, strayError{n: maxStray}
}

// match reads an answer. It returns nothing at all for one that is not to this
// question (RFC 5452, 9.1), and errUnreadable for one that might have been.
func (q query) match(raw []byte) (*dns.Msg, error) {
	if len(raw) < headerLen || binary.BigEndian.Uint16(raw) != q.id || raw[2]&0x80 == 0 {
		return nil, nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return nil, errUnreadable
	}
	if m.Opcode != dns.OpcodeQuery || !q.repeatedBy(m) {
		return nil, nil
	}
	return m, nil
}

// repeatedBy says whether m is to this question. Servers that did not
// understand it, do not want to, or want TCP, may send a header alone.
func (q query) repeatedBy(m *dns.Msg) bool {
	if len(m.Question) == 0 {
		return !understood(m) || m.Truncated
	}
	asked := m.Question[0]
	return len(m.Question) == 1 && asked.Qtype == q.kind && asked.Qclass == dns.ClassINET && sameName(asked.Name, q.name)
}

// dialUntil returns a connection whose deadline is that of ctx.
func dialUntil(ctx context.Context, dial dialer, network, address string) (net.Conn, error) {
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := keepTo(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func keepTo(ctx context.Context, conn net.Conn) error {
	deadline, _ := ctx.Deadline()
	return conn.SetDeadline(deadline)
}

// converse puts one question over a stream (RFC 1035, 4.2.2). began says that
// the server had begun to answer.
func converse(conn net.Conn, q query) (m *dns.Msg, began bool, err error) {
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(q.packed))), q.packed...)
	if _, err := conn.Write(framed); err != nil {
		return nil, false, err
	}
	var length [2]byte
	if n, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, n > 0, closed(err)
	}
	raw := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, raw); err != nil {
		return nil, true, closed(err)
	}
	m, err = q.match(raw)
	if err == nil && (m == nil || m.Truncated) {
		err = errUnreadable
	}
	return m, true, err
}

func closed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "closed pipe") {
		return errors.New("closed without an answer")
	}
	return err
}
