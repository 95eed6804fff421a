package policy_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/policy"
)

const (
	domain = "example.com"
	mx     = "mx.example.net"
)

// demands are decisions for mx.example.net as the MX of example.com, one per level and
// strategy, by name. "pinned" has the fingerprint of the server's certificate, "pinned-key" that of
// its key, "mispinned" another.
func demands(roots *policy.Roots, server *x509.Certificate) map[string]*policy.Decision {
	other := policy.Fingerprint{Sum: [32]byte{1}}
	rules := map[string]policy.Rule{
		"may":        {Level: level.May},
		"legacy":     {Level: level.May, Grade: grade.Legacy},
		"encrypt":    {Level: level.Encrypt},
		"mispinned":  {Level: level.Fingerprint, Fingerprints: []policy.Fingerprint{other}},
		"verify":     {Level: level.Verify},
		"secure":     {Level: level.Secure},
		"named":      {Level: level.Secure, Match: []string{"mx.example.org", ".example.net"}},
		"remembered": {Auto: true},
		"auto":       {Auto: true},
	}
	if server != nil {
		rules["pinned"] = policy.Rule{Level: level.Fingerprint, Fingerprints: []policy.Fingerprint{other, policy.FingerprintOf(server, false)}}
		rules["pinned-key"] = policy.Rule{Level: level.Fingerprint, Fingerprints: []policy.Fingerprint{policy.FingerprintOf(server, true)}}
	}
	all := map[string]*policy.Decision{}
	for name, r := range rules {
		r.Roots = roots
		o := policy.Options{Default: r, Grace: policy.DefaultGrace, Memory: remembers{}}
		if name == "remembered" {
			o.Memory = remembers{domain + "/" + mx: policy.Remembered{Host: true}}
		}
		all[name] = policy.New(o).Decide(context.Background(), domain, mx, 25)
	}
	return all
}

// kind is a server with a certificate, what a client learns of it at level may, and who accepts it.
type kind struct {
	name     string
	server   *tls.Config
	trust    policy.Trust
	valid    bool   // for mx.example.net
	accepted string // the demands that it meets besides those of its group
	seen     string // by verify, or else by whoever refuses it
}

