package proxy

import (
	"encoding/binary"
	"io"
	"sync"
)

// records is the socket as crypto/tls reads it. A tls.Conn keeps a buffer for as
// long as it lives, and makes it several times as large as a record when it is
// given the start of the next one with the end of the last. So it is given one
// record at a time, out of a block that is borrowed when something has come and
// given back as soon as it is empty. Large records, which come one after the other,
// go straight to where they are wanted.
type records struct {
	framed bool // from the handshake on
	got    *block
	r, w   int // got[r:w] was not taken yet

	header [recordHeader]byte
	have   int // of the header
	body   int // octets left of the record
	last   int // length of the last record
}

// block is what one system call may bring: two records of the greatest size.
type block [32 << 10]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

// recordHeader is the length of a TLS record's header (RFC 8446, 5.1).
const recordHeader = 5

// begin has the socket read by records from now on. ahead was read from it
// before: at most a block.
func (f *records) begin(ahead []byte) {
	f.framed = true
	if len(ahead) > 0 {
		f.got, f.r = blocks.Get().(*block), 0
		f.w = copy(f.got[:], ahead)
	}
}

// take moves octets to p, none of them beyond the end of the present header or
// record.
func (f *records) take(p []byte) int {
	left := f.body
	if left == 0 {
		left = recordHeader - f.have
	}
	n := copy(p[:min(len(p), left)], f.got[f.r:f.w])
	if f.r += n; f.r == f.w {
		f.drop()
	}
	f.pass(p[:n])
	return n
}

// pass goes over octets that were handed on.
func (f *records) pass(p []byte) {
	for len(p) > 0 {
		if f.body > 0 {
			n := min(f.body, len(p))
			f.body -= n
			p = p[n:]
			continue
		}
		n := copy(f.header[f.have:], p)
		p = p[n:]
		if f.have += n; f.have == recordHeader {
			f.have, f.body = 0, int(binary.BigEndian.Uint16(f.header[3:]))
			f.last = recordHeader + f.body
		}
	}
}

// straight is how many octets may be read past a block: the rest of a large
// record, or what will be one if it is like the last.
func (f *records) straight() int {
	switch {
	case f.last < largeRecord:
		return 0
	case f.body > 0:
		return f.body
	}
	return f.last - f.have
}

// largeRecord is the length from which on copying costs more than it saves.
const largeRecord = 4 << 10

// drop gives the block back.
func (f *records) drop() {
	if f.got != nil {
		blocks.Put(f.got)
		f.got, f.r, f.w = nil, 0, 0
	}
}

// readFramed is Read once there is TLS.
func (c *conn) readFramed(p []byte) (int, error) {
	if c.got == nil {
		c.keepPace()
		if k := c.straight(); k > 0 && len(p) > recordHeader {
			n, err := c.Conn.Read(p[:min(len(p), k)])
			c.in += int64(n)
			c.pass(p[:n])
			return n, err
		}
		if err := c.await(); err != nil {
			return 0, err
		}
	}
	return c.take(p), nil
}

// await waits until something can be read, and only then borrows a block for it.
func (c *conn) await() error {
	var err error
	if c.raw != nil {
		err = c.wait()
	} else {
		b := blocks.Get().(*block)
		if c.w, err = c.Conn.Read(b[:]); c.w > 0 {
			c.got, c.r = b, 0
		} else {
			blocks.Put(b)
		}
	}
	c.in += int64(c.w)
	switch {
	case c.got != nil:
		return nil
	case err != nil:
		return err
	}
	return io.EOF
}
