package smtpwire

import (
	"bytes"
	"errors"
)

// ErrTooBig means that a message is over its limit (RFC 1870, 6.3).
var ErrTooBig = errors.New("message too big")

// Newlines says what becomes of a bare CR or LF in message data.
type Newlines uint8

const (
	// Reject refuses the message.
	Reject Newlines = iota
	// Normalize makes a bare LF a CRLF and a bare CR a space, and stuffs the
	// dots that begin a line because of it. A dot alone on a line that ends in
	// a bare LF is content, and is stuffed too.
	Normalize
)

// Body moves the octets of one message from a Reader to a Writer, as they
// come. Make one for each message: NewBody.
//
// Its Copy methods return two errors. The second is the source's and final;
// io.EOF is io.ErrUnexpectedEOF here. The first says why the message was not
// passed on although it was read to its end, so that the reply to it can be
// given: ErrBareLF, ErrBareCR, ErrTooBig, or the destination's error. Nothing
// is written after it, in particular not the end of the message, and what
// waited in the Writer is dropped; the destination must be closed to abandon
// the message.
type Body struct {
	newlines Newlines
	limit    int64
	end      func() error // asked before the end of the message is written
	size     int64
	bad      error
	at       position
	cr       bool // in chunks: the last octet was a CR
	uneven   bool // lines of one length are not to be expected
	odd      bool // something bare was met: line by line from here
}

// position says where in its line the next octet stands.
type position uint8

const (
	lineStart   position = iota // behind CRLF, or at the start of the message
	behindDot                   // behind a dot that stood at a lineStart
	mendedStart                 // behind a bare LF that became CRLF
	inLine
)

// NewBody makes the Body of one message. limit is in octets of content; 0 is
// none.
func NewBody(newlines Newlines, limit int64) *Body {
	return &Body{newlines: newlines, limit: limit}
}

// AskBeforeEnd has end called before the last octets of the message are written;
// its error refuses the message.
func (b *Body) AskBeforeEnd(end func() error) { b.end = end }

// ending is what has to be right before the end is written.
func (b *Body) ending() {
	if b.bad == nil && b.end != nil {
		b.fail(b.end())
	}
}

// Size is the content read so far, in octets as they came, without stuffed
// dots and the end of data. Of chunks it counts the announced sizes.
func (b *Body) Size() int64 { return b.size }

// CopyDots copies a message that ends in CRLF.CRLF (RFC 5321, 4.1.1.4), dots
// and end included, unchanged but for what Normalize mends. What waits in dst
// leaves with the first octets.
func (b *Body) CopyDots(dst *Writer, src *Reader) (bad, err error) {
	for {
		n, end := b.dots(dst, src.Peek())
		src.r += n
		if n > 0 {
			b.flush(dst)
		}
		if end {
			return b.bad, nil
		}
		if err := src.fill(largeBlock, 2); err != nil {
			return b.bad, within(err)
		}
	}
}

func (b *Body) fail(err error) {
	if b.bad == nil {
		b.bad = err
	}
}

func (b *Body) count(octets int64) {
	b.size += octets
	if b.limit > 0 && b.size > b.limit {
		b.fail(ErrTooBig)
	}
}

// flush sends what waits in dst, or drops it when the message is refused.
func (b *Body) flush(dst *Writer) {
	if b.bad != nil {
		dst.release()
		return
	}
	b.fail(dst.Flush())
}

// dots takes what it can of p, the next part of the message, and says how much
// that was. A CR at the end of p waits for what follows it. A message that is
// refused takes the same way, so that its end is the same; it is not written.
func (b *Body) dots(dst *Writer, p []byte) (n int, end bool) {
	for n < len(p) {
		k, end, bare := b.scan(p[n:])
		b.count(int64(k))
		if bare != nil {
			b.odd = true
			if b.newlines == Reject {
				b.fail(bare)
			}
		}
		if end {
			b.ending()
		}
		switch {
		case b.bad != nil:
		case bare == nil:
			b.fail(dst.Through(p[n : n+k]))
		default: // more follows, and leaves with it
			dst.Raw(p[n : n+k])
		}
		if n += k; bare == nil {
			return n, end
		}
		n += b.mend(dst, p[n])
	}
	return n, false
}

