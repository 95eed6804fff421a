package proxy

import (
	"crypto/tls"
	"strings"
	"time"
)

// traceHeader is the Received: header that says how a message reached us
// (RFC 5321, 4.4; the protocol words of RFC 3848 and RFC 6531, 4.3). It stands
// directly above the message, and below the backend's own.
func (s *session) traceHeader(now time.Time, protocol string) []byte {
	b := make([]byte, 0, 384)
	add := func(words ...string) {
		for _, w := range words {
			b = append(b, w...)
		}
	}
	add("Received: from ", traceName(s.hello.name), " (", addressLiteral(s.who.Client.Addr()), ")\r\n\tby ", s.front.Hostname,
		" (postern) with ", protocol, " id ", s.id)
	if t := s.sec; t.active() {
		add("\r\n\t(", versionName(t.version), " ", t.cipher)
		if t.group != 0 {
			add(" ", t.group.String())
		}
		add(", client certificate ", certificateWord(t.verdict), ")")
	}
	add(";\r\n\t")
	b = now.AppendFormat(b, time.RFC1123Z)
	return append(b, "\r\n"...)
}

// certificateWord is the verdict on a client's certificate in a sentence.
func certificateWord(verdict string) string {
	if verdict == verdictAnonymous {
		return "not given"
	}
	return strings.ToLower(verdict)
}

// protocol is the word for the "with" clause.
func (s *inboundSession) protocol() string {
	if !s.hello.esmtp {
		return "SMTP"
	}
	w := "ESMTP"
	if s.tx.utf8 {
		w = "UTF8SMTP"
	}
	if s.sec.active() {
		w += "S"
	}
	if s.auth {
		w += "A"
	}
	return w
}

// maxTraceName is the longest domain name (RFC 5321, 4.5.3.1.2).
const maxTraceName = 255

// traceName is a client's name fit for a header: what is no part of a host name
// or an address literal could end the clause, or the header.
func traceName(name string) string {
	if name == "" {
		return "unknown"
	}
	if len(name) > maxTraceName {
		name = name[:maxTraceName]
	}
	if !strings.ContainsFunc(name, notInName) {
		return name
	}
	return strings.Map(func(r rune) rune {
		if notInName(r) {
			return '?'
		}
		return r
	}, name)
}

// traceSNI is a server name fit for a log on a terminal, and empty for none.
func traceSNI(name string) string {
	if name == "" {
		return ""
	}
	return traceName(name)
}

func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune(".-_:[]", r)
}

// addressLiteral is an address as RFC 5321, 4.1.3 writes it.
func addressLiteral(a interface {
	Is6() bool
	String() string
}) string {
	if a.Is6() {
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}

// versionName is a TLS version as Postfix and OpenSSL write it.
func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return ""
}
