package resolve

import (
	"bufio"
	"io"
	"net/netip"
	"strings"
)

// hostTable is what /etc/hosts says.
type hostTable struct {
	byName map[string][]netip.Addr // names in lower case, no final dot
	byAddr map[netip.Addr][]string // names as they are written
}

// parseHosts reads hosts(5): an address and its names in each line. What cannot
// be read is left out.
func parseHosts(from io.Reader) hostTable {
	t := hostTable{byName: map[string][]netip.Addr{}, byAddr: map[netip.Addr][]string{}}
	for lines := bufio.NewScanner(from); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap()
		for _, name := range fields[1:] {
			t.byName[lower(name)] = append(t.byName[lower(name)], addr)
		}
		bare := addr.WithZone("")
		t.byAddr[bare] = append(t.byAddr[bare], fields[1:]...)
	}
	return t
}

// addresses returns those of a name, of the wanted family. It always knows
// localhost (RFC 6761, 6.3): the image of a container may have no hosts file.
func (t hostTable) addresses(name string, f Family) (all []netip.Addr) {
	listed := t.byName[lower(name)]
	if listed == nil && lower(name) == "localhost" {
		listed = []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	for _, addr := range listed {
		if f.has(addr) {
			all = append(all, addr)
		}
	}
	return all
}

// names returns those of an address.
func (t hostTable) names(addr netip.Addr) []string { return t.byAddr[addr] }