func kinds(t *testing.T, root *catest.CA) []kind {
	const day = 24 * time.Hour
	now := time.Now()
	leaf := func(l catest.Leaf) *tls.Config { return serving(root.Issue(t, l)) }
	names := func(n ...string) *tls.Config { return leaf(catest.Leaf{Names: n}) }
	ended := func(ago time.Duration, n ...string) *tls.Config {
		return leaf(catest.Leaf{Names: n, NotBefore: now.Add(-90 * day), NotAfter: now.Add(-ago)})
	}
	full, cut := root.Intermediate(t).Issue(t, catest.Leaf{Names: []string{mx}}), tls.Certificate{}
	cut = full
	cut.Certificate = full.Certificate[:1]
	const name = "certificate for "
	return []kind{
		{"good for the MX", names(mx), policy.Verified, true, "verify named remembered", ""},
		{"good for the domain", names(domain), policy.Trusted, false, "secure", name + domain},
		{"good for both", names("www.example.org", "MX.Example.NET", domain), policy.Verified, true, "verify secure named remembered", ""},
		{"good for a name below the domain", names("a.b.example.com"), policy.Trusted, false, "secure", name + "a.b.example.com"},
		{"good for a name below what the operator wrote", names("mx9.example.net"), policy.Trusted, false, "named", name + "mx9.example.net"},
		{"good through an intermediate", serving(full), policy.Verified, true, "verify named remembered", ""},
		{"good with an RSA key", leaf(catest.Leaf{Names: []string{mx}, Key: catest.RSA2048}), policy.Verified, true, "verify named remembered", ""},
		{"wrong name", names("www.example.org"), policy.Trusted, false, "", name + "www.example.org"},
		{"many wrong names", names("a.example", "b.example", "c.example", "d.example", "e.example"), policy.Trusted, false, "", name + "a.example, b.example, c.example and 2 more"},

		{"wildcard for the MX", names("*.example.net"), policy.Verified, true, "verify named remembered", ""},
		{"wildcard below the domain", names("*.example.com"), policy.Trusted, false, "secure", name + "*.example.com"},
		{"wildcard a label too high", names("*.net"), policy.Trusted, false, "", name + "*.net"},
		{"wildcard a label too low", names("*.mx.example.net"), policy.Trusted, false, "named", name + "*.mx.example.net"},
		{"wildcard within a label", names("m*.example.net"), policy.Trusted, false, "", name + "m*.example.net"},

		{"common name only", leaf(catest.Leaf{CommonName: mx}), policy.Verified, true, "verify named remembered", ""},
		{"common name beside another DNS name", leaf(catest.Leaf{CommonName: mx, Names: []string{"www.example.org"}}), policy.Trusted, false, "", name + "www.example.org"},
		{"common name beside an address", leaf(catest.Leaf{CommonName: mx, IPs: []string{"192.0.2.1"}}), policy.Trusted, false, "", name + "192.0.2.1"},
		{"wrong common name only", leaf(catest.Leaf{CommonName: "www.example.org"}), policy.Trusted, false, "", name + "www.example.org (common name)"},

		{"ended yesterday", ended(day, mx), policy.Untrusted, false, "remembered", name + mx + " that expired on " + now.Add(-day).UTC().Format(time.DateOnly)},
		{"ended yesterday, wrong name", ended(day, "www.example.org"), policy.Untrusted, false, "", name + "www.example.org that expired on"},
		{"ended 15 days ago", ended(15*day, mx), policy.Untrusted, false, "", name + mx + " that expired on"},
		{"not yet valid", leaf(catest.Leaf{Names: []string{mx}, NotBefore: now.Add(day), NotAfter: now.Add(2 * day)}), policy.Untrusted, false, "", name + mx + " that is not valid before"},
		{"self-signed", serving(selfSigned(t, mx)), policy.Untrusted, false, "", "self-signed certificate for " + mx},
		{"self-signed for localhost", serving(selfSigned(t, "localhost")), policy.Untrusted, false, "", "self-signed certificate for localhost"},
		{"unknown authority", serving(catest.New(t).Issue(t, catest.Leaf{Names: []string{mx}})), policy.Untrusted, false, "", name + mx + " from Test Root, which leads to no trusted root"},
		{"missing intermediate", serving(cut), policy.Untrusted, false, "", name + mx + " from Test Intermediate, which leads to no trusted root"},
		{"for clients", leaf(catest.Leaf{Names: []string{mx}, Client: true}), policy.Untrusted, false, "", name + mx + " that is not for TLS servers"},
		{"signed by no authority", signedByLeaf(t, root), policy.Untrusted, false, "", name + mx},
		{"hostile text", serving(selfSigned(t, "250 ok\r\nQUIT\x7f")), policy.Untrusted, false, "", "self-signed certificate for 250 ok??QUIT?"},
	}
}

// signedByLeaf has a chain through a certificate of the root that may not sign.
func signedByLeaf(t *testing.T, root *catest.CA) *tls.Config {
	t.Helper()
	parent := root.Issue(t, catest.Leaf{Names: []string{"www.example.org"}})
	cert, _ := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: mx}, DNSNames: []string{mx}}, parent.Leaf, parent.PrivateKey.(crypto.Signer))
	cert.Certificate = append(cert.Certificate, parent.Certificate...)
	return serving(cert)
}

// TestWhatEachLevelMakesOfEachCertificate is the whole table, with real handshakes in TLS 1.2 and 1.3.
func TestWhatEachLevelMakesOfEachCertificate(t *testing.T) {
	root := catest.New(t)
	roots := &policy.Roots{Name: "test", Pool: root.Pool()}
	for _, k := range kinds(t, root) {
		accepted := append(strings.Fields(k.accepted), "may", "legacy", "encrypt", "auto", "pinned", "pinned-key")
		for name, d := range demands(roots, k.server.Certificates[0].Leaf) {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(k.name+" under "+name, func(t *testing.T) {
					server := k.server.Clone()
					server.MaxVersion = version
					out := under(t, d, server, policy.ConfigOptions{})
					k.check(t, d, out, slices.Contains(accepted, name))
				})
			}
		}
	}
}

