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
// is for the inbound or outbound whose name it has, and takes the place of its listen
// addresses.
func systemdSockets(cfg *config.Config) ([]*listener, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	var all []*listener
	for name, sockets := range named {
		for _, l := range sockets {
			all = append(all, &listener{Listener: l, front: name})
		}
	}
	if err := checkSockets(all, names(cfg)); err != nil {
		shutAll(all)
		return nil, err
	}
	return all, nil
}

// names are those of all inbounds and outbounds.
func names(cfg *config.Config) (all []string) {
	for _, in := range cfg.Inbounds {
		all = append(all, in.Name)
	}
	for _, out := range cfg.Outbounds {
		all = append(all, out.Name)
	}
	return all
}

func checkSockets(all []*listener, names []string) error {
	for _, l := range all {
		switch _, tcp := l.Listener.(*net.TCPListener); {
		case !slices.Contains(names, l.front):
			return problem("Write FileDescriptorName= with the name of an inbound or outbound into the [Socket] section of its unit, one of: "+strings.Join(names, ", ")+".",
				"systemd gave the socket %s with the name %q, and there is no inbound and no outbound of that name", l.Addr(), l.front)
		case !tcp:
			return problem("Write ListenStream= with an address and a port into the socket unit.", "systemd gave %s for %q, which is no TCP socket", l.Addr(), l.front)
		}
	}
	return nil
}

// socketPorts returns the ports of sockets that systemd opened, by the name of what they are for.
func socketPorts(all []*listener) map[string][]int {
	ports := make(map[string][]int)
	for _, l := range all {
		if l.address == "" {
			ports[l.front] = append(ports[l.front], port(l.Addr().String()))
		}
	}
	return ports
}
