package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Warnings returns what a client that verifies would find wrong with the current
// certificates at that time, one sentence each, for `check` and the log: expired,
// not yet valid, self-signed, without a host name, a short RSA key, a signature with
// SHA-1 or MD5, a chain in disorder. None of it keeps a certificate from being
// served.
func (s *Source) Warnings(now time.Time) []string {
	var all []string
	for _, c := range s.Certificates() {
		for _, w := range warnings(c, now) {
			all = append(all, fmt.Sprintf("certificate %q (%s): %s", s.name, KeyName(c.Leaf.PublicKey), w))
		}
	}
	return all
}

func warnings(c *tls.Certificate, now time.Time) (all []string) {
	leaf := c.Leaf
	warn := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if now.After(leaf.NotAfter) {
		warn("expired on %s: renew it", leaf.NotAfter.Format(time.DateOnly))
	}
	if now.Before(leaf.NotBefore) {
		warn("not valid before %s: check the clock, or wait", leaf.NotBefore.Format(time.RFC3339))
	}
	if selfIssued(leaf) {
		warn("self-signed: clients that verify accept it only by a TLSA record (DANE)")
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		// RFC 9525, 2: the common name is no longer looked at.
		warn("names no host in its subject alternative names: no client can match it to a server")
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		warn("its RSA key has %d bits, clients require 2048: make a new key", key.N.BitLen())
	}
	return append(all, chainWarnings(c)...)
}

// chainWarnings looks at the signatures and the order of what is sent.
func chainWarnings(c *tls.Certificate) (all []string) {
	var below *x509.Certificate
	for i, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return append(all, fmt.Sprintf("certificate %d of the chain cannot be read: %v", i+1, err))
		}
		// Nobody verifies the signature of a root.
		if weakSignature(cert) && (i == 0 || !selfIssued(cert)) {
			all = append(all, fmt.Sprintf("certificate %d of the chain is signed with %s, which clients refuse: have it issued anew",
				i+1, cert.SignatureAlgorithm))
		}
		// RFC 8446, 4.4.2: each certifies the one before it; TLS 1.2 demanded it.
		if below != nil && !bytes.Equal(below.RawIssuer, cert.RawSubject) {
			all = append(all, fmt.Sprintf("certificate %d of the chain (%s) did not issue the one before it (%s): "+
				"put each behind the one that it issued", i+1, cert.Subject, below.Subject))
		}
		below = cert
	}
	return all
}

func weakSignature(c *x509.Certificate) bool {
	switch c.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		return true
	}
	return false
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// KeyName says what kind of key a public key is: "ECDSA P-256", "RSA 2048".
func KeyName(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", public)
}
