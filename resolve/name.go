package resolve

import "strings"

const (
	maxName  = 255 // octets of a name, as RFC 5321, 4.5.3.1.2, has it
	maxLabel = 63  // octets between two dots (RFC 1035, 2.3.4)
)

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
		if !letter(r) && r != '-' && (r < '0' || r > '9') {
			return false
		}
	}
	return true
}

func letter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_'
}
