package smtpwire

import (
	"bytes"
	"errors"
	"strconv"
)

// Syntax errors in arguments; the text is fit for a 501 reply.
var (
	ErrPath      = errors.New("bad address syntax")
	ErrParam     = errors.New("bad parameter syntax")
	ErrChunkSize = errors.New("bad chunk size")
)

// maxPath is generous: RFC 5321, 4.5.3.1.3 asks for 256 octets, source routes
// and SMTPUTF8 addresses need more.
const maxPath = 2048

// Envelope is the argument of MAIL or RCPT, taken apart.
type Envelope struct {
	Path   []byte // without the angle brackets; empty for <>
	Params []byte // what follows the path: parameters separated by spaces
}

// ParseEnvelope takes the argument of MAIL (prefix "FROM:") or RCPT (prefix
// "TO:") apart (RFC 5321, 4.1.1.2 and 4.1.1.3). Spaces between the colon and
// the path are accepted, as every server does; so is a path without angle
// brackets, which old devices send. ErrPath or ErrParam come back.
func ParseEnvelope(args []byte, prefix string) (Envelope, error) {
	if len(args) < len(prefix) || !equalFold(args[:len(prefix)], prefix) {
		return Envelope{}, ErrPath
	}
	rest := bytes.TrimLeft(args[len(prefix):], " ")
	n := pathLen(rest)
	if n <= 0 || n > maxPath {
		return Envelope{}, ErrPath
	}
	e := Envelope{Path: rest[:n]}
	if rest[0] == '<' {
		e.Path = rest[1 : n-1]
	}
	if hasControl(e.Path) { // RFC 5321, 4.1.2: not even in quotes
		return Envelope{}, ErrPath
	}
	rest = rest[n:]
	if len(rest) > 0 && rest[0] != ' ' {
		return Envelope{}, ErrParam
	}
	e.Params = bytes.TrimLeft(rest, " ")
	return e, e.checkParams()
}

// pathLen is the length of the path at the start of b, with its brackets, or
// 0. Brackets and spaces within a quoted local part do not end it.
func pathLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	bracket, quoted := b[0] == '<', false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '>' && bracket:
			return i + 1
		case c == ' ' && !bracket:
			return i
		case c == '<' && i > 0, c == '>', c == ' ':
			return 0
		}
	}
	if bracket || quoted {
		return 0
	}
	return len(b)
}

// Param is one ESMTP parameter of MAIL or RCPT (RFC 5321, 4.1.1.11).
type Param struct {
	Text     []byte // KEYWORD=value as it was sent
	Keyword  []byte
	Value    []byte
	HasValue bool
}

// Is says whether the parameter's keyword is name, which is in upper case.
func (p Param) Is(name string) bool { return equalFold(p.Keyword, name) }

// Each calls f for each parameter until it returns false.
func (e Envelope) Each(f func(Param) bool) {
	for rest := e.Params; len(rest) > 0; {
		text := rest
		if i := bytes.IndexByte(rest, ' '); i >= 0 {
			text, rest = rest[:i], bytes.TrimLeft(rest[i:], " ")
		} else {
			rest = nil
		}
		p := Param{Text: text, Keyword: text}
		if i := bytes.IndexByte(text, '='); i >= 0 {
			p.Keyword, p.Value, p.HasValue = text[:i], text[i+1:], true
		}
		if !f(p) {
			return
		}
	}
}

// checkParams wants keywords of letters, digits and hyphens, and no value
// that is empty after "=".
func (e Envelope) checkParams() (err error) {
	e.Each(func(p Param) bool {
		if len(p.Keyword) == 0 || p.HasValue && len(p.Value) == 0 {
			err = ErrParam
		}
		for i, c := range p.Keyword {
			if !isAlnum(c) && (c != '-' || i == 0) {
				err = ErrParam
			}
		}
		if hasControl(p.Value) {
			err = ErrParam
		}
		return err == nil
	})
	return err
}

func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// IsASCII says whether every octet of b is ASCII.
func IsASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// ParseSize parses the value of SIZE: up to 20 digits (RFC 1870, 5 and 6.1),
// saturated at the largest int64. ok is false for anything else.
func ParseSize(value []byte) (size int64, ok bool) {
	if len(value) == 0 || len(value) > 20 || !digits(value) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// maxChunk bounds one BDAT chunk; the message's own limit comes first.
const maxChunk = 1<<62 - 1

// ParseChunk parses the argument of BDAT: a size in octets and LAST (RFC
// 3030, 2). After ErrChunkSize nobody knows where the next command begins:
// the connection has to be closed.
func ParseChunk(args []byte) (size int64, last bool, err error) {
	num, rest, _ := bytes.Cut(args, []byte(" "))
	size, ok := ParseSize(num)
	if !ok || size > maxChunk {
		return 0, false, ErrChunkSize
	}
	switch rest = bytes.TrimLeft(rest, " "); {
	case len(rest) == 0:
		return size, false, nil
	case equalFold(rest, "LAST"):
		return size, true, nil
	}
	return 0, false, ErrChunkSize
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
