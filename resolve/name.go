package resolve

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxName  = 255 // octets of a name, as RFC 5321, 4.5.3.1.2, has it
	maxASCII = 253 // characters of a name in the DNS, without the final dot (RFC 1035, 2.3.4)
	maxLabel = 63  // octets between two dots (RFC 1035, 2.3.4)
)

// ToASCII returns a domain in the form that this package takes and gives: lower
// case, A-labels, no final dot. The error wraps [ErrBadName].
func ToASCII(domain string) (string, error) {
	name := strings.TrimSuffix(domain, ".")
	if !ascii(name) {
		var err error
		if name, err = toALabels.ToASCII(name); err != nil || !utf8.ValidString(domain) {
			return "", &PermanentError{Name: domain, Err: ErrBadName}
		}
	}
	if name = strings.ToLower(name); !validDomain(name) {
		return "", &PermanentError{Name: domain, Err: ErrBadName}
	}
	return name, nil
}

// toALabels lets the signs pass that host names do not have and mail domains
// do: validDomain is asked afterwards.
var toALabels = idna.New(idna.MapForLookup(), idna.StrictDomainName(false), idna.Transitional(false))

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// validDomain says whether name can be asked for and told to others: letters,
// digits, hyphens, and what the DNS of the mail world has besides, underscores
// and asterisks (STANDARDS 75). It may be an address in dotted form: some MX
// records say so.
func validDomain(name string) bool {
	if name == "" || len(name) > maxASCII {
		return false
	}
	start := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if i == start || i-start > maxLabel {
				return false
			}
			start = i + 1
		case !letter(rune(c)) && !digit(rune(c)) && c != '-' && c != '*':
			return false
		}
	}
	return len(name) > start && len(name)-start <= maxLabel
}

// wellFormed drops what may not be told to an MTA from the names of PTR
// records, cuts the final dots off and the list to maxNames.
func wellFormed(names []string) []string {
	var good []string
	for _, name := range names {
		name = strings.TrimSuffix(name, ".")
		if validName(name) && len(good) < maxNames {
			good = append(good, name)
		}
	}
	return good
}

// validName says whether name is a host name as MTAs take it: letters, digits
// and hyphens (RFC 1123, 2.1), and underscores, which are common in reverse
// zones; something in it that is no digit, or it could be read as an address.
// Postfix answers 501 to an XCLIENT with a name that is not.
func validName(name string) bool {
	if len(name) > maxName {
		return false
	}
	lettered := false
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return false
		}
		lettered = lettered || strings.ContainsFunc(label, letter)
	}
	return lettered
}

func validLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, r := range label {
		if !letter(r) && !digit(r) && r != '-' {
			return false
		}
	}
	return true
}

func letter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_'
}

func digit(r rune) bool { return '0' <= r && r <= '9' }
