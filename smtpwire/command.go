package smtpwire

import "bytes"

// Verb is a command verb.
type Verb uint8

// The verbs that are told apart. HTTPVerb stands for the method words of HTTP
// at the start of a line.
const (
	Unknown Verb = iota
	HELO
	EHLO
	LHLO
	STARTTLS
	MAIL
	RCPT
	DATA
	BDAT
	RSET
	NOOP
	QUIT
	VRFY
	EXPN
	HELP
	ETRN
	AUTH
	XCLIENT
	XFORWARD
	PROXY
	HTTPVerb
	verbs
)

var verbNames = [verbs]string{Unknown: "unknown", HELO: "HELO", EHLO: "EHLO", LHLO: "LHLO", STARTTLS: "STARTTLS", MAIL: "MAIL", RCPT: "RCPT",
	DATA: "DATA", BDAT: "BDAT", RSET: "RSET", NOOP: "NOOP", QUIT: "QUIT", VRFY: "VRFY", EXPN: "EXPN", HELP: "HELP", ETRN: "ETRN",
	AUTH: "AUTH", XCLIENT: "XCLIENT", XFORWARD: "XFORWARD", PROXY: "PROXY", HTTPVerb: "HTTP"}

// String is the verb as it stands in a command.
func (v Verb) String() string { return verbNames[v] }

// Command is one command line, taken apart. Its slices are parts of the line.
type Command struct {
	Verb Verb
	Line []byte // the whole line, without CRLF
	Args []byte // what follows the verb and its spaces, trailing spaces removed
}

// ParseCommand takes a line apart. Verbs are matched without regard to case
// (RFC 5321, 2.4). A line that fits no verb is Unknown; nothing is an error.
func ParseCommand(line []byte) Command {
	word := line
	var args []byte
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		word, args = line[:i], line[i+1:]
	}
	return Command{Verb: verbOf(word), Line: line, Args: bytes.Trim(args, " ")}
}

func verbOf(word []byte) Verb {
	switch {
	case len(word) < 3 || len(word) > 8:
		return Unknown
	case len(word) == 4:
		if v := fourLetters(word); v != Unknown {
			return v
		}
	}
	for v := Unknown + 1; v < HTTPVerb; v++ {
		if equalFold(word, verbNames[v]) {
			return v
		}
	}
	for _, m := range httpMethods {
		if string(word) == m {
			return HTTPVerb
		}
	}
	return Unknown
}

// httpMethods are matched as HTTP clients send them, in upper case.
var httpMethods = []string{"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE"}

// fourLetters finds the verbs of the steady path without a loop. Without its
// bit for lower case no octet but a letter becomes a letter.
func fourLetters(w []byte) Verb {
	up := uint32(w[0]&^0x20)<<24 | uint32(w[1]&^0x20)<<16 | uint32(w[2]&^0x20)<<8 | uint32(w[3]&^0x20)
	switch up {
	case 'M'<<24 | 'A'<<16 | 'I'<<8 | 'L':
		return MAIL
	case 'R'<<24 | 'C'<<16 | 'P'<<8 | 'T':
		return RCPT
	case 'D'<<24 | 'A'<<16 | 'T'<<8 | 'A':
		return DATA
	case 'B'<<24 | 'D'<<16 | 'A'<<8 | 'T':
		return BDAT
	case 'E'<<24 | 'H'<<16 | 'L'<<8 | 'O':
		return EHLO
	case 'Q'<<24 | 'U'<<16 | 'I'<<8 | 'T':
		return QUIT
	case 'R'<<24 | 'S'<<16 | 'E'<<8 | 'T':
		return RSET
	}
	return Unknown
}

// equalFold compares ASCII without regard to case; name is in upper case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
