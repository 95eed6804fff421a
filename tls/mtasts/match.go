package mtasts

import "strings"

const (
	maxName  = 253 // characters of a name in the DNS, without the final dot (RFC 1035, 2.3.4)
	maxLabel = 63
)

// Match reports whether host, the name in an MX record before any CNAME, is one
// of the policy's (RFC 8461, 4.1). Upper and lower case are the same, and a final dot
// does not matter; "*." stands for exactly one label. A policy of mode none says
// nothing of hosts: ask its Mode first.
func (p *Policy) Match(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !validName(host) {
		return false
	}
	_, parent, _ := strings.Cut(host, ".")
	for _, pattern := range p.MX {
		domain, wild := strings.CutPrefix(pattern, "*.")
		if wild && domain == parent || !wild && pattern == host {
			return true
		}
	}
	return false
}

// validPattern is sts-policy-mx-value: a name, or "*." and a name. It is for
// lower case.
func validPattern(s string) bool {
	return validName(strings.TrimPrefix(s, "*."))
}

// validName says whether s, in lower case, is a name of A-labels: letters, digits, hyphens,
// and underscores, which MX names have although RFC 5321 does not let them.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	start := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if i == start || i-start > maxLabel {
				return false
			}
			start = i + 1
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return start < len(s) && len(s)-start <= maxLabel
}
