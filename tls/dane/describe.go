package dane

import (
	"crypto/x509"
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	maxShown = 3  // names in a text
	maxName  = 80 // characters of each
)

// explain says why there is no path to an issuer that was found.
func (m *matcher) explain(err error) Result {
	text := "certificate for " + describeNames(m.chain[0]) + " "
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) {
		return Result{Failure: NotTrusted, Why: text + "that does not lead to the issuer of the TLSA records"}
	}
	switch invalid.Reason {
	case x509.Expired:
		if !invalid.Cert.Equal(m.chain[0]) {
			text += "whose issuer is "
		} else {
			text += "that is "
		}
		return Result{Failure: Expired, Why: text + describeDates(invalid.Cert, m.now)}
	case x509.IncompatibleUsage:
		text += "that is not for TLS servers"
	case x509.CANotAuthorizedForThisName:
		text += "from an issuer that may not issue it"
	default:
		text += "from a certificate that is no authority for it"
	}
	return Result{Failure: NotTrusted, Why: text}
}

func describeDates(c *x509.Certificate, now time.Time) string {
	if now.Before(c.NotBefore) {
		return "not valid before " + c.NotBefore.UTC().Format(time.DateOnly)
	}
	return "expired since " + c.NotAfter.UTC().Format(time.DateOnly)
}

// describeNames lists what a certificate is for.
func describeNames(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return List(c.DNSNames)
	case c.Subject.CommonName != "":
		return Clean(c.Subject.CommonName) + " (common name)"
	}
	return "nobody"
}

// List lists names that strangers wrote, made fit by Clean, as far as they fit into a reply.
func List(names []string) string {
	shown := make([]string, 0, maxShown)
	for _, n := range names[:min(len(names), maxShown)] {
		shown = append(shown, Clean(n))
	}
	text := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}

// Clean makes what a stranger wrote fit for a reply line and a log: printable ASCII, and not long.
func Clean(s string) string {
	long := len(s) > maxName
	if long {
		s = s[:maxName]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if long {
		s += "..."
	}
	return s
}
