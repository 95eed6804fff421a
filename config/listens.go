package config

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/hashicorp/hcl/v2"
)

// endpoint is an address and a port. addr is not valid for a name, and for the
// empty host, which is every address of both families.
type endpoint struct {
	host string
	addr netip.Addr
	port uint16
}

func parseEndpoint(address string) endpoint {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.ParseUint(port, 10, 16)
	a, _ := netip.ParseAddr(host)
	return endpoint{host: host, addr: a.Unmap(), port: uint16(n)}
}

// everywhere reports whether it covers the other address without naming it.
func (e endpoint) everywhere(other netip.Addr) bool {
	if e.host == "" {
		return true
	}
	return e.addr.IsUnspecified() && (!other.IsValid() || e.addr.Is4() == other.Is4())
}

// overlaps reports whether the kernel refuses the second of the two. Port 0 is
// a free port each time.
func (e endpoint) overlaps(other endpoint) bool {
	if e.port != other.port || e.port == 0 {
		return false
	}
	return e.everywhere(other.addr) || other.everywhere(e.addr) || e.addr == other.addr
}

// reaches reports whether a connection to target arrives at e: the address
// itself, or this machine's loopback where e listens everywhere.
func (e endpoint) reaches(target endpoint) bool {
	if e.port != target.port || e.port == 0 {
		return false
	}
	if target.host == "localhost" {
		return e.host == "" || e.addr.IsUnspecified() || e.addr.IsLoopback()
	}
	return target.addr.IsValid() && (e.addr == target.addr || target.addr.IsLoopback() && e.everywhere(target.addr))
}

// listener is an address that the file listens on, and where it says so.
type listener struct {
	endpoint
	at hcl.Range
}

// checkListens compares all addresses that are listened on with each other and
// with the backends.
func (d *decoder) checkListens(c *Config, file *section) {
	var all []listener
	for _, src := range d.inbounds {
		for i, address := range src.in.Listen {
			all = d.addListener(all, listener{parseEndpoint(address), src.sec.itemPlace("listen", i, len(src.in.Listen))})
		}
	}
	if c.Admin.Listen != "" {
		all = d.addListener(all, listener{parseEndpoint(c.Admin.Listen), file.blocks["admin"].place("listen")})
	}
	for _, src := range d.inbounds {
		d.checkLoops(src, all)
	}
}

func (d *decoder) addListener(all []listener, l listener) []listener {
	for _, earlier := range all {
		if l.overlaps(earlier.endpoint) {
			d.wrong(l.at, "address already listened on: "+l.String(), "Line "+line(earlier.at)+" listens on "+earlier.String()+": write another port or another address.")
			return all
		}
	}
	return append(all, l)
}

// String returns host:port.
func (e endpoint) String() string {
	return net.JoinHostPort(e.host, strconv.Itoa(int(e.port)))
}

// checkLoops finds a backend that is postern itself: every message would go
// round until the connections run out.
func (d *decoder) checkLoops(src *inboundSource, all []listener) {
	backend := src.sec.blocks["backend"]
	for i, address := range src.in.Backend.Addresses {
		for _, l := range all {
			if !l.reaches(parseEndpoint(address)) {
				continue
			}
			d.wrong(backend.backendPlace(i, len(src.in.Backend.Addresses)), "the backend is postern itself: "+address, "Line "+line(l.at)+" listens there, so mail would go round in circles: let the mail server listen on a port of its own, as in \"127.0.0.1:2525\".")
			break
		}
	}
}

// backendPlace returns where the i-th of n addresses of a backend stands.
func (s *section) backendPlace(i, n int) hcl.Range {
	if s.has("address") {
		return s.place("address")
	}
	return s.itemPlace("addresses", i, n)
}
