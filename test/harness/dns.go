package harness

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// Names is a DNS server on loopback that answers PTR, A and AAAA from a table
// and NXDOMAIN for the rest.
type Names struct {
	Addr string
	ptr  map[string]string     // reverse name to host name
	host map[string]netip.Addr // host name to address
}

// NewNames starts a DNS server for hosts with a name that is confirmed both
// ways.
func NewNames(t testing.TB, hosts map[string]string) *Names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	n := &Names{Addr: conn.LocalAddr().String(), ptr: map[string]string{}, host: map[string]netip.Addr{}}
	for name, text := range hosts {
		addr := netip.MustParseAddr(text)
		n.host[name] = addr
		n.ptr[reverse(addr)] = name
	}
	go n.serve(conn)
	return n
}

func (n *Names) serve(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := n.reply(buf[:size]); reply != nil {
			_, _ = conn.WriteTo(reply, from)
		}
	}
}

// RFC 1035, 4.1: header, one question, at most one answer that points back at
// the question's name.
func (n *Names) reply(query []byte) []byte {
	if len(query) < 17 {
		return nil
	}
	name, end := readName(query, 12)
	if end+4 > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[end:])
	data, exists := n.answer(name, kind)
	reply := make([]byte, 12, 128)
	copy(reply, query[:2])
	reply[2], reply[3], reply[5] = 0x81, 0x80, 1
	if !exists {
		reply[3] |= 3 // NXDOMAIN
	}
	reply = append(reply, query[12:end+4]...)
	if data == nil {
		return reply
	}
	reply[7] = 1
	reply = append(reply, 0xc0, 12)
	reply = binary.BigEndian.AppendUint16(reply, kind)
	reply = append(reply, 0, 1, 0, 0, 0, 60)
	reply = binary.BigEndian.AppendUint16(reply, uint16(len(data)))
	return append(reply, data...)
}

func (n *Names) answer(name string, kind uint16) (data []byte, exists bool) {
	const typeA, typePTR, typeAAAA = 1, 12, 28
	if host, ok := n.ptr[name]; ok {
		if kind == typePTR {
			return writeName(host), true
		}
		return nil, true
	}
	addr, ok := n.host[name]
	if ok && (kind == typeA && addr.Is4() || kind == typeAAAA && addr.Is6()) {
		return addr.AsSlice(), true
	}
	return nil, ok
}

func readName(msg []byte, at int) (string, int) {
	var labels []string
	for at < len(msg) && msg[at] != 0 {
		end := at + 1 + int(msg[at])
		if end > len(msg) {
			return "", len(msg)
		}
		labels = append(labels, strings.ToLower(string(msg[at+1:end])))
		at = end
	}
	return strings.Join(labels, "."), at + 1
}

func writeName(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// reverse is the name below in-addr.arpa or ip6.arpa (RFC 1035, 3.5; RFC 3596,
// 2.5).
func reverse(addr netip.Addr) string {
	var labels []string
	suffix := "in-addr.arpa"
	octets := addr.AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		if addr.Is4() {
			labels = append(labels, strconv.Itoa(int(octets[i])))
			continue
		}
		suffix = "ip6.arpa"
		const digits = "0123456789abcdef"
		labels = append(labels, digits[octets[i]&15:][:1], digits[octets[i]>>4:][:1])
	}
	return strings.Join(append(labels, suffix), ".")
}
