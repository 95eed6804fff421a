package harness

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
)

// The kernel tells by netlink (sock_diag(7)) what a connection would disturb:
// whether somebody listens, and whether a program has read what was sent to it.
const (
	sockDiagByFamily = 20
	stateListen      = 10
	headerSize       = 16 // struct nlmsghdr
	requestSize      = 56 // struct inet_diag_req_v2
	unreadAt         = 56 // idiag_rqueue in struct inet_diag_msg
)

// diag asks about the TCP socket that is bound to local and connected to
// remote, or with dump about all in that state. It returns the answers, each a
// struct inet_diag_msg.
func diag(local, remote netip.AddrPort, states uint32, dump bool) ([][]byte, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, syscall.NETLINK_INET_DIAG)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, diagRequest(local, remote, states, dump), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}
	var all [][]byte
	for buf := make([]byte, 64<<10); ; {
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(append([]byte(nil), buf[:n]...))
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if m.Header.Type != sockDiagByFamily {
				return all, nil // the end of a dump, or an error: there is no such socket
			}
			all = append(all, m.Data)
		}
		if !dump {
			return all, nil
		}
	}
}

// diagRequest is a struct nlmsghdr and a struct inet_diag_req_v2.
func diagRequest(local, remote netip.AddrPort, states uint32, dump bool) []byte {
	b := make([]byte, headerSize+requestSize)
	native := binary.NativeEndian
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], sockDiagByFamily)
	flags := uint16(syscall.NLM_F_REQUEST)
	if dump {
		flags |= syscall.NLM_F_DUMP
	}
	native.PutUint16(b[6:], flags)
	request := b[headerSize:]
	request[0], request[1] = syscall.AF_INET, syscall.IPPROTO_TCP
	if local.Addr().Is6() {
		request[0] = syscall.AF_INET6
	}
	native.PutUint32(request[4:], states)
	binary.BigEndian.PutUint16(request[8:], local.Port())
	binary.BigEndian.PutUint16(request[10:], remote.Port())
	copy(request[12:28], local.Addr().AsSlice())
	copy(request[28:44], remote.Addr().AsSlice())
	native.PutUint64(request[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	return b
}

// Listening reports whether somebody listens on addr, or on its port of every
// address, without connecting to it.
func Listening(addr string) bool {
	want := netip.MustParseAddrPort(addr)
	all, err := diag(netip.AddrPortFrom(want.Addr(), 0), netip.AddrPort{}, 1<<stateListen, true)
	if err != nil {
		panic("sock_diag: " + err.Error())
	}
	for _, s := range all {
		if at := listensAt(s, want.Addr().BitLen()/8); binary.BigEndian.Uint16(s[4:]) == want.Port() && (at == want.Addr() || at.IsUnspecified()) {
			return true
		}
	}
	return false
}

// listensAt is idiag_src in struct inet_diag_msg, of so many octets.
func listensAt(s []byte, octets int) netip.Addr {
	addr, _ := netip.AddrFromSlice(s[8 : 8+octets])
	return addr
}

// consumed reports whether the program at the other end of conn has read
// everything that was written to it, or has closed.
func consumed(conn net.Conn) bool {
	all, err := diag(addrOf(conn.RemoteAddr()), addrOf(conn.LocalAddr()), ^uint32(0), false)
	if err != nil {
		panic("sock_diag: " + err.Error())
	}
	return len(all) == 0 || binary.NativeEndian.Uint32(all[0][unreadAt:]) == 0
}

func addrOf(addr net.Addr) netip.AddrPort {
	ap := netip.MustParseAddrPort(addr.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
