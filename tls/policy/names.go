package policy

import (
	"crypto/x509"
	"encoding/asn1"
	"net/netip"
	"strings"
)

// canonical returns a host or domain as it is compared: ASCII in small letters,
// without the final dot; an address, with or without the brackets of an address
// literal (RFC 5321, 4.1.3), in its shortest form.
func canonical(name string) string {
	name = strings.TrimSuffix(asciiLower(name), ".")
	if a, ok := address(name); ok {
		return a.String()
	}
	return name
}

// address reads an IP address or an address literal; name is in small letters.
func address(name string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
		name = strings.TrimPrefix(inner, "ipv6:")
	} else if name == "" || name[0] > '9' && !strings.Contains(name, ":") {
		return netip.Addr{}, false // most names, without the error value of ParseAddr
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}

// asciiLower makes A to Z small and nothing else: Unicode has letters that fold
// to ASCII ones (the Kelvin sign to k), and those are other names.
func asciiLower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// matchCertificate returns the name of the certificate that is one of wanted,
// each canonical: a host name, ".example.net" for every name below it, or an
// IP address. noCommonName says that the subject's does not count: an authority above the
// certificate may issue for some names only, or MTA-STS asks.
func matchCertificate(c *x509.Certificate, wanted []string, noCommonName bool) (matched string, ok bool) {
	names := c.DNSNames
	if useCommonName(c, noCommonName) {
		names = []string{c.Subject.CommonName}
	}
	for _, want := range wanted {
		if a, isAddress := address(want); isAddress {
			if hasAddress(c, a) {
				return want, true
			}
			continue
		}
		for _, name := range names {
			if matchName(name, want) {
				return name, true
			}
		}
	}
	return "", false
}

// useCommonName says whether the certificate names its host in the subject, as
// certificates did before 2000. RFC 9525, 2 ends that; Postfix, and the
// internal authorities of old mail servers, still do it (RFC 6125, 6.4.4).
//
// Name constraints do not reach the common name (RFC 5280, 4.2.1.10 knows the
// directory name only, and crypto/x509 follows it), so that an authority held to
// example.org could name anybody there. Below such an authority it does not count.
func useCommonName(c *x509.Certificate, noCommonName bool) bool {
	return !noCommonName && !hasSubjectAltName(c)
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

func hasSubjectAltName(c *x509.Certificate) bool {
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(oidSubjectAltName) {
			return true
		}
	}
	return false
}

func hasAddress(c *x509.Certificate, want netip.Addr) bool {
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok && a.Unmap() == want {
			return true
		}
	}
	return false
}

// matchName says whether the name in a certificate covers want, which is a canonical
// host name, or ".example.net" for any name below example.net at any depth (Postfix's
// dot-nexthop, and its patterns with a leading dot).
//
// RFC 9525, 6.3: a wildcard is the whole left-most label and stands for exactly
// one label. Two labels at least must follow it, as OpenSSL has it: "*.com"
// names nobody.
func matchName(certificate, want string) bool {
	certificate = strings.TrimSuffix(asciiLower(certificate), ".")
	if !validCertificateName(certificate) || want == "" {
		return false
	}
	if want[0] == '.' {
		return strings.HasSuffix(certificate, want) // and has a label before it: none is empty
	}
	if below, wildcard := strings.CutPrefix(certificate, "*."); wildcard {
		label, parent, _ := strings.Cut(want, ".")
		return label != "" && parent == below
	}
	return certificate == want
}

// validCertificateName refuses what no host is called, above all a wildcard that
// is not the whole first label, or has fewer than two labels behind it.
// Underscores are in use, also in MX names.
func validCertificateName(name string) bool {
	if below, wildcard := strings.CutPrefix(name, "*."); wildcard {
		if name = below; !strings.Contains(name, ".") {
			return false
		}
	}
	if len(name) > 253 {
		return false
	}
	if _, isAddress := address(name); isAddress {
		return false // RFC 9525, 6.5: an address is an iPAddress, never a dNSName
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(label string) bool {
	return label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' &&
		strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
