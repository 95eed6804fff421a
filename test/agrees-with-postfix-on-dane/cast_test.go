package agrees

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// cast are the certificates of one set-up, made when they are first named:
// "leaf" is one for the host mx, "leaf:@,www.elsewhere.test." one for other names.
type cast struct {
	domain string
	made   map[string]actor
	err    error // the first
}

// actor is a certificate and its key.
type actor struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// role is how certificates of a kind are made.
type role struct {
	by     string // whose key signs; "": its own
	adjust func(*x509.Certificate)
}

const day = 24 * time.Hour

var roles = map[string]role{
	"root":     {"", authority},
	"stranger": {"", authority},
	"ca":       {"root", authority},
	"sub":      {"ca", authority},
	"expired":  {"ca", func(c *x509.Certificate) { authority(c); past(c) }},

	"leaf":       {"sub", nil},
	"next":       {"sub", nil},
	"of-root":    {"root", nil},
	"of-expired": {"expired", nil},
	"past":       {"sub", past},
	"future":     {"sub", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(day), time.Now().Add(9*day) }},
	"cn":         {"sub", func(c *x509.Certificate) { c.DNSNames = nil }},
	"cn-san":     {"sub", func(c *x509.Certificate) { c.DNSNames = []string{"www.elsewhere.test"} }},
	"self":       {"", nil},
}

func past(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-9*day), time.Now().Add(-day)
}

func authority(c *x509.Certificate) {
	c.DNSNames, c.ExtKeyUsage = nil, nil
	c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
}

// names are the names that a certificate is for, given as in a zone of the domain.
func (c *cast) names(relative string) (all []string) {
	for name := range strings.SplitSeq(relative, ",") {
		all = append(all, absolute(name, c.domain))
	}
	return all
}

// get returns the actor of that description.
func (c *cast) get(description string) actor {
	if a, ok := c.made[description]; ok || c.err != nil {
		return a
	}
	kind, names, _ := strings.Cut(description, ":")
	r, ok := roles[kind]
	if !ok {
		c.err = fmt.Errorf("there is no certificate %q", kind)
		return actor{}
	}
	if names == "" {
		names = "mx"
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(c.made)) + 1), DNSNames: c.names(names), Subject: pkix.Name{CommonName: c.names(names)[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(day), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if r.adjust != nil {
		r.adjust(template)
	}
	if template.IsCA {
		template.Subject.CommonName = kind + " of " + c.domain
	}
	a, err := c.sign(template, r.by)
	if err != nil {
		c.err = fmt.Errorf("%s: %w", description, err)
	}
	c.made[description] = a
	return a
}

func (c *cast) sign(template *x509.Certificate, by string) (actor, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return actor{}, err
	}
	issuer := actor{template, key}
	if by != "" {
		issuer = c.get(by)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, &key.PublicKey, issuer.key)
	if err != nil {
		return actor{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return actor{cert, key}, err
}

// chain is what a server presents: its own certificate and others.
func (c *cast) chain(descriptions []string) *tls.Certificate {
	pair := &tls.Certificate{}
	for i, d := range descriptions {
		a := c.get(d)
		if c.err != nil {
			return nil
		}
		if i == 0 {
			pair.PrivateKey = a.key
		}
		pair.Certificate = append(pair.Certificate, a.cert.Raw)
	}
	return pair
}

// association is the data of a TLSA record, in hex (RFC 6698, 2.1), made without
// the code that is tested. A "~" in front of the description changes the last octet.
func (c *cast) association(selector, matching, description string) string {
	a := c.get(strings.TrimPrefix(description, "~"))
	if c.err != nil {
		return ""
	}
	data := a.cert.Raw
	if selector == "1" {
		data = a.cert.RawSubjectPublicKeyInfo
	}
	switch matching {
	case "1":
		sum := sha256.Sum256(data)
		data = sum[:]
	case "2":
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	if strings.HasPrefix(description, "~") {
		data = append(append([]byte(nil), data[:len(data)-1]...), data[len(data)-1]^1)
	}
	return hex.EncodeToString(data)
}
