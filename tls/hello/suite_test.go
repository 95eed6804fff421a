package hello_test

import (
	"crypto/tls"
	"math/big"
	"slices"
	"strings"
	"testing"

	"postern/tls/hello"
)

func TestSuitesAreTakenApart(t *testing.T) {
	for _, want := range []hello.Info{
		{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE", "RSA", "AES_128_GCM", "AEAD", 128, true, true, false},
		{"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE", "ECDSA", "AES_256_CBC", "SHA384", 256, true, false, false},
		{"TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "DHE", "RSA", "CHACHA20_POLY1305", "AEAD", 256, true, true, false},
		{"TLS_RSA_WITH_AES_128_CCM_8", "RSA", "RSA", "AES_128_CCM_8", "AEAD", 128, false, true, false},
		{"TLS_RSA_WITH_3DES_EDE_CBC_SHA", "RSA", "RSA", "3DES_EDE_CBC", "SHA", 112, false, false, false},
		{"TLS_RSA_WITH_RC4_128_MD5", "RSA", "RSA", "RC4_128", "MD5", 128, false, false, false},
		{"TLS_RSA_WITH_DES_CBC_SHA", "RSA", "RSA", "DES_CBC", "SHA", 56, false, false, false},
		{"TLS_RSA_WITH_IDEA_CBC_SHA", "RSA", "RSA", "IDEA_CBC", "SHA", 128, false, false, false},
		{"TLS_RSA_WITH_NULL_SHA256", "RSA", "RSA", "NULL", "SHA256", 0, false, false, false},
		{"TLS_RSA_EXPORT_WITH_RC4_40_MD5", "RSA", "RSA", "RC4_40", "MD5", 40, false, false, true},
		{"TLS_RSA_EXPORT1024_WITH_RC4_56_SHA", "RSA", "RSA", "RC4_56", "SHA", 56, false, false, true},
		{"TLS_DHE_DSS_EXPORT_WITH_DES40_CBC_SHA", "DHE", "DSS", "DES40_CBC", "SHA", 40, true, false, true},
		{"TLS_DH_anon_WITH_AES_128_CBC_SHA", "DH", "anon", "AES_128_CBC", "SHA", 128, true, false, false},
		{"TLS_ECDH_ECDSA_WITH_ARIA_256_GCM_SHA384", "ECDH", "ECDSA", "ARIA_256_GCM", "AEAD", 256, false, true, false},
		{"TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256", "ECDHE", "PSK", "AES_128_GCM", "AEAD", 128, true, true, false},
		{"TLS_PSK_DHE_WITH_AES_256_CCM_8", "DHE", "PSK", "AES_256_CCM_8", "AEAD", 256, true, true, false},
		{"TLS_PSK_WITH_NULL_SHA", "PSK", "PSK", "NULL", "SHA", 0, false, false, false},
		{"TLS_SRP_SHA_RSA_WITH_AES_128_CBC_SHA", "SRP", "SHA_RSA", "AES_128_CBC", "SHA", 128, false, false, false},
		{"TLS_KRB5_EXPORT_WITH_DES_CBC_40_SHA", "KRB5", "KRB5", "DES_CBC_40", "SHA", 40, false, false, true},
		{"TLS_GOSTR341112_256_WITH_28147_CNT_IMIT", "GOSTR341112", "256", "28147_CNT", "IMIT", 256, false, false, false},
		{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256_OLD", "ECDHE", "RSA", "CHACHA20_POLY1305", "AEAD", 256, true, true, false},
		{"TLS_AES_128_GCM_SHA256", "", "", "AES_128_GCM", "AEAD", 128, true, true, false},
		{"TLS_AES_128_CCM_8_SHA256", "", "", "AES_128_CCM_8", "AEAD", 128, true, true, false},
		{"TLS_AEGIS_128L_SHA256", "", "", "AEGIS_128L", "AEAD", 128, true, true, false},
		{"TLS_SM4_GCM_SM3", "", "", "SM4_GCM", "AEAD", 128, true, true, false},
		{"TLS_SHA256_SHA256", "", "", "NULL", "SHA256", 0, true, false, false},
		{"TLS_FALLBACK_SCSV", "", "", "", "", 0, false, false, false},
		{"TLS_EMPTY_RENEGOTIATION_INFO_SCSV", "", "", "", "", 0, false, false, false},
		{"TLS_NULL_WITH_NULL_NULL", "NULL", "NULL", "NULL", "NULL", 0, false, false, false},
	} {
		found := false
		for id := range 1 << 16 {
			if got := hello.Suite(uint16(id)); got.Name == want.Name {
				found = true
				if got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		}
		if !found {
			t.Errorf("there is no %s", want.Name)
		}
	}
	if got := hello.Suite(0xfafa); got != (hello.Info{Name: "0xFAFA"}) {
		t.Errorf("got %+v", got)
	}
}

func TestNamesAreThoseOfGo(t *testing.T) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if got := hello.SuiteName(s.ID); got != s.Name {
			t.Errorf("%04x is %s, want %s", s.ID, got, s.Name)
		}
		for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			if got, want := slices.Contains(hello.Suites(v), s.ID), slices.Contains(s.SupportedVersions, v); got != want {
				t.Errorf("%s in %s: %v, want %v", s.Name, tls.VersionName(v), got, want)
			}
		}
	}
	for _, id := range []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024} {
		if got := hello.GroupName(id); got != id.String() {
			t.Errorf("%04x is %s, want %s", uint16(id), got, id)
		}
	}
	if hello.GroupName(tls.CurveP256) != "secp256r1" || hello.GroupName(0xfafa) != "0xFAFA" {
		t.Error("the names of groups are not IANA's")
	}
	if hello.SignatureName(tls.PSSWithSHA256) != "rsa_pss_rsae_sha256" || hello.SignatureName(0xfafa) != "0xFAFA" {
		t.Error("the names of signature algorithms are not IANA's")
	}
}

