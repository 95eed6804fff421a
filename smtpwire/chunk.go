package smtpwire

import "bytes"

// CopyChunk copies the next n octets of a message that comes in chunks (RFC
// 3030, 2) without a change. last says that they are its last ones. See Body
// for the errors; the chunk is always read to its end.
//
// A bare CR or LF is refused whatever Newlines says, because a chunk's size is
// announced before its octets are known: to mend them use StuffChunk. The
// chunk's BDAT command should wait in dst, not flushed: it leaves with the
// first octets, so that "BDAT 0 LAST" does not end a message whose last octet
// is a bare CR.
func (b *Body) CopyChunk(dst *Writer, src *Reader, n int64, last bool) (bad, err error) {
	bad, err = b.chunk(src, n, func(p []byte, rest int64) {
		b.fail(b.scanChunk(p))
		if last && rest == 0 && b.cr {
			b.fail(ErrBareCR)
		}
		if last && rest == 0 {
			b.ending()
		}
		if b.bad == nil {
			b.fail(dst.Through(p))
		}
	})
	if bad != nil {
		dst.release()
	}
	return bad, err
}

// StuffChunk copies the next n octets of a message that comes in chunks into
// one that is sent with DATA: dots that begin a line are stuffed (RFC 5321,
// 4.5.2). EndDots must follow the last chunk.
func (b *Body) StuffChunk(dst *Writer, src *Reader, n int64) (bad, err error) {
	bad, err = b.chunk(src, n, func(p []byte, _ int64) {
		b.stuff(dst, p)
		b.flush(dst)
	})
	if bad != nil {
		dst.release()
	}
	return bad, err
}

// chunk reads n octets, and gives them to pass in parts until one is bad. rest
// is what the chunk still has behind the part.
func (b *Body) chunk(src *Reader, n int64, pass func(p []byte, rest int64)) (bad, err error) {
	if b.count(n); n == 0 && b.bad == nil {
		pass(nil, 0)
	}
	for n > 0 {
		if src.Buffered() == 0 {
			if err := src.fill(largeBlock, int(min(n, 2))); err != nil {
				return b.bad, within(err)
			}
		}
		p := src.Peek()
		p = p[:min(int64(len(p)), n)]
		n -= int64(len(p))
		if b.bad == nil {
			pass(p, n)
		}
		src.r += len(p)
	}
	return b.bad, nil
}

// DiscardChunk reads n octets of a refused chunk (RFC 3030, 2: they are data
// whatever the verdict).
func DiscardChunk(src *Reader, n int64) error {
	for n > 0 {
		if src.Buffered() == 0 {
			if err := src.fill(largeBlock, int(min(n, 2))); err != nil {
				return within(err)
			}
		}
		k := min(int64(src.Buffered()), n)
		src.r += int(k)
		n -= k
	}
	return nil
}

// scanChunk looks for what is bare in p, the next part of the message. A CR at
// its end waits for the next part.
func (b *Body) scanChunk(p []byte) error {
	if b.cr && len(p) > 0 {
		if p[0] != '\n' {
			return ErrBareCR
		}
		b.cr, p = false, p[1:]
	}
	for len(p) > 0 {
		n, _, bare := scanLine(p)
		if bare != nil {
			return bare
		}
		if n == 0 {
			b.cr = true
			return nil
		}
		p = p[n:]
	}
	return nil
}

// stuff writes p, the next part of the message, with its dots stuffed. A CR at
// its end is held back until what follows it is known.
func (b *Body) stuff(dst *Writer, p []byte) {
	if b.cr && len(p) > 0 {
		b.cr = false
		if p[0] == '\n' {
			dst.Raw(crlf)
			b.at, p = lineStart, p[1:]
		} else {
			b.bare(dst, ErrBareCR)
		}
	}
	for len(p) > 0 && b.bad == nil {
		n, whole, bare := scanLine(p)
		if n > 0 {
			if b.at == lineStart && p[0] == '.' {
				dst.Raw(dot)
			}
			dst.Raw(p[:n])
			b.at = inLine
			if whole {
				b.at = lineStart
			}
		}
		switch p = p[n:]; {
		case bare != nil:
			b.bare(dst, bare)
			p = p[1:]
		case n == 0:
			b.cr = true
			return
		}
	}
}

// bare writes what stands for a bare CR or LF of a chunk, or refuses it.
func (b *Body) bare(dst *Writer, what error) {
	switch {
	case b.newlines == Reject:
		b.fail(what)
	case what == ErrBareLF:
		dst.Raw(crlf)
		b.at = lineStart
	default:
		dst.Raw(space)
		b.at = inLine
	}
}

// EndDots writes the end of a message whose chunks StuffChunk copied: CRLF
// where the last line has none, and the dot. It returns what was bad about
// the message, as StuffChunk does; nothing is written then.
func (b *Body) EndDots(dst *Writer) error {
	if b.cr {
		b.cr = false
		b.bare(dst, ErrBareCR)
	}
	if b.at != lineStart {
		dst.Raw(crlf)
	}
	b.ending()
	dst.Raw(dotLine)
	b.flush(dst)
	return b.bad
}

// StuffDots is p with its dots stuffed, for a header that is written in front
// of a message that goes out with DATA.
func StuffDots(p []byte) []byte {
	if bytes.HasPrefix(p, []byte(".")) {
		p = append([]byte("."), p...)
	}
	return bytes.ReplaceAll(p, []byte("\r\n."), []byte("\r\n.."))
}
