package proxy

import (
	"crypto/tls"
	"crypto/x509"

	"postern/tls/certs"
	"postern/tls/grade"
)

// Termination is how a listener speaks TLS. It is not changed once made.
type Termination struct {
	certificates *certs.Set
	secrecy      *grade.ForwardSecrecy
	roots        *x509.CertPool
	// By whether RSA key exchange is allowed, and whether this is submission.
	configs [2][2]*tls.Config
}

// TerminationOptions is what NewTermination is made of.
type TerminationOptions struct {
	Certificates *certs.Set
	Grade        grade.Grade
	// ForwardSecrecy is nil where it was not configured: Require for
	// submission (implicit TLS, or AUTH offered), else WhereSafe (SEM 33).
	ForwardSecrecy *grade.ForwardSecrecy
	// Tickets is nil where no session tickets are issued (SEM 34).
	Tickets *certs.Tickets
	// RequestCertificate asks clients for a certificate; none is refused.
	// Roots judge it; nil are the system's.
	RequestCertificate bool
	Roots              *x509.CertPool
}

// NewTermination makes the TLS settings of a listener.
func NewTermination(o TerminationOptions) *Termination {
	t := &Termination{certificates: o.Certificates, secrecy: o.ForwardSecrecy, roots: o.Roots}
	for rsa := range t.configs {
		for submission := range t.configs[rsa] {
			t.configs[rsa][submission] = t.config(o, rsa == 1, submission == 1)
		}
	}
	return t
}

func (t *Termination) config(o TerminationOptions, rsa, submission bool) *tls.Config {
	c := &tls.Config{
		GetCertificate:              o.Certificates.GetCertificate,
		SessionTicketsDisabled:      o.Tickets == nil,
		DynamicRecordSizingDisabled: true, // mail is bulk: small first records only cost
	}
	if rsa && o.ForwardSecrecy != nil && *o.ForwardSecrecy == grade.Prefer {
		o.Grade.ServerPrefer(c, submission)
	} else {
		o.Grade.Server(c, rsa, submission)
	}
	c.GetConfigForClient = t.guardSecrecy
	if o.RequestCertificate {
		// Not verified by crypto/tls: at this level a certificate is judged and
		// reported, never refused (see judgeClient).
		c.ClientAuth = tls.RequestClientCert
	}
	if o.Tickets != nil {
		o.Tickets.Apply(c)
	}
	return c
}

// index of a truth value.
func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// forClient is the configuration for one client.
func (t *Termination) forClient(submission bool) *tls.Config {
	return t.configs[index(t.policy(submission) != grade.Require)][index(submission)]
}

func (t *Termination) policy(submission bool) grade.ForwardSecrecy {
	switch {
	case t.secrecy != nil:
		return *t.secrecy
	case submission:
		return grade.Require
	}
	return grade.WhereSafe
}

// guardSecrecy takes RSA key exchange away from a client that has nothing else
// to offer now but was seen with forward secrecy (SEM 33): somebody between us
// may have made it offer less. nil leaves the configuration as it is.
func (t *Termination) guardSecrecy(h *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := h.Conn.(*conn)
	if !ok || c.owner == nil {
		return nil, nil
	}
	if c.greeted = true; grade.OffersForwardSecrecy(h) {
		return nil, nil
	}
	s := c.owner
	submission := s.submission()
	if t.policy(submission) != grade.WhereSafe || !s.in.Handshake.UsedForwardSecrecy(s.who.Client.Addr(), s.hello.name) {
		return nil, nil
	}
	return t.configs[0][index(submission)], nil
}

// judgeClient says what the certificate of a client is worth, in Postfix's
// words: Anonymous (none), Untrusted, Trusted (a chain to our roots). Verified
// (and it names the client) is found at EHLO. Extended key usage is not asked
// for: public CAs no longer issue for client authentication.
func (t *Termination) judgeClient(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return verdictAnonymous
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: t.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return verdictUntrusted
	}
	return verdictTrusted
}

// The verdicts on a peer's certificate.
const (
	verdictAnonymous = "Anonymous"
	verdictUntrusted = "Untrusted"
	verdictTrusted   = "Trusted"
	verdictVerified  = "Verified"
)
