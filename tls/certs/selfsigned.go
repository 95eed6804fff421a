package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"
)

const (
	selfSignedFor   = 365 * 24 * time.Hour
	selfSignedRenew = 30 * 24 * time.Hour // this long before the end
	clockSkew       = 24 * time.Hour      // clients whose clock is behind
)

// SelfSigned is a source of an ECDSA P-256 and an RSA-2048 certificate for hosts
// (DNS names, wildcards, IP literals), signed by themselves and valid for a year.
// Both are served, each client getting the one that it can use.
//
// The keys are made here, which takes some tenths of a second, and live as long as
// the source: Reload renews the certificates in their last 30 days with the same
// keys, a restart makes others. They encrypt as well as any, and no client can
// verify them.
func SelfSigned(name string, hosts []string) (*Source, error) {
	return selfSigned(name, hosts, time.Now)
}

func selfSigned(name string, hosts []string, now func() time.Time) (*Source, error) {
	var keys []crypto.Signer
	return newSource(name, func(old *loaded) (*loaded, error) {
		if old != nil && now().Before(old.certs[0].Leaf.NotAfter.Add(-selfSignedRenew)) {
			return old, nil
		}
		template, err := selfSignedTemplate(hosts, now())
		if err != nil {
			return nil, err
		}
		if keys == nil {
			if keys, err = newKeys(); err != nil {
				return nil, err
			}
		}
		value := &loaded{}
		for _, key := range keys {
			cert, err := signSelf(template, key)
			if err != nil {
				return nil, fmt.Errorf("self_signed = %q: %w", hosts, err)
			}
			value.certs = append(value.certs, cert)
		}
		return value, nil
	})
}

func newKeys() ([]crypto.Signer, error) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return []crypto.Signer{ec, old}, nil
}

func selfSignedTemplate(hosts []string, now time.Time) (*x509.Certificate, error) {
	if len(hosts) == 0 {
		return nil, errors.New(`self_signed names no host: write the server's name, as in self_signed = ["mx1.example.org"]`)
	}
	c := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName(hosts[0])},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			c.IPAddresses = append(c.IPAddresses, ip.Unmap().AsSlice())
		} else if name := strings.ToLower(strings.TrimSuffix(h, ".")); isHostName(name) {
			c.DNSNames = append(c.DNSNames, name)
		} else {
			return nil, fmt.Errorf("self_signed: %q is neither a host name nor an IP address "+
				"(names in other scripts are written in their xn-- form)", h)
		}
	}
	return c, nil
}

// commonName keeps within the 64 characters of RFC 5280, A.1; clients
// look at the alternative names only (RFC 9525, 2).
func commonName(host string) string {
	if len(host) > 64 {
		return host[:64]
	}
	return host
}

func isHostName(s string) bool {
	return s != "" && len(s) <= 253 && strings.IndexFunc(s, func(r rune) bool {
		return !(r == '-' || r == '.' || r == '_' || r == '*' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z')
	}) < 0
}

func signSelf(template *x509.Certificate, key crypto.Signer) (*tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	c := *template
	c.SerialNumber = serial.Add(serial, big.NewInt(1)) // RFC 5280, 4.1.2.2: positive
	if _, ok := key.(*rsa.PrivateKey); ok {
		// RFC 5246, 7.4.2: RSA key exchange needs it.
		c.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return cert, parseLeaf(cert)
}
