package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpCloseWait and tcpClose are states of include/net/tcp_states.h: the peer
// has sent FIN, or RST.
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// hungUp says whether the peer has closed its side, also where octets that it
// sent before are still unread.
func (c *conn) hungUp() bool {
	if c.raw == nil {
		return false
	}
	gone := false
	err := c.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && (info.State == tcpClose || info.State == tcpCloseWait)
	})
	return gone || err != nil
}

// unread says whether the peer has sent something that was not read yet. Of TLS, whole
// records may wait here already.
func (c *conn) unread() bool {
	sent, _ := c.peek()
	return sent
}

// stirred says whether the peer has sent something, or has closed its side.
func (c *conn) stirred() bool {
	sent, closed := c.peek()
	return sent || closed
}

func (c *conn) peek() (sent, closed bool) {
	if c.got != nil {
		return true, false
	}
	if c.raw == nil {
		return false, false
	}
	var one [1]byte
	n := 0
	var err error
	c.raw.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n > 0, n == 0 && err == nil
}
