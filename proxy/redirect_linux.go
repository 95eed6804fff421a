package proxy

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and
// IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h.
const soOriginalDst = 80

// redirectedFrom is the address that the client wanted to reach, when the kernel
// has redirected its connection to us: by REDIRECT or DNAT, which the connection
// tracking remembers, or by TPROXY, where the socket has the address itself.
func (a Accepted) redirectedFrom(c *conn) (netip.AddrPort, bool) {
	if to, ok := c.originalDst(a.Local.Addr().Is6()); ok && to != a.Local {
		return to, true
	}
	return a.Local, a.Local.IsValid() && !isOwnAddress(a.Local.Addr())
}

func (c *conn) originalDst(v6 bool) (to netip.AddrPort, ok bool) {
	if c.raw == nil {
		return to, false
	}
	c.raw.Control(func(fd uintptr) {
		if v6 {
			var sa unix.RawSockaddrInet6
			ok = getsockopt(fd, unix.SOL_IPV6, unsafe.Pointer(&sa), unsafe.Sizeof(sa))
			to = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), networkOrder(sa.Port))
			return
		}
		var sa unix.RawSockaddrInet4
		ok = getsockopt(fd, unix.SOL_IP, unsafe.Pointer(&sa), unsafe.Sizeof(sa))
		to = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), networkOrder(sa.Port))
	})
	return to, ok
}

// getsockopt reads the original destination. The package unix has no function for
// it that gives back a whole address.
func getsockopt(fd uintptr, level int, value unsafe.Pointer, size uintptr) bool {
	n := uint32(size)
	_, _, err := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), soOriginalDst, uintptr(value), uintptr(unsafe.Pointer(&n)), 0)
	return err == 0
}

func networkOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
}

// isOwnAddress says whether the address is one of this host's. What cannot be
// found out counts as own: such a connection is refused, never relayed in a loop.
func isOwnAddress(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil || a.IsLoopback() {
		return true
	}
	for _, one := range all {
		if p, err := netip.ParsePrefix(one.String()); err == nil && p.Addr().Unmap() == a.Unmap() {
			return true
		}
	}
	return false
}
