package hello

import (
	"crypto/tls"
	"fmt"
)

// signatureNames are IANA's names of the signature algorithms, in the order in
// which they are offered.
var signatureNames = []struct {
	id   tls.SignatureScheme
	name string
}{
	{tls.Ed25519, "ed25519"}, {0x0808, "ed448"},
	{tls.ECDSAWithP256AndSHA256, "ecdsa_secp256r1_sha256"},
	{tls.ECDSAWithP384AndSHA384, "ecdsa_secp384r1_sha384"},
	{tls.ECDSAWithP521AndSHA512, "ecdsa_secp521r1_sha512"},
	{0x081a, "ecdsa_brainpoolP256r1tls13_sha256"}, {0x081b, "ecdsa_brainpoolP384r1tls13_sha384"}, {0x081c, "ecdsa_brainpoolP512r1tls13_sha512"},
	{tls.PSSWithSHA256, "rsa_pss_rsae_sha256"}, {tls.PSSWithSHA384, "rsa_pss_rsae_sha384"}, {tls.PSSWithSHA512, "rsa_pss_rsae_sha512"},
	{0x0809, "rsa_pss_pss_sha256"}, {0x080a, "rsa_pss_pss_sha384"}, {0x080b, "rsa_pss_pss_sha512"},
	{tls.PKCS1WithSHA256, "rsa_pkcs1_sha256"}, {tls.PKCS1WithSHA384, "rsa_pkcs1_sha384"}, {tls.PKCS1WithSHA512, "rsa_pkcs1_sha512"},
	{0x0904, "mldsa44"}, {0x0905, "mldsa65"}, {0x0906, "mldsa87"},
	{0x0402, "dsa_sha256"}, {0x0502, "dsa_sha384"}, {0x0602, "dsa_sha512"},
	{0x0303, "ecdsa_sha224"}, {0x0301, "rsa_pkcs1_sha224"}, {0x0302, "dsa_sha224"},
	{tls.ECDSAWithSHA1, "ecdsa_sha1"}, {tls.PKCS1WithSHA1, "rsa_pkcs1_sha1"}, {0x0202, "dsa_sha1"},
	{0x0103, "ecdsa_md5"}, {0x0101, "rsa_pkcs1_md5"}, {0x0102, "dsa_md5"},
}

// SignatureName returns the name of a signature algorithm in IANA's registry, one
// in its style for those that have none, or the number as 0x1A2B.
func SignatureName(id tls.SignatureScheme) string {
	for _, s := range signatureNames {
		if s.id == id {
			return s.name
		}
	}
	return fmt.Sprintf("0x%04X", uint16(id))
}

// Signatures returns all signature algorithms, the strong ones first.
func Signatures() []tls.SignatureScheme {
	all := make([]tls.SignatureScheme, len(signatureNames))
	for i, s := range signatureNames {
		all[i] = s.id
	}
	return all
}
