package smtpwire

import (
	"bytes"
	"errors"
	"io"
)

// The limits of lines, in octets, CRLF included.
const (
	// MaxCommandLine is far over the 512 octets of RFC 5321, 4.5.3.1.4, and
	// over what the extensions add to it (SIZE, AUTH=, DSN: about 1,500).
	MaxCommandLine = 4096
	// MaxAuthLine is the limit of RFC 4954, 4, for AUTH exchanges.
	MaxAuthLine = 12288
	// MaxReplyLine is over the 512 octets of RFC 5321, 4.5.3.1.5, which
	// servers with long explanations do not keep.
	MaxReplyLine = 4096
)

// maxDiscard is how much of an overlong line is read to find its end.
const maxDiscard = 64 << 10

// What ReadLine finds wrong with a line. The line has been consumed.
var (
	ErrLineTooLong = errors.New("line too long")
	ErrBareLF      = errors.New("bare LF")
	ErrBareCR      = errors.New("bare CR")
	// ErrEndlessLine is an overlong line whose end did not come either: the
	// only thing left to do is to close.
	ErrEndlessLine = errors.New("line without an end")
)

// Lender is a source that can wait for input without holding a buffer:
// when there is something to read, or sure to come, it calls lend, once, and reads into that.
type Lender interface {
	ReadLent(lend func() []byte) (int, error)
}

// Reader reads lines and message data from one leg. It borrows a buffer when
// there is input and gives it back when all of that is consumed.
//
// A source that is no Lender is first read one octet at a time: while that
// read blocks, no buffer is held. (A tls.Conn has the rest of the record at
// hand, so the second read costs no system call.)
type Reader struct {
	src   io.Reader
	ready Lender
	lend  func() []byte
	block []byte // borrowed; nil while nothing is held
	r, w  int    // block[r:w] is unread
	size  int    // of the next block
	one   [1]byte
}

// Reset makes r read from src and drops what it held.
func (r *Reader) Reset(src io.Reader) {
	r.Release()
	r.src = src
	r.ready, _ = src.(Lender)
	if r.ready != nil && r.lend == nil {
		r.lend = r.lendBlock
	}
}

// Release gives the buffer back and drops what is in it. Slices that ReadLine
// returned are invalid from then on.
func (r *Reader) Release() {
	if r.block != nil {
		giveBack(r.block)
		r.block = nil
	}
	r.r, r.w = 0, 0
}

// Buffered is the number of octets that were received and not yet read.
func (r *Reader) Buffered() int { return r.w - r.r }

// HasLine says whether a whole line is buffered, so that ReadLine will not
// wait.
func (r *Reader) HasLine() bool {
	return bytes.IndexByte(r.block[r.r:r.w], '\n') >= 0
}

// Peek returns what is buffered, without consuming it.
func (r *Reader) Peek() []byte { return r.block[r.r:r.w] }

func (r *Reader) lendBlock() []byte {
	r.block = borrow(r.size)
	return r.block
}

// fill waits for more input. With an empty buffer it holds none while it
// waits. want is 1 when a single further octet, whatever it is, may be all
// that the peer will send, else 2: a single LF is never waited behind.
func (r *Reader) fill(size, want int) error {
	if r.r == r.w {
		r.Release()
		r.size = size
		return r.first(want)
	}
	if err := r.makeRoom(size); err != nil {
		return err
	}
	n, err := r.src.Read(r.block[r.w:])
	r.w += n
	return progress(n, err)
}

// first reads into the empty reader.
func (r *Reader) first(want int) error {
	if r.ready != nil {
		n, err := r.ready.ReadLent(r.lend)
		if r.w = n; n == 0 { // it may have asked for the buffer in vain
			r.Release()
		}
		return progress(n, err)
	}
	n, err := r.src.Read(r.one[:])
	if n == 0 {
		return progress(n, err)
	}
	r.lendBlock()
	r.block[0], r.w = r.one[0], 1
	if want == 1 || r.one[0] == '\n' || err != nil {
		return nil
	}
	n, err = r.src.Read(r.block[1:])
	r.w += n
	return progress(r.w, err)
}

// progress turns a read's result into an error, unless it brought something:
// then the source says it again.
func progress(n int, err error) error {
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// makeRoom moves what is unread to the start of a block of the given size, or
// of the next size where the present one is full.
func (r *Reader) makeRoom(size int) error {
	if r.w < len(r.block) && size <= len(r.block) {
		return nil
	}
	if r.r > 0 && size <= len(r.block) {
		r.w = copy(r.block, r.block[r.r:r.w])
		r.r = 0
		return nil
	}
	if r.Buffered() >= largeBlock {
		return io.ErrShortBuffer
	}
	b := borrow(max(size, r.Buffered()+1))
	n := copy(b, r.block[r.r:r.w])
	giveBack(r.block)
	r.block, r.r, r.w = b, 0, n
	return nil
}

// ReadLine reads one line that ends in CRLF and returns it without the CRLF.
// The slice is valid until the next call that reads, but lines that HasLine
// announced stay valid together.
//
// ErrBareLF, ErrBareCR (RFC 5321, 2.3.8) and ErrLineTooLong (more than limit
// octets with CRLF; limit is at most 32 KiB) leave r at the start of the next
// line. ErrEndlessLine and errors of the source are final; io.EOF within a
// line is io.ErrUnexpectedEOF.
func (r *Reader) ReadLine(limit int) ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.block[r.r+seen:r.w], '\n'); i >= 0 {
			line := r.block[r.r : r.r+seen+i+1]
			r.r += seen + i + 1
			return trimLine(line, limit)
		}
		seen = r.Buffered()
		if seen >= limit {
			return nil, r.discardLine()
		}
		if err := r.fill(smallBlock, 2); err != nil {
			if seen > 0 {
				err = within(err)
			}
			return nil, err
		}
	}
}

// within is the error of a source that ends in the middle of something.
func within(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// trimLine takes the CRLF off a line and looks for what must not be in it.
func trimLine(line []byte, limit int) ([]byte, error) {
	n := len(line) - 2
	switch cr := bytes.IndexByte(line, '\r'); {
	case len(line) > limit:
		return nil, ErrLineTooLong
	case n < 0 || line[n] != '\r':
		return nil, ErrBareLF
	case cr != n:
		return nil, ErrBareCR
	}
	return line[:n], nil
}

// discardLine reads to the end of an overlong line.
func (r *Reader) discardLine() error {
	for n := 0; n < maxDiscard; {
		if i := bytes.IndexByte(r.block[r.r:r.w], '\n'); i >= 0 {
			r.r += i + 1
			return ErrLineTooLong
		}
		n += r.Buffered()
		r.r = r.w
		if err := r.fill(smallBlock, 2); err != nil {
			return within(err)
		}
	}
	return ErrEndlessLine
}

// ReadExact fills p, for what is framed by length. io.EOF means that nothing
// came; within p it is io.ErrUnexpectedEOF.
func (r *Reader) ReadExact(p []byte) error {
	for n := 0; n < len(p); {
		if r.r == r.w {
			if err := r.fill(smallBlock, min(len(p)-n, 2)); err != nil {
				if n > 0 {
					err = within(err)
				}
				return err
			}
		}
		k := copy(p[n:], r.block[r.r:r.w])
		r.r += k
		n += k
	}
	return nil
}
