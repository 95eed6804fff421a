package policy_test

import (
	"crypto/tls"
	"errors"
	"testing"

	"postern/internal/catest"
	"postern/tls/policy"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

func TestAResumedSessionIsJudgedAgain(t *testing.T) {
	root := catest.New(t)
	all := demands(&policy.Roots{Pool: root.Pool()}, nil)
	for _, version := range versions {
		server := serving(root.Issue(t, catest.Leaf{Names: []string{mx}}))
		server.MaxVersion = version
		sessions := policy.NewSessions(10).For("a key")
		for i, resumed := range []bool{false, true, true} {
			out := under(t, all["verify"], server, policy.ConfigOptions{Sessions: sessions})
			if out.err != nil || out.state.DidResume != resumed || !out.saw || !out.verdict.Valid || out.verdict.Matched != mx {
				t.Errorf("%s, connection %d: resumed %v, %+v, %v", tls.VersionName(version), i, out.state.DidResume, out.verdict, out.err)
			}
		}
	}
}

// TestAWeakSessionIsWorthNothingUnderAStrongDecision is about both walls: the other key, and the verdict for
// whoever gets the key wrong.
func TestAWeakSessionIsWorthNothingUnderAStrongDecision(t *testing.T) {
	all := demands(&policy.Roots{Pool: catest.New(t).Pool()}, nil)
	for _, strong := range []string{"verify", "secure", "remembered", "mispinned"} {
		for _, version := range versions {
			server := serving(selfSigned(t, mx))
			server.MaxVersion = version
			sessions := policy.NewSessions(10)
			weak, d := all["may"], all[strong]
			if out := under(t, weak, server, policy.ConfigOptions{Sessions: sessions.For(weak.Key())}); out.err != nil || sessions.Len() != 1 {
				t.Fatalf("no session to try: %v", out.err)
			}
			for _, key := range []string{d.Key(), weak.Key()} {
				out := under(t, d, server, policy.ConfigOptions{Sessions: sessions.For(key)})
				var violation *policy.Violation
				if !errors.As(out.err, &violation) || out.verdict.Met || out.state.DidResume != (key == weak.Key()) {
					t.Errorf("%s, %s: resumed %v, %+v, %v", strong, tls.VersionName(version), out.state.DidResume, out.verdict, out.err)
				}
			}
		}
	}
}

// TestASessionWithoutForwardSecrecyDoesNotMeetAMandatoryLevel: crypto/tls would not offer the suite; the verdict does
// not rely on that.
func TestASessionWithoutForwardSecrecyDoesNotMeetAMandatoryLevel(t *testing.T) {
	root := catest.New(t)
	all := demands(&policy.Roots{Pool: root.Pool()}, nil)
	state := tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	leaf := root.Issue(t, catest.Leaf{Names: []string{mx, domain}}).Leaf
	state.PeerCertificates = append(state.PeerCertificates, leaf)
	for name, d := range all {
		v := d.Judge(state, leaf.NotBefore)
		if v.Met == d.Level.Mandatory() {
			t.Errorf("%s: got %+v", name, v)
		}
		if d.Level.Mandatory() && (v.Expected != "TLS 1.2 or newer with forward secrecy" || v.Seen != "TLS 1.2 with TLS_RSA_WITH_AES_128_GCM_SHA256") {
			t.Errorf("%s: expected %q, saw %q", name, v.Expected, v.Seen)
		}
	}
}

func TestTheLeastUsedSessionGoesFirst(t *testing.T) {
	sessions := policy.NewSessions(2)
	one, two := &tls.ClientSessionState{}, &tls.ClientSessionState{}
	sessions.For("a").Put("", one)
	sessions.For("b").Put("", one)
	sessions.For("a").Put("whatever crypto/tls calls it", two)
	sessions.For("c").Put("", one)
	if got, ok := sessions.For("a").Get("its name at another time"); !ok || got != two {
		t.Error("the latest session of a key is lost")
	}
	if _, ok := sessions.For("b").Get(""); ok || sessions.Len() != 2 {
		t.Errorf("%d sessions, and the least used is among them", sessions.Len())
	}
	sessions.For("a").Put("", nil)
	if _, ok := sessions.For("a").Get(""); ok || sessions.Len() != 1 {
		t.Error("a session that did not work is kept")
	}
	if policy.NewSessions(0).For("a").Put("", one); sessions.Len() != 1 {
		t.Error("two caches share sessions")
	}
}
