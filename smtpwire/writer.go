package smtpwire

import (
	"bytes"
	"errors"
	"io"
)

// ErrNotALine is returned for a line to be written that holds a CR or LF.
var ErrNotALine = errors.New("CR or LF within a line to be written")

// Writer collects what goes to one leg, so that a group of commands or
// replies leaves in one write. It holds a buffer only between the first octet
// and Flush. The first error sticks, until Reset.
type Writer struct {
	dst   io.Writer
	block []byte // borrowed; nil while empty
	n     int
	err   error
	wrote int64
}

// Reset makes w write to dst and drops what was not flushed.
func (w *Writer) Reset(dst io.Writer) {
	w.release()
	w.dst, w.err = dst, nil
}

func (w *Writer) release() {
	if w.block != nil {
		giveBack(w.block)
		w.block, w.n = nil, 0
	}
}

// Pending is the number of octets that wait for Flush.
func (w *Writer) Pending() int { return w.n }

// Written is the number of octets that were handed to the leg, over all Resets.
func (w *Writer) Written() int64 { return w.wrote }

// Line appends line and CRLF. A line that holds CR or LF is not written and
// fails w with ErrNotALine: it would be two.
func (w *Writer) Line(line []byte) {
	if bytes.IndexByte(line, '\n') >= 0 || bytes.IndexByte(line, '\r') >= 0 {
		w.fail(ErrNotALine)
		return
	}
	w.append(line)
	w.append(crlf)
}

// Raw appends p, which holds whole lines.
func (w *Writer) Raw(p []byte) { w.append(p) }

var crlf = []byte("\r\n")

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *Writer) append(p []byte) {
	if w.err != nil {
		return
	}
	if w.n+len(p) > len(w.block) {
		w.grow(len(p))
	}
	if w.n+len(p) > len(w.block) { // over a large block: straight through
		w.write(p)
		return
	}
	w.n += copy(w.block[w.n:], p)
}

// grow makes room for n more octets where a block can hold them, and flushes
// where none can.
func (w *Writer) grow(n int) {
	if w.n+n > largeBlock {
		w.Flush()
		if n > largeBlock {
			return
		}
	}
	b := borrow(w.n + n)
	k := copy(b, w.block[:w.n])
	w.release()
	w.block, w.n = b, k
}

// Flush writes what waits, in one write, and returns the first error of w.
func (w *Writer) Flush() error {
	if w.n > 0 {
		w.write(w.block[:w.n])
	}
	w.release()
	return w.err
}

// Through writes what waits and p, in one write where a block holds both.
func (w *Writer) Through(p []byte) error {
	if w.n == 0 {
		if len(p) > 0 {
			w.write(p)
		}
		return w.err
	}
	w.append(p)
	return w.Flush()
}

func (w *Writer) write(p []byte) {
	if w.err != nil {
		return
	}
	n, err := w.dst.Write(p)
	w.wrote += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.fail(err)
	}
}
