package grade_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"postern/tls/grade"
)

func TestForwardSecrecyNames(t *testing.T) {
	for f, name := range map[grade.ForwardSecrecy]string{
		grade.WhereSafe: "where-safe", grade.Require: "require", grade.Prefer: "prefer",
	} {
		if got, err := grade.ParseForwardSecrecy(name); err != nil || got != f || f.String() != name {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := grade.ParseForwardSecrecy("yes"); err == nil || !strings.Contains(err.Error(), `"yes": write require, where-safe or prefer`) {
		t.Errorf("got %v", err)
	}
	if got := grade.ForwardSecrecy(-1).String(); got != "forward_secrecy(-1)" {
		t.Errorf("got %q", got)
	}
	if f := *new(grade.ForwardSecrecy); f != grade.WhereSafe {
		t.Errorf("the zero policy is %v", f)
	}
}

func TestOffersForwardSecrecy(t *testing.T) {
	const dheGCM, ecdheSHA384, brainpool = 0x009e, 0xc028, 26
	v12, v13 := []uint16{tls.VersionTLS12}, []uint16{tls.VersionTLS13, tls.VersionTLS12}
	p256 := []tls.CurveID{tls.CurveP256}
	tests := []struct {
		name  string
		hello tls.ClientHelloInfo
		want  bool
	}{
		{"TLS 1.3", tls.ClientHelloInfo{SupportedVersions: v13, CipherSuites: []uint16{rsaSHA}}, true},
		{"ECDHE GCM", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: p256, CipherSuites: []uint16{rsaSHA, ecdheGCM}}, true},
		{"ECDHE CBC-SHA", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: p256, CipherSuites: []uint16{rsaSHA, ecdheSHA}}, true},
		{"ECDHE ECDSA", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: p256,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}}, true},
		{"RSA only", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: p256, CipherSuites: []uint16{rsaSHA}}, false},
		{"DHE only", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: p256, CipherSuites: []uint16{dheGCM, rsaSHA}}, false},
		{"ECDHE that crypto/tls lacks", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: p256, CipherSuites: []uint16{ecdheSHA384, rsaSHA}}, false},
		{"ECDHE RC4", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: p256, CipherSuites: []uint16{ecdheRC4, rsaSHA}}, false},
		{"ECDHE without a common group", tls.ClientHelloInfo{SupportedVersions: v12, SupportedCurves: []tls.CurveID{brainpool},
			CipherSuites: []uint16{ecdheGCM, rsaSHA}}, false},
		{"ECDHE without groups", tls.ClientHelloInfo{SupportedVersions: v12, CipherSuites: []uint16{ecdheGCM, rsaSHA}}, false},
		{"nothing", tls.ClientHelloInfo{}, false},
	}
	for _, tt := range tests {
		if got := grade.OffersForwardSecrecy(&tt.hello); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

// TestForwardSecretKnowsEverySuite holds crypto/tls's own list against ours.
func TestForwardSecretKnowsEverySuite(t *testing.T) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		for _, v := range s.SupportedVersions {
			want := v == tls.VersionTLS13 || strings.HasPrefix(s.Name, "TLS_ECDHE_")
			if got := grade.ForwardSecret(v, s.ID); got != want {
				t.Errorf("%s %s: got %v", tls.VersionName(v), s.Name, got)
			}
		}
	}
}
