package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// Fingerprint is the SHA-256 digest of a certificate, or of its public key, which
// stays the same when the certificate is renewed with the same key. It is comparable.
type Fingerprint struct {
	PublicKey bool     // of the SubjectPublicKeyInfo rather than of the whole certificate
	Sum       [32]byte // SHA-256 over the DER
}

const (
	certificatePrefix = "sha256:"
	publicKeyPrefix   = "pubkey-sha256:"
)

// ParseFingerprint reads "sha256:" followed by the digest of a certificate, or
// "pubkey-sha256:" followed by that of a public key, in 64 hexadecimal digits of
// either case, with a colon between every two octets or with none:
//
//	sha256:9F:86:D0:81:…    as `openssl x509 -noout -fingerprint -sha256` prints it
//	pubkey-sha256:9f86d081…  `openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum`
//
// The kind is never guessed, and SHA-1 and MD5 are not accepted: certificates that
// collide can be made. The error says what to write.
func ParseFingerprint(text string) (Fingerprint, error) {
	lower := asciiLower(strings.TrimSpace(text))
	digits, publicKey := strings.CutPrefix(lower, publicKeyPrefix)
	if !publicKey {
		var ok bool
		if digits, ok = strings.CutPrefix(lower, certificatePrefix); !ok {
			return Fingerprint{}, fmt.Errorf("fingerprint %q: write %q before the SHA-256 digest of a certificate, or %q before that of a public key",
				text, certificatePrefix, publicKeyPrefix)
		}
	}
	f := Fingerprint{PublicKey: publicKey}
	plain, ok := withoutColons(digits)
	if !ok || len(plain) != 2*len(f.Sum) {
		return Fingerprint{}, badDigits(text)
	}
	if _, err := hex.Decode(f.Sum[:], []byte(plain)); err != nil {
		return Fingerprint{}, badDigits(text)
	}
	return f, nil
}

func badDigits(text string) error {
	return fmt.Errorf("fingerprint %q: write 64 hexadecimal digits, with a colon between every two or with none", text)
}

// withoutColons takes out the colons of AA:BB:CC, and nothing else.
func withoutColons(digits string) (plain string, ok bool) {
	if !strings.Contains(digits, ":") {
		return digits, true
	}
	octets := strings.Split(digits, ":")
	for _, o := range octets {
		if len(o) != 2 {
			return "", false
		}
	}
	return strings.Join(octets, ""), true
}

// String returns the fingerprint as ParseFingerprint takes it, in small
// digits without colons.
func (f Fingerprint) String() string {
	if f.PublicKey {
		return publicKeyPrefix + hex.EncodeToString(f.Sum[:])
	}
	return certificatePrefix + hex.EncodeToString(f.Sum[:])
}

// FingerprintOf returns the fingerprint of a certificate, or of its public key.
func FingerprintOf(c *x509.Certificate, publicKey bool) Fingerprint {
	if publicKey {
		return Fingerprint{PublicKey: true, Sum: sha256.Sum256(c.RawSubjectPublicKeyInfo)}
	}
	return Fingerprint{Sum: sha256.Sum256(c.Raw)}
}
