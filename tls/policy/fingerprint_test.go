package policy_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/tls/policy"
)

const digits = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestFingerprintsAreReadAsOpenSSLPrintsThem(t *testing.T) {
	var colons []string
	for i := 0; i < len(digits); i += 2 {
		colons = append(colons, strings.ToUpper(digits[i:i+2]))
	}
	for text, want := range map[string]string{
		"sha256:" + digits:                           "sha256:" + digits,
		" SHA256:" + strings.Join(colons, ":") + " ": "sha256:" + digits,
		"pubkey-sha256:" + strings.ToUpper(digits):   "pubkey-sha256:" + digits,
		"Pubkey-SHA256:" + strings.Join(colons, ":"): "pubkey-sha256:" + digits,
	} {
		f, err := policy.ParseFingerprint(text)
		if err != nil || f.String() != want {
			t.Errorf("%q: got %v, %v", text, f, err)
		}
	}
}

func TestABadFingerprintIsAnsweredWithWhatToWrite(t *testing.T) {
	const kind, count = `write "sha256:" before`, "write 64 hexadecimal digits"
	for text, want := range map[string]string{
		"":                               kind,
		digits:                           kind,
		"sha1:da39a3ee5e6b4b0d3255":      kind,
		"sha512:" + digits + digits:      kind,
		"sha256=" + digits:               kind,
		"sha256:":                        count,
		"sha256:" + digits[2:]:           count,
		"sha256:" + digits + "00":        count,
		"sha256:g" + digits[1:]:          count,
		"sha256:9f:86" + digits[4:]:      count,
		"sha256:9:f8" + digits[3:]:       count,
		"sha256:" + digits + ":":         count,
		"pubkey-sha256:sha256:" + digits: count,
		"sha256: " + digits:              count,
	} {
		if _, err := policy.ParseFingerprint(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAFingerprintIsOfTheWholeCertificateOrOfItsKey(t *testing.T) {
	ca := catest.New(t)
	first := ca.Issue(t, catest.Leaf{Key: catest.RSA2048})
	renewed := ca.Issue(t, catest.Leaf{Key: catest.RSA2048}) // the same key
	if got := policy.FingerprintOf(first.Leaf, false); got.Sum != sha256.Sum256(first.Certificate[0]) || got.PublicKey {
		t.Errorf("got %v", got)
	}
	if policy.FingerprintOf(first.Leaf, false) == policy.FingerprintOf(renewed.Leaf, false) {
		t.Error("two certificates have one fingerprint")
	}
	if policy.FingerprintOf(first.Leaf, true) != policy.FingerprintOf(renewed.Leaf, true) {
		t.Error("one key has two fingerprints")
	}
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add("sha256:" + digits)
	f.Add("pubkey-sha256:" + strings.ToUpper(digits))
	f.Add("sha256:9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08")
	f.Add("sha256::")
	f.Fuzz(func(t *testing.T, text string) {
		one, err := policy.ParseFingerprint(text)
		if err != nil {
			return
		}
		two, err := policy.ParseFingerprint(one.String())
		if err != nil || one != two {
			t.Fatalf("%q became %v, then %v, %v", text, one, two, err)
		}
		plain := strings.ReplaceAll(strings.ToLower(text), ":", "")
		if !strings.Contains(plain, strings.ReplaceAll(one.String(), ":", "")) {
			t.Fatalf("%q became %v", text, one)
		}
	})
}