func (k kind) check(t *testing.T, d *policy.Decision, out outcome, met bool) {
	t.Helper()
	v := out.verdict
	if !out.saw || v.Met != met || (out.err == nil) != met || v.Valid != k.valid {
		t.Fatalf("got %+v, %v; want met: %v, valid: %v", v, out.err, met, k.valid)
	}
	if d.Level <= level.Encrypt && v.Trust != k.trust {
		t.Errorf("got %v, want %v", v.Trust, k.trust)
	}
	if d.Level > level.Encrypt && (v.Trust == policy.Verified) != met || (v.Matched != "") != (v.Trust == policy.Verified) {
		t.Errorf("met: %v with %v by %q", met, v.Trust, v.Matched)
	}
	if v.Grace != (met && d.Grace > 0 && !k.valid) {
		t.Errorf("grace: %v", v.Grace)
	}
	var violation *policy.Violation
	if met {
		return
	}
	if !errors.As(out.err, &violation) || violation.Decision != d || violation.Verdict != v {
		t.Fatalf("got %v", out.err)
	}
	if want := d.Level.String() + ": expected " + v.Expected + ", saw " + v.Seen; out.err.Error() != want || v.Expected == "" {
		t.Errorf("got %q", out.err)
	}
	if d.Level == level.Verify && !strings.HasPrefix(v.Seen, k.seen) {
		t.Errorf("saw %q, want %q", v.Seen, k.seen)
	}
}

// TestWhichServersEachLevelSpeaksTo is about the servers whose certificate is never judged, or is
// good and behind a weak handshake.
func TestWhichServersEachLevelSpeaksTo(t *testing.T) {
	root := catest.New(t)
	roots := &policy.Roots{Name: "test", Pool: root.Pool()}
	cert := root.Issue(t, catest.Leaf{Names: []string{mx, domain}, Key: catest.RSA2048})
	with := func(change func(*tls.Config)) *tls.Config {
		c := serving(cert)
		change(c)
		return c
	}
	tests := []struct {
		name     string
		server   *tls.Config
		accepted string
	}{
		{"TLS 1.0 only", with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS10 }), "legacy"},
		{"RSA key exchange only", with(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		}), "legacy may auto"},
		{"3DES only", with(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}
		}), "legacy"},
		{"a negative serial number", serving(negativeSerial(t, func() tls.Certificate {
			return root.Issue(t, catest.Leaf{Names: []string{mx, domain}, Key: catest.RSA2048})
		})), ""},
	}
	for _, tt := range tests {
		for name, d := range demands(roots, cert.Leaf) {
			t.Run(tt.name+" under "+name, func(t *testing.T) {
				out := under(t, d, tt.server, policy.ConfigOptions{})
				met := slices.Contains(strings.Fields(tt.accepted), name)
				if (out.err == nil) != met || out.verdict.Met != met || out.saw != met {
					t.Errorf("got %+v, %v", out.verdict, out.err)
				}
				if met && (!out.verdict.Valid || out.verdict.Trust != policy.Verified || out.verdict.Matched != mx) {
					t.Errorf("got %+v", out.verdict)
				}
			})
		}
	}
}

func TestACertificateForAnAddressServesAnAddress(t *testing.T) {
	root := catest.New(t)
	roots := &policy.Roots{Pool: root.Pool()}
	for _, host := range []string{"192.0.2.1", "[IPv6:2001:db8::1]"} {
		for _, l := range []level.Level{level.Verify, level.Secure} {
			d := policy.New(policy.Options{Default: policy.Rule{Level: l, Roots: roots}}).Decide(context.Background(), host, host, 25)
			good := serving(root.Issue(t, catest.Leaf{IPs: []string{"192.0.2.1", "2001:db8::1"}}))
			if out := under(t, d, good, policy.ConfigOptions{}); out.err != nil || !out.verdict.Valid {
				t.Errorf("%s at %v: %v", host, l, out.err)
			}
			bad := serving(root.Issue(t, catest.Leaf{IPs: []string{"192.0.2.2"}, Names: []string{"192.0.2.1"}}))
			if out := under(t, d, bad, policy.ConfigOptions{}); out.err == nil || out.verdict.Seen != "certificate for 192.0.2.1, 192.0.2.2" {
				t.Errorf("%s at %v: %+v, %v", host, l, out.verdict, out.err)
			}
		}
	}
}

// TestAConstrainedAuthorityNamesNobodyInTheCommonName: constraints do not reach the common name, so below
// such an authority it does not count.
func TestAConstrainedAuthorityNamesNobodyInTheCommonName(t *testing.T) {
	for constraint, trusted := range map[string]bool{"": true, "example.org": false} {
		template := x509.Certificate{}
		if constraint != "" {
			template.PermittedDNSDomains = []string{constraint}
		}
		ca, key := authority(t, template)
		cert, _ := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: mx}}, ca.Leaf, key)
		d := demands(&policy.Roots{Pool: poolOf(ca)}, nil)["verify"]
		if out := under(t, d, serving(cert), policy.ConfigOptions{}); out.verdict.Met != trusted || out.verdict.Valid != trusted {
			t.Errorf("constrained to %q: got %+v, %v", constraint, out.verdict, out.err)
		}
	}
}
