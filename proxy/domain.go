package proxy

import (
	"bytes"
	"net/netip"
	"strings"

	"postern/resolve"
	"postern/smtpwire"
)

// domainOf is the domain of an address, as the DNS knows it: lower case, A-labels,
// without a final dot; an address literal keeps its brackets (RFC 5321, 4.1.3).
// Empty for an address without one. A reply says why there is none that could be
// used.
func domainOf(path []byte) (domain string, refusal smtpwire.Reply) {
	at := bytes.LastIndexByte(path, '@')
	if at < 0 || bytes.HasSuffix(path, []byte{'"'}) { // the @ is within a quoted local part
		return "", refusal
	}
	domain = strings.TrimSuffix(string(path[at+1:]), ".")
	if strings.HasPrefix(domain, "[") {
		if _, ok := literal(domain); !ok {
			return "", replyBadDomain
		}
		return domain, refusal
	}
	ascii, err := resolve.ToASCII(domain)
	if err != nil || len(ascii) > maxTraceName {
		return "", replyBadDomain
	}
	return ascii, refusal
}

// literal is the address in an address literal.
func literal(domain string) (netip.Addr, bool) {
	inner, ok := strings.CutPrefix(domain, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return netip.Addr{}, false
	}
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		inner = inner[5:]
	}
	a, err := netip.ParseAddr(inner)
	return a, err == nil && a.Zone() == ""
}
