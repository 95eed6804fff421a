package policy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strconv"
	"strings"
	"time"

	"postern/tls/dane"
	"postern/tls/level"
)

const strongEnough = "TLS 1.2 or newer with forward secrecy"

const maxShown = 3 // names in a text

// expected says what the decision asks for.
func (d *Decision) expected() string {
	switch d.Level {
	case level.Fingerprint:
		return expectedFingerprint(d.Fingerprints)
	case level.DANE, level.DANEOnly:
		return expectedTLSA(d.TLSA, d.Base)
	}
	if len(d.Names) == 0 {
		return "a certificate for a name, of which the rule has none for " + dane.Clean(d.Domain)
	}
	names := make([]string, 0, maxShown+1)
	for _, n := range d.Names[:min(len(d.Names), maxShown)] {
		if below, ok := strings.CutPrefix(n, "."); ok {
			n = "a name below " + below
		}
		names = append(names, dane.Clean(n))
	}
	if more := len(d.Names) - len(names); more > 0 {
		names = append(names, strconv.Itoa(more)+" more")
	}
	return "a certificate for " + strings.Join(names, " or ")
}

func expectedFingerprint(all []Fingerprint) string {
	if len(all) == 0 {
		return "a certificate with a fingerprint, of which the rule has none"
	}
	text := "a certificate with fingerprint " + all[0].String()
	if len(all) > 1 {
		text += " or one of " + strconv.Itoa(len(all)-1) + " others"
	}
	return text
}

func expectedTLSA(all []dane.Record, base string) string {
	switch len(all) {
	case 0:
		return "a certificate that a TLSA record authenticates"
	case 1:
		return "a certificate that the TLSA record of " + dane.Clean(base) + " authenticates, " + shortTLSA(all[0])
	}
	return "a certificate that one of the " + strconv.Itoa(len(all)) + " TLSA records of " + dane.Clean(base) + " authenticates"
}

// shortTLSA is a record cut to what fits into a line and tells two apart.
func shortTLSA(r dane.Record) string {
	const shown = 8 // octets
	if len(r.Data) <= shown {
		return r.String()
	}
	r.Data = r.Data[:shown]
	return r.String() + "..."
}

// seenByTLSA is behind "saw", so that it begins with the certificate.
func seenByTLSA(leaf *x509.Certificate, r dane.Result) string {
	text := "certificate for " + describeNames(leaf)
	if strings.HasPrefix(r.Why, text) {
		return r.Why
	}
	return text + ": " + r.Why
}

// seen says what came instead: "self-signed certificate for localhost".
func (d *Decision) seen(leaf *x509.Certificate, found trust) string {
	text := "certificate for " + describeNames(leaf)
	if d.Level == level.Fingerprint {
		return text + " with fingerprint " + FingerprintOf(leaf, len(d.Fingerprints) > 0 && d.Fingerprints[0].PublicKey).String()
	}
	switch {
	case found.ok:
		return text
	case found.flaw == selfSigned:
		return selfSigned + " " + text
	}
	return text + " " + found.flaw
}

// describeNames lists what the certificate is for, as far as it fits into a reply.
func describeNames(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	switch {
	case len(names) == 0 && c.Subject.CommonName != "":
		return dane.Clean(c.Subject.CommonName) + " (common name)"
	case len(names) == 0:
		return "nobody"
	}
	return dane.List(names)
}

const selfSigned = "self-signed"

// flaw says in words what crypto/x509 objected to, to be read behind "certificate for …".
func flaw(chain []*x509.Certificate, err error, at time.Time) string {
	leaf := chain[0]
	var invalid x509.CertificateInvalidError
	var system x509.SystemRootsError
	switch {
	case errors.As(err, &system):
		return "that cannot be verified: the system's trusted roots cannot be loaded"
	case errors.As(err, &invalid):
		return describeInvalid(chain, invalid, at)
	case bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return selfSigned
	}
	if issuer := leaf.Issuer.CommonName; issuer != "" {
		return "from " + dane.Clean(issuer) + ", which leads to no trusted root"
	}
	return "which leads to no trusted root"
}

func describeInvalid(chain []*x509.Certificate, e x509.CertificateInvalidError, at time.Time) string {
	switch e.Reason {
	case x509.Expired:
		return describeDates(chain, at)
	case x509.IncompatibleUsage:
		return "that is not for TLS servers"
	case x509.CANotAuthorizedForThisName, x509.CANotAuthorizedForExtKeyUsage, x509.NameConstraintsWithoutSANs, x509.UnconstrainedName:
		return "from an authority that may not issue it"
	case x509.NotAuthorizedToSign, x509.TooManyIntermediates, x509.NameMismatch:
		return "from a certificate that is no authority for it"
	}
	return "that is not valid: " + dane.Clean(e.Error())
}

// describeDates tells the leaf's dates apart from those of an authority; crypto/x509 calls
// both ends "expired".
func describeDates(chain []*x509.Certificate, at time.Time) string {
	for i, c := range chain {
		which := ""
		if i > 0 {
			which = "whose authority is "
		}
		switch {
		case at.After(c.NotAfter) && i == 0:
			return "that expired" + on(" on ", c.NotAfter)
		case at.After(c.NotAfter):
			return which + "expired" + on(" on ", c.NotAfter)
		case at.Before(c.NotBefore) && i == 0:
			return "that is not valid before" + on(" ", c.NotBefore)
		case at.Before(c.NotBefore):
			return which + "not valid before" + on(" ", c.NotBefore)
		}
	}
	return "from an authority that is out of date"
}

func describeStrength(state *tls.ConnectionState) string {
	return tls.VersionName(state.Version) + " with " + tls.CipherSuiteName(state.CipherSuite)
}
