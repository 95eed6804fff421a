package app

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"postern/config"
)

// systemdSockets takes the sockets that systemd opened for this process. Each
// is for the inbound whose name it has, and takes the place of its listen
// addresses.
func systemdSockets(inbounds []config.Inbound) ([]*listener, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	var all []*listener
	for name, sockets := range named {
		for _, l := range sockets {
			all = append(all, &listener{Listener: l, inbound: name})
		}
	}
	if err := checkSockets(all, inbounds); err != nil {
		shutAll(all)
		return nil, err
	}
	return all, nil
}

func checkSockets(all []*listener, inbounds []config.Inbound) error {
	var names []string
	for _, in := range inbounds {
		names = append(names, in.Name)
	}
	for _, l := range all {
		switch _, tcp := l.Listener.(*net.TCPListener); {
		case !slices.Contains(names, l.inbound):
			return problem("Write FileDescriptorName= with the name of an inbound into the [Socket] section of its unit, one of: "+strings.Join(names, ", ")+".",
				"systemd gave the socket %s with the name %q, and there is no inbound of that name", l.Addr(), l.inbound)
		case !tcp:
			return problem("Write ListenStream= with an address and a port into the socket unit.", "systemd gave %s for inbound %q, which is no TCP socket", l.Addr(), l.inbound)
		}
	}
	return nil
}

// socketPorts returns the ports of sockets that systemd opened, by inbound.
func socketPorts(all []*listener) map[string][]int {
	ports := make(map[string][]int)
	for _, l := range all {
		if l.address == "" {
			ports[l.inbound] = append(ports[l.inbound], port(l.Addr().String()))
		}
	}
	return ports
}
