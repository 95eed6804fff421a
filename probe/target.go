package probe

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"postern/resolve"
)

// Target is what is to be looked at.
type Target struct {
	Text string // as it was written
	Name string // a domain or host in A-labels, or an address
	Port uint16
	// Host says that Name is a server: its MX records are not asked for. Otherwise that is up to the DNS:
	// a name without MX records is a host.
	Host     bool
	Implicit bool // TLS from the first octet
}

// implicitPort is the port with TLS from the first octet (RFC 8314, 7.3).
const implicitPort = 465

// ParseTarget reads "example.com", "user@example.com" (its domain), "mx.example.com:587", "[mx.example.com]" (the host, not
// the domain, as Postfix writes it), "[mx.example.com]:465", "192.0.2.1", "2001:db8::1" and "[2001:db8::1]:25".
// Port is for what names none.
func ParseTarget(text string, port uint16) (Target, error) {
	t := Target{Text: text, Port: port}
	name := strings.TrimSpace(text)
	name = name[strings.LastIndexByte(name, '@')+1:]
	if host, number, ok := cutPort(name); ok {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return t, fmt.Errorf("%q: write a port from 1 to 65535 behind the colon", clean(text))
		}
		name, t.Port, t.Host = host, uint16(n), true
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name, t.Host = strings.TrimPrefix(strings.TrimSuffix(inner, "]"), "IPv6:"), true
	}
	t.Implicit = t.Port == implicitPort
	if addr, err := netip.ParseAddr(name); err == nil {
		t.Name, t.Host = addr.Unmap().String(), true
		return t, nil
	}
	var err error
	if t.Name, err = resolve.ToASCII(name); err != nil {
		return t, fmt.Errorf("%q: write a domain (example.com), a host with its port (mx.example.com:25) or an address", clean(text))
	}
	return t, nil
}

// cutPort tells a port from the colons of an IPv6 address.
func cutPort(s string) (host, port string, ok bool) {
	if strings.Count(s, ":") > 1 && !strings.Contains(s, "]:") {
		return s, "", false
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return s, "", false
	}
	if strings.HasPrefix(s, "[") {
		host = "[" + host + "]"
	}
	return host, port, true
}
