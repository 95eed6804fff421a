package probe

import (
	"crypto/tls"
	"strings"

	"postern/tls/hello"
)

func suiteName(id uint16) string { return hello.SuiteName(id) }

// gradeVersion is NCSC-NL 3.3.1; SSL 3.0 and below have no grade of their own there.
func gradeVersion(version uint16) Grade {
	switch version {
	case tls.VersionTLS13:
		return Good
	case tls.VersionTLS12:
		return Sufficient
	}
	return Insufficient
}

// gradeSuite is NCSC-NL's appendix B, by the rules behind it (3.3.2 to 3.3.4): the key exchange has forward secrecy, on a curve or,
// to be phased out, in a finite field; the cipher is an AEAD, or, to be phased out, CBC with a hash of the SHA-2 family; AES and
// ChaCha20, or, to be phased out, Camellia and ARIA. Whatever else there is is insufficient.
func gradeSuite(name string) Grade {
	switch name {
	case "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256":
		return Good
	case "TLS_AES_128_GCM_SHA256", "TLS_AES_128_CCM_SHA256":
		return Sufficient
	}
	exchange, cipher, ok := strings.Cut(strings.TrimPrefix(name, "TLS_"), "_WITH_")
	curve := exchange == "ECDHE_RSA" || exchange == "ECDHE_ECDSA"
	aead := strings.Contains(cipher, "_GCM_") || strings.HasSuffix(cipher, "_CCM") || cipher == "CHACHA20_POLY1305_SHA256"
	sha2 := strings.HasSuffix(cipher, "_SHA256") || strings.HasSuffix(cipher, "_SHA384")
	modern := strings.HasPrefix(cipher, "AES_") || strings.HasPrefix(cipher, "CHACHA20_")
	old := strings.HasPrefix(cipher, "CAMELLIA_") || strings.HasPrefix(cipher, "ARIA_")
	switch {
	case !ok || !curve && exchange != "DHE_RSA":
	case curve && aead && modern:
		return Sufficient
	case (aead || sha2) && (modern || old):
		return PhaseOut
	}
	return Insufficient
}

// gradeGroup is NCSC-NL 3.3.2.1 and 3.3.3.1; the hybrid groups, on which the guidelines say nothing yet, are at least as good as
// the curve in them.
func gradeGroup(id tls.CurveID) Grade {
	switch id {
	case tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, x448, tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024,
		brainpoolP256, brainpoolP384, brainpoolP512, brainpoolP256TLS13, brainpoolP384TLS13, brainpoolP512TLS13, mlkem512, mlkem768, mlkem1024:
		return Good
	case p224, ffdhe3072, ffdhe4096, ffdhe6144, ffdhe8192:
		return PhaseOut
	}
	return Insufficient
}

// Groups that crypto/tls does not name (IANA: TLS Supported Groups).
const (
	p224               tls.CurveID = 21
	brainpoolP256      tls.CurveID = 26
	brainpoolP384      tls.CurveID = 27
	brainpoolP512      tls.CurveID = 28
	x448               tls.CurveID = 30
	brainpoolP256TLS13 tls.CurveID = 31
	brainpoolP384TLS13 tls.CurveID = 32
	brainpoolP512TLS13 tls.CurveID = 33
	ffdhe2048          tls.CurveID = 256
	ffdhe3072          tls.CurveID = 257
	ffdhe4096          tls.CurveID = 258
	ffdhe6144          tls.CurveID = 259
	ffdhe8192          tls.CurveID = 260
	mlkem512           tls.CurveID = 512
	mlkem768           tls.CurveID = 513
	mlkem1024          tls.CurveID = 514
)

func isHybrid(id tls.CurveID) bool {
	switch id {
	case tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, mlkem512, mlkem768, mlkem1024:
		return true
	}
	return false
}
