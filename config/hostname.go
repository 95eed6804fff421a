package config

import (
	"net/netip"
	"os"
	"strings"
)

// fallbackHostname is what we call ourselves when nobody said how (Postfix does
// the same).
const fallbackHostname = "localhost.localdomain"

// systemHostname returns the name of the machine if it is fully qualified.
func systemHostname() string {
	if name, err := os.Hostname(); err == nil && validHost(name, 2) {
		return name
	}
	return fallbackHostname
}

// hostname is a fully qualified name or an address literal (RFC 5321, 4.1.4).
func hostname(name string, target *string) field {
	return field{name: name, read: func(v value) {
		text, ok := v.text()
		switch {
		case !ok:
		case validHost(text, 2) || addressLiteral(text):
			*target = text
		default:
			v.wrong("not a fully qualified host name: "+quote(text), hostnameHint(text))
		}
	}}
}

func hostnameHint(text string) string {
	const example = `Write the name that your MX record points to, as in "mx1.example.org".`
	a, err := netip.ParseAddr(text)
	switch {
	case err == nil && a.Is4():
		return "Write an address in brackets: " + quote("["+text+"]") + "."
	case err == nil:
		return "Write an address in brackets: " + quote("[IPv6:"+text+"]") + "."
	case validHost(strings.TrimSuffix(text, "."), 2):
		return "Write it without the final dot: " + quote(strings.TrimSuffix(text, ".")) + "."
	case strings.ContainsRune(text, '_'):
		return "A host name has no underscore (RFC 952). " + example
	case strings.IndexFunc(text, func(r rune) bool { return r > 127 }) >= 0:
		return "Write an international name in its ASCII form, which begins with xn--. " + example
	case validHost(text, 1):
		return "Write the domain too. " + example
	}
	return example
}

// validHost reports whether text is a host name of at least so many labels:
// letters, digits and hyphens (RFC 1123, 2.1), and no address.
func validHost(text string, labels int) bool {
	parts := strings.Split(text, ".")
	if len(text) > 253 || len(parts) < labels {
		return false
	}
	for _, part := range parts {
		if !validHostLabel(part) {
			return false
		}
	}
	return strings.Trim(parts[len(parts)-1], "0123456789") != ""
}

func validHostLabel(label string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return label != "" && len(label) <= 63 && strings.Trim(label, allowed) == "" &&
		label[0] != '-' && label[len(label)-1] != '-'
}

// addressLiteral reports whether text is one of RFC 5321, 4.1.3.
func addressLiteral(text string) bool {
	inner, ok := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return false
	}
	if v6, ok := strings.CutPrefix(inner, "IPv6:"); ok {
		a, err := netip.ParseAddr(v6)
		return err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(inner)
	return err == nil && a.Is4()
}
