package proxy

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// conn is the socket under a leg. It counts octets, keeps the deadline of what
// is going on, and waits for input without holding a buffer (smtpwire.Lender).
type conn struct {
	net.Conn
	raw     syscall.RawConn // nil where the socket gives none
	in, out int64
	owner   *inboundSession // during a handshake, for Termination
	greeted bool            // during a handshake: the ClientHello could be read
	corked  bool            // writes are held until Close
	lazy    bool            // writes are held until the next read
	held    []byte

	timer
	records

	lend    func() []byte // during ReadLent
	tryRead func(fd uintptr) bool
	lent    []byte // what lend lent
	bulk    bool   // the last read filled all that was lent
	n       int
	err     error
}

func newConn(c net.Conn) *conn {
	k := &conn{Conn: c}
	k.socket = c
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			k.raw, k.tryRead = raw, k.try
		}
	}
	return k
}

// Read reads from the socket.
func (c *conn) Read(p []byte) (int, error) {
	if c.lazy {
		c.send()
	}
	if c.framed {
		return c.readFramed(p)
	}
	c.keepPace()
	n, err := c.Conn.Read(p)
	c.in += int64(n)
	return n, err
}

// Write writes to the socket.
func (c *conn) Write(p []byte) (int, error) {
	if c.corked || c.lazy {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	c.keepPace()
	n, err := c.Conn.Write(p)
	c.out += int64(n)
	return n, err
}

// cork holds what is written until Close: the last reply of a session and the end
// of TLS leave in one write.
func (c *conn) cork() { c.corked = true }

// untilRead holds what is written until something is read: as a client of TLS, the
// end of our handshake and the EHLO behind it leave in one write. An error of that
// write is seen at the read.
func (c *conn) untilRead(hold bool) {
	if c.lazy = hold; !hold {
		c.send()
	}
}

// send writes what is held.
func (c *conn) send() {
	if len(c.held) > 0 {
		held := c.held
		c.held = nil
		lazy := c.lazy
		c.lazy = false
		c.Write(held) // the peer's silence tells of a failure
		c.lazy = lazy
	}
}

// Close writes what is held and closes the socket.
func (c *conn) Close() error {
	if c.corked = false; len(c.held) > 0 {
		// The end of TLS leaves a deadline in the past behind it.
		c.Conn.SetWriteDeadline(time.Now().Add(lingerTimeout))
		c.Write(c.held) // nobody is there to be told that it failed
		c.held = nil
	}
	c.timer.stop()
	c.records.drop()
	return c.Conn.Close()
}

// ReadLent implements smtpwire.Lender.
func (c *conn) ReadLent(lend func() []byte) (int, error) {
	if c.raw == nil {
		return c.Read(lend())
	}
	c.keepPace()
	c.lend, c.lent, c.n = lend, nil, 0
	err := c.wait()
	c.bulk = c.n > lentFirst && c.n == len(c.lent)
	c.lend, c.lent = nil, nil
	c.in += int64(c.n)
	if c.n == 0 && err == nil {
		err = io.EOF
	}
	return c.n, err
}

// wait waits until try has read something, or failed.
func (c *conn) wait() error {
	c.err = nil
	if err := c.raw.Read(c.tryRead); err != nil {
		return err
	}
	return c.err
}

// try reads what is there. It says false when nothing is, and is called again
// when that has changed.
func (c *conn) try(fd uintptr) bool {
	if c.lend != nil && c.bulk {
		return c.tryBulk(int(fd))
	}
	b := blocks.Get().(*block)
	if c.lend == nil {
		n, err := retryRead(int(fd), b[:])
		if n > 0 {
			c.got, c.r, c.w = b, 0, n
			return true
		}
		blocks.Put(b)
		c.err = err
		return err != syscall.EAGAIN
	}
	defer blocks.Put(b)
	n, err := retryRead(int(fd), b[:lentFirst])
	if n == 0 {
		c.err = err
		return err != syscall.EAGAIN
	}
	c.lent = c.lend()
	c.n = copy(c.lent, b[:n])
	if n == lentFirst && len(c.lent) > n { // there may be more
		if k, err := retryRead(int(fd), c.lent[n:]); err == nil {
			c.n += k
		}
	}
	return true
}

// tryBulk is try for a peer that sends faster than we read: it is lent a buffer
// at once, which it then waits with where that was a mistake.
func (c *conn) tryBulk(fd int) bool {
	if c.lent == nil {
		c.lent = c.lend()
	}
	n, err := retryRead(fd, c.lent)
	c.n = n
	if n == 0 {
		c.err = err
	}
	return n > 0 || err != syscall.EAGAIN
}

// lentFirst is the least that lend lends, in octets.
const lentFirst = 4 << 10

func retryRead(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// isTimeout says whether a deadline passed.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
