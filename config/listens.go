package config

import (
	"net"
	"net/netip"
	"slices"
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
	at  hcl.Range
	out bool // of an outbound
}

// checkListens compares all addresses that are listened on with each other and
// with the backends.
func (d *decoder) checkListens(c *Config, file *section) {
	var all []listener
	for _, src := range d.inbounds {
		all = d.addListeners(all, src.sec, src.in.Listen, false)
	}
	for _, src := range d.outbounds {
		all = d.addListeners(all, src.sec, src.out.Listen, true)
	}
	if c.Admin.Listen != "" {
		all = d.addListener(all, listener{endpoint: parseEndpoint(c.Admin.Listen), at: file.blocks["admin"].place("listen")})
	}
	for _, src := range d.inbounds {
		d.checkLoops(src, all)
	}
	for _, src := range d.outbounds {
		d.checkSmarthostLoops(src, all)
	}
}

func (d *decoder) addListeners(all []listener, s *section, addresses []string, out bool) []listener {
	for i, address := range addresses {
		all = d.addListener(all, listener{parseEndpoint(address), s.itemPlace("listen", i, len(addresses)), out})
	}
	return all
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
// round until the connections run out, or, by an outbound, back to the world.
func (d *decoder) checkLoops(src *inboundSource, all []listener) {
	backend := src.sec.blocks["backend"]
	for i, address := range src.in.Backend.Addresses {
		l, found := listensAt(address, all)
		at := backend.backendPlace(i, len(src.in.Backend.Addresses))
		switch {
		case found && l.out:
			d.wrong(at, "the backend is postern's outbound: "+address, "Line "+line(l.at)+" listens there and sends on whatever it gets, so postern would relay for the whole world: write the address of your mail server.")
		case found:
			d.wrong(at, "the backend is postern itself: "+address, "Line "+line(l.at)+" listens there, so mail would go round in circles: let the mail server listen on a port of its own, as in \"127.0.0.1:2525\".")
		}
	}
}

// checkSmarthostLoops finds a smarthost that is an outbound of postern itself
// (SEM 24); an inbound is a legitimate destination.
func (d *decoder) checkSmarthostLoops(src *outboundSource, all []listener) {
	if src.out.Smarthost == nil {
		return
	}
	outbounds := slices.DeleteFunc(slices.Clone(all), func(l listener) bool { return !l.out })
	for i, address := range src.out.Smarthost.Addresses {
		if l, found := listensAt(address, outbounds); found {
			at := src.sec.blocks["smarthost"].backendPlace(i, len(src.out.Smarthost.Addresses))
			d.wrong(at, "the smarthost is postern itself: "+address, "Line "+line(l.at)+" listens there, so mail would go round in circles: write the address of the server that delivers it.")
		}
	}
}

func listensAt(address string, all []listener) (listener, bool) {
	i := slices.IndexFunc(all, func(l listener) bool { return l.reaches(parseEndpoint(address)) })
	if i < 0 {
		return listener{}, false
	}
	return all[i], true
}

// backendPlace returns where the i-th of n addresses of a backend or smarthost
// stands.
func (s *section) backendPlace(i, n int) hcl.Range {
	if s.has("address") {
		return s.place("address")
	}
	return s.itemPlace("addresses", i, n)
}
