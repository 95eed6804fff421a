package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
)

// The hints about ConveyTransparent.
const (
	hintFamily      = "no backend has an address of the client's family, and the client's own can be shown to no other: add one to addresses"
	hintTransparent = "the connection could not be made from the client's address (client_address = \"transparent\" needs CAP_NET_RAW)"
	hintNoAddress   = "the client has no address that could be shown (client_address = \"transparent\"): what does the load balancer write into its PROXY header?"
	hintNoWayBack   = "does what it answers to the client's address come back here? (postern redirect install --transparent)"
)

// connect opens the TCP connection to a backend. With ConveyTransparent it is opened from
// the client's own address, and what the backend answers must be brought back to this
// machine by policy routing. Probes have no client, and come from our own address.
func (b *Backends) connect(ctx context.Context, t *target, who introduction) (net.Conn, error) {
	d := net.Dialer{Timeout: b.o.Timeouts.Connect, KeepAlive: -1, Control: marked(b.o.Mark)}
	if b.o.Convey != ConveyTransparent || who.probe {
		return d.DialContext(ctx, "tcp", t.address)
	}
	client := who.client.Addr()
	if !client.IsValid() || client.IsUnspecified() {
		// SEM 9: the kernel would choose an address of ours. A PROXY header may have such a one.
		return nil, refusal{cause: CauseBackendXCLIENT, hint: hintNoAddress, personal: true}
	}
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0))
	d.Control = transparent(b.o.Mark)
	d.SetMultipathTCP(false)
	network := "tcp6"
	if client.Is4() {
		network = "tcp4"
	}
	c, err := d.DialContext(ctx, network, t.address)
	switch {
	case err == nil || ctx.Err() != nil:
		return c, err
	case isTimeout(err):
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.Join(err, errors.New(hintNoWayBack))}
	case ofTheNetwork(err):
		return nil, err
	}
	// SEM 9: nothing is sent in our own name instead.
	return nil, refusal{cause: CauseBackendXCLIENT, hint: hintTransparent + ": " + err.Error(), personal: true}
}

// ofTheNetwork says whether an error of dialling is one of the way to the other end, and
// not of the socket at this one.
func ofTheNetwork(err error) bool {
	if s, ok := errors.AsType[*os.SyscallError](err); ok {
		return s.Syscall == "connect"
	}
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

// suited are the backends that the client can be shown to, in the order to try: with
// ConveyTransparent those whose address may be of the client's family.
func (b *Backends) suited(who introduction) []*target {
	all := b.order()
	if b.o.Convey != ConveyTransparent {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(t *target) bool {
		host, _, _ := net.SplitHostPort(t.address)
		a, err := netip.ParseAddr(host)
		return err == nil && a.Unmap().Is4() != who.client.Addr().Is4()
	})
}
