package policy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/level"
	"postern/tls/policy"
)

// TestWhatTheServerIsTold is SEM 28: the name at every level, and what a retry leaves out.
func TestWhatTheServerIsTold(t *testing.T) {
	root := catest.New(t)
	for name, d := range demands(&policy.Roots{Pool: root.Pool()}, nil) {
		for _, plain := range []bool{false, true} {
			var hello tls.ClientHelloInfo
			server := serving(root.Issue(t, catest.Leaf{Names: []string{mx, domain}}))
			server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				hello = *h
				return nil, nil
			}
			under(t, d, server, policy.ConfigOptions{Plain: plain})
			want := mx
			if plain && d.Level == level.May {
				want = ""
			}
			if hybrid := slices.Contains(hello.SupportedCurves, tls.X25519MLKEM768); hello.ServerName != want || hybrid == plain {
				t.Errorf("%s, plain %v: SNI %q, groups %v", name, plain, hello.ServerName, hello.SupportedCurves)
			}
		}
	}
}

func TestAHandshakeThatDiesFirstLeavesNoVerdict(t *testing.T) {
	d := demands(nil, nil)["may"]
	broken := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }}
	if out := under(t, d, broken, policy.ConfigOptions{}); out.saw || out.verdict != (policy.Verdict{}) || out.err == nil {
		t.Errorf("got %+v", out)
	}
}

func TestOptionsMayBeLeftOut(t *testing.T) {
	root := catest.New(t)
	server := serving(root.Issue(t, catest.Leaf{Names: []string{mx}}))
	d := demands(&policy.Roots{Pool: root.Pool()}, nil)
	if _, err := connect(t, server, d["verify"].Config(policy.ConfigOptions{})); err != nil {
		t.Error(err)
	}
	if _, err := connect(t, server, d["secure"].Config(policy.ConfigOptions{})); err == nil {
		t.Error("nobody judged")
	}
}

func TestTheClockOfTheOptionsCounts(t *testing.T) {
	root := catest.New(t)
	leaf := root.Issue(t, catest.Leaf{Names: []string{mx}})
	d := demands(&policy.Roots{Pool: root.Pool()}, nil)["verify"]
	late := func() time.Time { return leaf.Leaf.NotAfter.Add(time.Minute) }
	if out := under(t, d, serving(leaf), policy.ConfigOptions{Now: late}); out.err == nil {
		t.Errorf("got %+v", out.verdict)
	}
}

// TestObservedIsJudgedAndNotEnforced: Would says why enforce would have refused, and nothing else changes.
func TestObservedIsJudgedAndNotEnforced(t *testing.T) {
	root := catest.New(t)
	decide := func(known policy.Remembered) *policy.Decision {
		return policy.New(policy.Options{
			Default: policy.Rule{Auto: true, Roots: &policy.Roots{Pool: root.Pool()}}, Remember: policy.Observe,
			Memory: remembers{domain + "/" + mx: known, domain + "/": {Domain: true}},
		}).Decide(context.Background(), domain, mx, 25)
	}
	good, bad := serving(root.Issue(t, catest.Leaf{Names: []string{mx}})), serving(selfSigned(t, mx))
	weak := serving(root.Issue(t, catest.Leaf{Names: []string{mx}, Key: catest.RSA2048}))
	weak.MaxVersion, weak.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	tests := []struct {
		name   string
		server *tls.Config
		known  bool
		would  string
	}{
		{"good and known", good, true, ""},
		{"good and new", good, false, ""},
		{"self-signed and known", bad, true, "secure: expected a certificate for " + mx + ", saw self-signed certificate for " + mx},
		{"self-signed and new", bad, false, ""},
		{"RSA key exchange and new", weak, false, "encrypt: expected TLS 1.2 or newer with forward secrecy, saw TLS 1.2 with TLS_RSA_WITH_AES_128_CBC_SHA"},
	}
	for _, tt := range tests {
		out := under(t, decide(policy.Remembered{Host: tt.known}), tt.server, policy.ConfigOptions{})
		if out.err != nil || !out.verdict.Met || out.verdict.Would != tt.would {
			t.Errorf("%s: got %+v, %v", tt.name, out.verdict, out.err)
		}
	}
}