// scan finds the longest start of p that can be passed on as it is: up to and
// with the end of data, or up to a bare CR or LF, or up to a CR whose
// successor is not here yet. What it takes that is no content it takes off
// the size.
func (b *Body) scan(p []byte) (n int, end bool, bare error) {
	for fast := !b.odd; n < len(p); {
		if fast && (b.at == inLine || b.at == lineStart && p[n] != '.') {
			k := b.cleanLines(p[n:])
			if fast = k > 0; fast {
				b.at = lineStart
				n += k
				continue
			}
		}
		switch {
		case b.at == lineStart && p[n] == '.': // RFC 5321, 4.5.2
			b.at = behindDot
			b.size--
			n++
			continue
		case b.at == behindDot && bytes.HasPrefix(p[n:], crlf):
			b.size -= int64(len(crlf))
			return n + len(crlf), true, nil
		case b.at == mendedStart && p[n] == '.':
			return n, false, errMendedDot
		}
		k, whole, bare := scanLine(p[n:])
		if k == 0 {
			return n, false, bare
		}
		b.at = inLine
		if whole {
			b.at = lineStart
		}
		if n += k; bare != nil {
			return n, false, bare
		}
	}
	return n, false, nil
}

// cleanLines is the fast way over ordinary text: it finds how many octets of p
// are whole lines that end in CRLF, hold nothing bare and are not followed by a
// dot. It says 0 where it is not sure, and once that was for something bare it is
// not asked again.
//
// Most text in bulk is an attachment, whose lines have one length. So each line
// is supposed to be as long as the one before, and looked through only when it is
// not; that nothing was passed over is shown by counting all CR and LF in the end,
// which costs a tenth of looking for them.
func (b *Body) cleanLines(p []byte) int {
	if len(p) < window {
		return 0
	}
	end, lines, bare := b.stepLines(p, !b.uneven)
	if !bare && bytes.Count(p[:end], lf) == lines && bytes.Count(p[:end], cr) == lines {
		return end
	}
	if b.uneven {
		b.odd = true
		return 0
	}
	b.uneven = true
	return b.cleanLines(p)
}

// stepLines goes from line to line, up to the last whole one or to one that
// begins with a dot, and counts them. bare is a line end without its CR.
func (b *Body) stepLines(p []byte, guess bool) (end, lines int, bare bool) {
	end = bytes.LastIndexByte(p, '\n') + 1
	for i, length := 0, 0; i < end; lines++ {
		next := i + length
		if !guess || length < len(crlf) || next > end || p[next-1] != '\n' || p[next-2] != '\r' {
			next = i + bytes.IndexByte(p[i:end], '\n') + 1
			if next < len(crlf) || p[next-2] != '\r' {
				return 0, 0, true
			}
			length = next - i
		}
		if i = next; i < end && p[i] == '.' {
			end = i
		}
	}
	return end, lines, false
}

// errMendedDot is scan's way to say that a dot must be stuffed because it
// begins a line that Normalize made.
var errMendedDot = errors.New("dot behind a bare LF")

// window is how far scanLine looks. It bounds what a bare CR can cost, behind
// which the search for the line's end begins anew.
const window = 1 << 10

// scanLine finds the end of the line that p begins with or is within. whole
// says that it ends in CRLF. Otherwise n stops before what is bare, or before
// a CR that is the last octet of p, or where the window ends.
func scanLine(p []byte) (n int, whole bool, bare error) {
	w := p[:min(len(p), window)]
	lf := bytes.IndexByte(w, '\n')
	if lf >= 0 {
		w = w[:lf]
	}
	switch cr := bytes.IndexByte(w, '\r'); {
	case cr < 0 && lf < 0:
		return len(w), false, nil
	case cr < 0:
		return lf, false, ErrBareLF
	case cr+1 == len(p):
		return cr, false, nil
	case p[cr+1] == '\n':
		return cr + 2, true, nil
	default:
		return cr, false, ErrBareCR
	}
}

var (
	dot     = []byte(".")
	dotLine = []byte(".\r\n")
	space   = []byte(" ")
	cr      = []byte("\r")
	lf      = []byte("\n")
)

// mend writes what stands for the octet that scan stopped at, and says how
// many octets it took.
func (b *Body) mend(dst *Writer, c byte) (taken int) {
	text, at, taken := crlf, mendedStart, 1
	switch {
	case c == '.': // errMendedDot: the dot itself follows as ordinary text
		text, at, taken = dot, inLine, 0
	case c == '\r':
		text, at = space, inLine
	case b.at == behindDot: // a lone dot would become the end of data
		text = dotLine
		b.size++ // it is content, then
	}
	b.at = at
	b.count(int64(taken))
	if b.bad == nil {
		dst.Raw(text)
	}
	return taken
}
