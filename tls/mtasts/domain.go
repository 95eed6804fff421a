package mtasts

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// toALabels is for the few domains that do not come in A-labels; validName has
// the last word on what is in them.
var toALabels = idna.New(idna.MapForLookup(), idna.StrictDomainName(false), idna.Transitional(false))

// canonical is the policy domain of what stands behind the @ of a recipient, or
// of a smart host's name: A-labels in lower case without a final dot (RFC 8461,
// 3.4). ok is false for address literals, which have no policy, and for
// what is no name.
func canonical(domain string) (name string, ok bool) {
	name = strings.TrimSuffix(domain, ".")
	if !every(name, func(c byte) bool { return c < 0x80 }) {
		var err error
		if name, err = toALabels.ToASCII(name); err != nil || !utf8.ValidString(domain) {
			return "", false
		}
	}
	name = strings.ToLower(name)
	if len(recordPrefix)+len(name) > maxName || !validName(name) {
		return "", false
	}
	if last := name[len(name)-1]; '0' <= last && last <= '9' {
		if _, err := netip.ParseAddr(name); err == nil {
			return "", false
		}
	}
	return name, true
}
