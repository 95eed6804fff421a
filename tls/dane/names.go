package dane

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
)

// Names are what a certificate may be for when it is found through an issuer (usage 2): one of
// them is enough. Finding.Names holds the right ones (RFC 7672, 3.2.2).
type Names []string

// canonical returns a name as it is compared: ASCII in small letters, without the final dot.
func canonical(name string) string {
	return asciiLower(strings.TrimSuffix(name, "."))
}

// asciiLower makes A to Z small and nothing else: other letters that Unicode folds to ASCII
// ones are other names.
func asciiLower(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// isAddress says whether a host is an IP address or an address literal, which has no TLSA records.
func isAddress(host string) bool {
	if strings.HasPrefix(host, "[") {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(host, "."))
	return err == nil
}

// match returns the name of the first certificate of a path that is one of the wanted.
//
// RFC 7672, 3.2.3: the DNS names count, and the subject's common name only if there is none of
// them, whatever else the certificate is for. crypto/x509 looks at no common name any more.
func (n Names) match(path []*x509.Certificate) (matched string, ok bool) {
	presented, inSubject := path[0].DNSNames, false
	if len(presented) == 0 {
		presented, inSubject = []string{path[0].Subject.CommonName}, true
	}
	for _, want := range n {
		want = canonical(want)
		for _, name := range presented {
			if covers(name, want) && (!inSubject || permitted(path[1:], want)) {
				return name, true
			}
		}
	}
	return "", false
}

// covers says whether the name in a certificate is want, which is canonical.
//
// RFC 7672, 3.2.3: a wildcard is the whole first label and stands for exactly one. As in
// OpenSSL two labels at least must follow it.
func covers(presented, want string) bool {
	presented = canonical(presented)
	if want == "" || isAddress(want) {
		return false
	}
	if presented == want {
		return true
	}
	below, wildcard := strings.CutPrefix(presented, "*.")
	if !wildcard || !strings.Contains(strings.Trim(below, "."), ".") {
		return false
	}
	label, parent, _ := strings.Cut(want, ".")
	return label != "" && parent == below
}

// permitted says whether the authorities may issue for a name that was found in a common name.
// crypto/x509 holds the DNS names of a certificate to their name constraints (RFC 5280, 4.2.1.10) but not
// this one, where an authority for example.org could name anybody. OpenSSL checks it too.
func permitted(authorities []*x509.Certificate, name string) bool {
	within := func(domain string) bool {
		domain = strings.TrimPrefix(canonical(domain), ".")
		return domain == "" || name == domain || strings.HasSuffix(name, "."+domain)
	}
	for _, c := range authorities {
		if len(c.PermittedDNSDomains) > 0 && !slices.ContainsFunc(c.PermittedDNSDomains, within) || slices.ContainsFunc(c.ExcludedDNSDomains, within) {
			return false
		}
	}
	return true
}
