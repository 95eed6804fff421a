package resolve

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// tape is what a server has said, by transport and question. Played again, it costs what it
// costs to ask and to validate, and nothing that a server does.
type tape struct {
	mu   sync.Mutex
	said map[string][]byte
}

// record keeps all that the server says from now on.
func record(s *dnstest.Server) *tape {
	t := &tape{said: map[string][]byte{}}
	for _, udp := range []bool{true, false} {
		s.Break("", "", dnstest.Fault{UDP: udp, TCP: !udp, Mangle: func(query, answer []byte) [][]byte {
			t.keep(udp, query, answer)
			return [][]byte{answer}
		}})
	}
	return t
}

// forge has the server say something else to a question, and keeps that.
func (t *tape) forge(s *dnstest.Server, name, kind string, m *dns.Msg) {
	for _, udp := range []bool{true, false} {
		s.Break(name, kind, dnstest.Fault{UDP: udp, TCP: !udp, Mangle: func(query, _ []byte) [][]byte {
			q, all := new(dns.Msg), *m
			if q.Unpack(query) != nil {
				return nil
			}
			all.SetReply(q)
			all.Answer, all.Compress = m.Answer, true
			if udp {
				all.Truncate(ednsSize)
			}
			answer, err := all.Pack()
			if err != nil {
				panic(err)
			}
			t.keep(udp, query, answer)
			return [][]byte{answer}
		}})
	}
}

func (t *tape) keep(udp bool, query, answer []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said[onTape(udp, query)] = bytes.Clone(answer)
}

// onTape leaves the ID of a question out.
func onTape(udp bool, query []byte) string {
	if udp {
		return "udp " + string(query[2:])
	}
	return "tcp " + string(query[2:])
}

// play returns a resolver that asks the tape.
func (t *tape) play(tb testing.TB, anchors Anchors, now func() time.Time) *Resolver {
	tb.Helper()
	return with(tb, Options{Servers: []string{"192.0.2.53"}, Hosts: filepath.Join(tb.TempDir(), "none"), DNSSEC: Validate, Anchors: anchors, Now: now,
		Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
			return &played{tape: t, udp: network == "udp"}, nil
		}})
}

// played is a connection to a tape. What is not on it is not answered.
type played struct {
	tape   *tape
	udp    bool
	answer bytes.Buffer
}

func (p *played) Write(query []byte) (int, error) {
	n := len(query)
	if !p.udp {
		query = query[2:]
	}
	p.tape.mu.Lock()
	answer := p.tape.said[onTape(p.udp, query)]
	p.tape.mu.Unlock()
	if answer == nil {
		return n, nil
	}
	if !p.udp {
		p.answer.Write(binary.BigEndian.AppendUint16(nil, uint16(len(answer))))
	}
	p.answer.Write(query[:2])
	p.answer.Write(answer[2:])
	return n, nil
}

func (p *played) Read(b []byte) (int, error)     { return p.answer.Read(b) }
func (*played) Close() error                     { return nil }
func (*played) LocalAddr() net.Addr              { return nil }
func (*played) RemoteAddr() net.Addr             { return nil }
func (*played) SetDeadline(time.Time) error      { return nil }
func (*played) SetReadDeadline(time.Time) error  { return nil }
func (*played) SetWriteDeadline(time.Time) error { return nil }
