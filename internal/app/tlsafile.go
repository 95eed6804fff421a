package app

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"strings"

	"postern/tls/certs"
)

// tlsKey is a key that TLSA records can be made for: of a certificate, or on its own.
type tlsKey struct {
	source string              // where it is from: `certificate "mx"`, or a file
	kind   string              // "ECDSA P-256"
	spki   []byte              // SubjectPublicKeyInfo, DER
	chain  []*x509.Certificate // the server's own first; none for a key or a request
	names  []string            // of hosts, wildcards left out
}

// leaf returns its certificate, or nil.
func (k tlsKey) leaf() *x509.Certificate {
	if len(k.chain) == 0 {
		return nil
	}
	return k.chain[0]
}

func (k tlsKey) String() string { return k.source + " (" + k.kind + ")" }

// keyOf is the key of a certificate that is served.
func keyOf(source string, c *tls.Certificate) (tlsKey, error) {
	var chain []*x509.Certificate
	for _, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return tlsKey{}, err
		}
		chain = append(chain, cert)
	}
	return ofChain(source, chain), nil
}

func ofChain(source string, chain []*x509.Certificate) tlsKey {
	leaf := chain[0]
	return tlsKey{
		source: source, kind: certs.KeyName(leaf.PublicKey), spki: leaf.RawSubjectPublicKeyInfo,
		chain: chain, names: hostNames(leaf.DNSNames),
	}
}

// hostNames leaves wildcards out: no host has such a name.
func hostNames(names []string) (all []string) {
	for _, name := range names {
		if !strings.HasPrefix(name, "*") {
			all = append(all, name)
		}
	}
	return all
}

const pemHint = "It must be a certificate, a private or public key, or a certificate request in PEM form: lines that start with BEGIN. " +
	"From DER: openssl x509 -inform der, openssl pkey -inform der, openssl req -inform der."

// readKey reads the first certificate of a PEM file, with what follows as its chain; without one
// the first request or key.
func readKey(file string) (tlsKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return tlsKey{}, problem("Give the path of a PEM file that you may read.", "%w", err)
	}
	blocks := pemBlocks(text)
	chain, err := certificatesOf(blocks)
	switch {
	case err != nil:
		return tlsKey{}, problem(pemHint, "%s: %w", file, err)
	case len(chain) > 0:
		return ofChain(file, chain), nil
	}
	for _, b := range blocks {
		k, ok, err := bareKey(b)
		if err != nil {
			return tlsKey{}, problem(pemHint, "%s: %w", file, err)
		}
		if ok {
			k.source = file
			return k, nil
		}
	}
	return tlsKey{}, problem(pemHint, "%s holds no certificate and no key", file)
}

func pemBlocks(text []byte) (all []*pem.Block) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return all
		}
		all = append(all, b)
	}
}

func certificatesOf(blocks []*pem.Block) (all []*x509.Certificate, err error) {
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// bareKey reads a request or a key. ok is false for a block that is neither.
func bareKey(b *pem.Block) (k tlsKey, ok bool, err error) {
	var public crypto.PublicKey
	switch {
	case strings.HasSuffix(b.Type, "CERTIFICATE REQUEST"): // also NEW CERTIFICATE REQUEST
		request, err := x509.ParseCertificateRequest(b.Bytes)
		if err != nil {
			return k, false, err
		}
		return tlsKey{kind: certs.KeyName(request.PublicKey), spki: request.RawSubjectPublicKeyInfo, names: hostNames(request.DNSNames)}, true, nil
	case b.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(b.Bytes)
	case strings.HasPrefix(b.Type, "ENCRYPTED "), strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED"):
		return k, false, errors.New("the key is encrypted with a passphrase: give its public half (openssl pkey -pubout), or its certificate")
	case strings.HasSuffix(b.Type, "PRIVATE KEY"):
		public, err = publicOf(b.Bytes)
	default:
		return k, false, nil
	}
	if err != nil {
		return k, false, err
	}
	if k.spki, err = x509.MarshalPKIXPublicKey(public); err != nil {
		return k, false, err
	}
	k.kind = certs.KeyName(public)
	return k, true, nil
}

// publicOf returns the public half of a private key: PKCS #8, or the older forms of RSA
// and ECDSA.
func publicOf(der []byte) (crypto.PublicKey, error) {
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if rsa, bad := x509.ParsePKCS1PrivateKey(der); bad == nil {
			return rsa.Public(), nil
		}
		ec, bad := x509.ParseECPrivateKey(der)
		if bad != nil {
			return nil, err
		}
		return ec.Public(), nil
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is a key that signs nothing, so no certificate can be for it")
	}
	return signer.Public(), nil
}

// readIssuers reads the certificates of authorities.
func readIssuers(file string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, problem("Give the path of a PEM file that you may read.", "%w", err)
	}
	all, err := certificatesOf(pemBlocks(text))
	switch {
	case err != nil:
		return nil, problem(pemHint, "%s: %w", file, err)
	case len(all) == 0:
		return nil, problem("Give the certificate of the authority in PEM form.", "%s holds no certificate", file)
	}
	return all, nil
}

func isSelfSigned(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }
