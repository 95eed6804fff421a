package policy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/level"
	"postern/tls/policy"
)

// shown is the state of a handshake in which the certificate was shown.
func shown(cert tls.Certificate) tls.ConnectionState {
	state := tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		state.PeerCertificates = append(state.PeerCertificates, c)
	}
	return state
}

func TestTheWordsArePostfixs(t *testing.T) {
	for trust, want := range map[policy.Trust]string{
		policy.Anonymous: "Anonymous", policy.Untrusted: "Untrusted", policy.Trusted: "Trusted", policy.Verified: "Verified", 9: "Trust(9)",
	} {
		if got := trust.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWithoutACertificateThePeerIsAnonymous(t *testing.T) {
	for name, d := range demands(nil, nil) {
		v := d.Judge(tls.ConnectionState{Version: tls.VersionTLS13}, time.Now())
		if v.Trust != policy.Anonymous || v.Valid || v.Met != (d.Level <= level.Encrypt) || v.Seen != "no certificate" {
			t.Errorf("%s: got %+v", name, v)
		}
	}
}

// TestALevelThatCannotBeMetIsNot: DANE without records, fingerprint without fingerprints, secure without a name.
func TestALevelThatCannotBeMetIsNot(t *testing.T) {
	root := catest.New(t)
	good := shown(root.Issue(t, catest.Leaf{Names: []string{mx, domain}, IPs: []string{"192.0.2.1"}}))
	for _, r := range []policy.Rule{
		{Level: level.DANE}, {Level: level.DANEOnly}, {Level: level.Fingerprint}, {Level: 99},
		{Level: level.Secure, Match: []string{"dot-nexthop"}},
	} {
		r.Roots = &policy.Roots{Pool: root.Pool()}
		d := policy.New(policy.Options{Default: r}).Decide(context.Background(), "[192.0.2.1]", mx, 25)
		if v := d.Judge(good, time.Now()); v.Met || v.Expected == "" || !v.Valid {
			t.Errorf("%v: got %+v", r.Level, v)
		}
	}
}

// TestAGraceEnds: a remembered host whose certificate has merely expired, by the clock.
func TestAGraceEnds(t *testing.T) {
	const day = 24 * time.Hour
	root := catest.New(t)
	end := time.Now().Add(30 * day).Truncate(time.Second)
	ca, key := authority(t, x509.Certificate{NotBefore: time.Now().Add(-day), NotAfter: end.Add(400 * day)})
	leaf, _ := issue(t, &x509.Certificate{DNSNames: []string{mx}, NotBefore: time.Now().Add(-day), NotAfter: end}, ca.Leaf, key)
	d := demands(&policy.Roots{Pool: poolOf(ca)}, nil)["remembered"]
	other := demands(&policy.Roots{Pool: root.Pool()}, nil)["remembered"]
	tests := []struct {
		at               time.Duration // after the end
		valid, met, late bool
	}{
		{-31*day - time.Hour, false, false, false}, {0, true, true, false}, {time.Second, false, true, true}, {day, false, true, true},
		{policy.DefaultGrace, false, true, true}, {policy.DefaultGrace + time.Second, false, false, false},
		{0, true, true, false}, {14*day - 1, false, true, true}, // the clock is set back
	}
	for _, tt := range tests {
		v := d.Judge(shown(leaf), end.Add(tt.at))
		if v.Valid != tt.valid || v.Met != tt.met || v.Grace != tt.late || (v.Trust == policy.Verified) != tt.met {
			t.Errorf("%v after the end: got %+v", tt.at, v)
		}
		if want := "certificate for " + mx + " that expired on " + end.UTC().Format(time.DateOnly); tt.late && v.Seen != want {
			t.Errorf("%v after the end: saw %q", tt.at, v.Seen)
		}
		if v := other.Judge(shown(leaf), end.Add(tt.at)); v.Met || v.Grace {
			t.Errorf("%v after the end, other roots: got %+v", tt.at, v)
		}
	}
}

func TestAGraceDoesNotLiftAConstraint(t *testing.T) {
	for constraint, met := range map[string]bool{"": true, "example.org": false} {
		template := x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		if constraint != "" {
			template.PermittedDNSDomains = []string{constraint}
		}
		ca, key := authority(t, template)
		leaf, _ := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: mx},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute)}, ca.Leaf, key)
		d := demands(&policy.Roots{Pool: poolOf(ca)}, nil)["remembered"]
		if v := d.Judge(shown(leaf), time.Now()); v.Met != met || v.Grace != met {
			t.Errorf("constrained to %q: got %+v", constraint, v)
		}
	}
}

func TestKeysAreEqualIffTheDemandIs(t *testing.T) {
	roots := &policy.Roots{Name: "a.pem", Pool: x509.NewCertPool()}
	one := func() *policy.Decision {
		return &policy.Decision{
			Domain: "example.com", Host: mx, Port: 25, Level: level.Secure, Names: []string{"a", "b"},
			Fingerprints: []policy.Fingerprint{{Sum: [32]byte{1}}}, Roots: roots, SNI: mx, Grace: time.Hour,
		}
	}
	same := map[string]func(*policy.Decision){
		"domain":  func(d *policy.Decision) { d.Domain = "example.org" },
		"port":    func(d *policy.Decision) { d.Port = 587 },
		"source":  func(d *policy.Decision) { d.Source, d.Place = policy.SourceRemembered, "x" },
		"reasons": func(d *policy.Decision) { d.Reasons = []policy.Reason{{Text: "x"}} },
		"expires": func(d *policy.Decision) { d.Expires = today },
	}
	different := map[string]func(*policy.Decision){
		"level":               func(d *policy.Decision) { d.Level = level.Verify },
		"host":                func(d *policy.Decision) { d.Host = "mx2.example.net" },
		"names":               func(d *policy.Decision) { d.Names = []string{"a"} },
		"names run together":  func(d *policy.Decision) { d.Names = []string{"ab", ""} },
		"fingerprint":         func(d *policy.Decision) { d.Fingerprints[0].Sum[31] = 1 },
		"fingerprint's kind":  func(d *policy.Decision) { d.Fingerprints[0].PublicKey = true },
		"no fingerprint":      func(d *policy.Decision) { d.Fingerprints = nil },
		"name as fingerprint": func(d *policy.Decision) { d.Names, d.Fingerprints = append(d.Names, d.Fingerprints[0].String()), nil },
		"roots":               func(d *policy.Decision) { d.Roots = &policy.Roots{Name: "a.pem", Pool: roots.Pool} },
		"system roots":        func(d *policy.Decision) { d.Roots = nil },
		"grade":               func(d *policy.Decision) { d.Grade++ },
		"SNI":                 func(d *policy.Decision) { d.SNI = "" },
		"grace":               func(d *policy.Decision) { d.Grace = 0 },
		"observed":            func(d *policy.Decision) { d.Observed = &policy.Decision{Level: level.Encrypt} },
		"another observed":    func(d *policy.Decision) { d.Observed = &policy.Decision{Level: level.Secure} },
	}
	base := one().Key()
	for what, change := range same {
		if d := one(); d.Key() != base {
			t.Error("the key changes by itself")
		} else if change(d); d.Key() != base {
			t.Errorf("%s: another key", what)
		}
	}
	seen := map[string]string{base: "nothing"}
	for what, change := range different {
		d := one()
		change(d)
		if earlier, ok := seen[d.Key()]; ok {
			t.Errorf("%s and %s have the same key", what, earlier)
		}
		seen[d.Key()] = what
	}
}
