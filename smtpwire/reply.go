package smtpwire

import (
	"bytes"
	"errors"
	"fmt"
)

// Errors of ReadReply. All of them mean that the peer and we no longer agree
// on where we are: close.
var (
	ErrReplySyntax = errors.New("not an SMTP reply")
	ErrReplyTooBig = errors.New("reply too long")
)

// maxReply bounds a whole reply, in octets. An EHLO reply with every known
// capability has about 1,500.
const maxReply = 64 << 10

// Reply is a whole reply: its code and its lines as they go over the wire,
// each with its CRLF. The zero Reply is none.
type Reply struct {
	Code  int
	Lines []byte
}

// maxReplyText keeps a line of ours within RFC 5321, 4.5.3.1.5: 512 octets.
const maxReplyText = 505

// NewReply makes a reply of one line. enhanced is an enhanced status code
// (RFC 3463), or empty where RFC 2034, 4 wants none. Octets that may not be in
// a reply line are replaced.
func NewReply(code int, enhanced, text string) Reply {
	if enhanced != "" {
		text = enhanced + " " + text
	}
	if len(text) > maxReplyText {
		text = text[:maxReplyText]
	}
	b := fmt.Appendf(nil, "%03d %s", code, text)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return Reply{Code: code, Lines: append(b, crlf...)}
}

// Class is the first digit of the code.
func (r Reply) Class() int { return r.Code / 100 }

// Text is the text of the first line, without the code.
func (r Reply) Text() string {
	line, _, _ := bytes.Cut(r.Lines, crlf)
	if len(line) < 4 {
		return ""
	}
	return string(line[4:])
}

// String is the reply for a log: its lines joined by " / ".
func (r Reply) String() string {
	return string(bytes.ReplaceAll(bytes.TrimSuffix(r.Lines, crlf), crlf, []byte(" / ")))
}

// Clone is a copy that stays valid.
func (r Reply) Clone() Reply {
	return Reply{Code: r.Code, Lines: bytes.Clone(r.Lines)}
}

// ReadReply reads one whole reply (RFC 5321, 4.2.1). Its lines are appended to
// buf, in normal form: a line end of LF alone is made CRLF and stray controls
// become spaces, because what we pass on is clean. A reply is complete at "code SP"
// or a bare code; a line with another code is ErrReplySyntax. A line over
// MaxReplyLine, or a reply over 64 KiB, is ErrReplyTooBig; no more than that is
// appended. io.EOF means that nothing came; within a reply it is
// io.ErrUnexpectedEOF.
func ReadReply(r *Reader, buf []byte) (Reply, error) {
	start := len(buf)
	code := 0
	for {
		line, err := r.readReplyLine()
		if err != nil {
			if code != 0 {
				err = within(err)
			}
			return Reply{}, err
		}
		c, more, ok := splitReplyLine(line)
		if !ok || code != 0 && c != code {
			return Reply{}, ErrReplySyntax
		}
		if len(buf)-start+len(line)+len(" \r\n") > maxReply {
			return Reply{}, ErrReplyTooBig
		}
		code = c
		buf = appendReplyLine(buf, line)
		if !more {
			r.releaseEmpty()
			return Reply{Code: code, Lines: buf[start:]}, nil
		}
	}
}

// readReplyLine is ReadLine that takes LF for a line end: a sloppy server
// cannot smuggle anything through its replies, each is read after its command.
func (r *Reader) readReplyLine() ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.block[r.r+seen:r.w], '\n'); i >= 0 {
			line := r.block[r.r : r.r+seen+i]
			r.r += seen + i + 1
			if len(line) >= MaxReplyLine {
				return nil, ErrReplyTooBig
			}
			return bytes.TrimRight(line, "\r"), nil
		}
		if seen = r.Buffered(); seen >= MaxReplyLine {
			return nil, ErrReplyTooBig
		}
		if err := r.fill(smallBlock, 2); err != nil {
			if seen > 0 {
				err = within(err)
			}
			return nil, err
		}
	}
}

func splitReplyLine(line []byte) (code int, more, ok bool) {
	if len(line) < 3 || !digits(line[:3]) || line[0] < '2' || line[0] > '5' {
		return 0, false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 || line[3] == ' ' {
		return code, false, true
	}
	return code, true, line[3] == '-'
}

func appendReplyLine(buf, line []byte) []byte {
	n := len(buf)
	buf = append(buf, line...)
	if len(line) == 3 {
		buf = append(buf, ' ')
	}
	for i := n; i < len(buf); i++ {
		if c := buf[i]; c < ' ' && c != '\t' || c == 0x7f {
			buf[i] = ' '
		}
	}
	return append(buf, crlf...)
}

// maxQuote is enough to know what a server means.
const maxQuote = 300

// Quote is String for words of a stranger: not more than 300 octets.
func (r Reply) Quote() string {
	s := r.String()
	if len(s) > maxQuote {
		s = s[:maxQuote] + "…"
	}
	return s
}

// Bounded is a copy with lines of at most 512 octets (RFC 5321, 4.5.3.1.5) and at most
// limit octets in all, which is 1,024 or more: the first lines that fit, and the last.
func (r Reply) Bounded(limit int) Reply {
	if len(r.Lines) <= maxReplyText {
		return r.Clone()
	}
	lines := bytes.SplitAfter(r.Lines, crlf)
	lines = lines[:len(lines)-1]
	for i, line := range lines {
		if len(line) > maxReplyText+len(crlf) {
			lines[i] = append(bytes.Clone(line[:maxReplyText]), crlf...)
		}
	}
	last := lines[len(lines)-1]
	var out []byte
	for _, line := range lines[:len(lines)-1] {
		if len(out)+len(line)+len(last) > limit {
			break
		}
		out = append(out, line...)
	}
	return Reply{Code: r.Code, Lines: append(out, last...)}
}
