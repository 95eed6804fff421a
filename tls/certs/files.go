package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// FromFiles is a source of one certificate in two PEM files: the chain, the
// server's own certificate first, and its private key (PKCS #8, PKCS #1 or SEC 1;
// RSA, ECDSA or Ed25519). Both may be the same file.
//
// Errors name the file and the remedy: it is missing, it may not be read, it
// holds the wrong thing, the key belongs to another certificate. An expired
// certificate is no error: see Warnings.
func FromFiles(name, certFile, keyFile string) (*Source, error) {
	return newSource(name, func(old *loaded) (*loaded, error) {
		certPEM, err := readFile("cert_file", certFile)
		if err != nil {
			return nil, err
		}
		keyPEM, err := readFile("key_file", keyFile)
		if err != nil {
			return nil, err
		}
		sum := digest(certPEM, keyPEM)
		if old != nil && old.sum == sum {
			return old, nil
		}
		pair, err := parsePair(pairText{certFile, certPEM, keyFile, keyPEM})
		if err != nil {
			return nil, err
		}
		return &loaded{certs: []*tls.Certificate{pair}, sum: sum}, nil
	}, certFile, keyFile)
}

// pairText is the content of the two files and their names, for messages.
type pairText struct {
	certFile string
	certPEM  []byte
	keyFile  string
	keyPEM   []byte
}

func readFile(setting, file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s %s does not exist: correct the path, or use self_signed until there is a certificate: %w",
			setting, file, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s %s may not be read by user %d: give its group or that user permission to read it and to enter its folders: %w",
			setting, file, os.Geteuid(), fs.ErrPermission)
	}
	return nil, fmt.Errorf("%s %s cannot be read: %w", setting, file, err)
}

// digest keeps no key in memory, and the length keeps the two texts apart.
func digest(certPEM, keyPEM []byte) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(certPEM))
	h.Write(certPEM)
	h.Write(keyPEM)
	return [sha256.Size]byte(h.Sum(nil))
}

func parsePair(p pairText) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(p.certPEM, p.keyPEM)
	if err != nil {
		return nil, p.diagnose(err)
	}
	return &pair, parseLeaf(&pair)
}

// diagnose says what is wrong with a pair that crypto/tls has refused with err.
func (p pairText) diagnose(err error) error {
	certs, keys := blocks(p.certPEM), blocks(p.keyPEM)
	chain := ofKind(certs, "CERTIFICATE")
	private := ofKind(keys, "PRIVATE KEY")
	switch {
	case len(chain) == 0 && len(private) == 0 && len(ofKind(certs, "PRIVATE KEY")) > 0:
		return errors.New("cert_file and key_file are exchanged: " + p.certFile + " holds the private key")
	case len(chain) == 0:
		return fmt.Errorf("cert_file %s holds no certificate in PEM form: it must start with BEGIN CERTIFICATE "+
			"(convert DER with openssl x509 -inform der)", p.certFile)
	case len(private) == 0:
		return fmt.Errorf("key_file %s holds no private key in PEM form: it must have a line BEGIN PRIVATE KEY", p.keyFile)
	case encrypted(private[0]):
		return fmt.Errorf("key_file %s is encrypted with a passphrase: write it without one (openssl pkey -in OLD -out NEW) "+
			"and protect it by its permissions", p.keyFile)
	}
	if i := p.ownerOfKey(chain); i > 0 {
		return fmt.Errorf("cert_file %s is in the wrong order: the key in %s belongs to its certificate number %d, "+
			"which must be the first, each followed by its issuer", p.certFile, p.keyFile, i+1)
	}
	if _, bad := x509.ParseCertificate(chain[0].Bytes); bad != nil {
		return fmt.Errorf("cert_file %s: the first certificate cannot be read: %w", p.certFile, bad)
	}
	return fmt.Errorf("the key in %s cannot be used with the certificate in %s: if they are just being replaced, "+
		"the other file is still missing: %w", p.keyFile, p.certFile, err)
}

// ownerOfKey returns the index of the certificate in chain that the key belongs
// to, or -1.
func (p pairText) ownerOfKey(chain []*pem.Block) int {
	for i, c := range chain {
		if _, err := tls.X509KeyPair(pem.EncodeToMemory(c), p.keyPEM); err == nil {
			return i
		}
	}
	return -1
}

func blocks(data []byte) (all []*pem.Block) {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return all
		}
		all = append(all, b)
	}
}

// ofKind returns the blocks whose type is kind or ends in it: RSA PRIVATE KEY, EC
// PRIVATE KEY, ENCRYPTED PRIVATE KEY.
func ofKind(all []*pem.Block, kind string) (some []*pem.Block) {
	for _, b := range all {
		if b.Type == kind || strings.HasSuffix(b.Type, " "+kind) {
			some = append(some, b)
		}
	}
	return some
}

// encrypted knows PKCS #8 and the older header of RFC 1421, 4.6.1.1.
func encrypted(key *pem.Block) bool {
	return strings.HasPrefix(key.Type, "ENCRYPTED ") || strings.Contains(key.Headers["Proc-Type"], "ENCRYPTED")
}
