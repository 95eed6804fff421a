package smtpwire

import (
	"strings"
	"testing"
)

func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		line string
		verb Verb
		args string
	}{
		{"QUIT", QUIT, ""},
		{"quit", QUIT, ""},
		{"QuIt ", QUIT, ""},
		{"EHLO mx.example", EHLO, "mx.example"},
		{"EHLO  mx.example  ", EHLO, "mx.example"},
		{"HELO a b", HELO, "a b"},
		{"LHLO a", LHLO, "a"},
		{"MAIL FROM:<a@b> SIZE=1", MAIL, "FROM:<a@b> SIZE=1"},
		{"rcpt to:<a@b>", RCPT, "to:<a@b>"},
		{"DATA", DATA, ""},
		{"DATA now", DATA, "now"},
		{"BDAT 10 LAST", BDAT, "10 LAST"},
		{"STARTTLS", STARTTLS, ""},
		{"StartTLS", STARTTLS, ""},
		{"AUTH PLAIN AA==", AUTH, "PLAIN AA=="},
		{"RSET", RSET, ""}, {"NOOP x", NOOP, "x"}, {"VRFY a", VRFY, "a"}, {"EXPN a", EXPN, "a"},
		{"HELP", HELP, ""}, {"ETRN #a", ETRN, "#a"},
		{"XCLIENT ADDR=::1", XCLIENT, "ADDR=::1"},
		{"XFORWARD NAME=a", XFORWARD, "NAME=a"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 25", PROXY, "TCP4 192.0.2.1 192.0.2.2 1 25"},
		{"GET / HTTP/1.1", HTTPVerb, "/ HTTP/1.1"},
		{"POST / HTTP/1.1", HTTPVerb, "/ HTTP/1.1"},
		{"CONNECT a:25 HTTP/1.1", HTTPVerb, "a:25 HTTP/1.1"},
		{"get / HTTP/1.1", Unknown, "/ HTTP/1.1"},
		{"", Unknown, ""}, {" ", Unknown, ""}, {" QUIT", Unknown, "QUIT"},
		{"QUI", Unknown, ""}, {"QUITE", Unknown, ""}, {"STARTTLSX", Unknown, ""},
		{"UNKNOWN", Unknown, ""}, {"HTTP", Unknown, ""},
		{"MAIL\tFROM:<>", Unknown, ""}, {"MAIL\x00", Unknown, ""}, {"\x0dAIL", Unknown, ""}, {"MA\xc9L", Unknown, ""},
		{"D\x01TA", Unknown, ""}, {"[ATA", Unknown, ""}, {"d`ta", Unknown, ""}, {"ſTAR", Unknown, ""}, // ſ folds to S in Unicode
	} {
		got := ParseCommand([]byte(c.line))
		if got.Verb != c.verb || string(got.Args) != c.args || string(got.Line) != c.line {
			t.Errorf("%q: %v, %q", c.line, got.Verb, got.Args)
		}
	}
}

func TestEveryVerbIsFoundByItsName(t *testing.T) {
	for v := Unknown + 1; v < HTTPVerb; v++ {
		for _, word := range []string{v.String(), strings.ToLower(v.String())} {
			if got := ParseCommand([]byte(word + " x")).Verb; got != v {
				t.Errorf("%s is taken for %v", word, got)
			}
		}
	}
}
