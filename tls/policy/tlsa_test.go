package policy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/catest"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/policy"
)

// byTLSA is a decision by TLSA records for mx.example.net.
func byTLSA(roots *policy.Roots, secure bool, records ...dane.Record) *policy.Decision {
	z := &zone{finding: dane.Finding{Status: dane.Usable, Base: mx, Records: records, Usable: len(records), Names: dane.Names{mx}, InsecureMX: !secure}}
	return policy.New(policy.Options{Default: policy.Rule{Auto: true, Roots: roots}, DANE: z}).
		DecideMX(context.Background(), policy.MXInput{Domain: domain, Host: mx, Port: 25, MXSecure: secure})
}

// TestWhatTLSARecordsMakeOfEachServer is STANDARDS 80 to 84, with real handshakes.
func TestWhatTLSARecordsMakeOfEachServer(t *testing.T) {
	root := catest.New(t)
	sub := root.Intermediate(t)
	roots := &policy.Roots{Pool: catest.New(t).Pool()} // of others
	good := sub.Issue(t, catest.Leaf{Names: []string{mx}})
	wrong := sub.Issue(t, catest.Leaf{Names: []string{"www.example.org"}})
	expired := sub.Issue(t, catest.Leaf{Names: []string{"www.example.org"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	own := selfSigned(t, "localhost")
	issuer, err := x509.ParseCertificate(good.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	ee := func(c tls.Certificate) dane.Record { return dane.From(c.Leaf, 3, 1, 1) }
	ta := dane.From(issuer, 2, 0, 1)
	for _, tt := range []struct {
		name    string
		server  tls.Certificate
		records []dane.Record
		matched string // "" if refused
		seen    string // what comes after "saw "
	}{
		{"3 1 1", good, []dane.Record{ee(good)}, "TLSA 3 1 1 ", ""},
		{"3 1 1, wrong name", wrong, []dane.Record{ee(wrong)}, "TLSA 3 1 1 ", ""},
		{"3 1 1, expired", expired, []dane.Record{ee(expired)}, "TLSA 3 1 1 ", ""},
		{"3 1 1, self-signed", own, []dane.Record{ee(own)}, "TLSA 3 1 1 ", ""},
		{"3 1 1, the next key", good, []dane.Record{ee(wrong), ee(good)}, "TLSA 3 1 1 ", ""},
		{"2 0 1", good, []dane.Record{ta}, "TLSA 2 0 1 ", ""},
		{"2 0 1, wrong name", wrong, []dane.Record{ta}, "", "certificate for www.example.org from the right issuer; expected one for mx.example.net"},
		{"2 0 1, expired", expired, []dane.Record{ta}, "", "certificate for www.example.org that is expired since "},
		{"2 0 1, self-signed", own, []dane.Record{ta}, "", "certificate for localhost: the server's certificate is self-signed"},
		{"another key", good, []dane.Record{ee(own)}, "", "certificate for mx.example.net: the server's certificate matches none of the TLSA records (3 1 1 "},
	} {
		for _, version := range versions {
			for _, secure := range []bool{true, false} {
				d := byTLSA(roots, secure, tt.records...)
				server := serving(tt.server)
				server.MaxVersion = version
				sni := ""
				server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { sni = hello.ServerName; return nil, nil }
				out := under(t, d, server, policy.ConfigOptions{})
				v, met := out.verdict, tt.matched != ""
				if v.Met != met || (out.err == nil) != met || !strings.HasPrefix(v.Matched, tt.matched) || (v.Matched != "") != met || sni != mx {
					t.Fatalf("%s: %+v, %v, SNI %q", tt.name, v, out.err, sni)
				}
				want := map[bool]policy.Trust{true: policy.Verified, false: policy.Trusted}[secure]
				if met && (v.Trust != want || v.Seen != "" || v.Expected != "") || !met && v.Trust != policy.Untrusted || v.Valid {
					t.Errorf("%s, MX secure %v: %+v", tt.name, secure, v)
				}
				if expected := "dane: expected a certificate that the TLSA record of mx.example.net authenticates, " + tt.records[0].String()[:22] + "..., saw " + tt.seen; !met && !strings.HasPrefix(out.err.Error(), expected) {
					t.Errorf("%s: got %q, want %q", tt.name, out.err, expected)
				}
			}
		}
	}
	two := byTLSA(roots, true, ee(own), ta)
	if out := under(t, two, serving(wrong), policy.ConfigOptions{}); out.verdict.Expected != "a certificate that one of the 2 TLSA records of mx.example.net authenticates" {
		t.Errorf("got %+v", out.verdict)
	}
}

// TestAPublicAuthorityDoesNotHealAMismatch: STANDARDS 80 and 136.
func TestAPublicAuthorityDoesNotHealAMismatch(t *testing.T) {
	root := catest.New(t)
	good := root.Issue(t, catest.Leaf{Names: []string{mx}})
	out := under(t, byTLSA(&policy.Roots{Pool: root.Pool()}, true, aRecord), serving(good), policy.ConfigOptions{})
	if v := out.verdict; v.Met || v.Trust != policy.Trusted || !v.Valid || v.Matched != "" || out.err == nil {
		t.Errorf("got %+v, %v", v, out.err)
	}
}

func TestTLSARecordsWithoutForwardSecrecyAreNotMet(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{Names: []string{mx}, Key: catest.RSA2048})
	d := byTLSA(nil, true, dane.From(cert.Leaf, 3, 1, 1))
	state := tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_RSA_WITH_AES_128_GCM_SHA256, PeerCertificates: []*x509.Certificate{cert.Leaf}}
	if v := d.Judge(state, time.Now()); v.Met || v.Expected != "TLS 1.2 or newer with forward secrecy" {
		t.Errorf("got %+v", v)
	}
	if v := d.Judge(tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}, time.Now()); v.Met || v.Seen != "no certificate" {
		t.Errorf("no certificate: %+v", v)
	}
}

// TestAResumedSessionIsComparedWithTheRecordsOfNow: a rollover may have withdrawn the key of a session.
func TestAResumedSessionIsComparedWithTheRecordsOfNow(t *testing.T) {
	for _, version := range versions {
		cert := selfSigned(t, "localhost")
		server := serving(cert)
		server.MaxVersion = version
		sessions := policy.NewSessions(10)
		before, after := byTLSA(nil, true, dane.From(cert.Leaf, 3, 1, 1)), byTLSA(nil, true, aRecord)
		for i, resumed := range []bool{false, true} {
			out := under(t, before, server, policy.ConfigOptions{Sessions: sessions.For(before.Key())})
			if out.err != nil || out.state.DidResume != resumed || out.verdict.Trust != policy.Verified {
				t.Fatalf("%s, connection %d: %+v, %v", tls.VersionName(version), i, out.verdict, out.err)
			}
		}
		if before.Key() == after.Key() {
			t.Error("two sets of records have one key")
		}
		out := under(t, after, server, policy.ConfigOptions{Sessions: sessions.For(before.Key())})
		var violation *policy.Violation
		if !out.state.DidResume || out.verdict.Met || !errors.As(out.err, &violation) {
			t.Errorf("%s: resumed %v, %+v, %v", tls.VersionName(version), out.state.DidResume, out.verdict, out.err)
		}
	}
}

// TestWhatAnEnforcedPolicyMakesOfEachServer is STANDARDS 133, with real handshakes.
func TestWhatAnEnforcedPolicyMakesOfEachServer(t *testing.T) {
	root := catest.New(t)
	roots := &policy.Roots{Pool: root.Pool()}
	serve := func(l catest.Leaf) *tls.Config { return serving(root.Issue(t, l)) }
	old := serve(catest.Leaf{Names: []string{mx}, Key: catest.RSA2048})
	old.MaxVersion = tls.VersionTLS11
	for name, tt := range map[string]struct {
		server *tls.Config
		met    bool
	}{
		"good for the MX":            {serve(catest.Leaf{Names: []string{mx}}), true},
		"wildcard":                   {serve(catest.Leaf{Names: []string{"*.example.net"}}), true},
		"good for the domain":        {serve(catest.Leaf{Names: []string{domain}}), false},
		"good for another policy MX": {serve(catest.Leaf{Names: []string{"mx2.example.net"}}), false},
		"common name only":           {serve(catest.Leaf{CommonName: mx}), false},
		"ended an hour ago":          {serve(catest.Leaf{Names: []string{mx}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}), false},
		"unknown authority":          {serving(catest.New(t).Issue(t, catest.Leaf{Names: []string{mx}})), false},
		"TLS 1.1":                    {old, false},
	} {
		o := policy.Options{Default: policy.Rule{Auto: true, Roots: roots}, Grace: policy.DefaultGrace, Memory: remembers{domain + "/" + mx: known(3)}, STS: policies("enforce")}
		d := policy.New(o).Decide(context.Background(), domain, mx, 25)
		if out := under(t, d, tt.server, policy.ConfigOptions{}); out.verdict.Met != tt.met || (out.err == nil) != tt.met || tt.met && out.verdict.Trust != policy.Verified {
			t.Errorf("%s: got %+v, %v", name, out.verdict, out.err)
		}
	}
}

// hosts are zones and policies of several MX hosts.
type hosts map[string]dane.Finding

func (h hosts) Find(_ context.Context, in dane.MXInfo) (dane.Finding, error) { return h[in.Host], nil }

func TestAnAddressWithoutANameMustDoForOneOfTheHosts(t *testing.T) {
	one, two, stranger := selfSigned(t, "one"), selfSigned(t, "two"), selfSigned(t, "three")
	finding := func(name string, c tls.Certificate) dane.Finding {
		return dane.Finding{Status: dane.Usable, Base: name, Names: dane.Names{name}, Records: append(make([]dane.Record, 0, 8), dane.From(c.Leaf, 3, 1, 1))}
	}
	z := hosts{"one.example.net": finding("one.example.net", one), "two.example.net": finding("two.example.net", two)}
	e := policy.New(policy.Options{Default: policy.Rule{Auto: true}, DANE: z})
	decide := func(host string) *policy.Decision {
		return e.DecideMX(context.Background(), policy.MXInput{Domain: domain, Host: host, Port: 25, MXSecure: true})
	}
	first, second := decide("one.example.net"), decide("two.example.net")
	before := slices.Concat(first.TLSA, second.TLSA)
	policy.Any([]*policy.Decision{second, first})
	d := policy.Any([]*policy.Decision{first, second})
	for name, tt := range map[string]struct {
		server tls.Certificate
		met    bool
	}{"one": {one, true}, "two": {two, true}, "three": {stranger, false}} {
		if out := under(t, d, serving(tt.server), policy.ConfigOptions{}); out.verdict.Met != tt.met {
			t.Errorf("%s: got %+v", name, out.verdict)
		}
	}
	if d.Key() == first.Key() || !cmp.Equal(slices.Concat(first.TLSA, second.TLSA), before) || strings.Join(d.DANENames, " ") != "one.example.net two.example.net" {
		t.Errorf("got %v, and of each %v, %v", d.DANENames, first.TLSA, second.TLSA)
	}
	if d := policy.Any([]*policy.Decision{first, decide("three.example.net")}); d != nil {
		t.Errorf("one of them may be spoken to in clear: got %v", d.Level)
	}
}

func TestAnAddressWithoutANameIsNotHeldToForbiddenHosts(t *testing.T) {
	e := engine(policy.Options{Default: policy.Rule{Auto: true}, STS: policies("enforce")})
	decide := func(host string) *policy.Decision { return e.Decide(context.Background(), domain, host, 25) }
	named, forbidden := decide(mx), decide("mx.example.org")
	if d := policy.Any([]*policy.Decision{forbidden, named}); d == nil || d.Err != nil || !cmp.Equal(d.Names, []string{mx}) {
		t.Errorf("got %+v", d)
	}
	if d := policy.Any([]*policy.Decision{forbidden}); d == nil || d.NotAnMX == "" {
		t.Errorf("all are forbidden: got %+v", d)
	}
}

// SEM 16 d: that nothing is known of one of them does not stop what another one takes in clear.
func TestADoubtfulHostCountsOnlyWhereAllOthersAskForTLS(t *testing.T) {
	doubt := &policy.Decision{Host: "a", Level: level.DANE, Err: errors.New("SERVFAIL")}
	for name, c := range map[string]struct {
		other level.Level
		want  *policy.Decision
	}{"one may": {level.May, nil}, "one must": {level.Encrypt, doubt}} {
		other := &policy.Decision{Host: "b", Level: c.other}
		for _, all := range [][]*policy.Decision{{doubt, other}, {other, doubt}} {
			if got := policy.Any(all); got != c.want {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
}
