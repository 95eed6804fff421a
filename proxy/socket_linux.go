package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// marked has sockets marked before they connect; nil for no mark.
func marked(mark uint32) func(network, address string, c syscall.RawConn) error {
	if mark == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		return option(c, unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	}
}

// transparent has a socket connect from an address that is not this machine's (ip(7),
// IP_TRANSPARENT). The port is chosen at connect, when the other end is known, so that as
// many clients fit as there are pairs of addresses and ports.
func transparent(mark uint32) func(network, address string, c syscall.RawConn) error {
	first := marked(mark)
	return func(network, address string, c syscall.RawConn) (err error) {
		if first != nil {
			err = first(network, address, c)
		}
		level, name := unix.SOL_IP, unix.IP_TRANSPARENT
		if strings.HasSuffix(network, "6") {
			level, name = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		}
		return errors.Join(err, option(c, level, name, 1), option(c, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	}
}

func option(c syscall.RawConn, level, name, value int) (err error) {
	controlled := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, name, value) })
	return errors.Join(controlled, err)
}

// MayMark says whether this process may mark its sockets: nil, or the error of the
// kernel, EPERM where it has neither CAP_NET_ADMIN nor, since Linux 5.17, CAP_NET_RAW.
func MayMark(mark uint32) error { return trySocket(marked(mark)) }

// MayBeTransparent says whether this process may connect from the addresses of its
// clients, and take connections to addresses that are not its own: nil, or EPERM where it
// has neither CAP_NET_RAW nor CAP_NET_ADMIN.
func MayBeTransparent() error { return trySocket(transparent(0)) }

// trySocket does to a socket what is done before it connects, and throws it away.
func trySocket(control func(network, address string, c syscall.RawConn) error) error {
	l := net.ListenConfig{Control: control}
	socket, err := l.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0).String())
	if err != nil {
		return err
	}
	return socket.Close()
}

// Transparent lets a listener take connections to addresses that are not this machine's,
// which TPROXY hands to it.
func Transparent(l syscall.Conn) error {
	c, err := l.SyscallConn()
	if err != nil {
		return err
	}
	v4, v6 := option(c, unix.SOL_IP, unix.IP_TRANSPARENT, 1), option(c, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	if v4 == nil || v6 == nil { // a socket of one family has one of them
		return nil
	}
	return v4
}
