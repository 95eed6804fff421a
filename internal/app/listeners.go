package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"postern/proxy"
)

// listener is a socket that one inbound or outbound is served on.
type listener struct {
	net.Listener
	front   string        // its name
	address string        // as it is written in the configuration; empty for a socket of systemd's
	served  chan struct{} // closed when nobody accepts from it any more; nil before it is served
}

// serve accepts connections until the listener is closed.
func (l *listener) serve(server *proxy.Server, group *sync.WaitGroup) {
	l.served = make(chan struct{})
	group.Go(func() {
		defer close(l.served)
		// It comes back when the listener is closed, and with nil.
		_ = server.Serve(l.Listener)
	})
}

// shut closes it, and comes back when the port is free: the system call waits
// for the goroutine that accepts.
func (l *listener) shut() {
	// It has no data that could be lost.
	_ = l.Close()
	if l.served != nil {
		<-l.served
	}
}

func shutAll(all []*listener) {
	for _, l := range all {
		l.shut()
	}
}

// listen opens an address. The families are kept apart: with net.Listen's
// "tcp", 0.0.0.0 would take IPv6 too, and the [::] beside it would fail.
// Multipath TCP is off, it costs and no mail server speaks it; so is
// keep-alive, because our own time limits end an idle connection sooner, and
// setting it takes four system calls for each one.
func listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	network := "tcp"
	if a, err := netip.ParseAddr(host); err == nil {
		network = "tcp6"
		if a.Unmap().Is4() {
			network = "tcp4"
		}
	}
	c := net.ListenConfig{KeepAlive: -1}
	c.SetMultipathTCP(false)
	l, err := c.Listen(context.Background(), network, address)
	if err != nil {
		return nil, cannotListen(address, err)
	}
	return l, nil
}

// cannotListen says what to do about it.
func cannotListen(address string, err error) error {
	port := strconv.Itoa(port(address))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return problem("See which program has it: ss -ltnp 'sport = :"+port+"'. Let that one listen elsewhere (a mail server behind postern on 127.0.0.1:2525, say), or write another address into listen (or admin.listen).",
			"cannot listen on %s: the port is in use: %w", address, err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return problem("Ports below 1024 need a permission. Give it in one of these ways:\n"+
			"  setcap cap_net_bind_service=+ep $(command -v postern)\n"+
			"  in the systemd service: AmbientCapabilities=CAP_NET_BIND_SERVICE, or a systemd socket named like the inbound or outbound\n"+
			"  sysctl net.ipv4.ip_unprivileged_port_start="+port,
			"cannot listen on %s: no permission: %w", address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return problem("See which addresses there are: ip address. For one that comes later (a floating address): sysctl net.ipv4.ip_nonlocal_bind=1, and net.ipv6 likewise.",
			"cannot listen on %s: this machine does not have the address: %w", address, err)
	}
	return fmt.Errorf("cannot listen on %s: %w", address, err)
}