func TestNoSuiteOfAScanNeedsASharedSecret(t *testing.T) {
	for _, v := range []uint16{hello.VersionSSL30, tls.VersionTLS12, tls.VersionTLS13} {
		all := hello.Suites(v)
		for _, id := range all {
			i := hello.Suite(id)
			for _, not := range []string{"PSK", "SRP", "KRB5", "ECCPWD", "SCSV", "NULL_WITH"} {
				if strings.Contains(i.Name, not) {
					t.Errorf("%s stands in the list", i.Name)
				}
			}
			if v < tls.VersionTLS12 && i.AEAD {
				t.Errorf("%s stands in the list of %s", i.Name, tls.VersionName(v))
			}
		}
		if slices.Sort(all); len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Error("a suite stands in the list twice")
		}
	}
}

// A scan that stops early has seen what is common.
func TestWhatIsCommonStandsFirst(t *testing.T) {
	first := hello.Suites(tls.VersionTLS12)[:100]
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.ID>>8 != 0x13 && !slices.Contains(first, s.ID) {
			t.Errorf("%s does not stand among the first hundred", s.Name)
		}
	}
	if name := hello.SuiteName(first[0]); !strings.HasPrefix(name, "TLS_ECDHE_") || !strings.Contains(name, "_GCM_") {
		t.Errorf("%s stands first", name)
	}
}

func TestTheDefaultGroupsHaveNoFiniteField(t *testing.T) {
	for _, id := range hello.Groups() {
		finite := strings.HasPrefix(hello.GroupName(id), "ffdhe")
		if slices.Contains(hello.DefaultGroups(), id) == finite {
			t.Errorf("%s: %v", hello.GroupName(id), finite)
		}
	}
}

// ffdhe2048 is the prime of RFC 7919, A.1.
const ffdhe2048 = `FFFFFFFF FFFFFFFF ADF85458 A2BB4A9A AFDC5620 273D3CF1
D8B9C583 CE2D3695 A9E13641 146433FB CC939DCE 249B3EF9
7D2FE363 630C75D8 F681B202 AEC4617A D3DF1ED5 D5FD6561
2433F51F 5F066ED0 85636555 3DED1AF3 B557135E 7F57C935
984F0C70 E0E68B77 E2A689DA F3EFE872 1DF158A1 36ADE735
30ACCA4F 483A797A BC0AB182 B324FB61 D108A94B B2C8E3FB
B96ADAB7 60D7F468 1D4F42A3 DE394DF4 AE56EDE7 6372BB19
0B07A7C8 EE0A6D70 9E02FCE1 CDF7E2EC C03404CD 28342F61
9172FE9C E98583FF 8E4F1232 EEF28183 C3FE3B1B 4C6FAD73
3BB5FCBC 2EC22005 C58EF183 7D1683B2 C6F34A26 C1B2EFFA
886B4238 61285C97 FFFFFFFF FFFFFFFF`

func TestAGroupIsKnownByItsPrime(t *testing.T) {
	p, ok := new(big.Int).SetString(strings.Join(strings.Fields(ffdhe2048), ""), 16)
	if !ok {
		t.Fatal("not a number")
	}
	for change, want := range map[int64]tls.CurveID{0: 256, 2: 0} {
		number := string(new(big.Int).Add(p, big.NewInt(change)).Bytes())
		a, err := ask(t, strings.NewReader(handshake(serverHello(tls12, dheRSA, plain),
			message(12, sized(2, number), sized(2, "\x02"), sized(2, "value"), scheme, sized(2, "signature")), done)))
		if err != nil || a.Group != want || a.DHBits != 2048 {
			t.Errorf("the prime and %d: got %v, %v, %d bits", change, err, a.Group, a.DHBits)
		}
	}
}
