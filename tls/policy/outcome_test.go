package policy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/catest"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
	"postern/tls/report"
)

// told is an outcome as it is counted: DANE, MTA-STS with its mode, and the report, as in
// "ok - tlsa mx.example.net success". A dash is "not asked".
func told(o policy.Outcome) string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	result, mode := o.STS()
	if mode != "" {
		result += "/" + mode
	}
	text := dash(o.DANE()) + " " + dash(result) + " "
	p, f, ok := o.Report()
	if !ok {
		return text + "not reported"
	}
	if f.OK() {
		f.Result = "success"
	}
	return strings.TrimSpace(fmt.Sprintf("%s%s %s %s %s", text, p.Type, p.Domain, f.Result, f.Reason))
}

// weblike is policies, with policies that cannot be had.
func weblike(name string) *web {
	failing := func(f mtasts.Finding) *web { return &web{now: map[string]mtasts.Finding{domain: f}} }
	switch name {
	case "fetch error":
		return failing(mtasts.Finding{Result: mtasts.FetchError, Why: "HTTP 500"})
	case "invalid":
		return failing(mtasts.Finding{Result: mtasts.PolicyInvalid})
	case "web PKI":
		return failing(mtasts.Finding{Result: mtasts.WebPKIInvalid})
	case "TXT error":
		return failing(mtasts.Finding{Result: mtasts.TXTError})
	case "pending":
		return failing(mtasts.Finding{Pending: true})
	case "standing": // although the last look failed
		f := promised(mtasts.Enforce, "*.example.net")
		f.Result = mtasts.FetchError
		return failing(f)
	case "testing":
		return promise(mtasts.Testing, "*.example.net")
	case "testing others":
		return promise(mtasts.Testing, "*.example.org")
	}
	return policies(name)
}

// TestEachOutcomeIsCountedUnderThePolicyThatDecided, for a session that met its decision and one whose
// handshake failed.
func TestEachOutcomeIsCountedUnderThePolicyThatDecided(t *testing.T) {
	const reason = " validation-failure handshake-failed"
	for _, tt := range []struct{ operator, dane, sts, met, failed string }{
		{"auto", "usable", "enforce", "ok - tlsa tlsa.example.net success", "mismatch - tlsa tlsa.example.net" + reason},
		{"auto", "insecure MX", "enforce", "ok ok/enforce tlsa tlsa.example.net success", "mismatch not_met/enforce tlsa tlsa.example.net" + reason},
		{"auto", "unusable", "", "unusable none/none tlsa tlsa.example.net tlsa-invalid", "unusable none/none tlsa tlsa.example.net" + reason},
		{"auto", "unusable", "enforce", "unusable ok/enforce sts example.com success", "unusable not_met/enforce sts example.com" + reason},
		{"auto", "none", "enforce", "not_applicable ok/enforce sts example.com success", "not_applicable not_met/enforce sts example.com" + reason},
		{"auto", "none", "standing", "not_applicable ok/enforce sts example.com success", "not_applicable not_met/enforce sts example.com" + reason},
		{"auto", "none", "testing", "not_applicable ok/testing sts example.com success", "not_applicable not_met/testing sts example.com" + reason},
		{"auto", "none", "mode none", "not_applicable none/none no-policy-found example.com success", "not_applicable none/none no-policy-found example.com" + reason},
		{"auto", "none", "pending", "not_applicable pending/none no-policy-found example.com success", "not_applicable pending/none no-policy-found example.com" + reason},
		{"auto", "unsigned", "", "insecure_chain none/none no-policy-found example.com success", "insecure_chain none/none no-policy-found example.com" + reason},
		{"auto", "unsigned", "TXT error", "insecure_chain txt_error/none no-policy-found example.com success", "insecure_chain txt_error/none no-policy-found example.com" + reason},
		{"auto", "unsigned", "fetch error", "insecure_chain fetch_error/none sts example.com sts-policy-fetch-error", "insecure_chain fetch_error/none sts example.com sts-policy-fetch-error"},
		{"auto", "unsigned", "invalid", "insecure_chain policy_invalid/none sts example.com sts-policy-invalid", "insecure_chain policy_invalid/none sts example.com sts-policy-invalid"},
		{"auto", "unsigned", "web PKI", "insecure_chain webpki_invalid/none sts example.com sts-webpki-invalid", "insecure_chain webpki_invalid/none sts example.com sts-webpki-invalid"},
		{"dane", "usable", "enforce", "ok - tlsa tlsa.example.net success", "mismatch - tlsa tlsa.example.net" + reason},
		{"dane", "none", "enforce", "not_applicable - no-policy-found example.com success", "not_applicable - no-policy-found example.com" + reason},
		{"dane", "unusable", "", "unusable - tlsa tlsa.example.net tlsa-invalid", "unusable - tlsa tlsa.example.net" + reason},
		{"encrypt", "usable", "enforce", "- - no-policy-found example.com success", "- - no-policy-found example.com" + reason},
		{"none", "usable", "enforce", "- - not reported", "- - not reported"},
	} {
		d := decided(tt.operator, tt.dane, tt.sts)
		if d.Err != nil {
			t.Fatalf("%+v: %v", tt, d.Err)
		}
		got := [2]string{told(policy.Outcome{Decision: d}), told(policy.Outcome{Decision: d, Failure: report.Failure{Result: report.ValidationFailure, Reason: "handshake-failed"}})}
		if diff := cmp.Diff([2]string{tt.met, tt.failed}, got); diff != "" {
			t.Errorf("%s, %s, %s: %s", tt.operator, tt.dane, tt.sts, diff)
		}
	}
}

// decided is a decision for example.com, as its parts are called in the tables.
func decided(operator, tlsa, sts string) *policy.Decision {
	own := policy.Rule{Auto: operator == "auto"}
	if !own.Auto {
		own.Level, _ = level.Parse(operator)
	}
	return engine(policy.Options{Default: own, DANE: found(tlsa), STS: weblike(sts)}).
		DecideMX(context.Background(), policy.MXInput{Domain: domain, Host: mx, Port: 25, MXSecure: tlsa != "insecure MX"})
}

// TestAHostThatIsNotUsedIsAFailureWithItsKind is what was found before there is a connection.
func TestAHostThatIsNotUsedIsAFailureWithItsKind(t *testing.T) {
	for _, tt := range []struct{ operator, dane, sts, want string }{
		{"auto", "error", "enforce", "tempfail - tlsa mx.example.net dnssec-invalid lookup-failed"},
		{"dane", "error", "", "tempfail - tlsa mx.example.net dnssec-invalid lookup-failed"},
		{"dane-only", "none", "", "not_applicable - tlsa mx.example.net dane-required"},
		{"dane-only", "unsigned", "", "insecure_chain - tlsa mx.example.net dane-required"},
		{"dane-only", "unusable", "", "unusable - tlsa tlsa.example.net tlsa-invalid"},
		{"auto", "none", "other hosts", "- mx_mismatch/enforce sts example.com validation-failure mx-not-in-policy"},
		{"auto", "insecure MX", "other hosts", "- mx_mismatch/enforce sts example.com validation-failure mx-not-in-policy"},
	} {
		d := decided(tt.operator, tt.dane, tt.sts)
		if d.Err == nil {
			t.Fatalf("%+v: %v", tt, d)
		}
		if got := told(d.Refused()); got != tt.want {
			t.Errorf("%s, %s, %s: got %q, want %q", tt.operator, tt.dane, tt.sts, got, tt.want)
		}
	}
}

// bogus is an error as package resolve has it.
type bogus bool

func (b bogus) Error() string { return "no signature" }
func (b bogus) Bogus() bool   { return bool(b) }

func TestAnAnswerThatDoesNotValidateIsToldFromOneThatDidNotCome(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{bogus(true), "tempfail - tlsa mx.example.net dnssec-invalid bogus"},
		{fmt.Errorf("asking: %w", bogus(true)), "tempfail - tlsa mx.example.net dnssec-invalid bogus"},
		{bogus(false), "tempfail - tlsa mx.example.net dnssec-invalid lookup-failed"},
		{errors.New("SERVFAIL"), "tempfail - tlsa mx.example.net dnssec-invalid lookup-failed"},
	} {
		e := engine(policy.Options{Default: policy.Rule{Auto: true}, DANE: &zone{err: &dane.LookupError{Name: mx, Type: "address", Err: tt.err}}})
		if got := told(e.Decide(context.Background(), domain, mx, 25).Refused()); got != tt.want {
			t.Errorf("%v: got %q", tt.err, got)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // it was us who gave up
		if got := told(e.Decide(ctx, domain, mx, 25).Refused()); got != "tempfail - not reported" {
			t.Errorf("%v, given up: got %q", tt.err, got)
		}
	}
	if got := told(policy.Bogus("Example.com.", bogus(true)).Refused()); got != "tempfail - tlsa example.com dnssec-invalid bogus" {
		t.Errorf("MX records: got %q", got)
	}
}

// TestWhatIsNoDomainOfOthersIsNotReported: nobody there publishes where reports go.
func TestWhatIsNoDomainOfOthersIsNotReported(t *testing.T) {
	relay := policy.Rule{Pattern: "192.0.2.0/24", Auto: true}
	e := engine(policy.Options{Default: policy.Rule{Auto: true}, Rules: []policy.Rule{relay}, DANE: &zone{}})
	in := policy.MXInput{Domain: domain, Host: "192.0.2.1", Port: 25}
	if got := told(policy.Outcome{Decision: e.DecideMX(context.Background(), in)}); got != "not_applicable - no-policy-found example.com success" {
		t.Errorf("an MX without a name: %q", got)
	}
	if got := told(policy.Outcome{Decision: e.DecideByRule(context.Background(), &relay, in)}); got != "not_applicable - not reported" {
		t.Errorf("a relay: %q", got)
	}
	for _, in.Domain = range []string{"", "[192.0.2.1]", "192.0.2.1", "[IPv6:2001:db8::1]"} {
		if got := told(policy.Outcome{Decision: e.DecideMX(context.Background(), in)}); got != "not_applicable - not reported" {
			t.Errorf("%q: %q", in.Domain, got)
		}
	}
}

// TestRecordsThatOnlyAnUnsignedDomainLeadsToAreNotInvalid: they could be matched, and are not to be (dane.InsecureEncrypt).
func TestRecordsThatOnlyAnUnsignedDomainLeadsToAreNotInvalid(t *testing.T) {
	z := found("unusable")
	z.finding.Usable = 1
	d := engine(policy.Options{Default: policy.Rule{Auto: true}, DANE: z}).Decide(context.Background(), domain, mx, 25)
	if got := told(policy.Outcome{Decision: d}); got != "unusable - tlsa tlsa.example.net success" {
		t.Errorf("got %q", got)
	}
}

// TestAServerWhoseNameIsNotKnownIsNotHeldToOneByATest: see policy.Any.
func TestAServerWhoseNameIsNotKnownIsNotHeldToOneByATest(t *testing.T) {
	root := catest.New(t)
	memory := remembers{domain + "/mx1.example.net": known(3), domain + "/mx2.example.net": known(3)}
	e := engine(policy.Options{Default: policy.Rule{Auto: true, Roots: &policy.Roots{Pool: root.Pool()}}, Memory: memory, STS: weblike("testing")})
	var all []*policy.Decision
	for _, host := range []string{"mx1.example.net", "mx2.example.net"} {
		all = append(all, e.Decide(context.Background(), domain, host, 25))
	}
	for _, host := range []string{"mx1.example.net", "mx2.example.net"} {
		state := shown(root.Issue(t, catest.Leaf{Names: []string{host}}))
		if v := policy.Any(all).Judge(state, time.Now()); !v.Met || !v.Tested.OK() {
			t.Errorf("%s: %+v", host, v)
		}
	}
}

// RFC 8460, 4.4.
func TestAReportShowsThePolicyAsItWasPublished(t *testing.T) {
	p, _, _ := policy.Outcome{Decision: decided("auto", "unusable", "")}.Report()
	if diff := cmp.Diff(report.Policy{Type: report.TLSA, Domain: "tlsa.example.net", Strings: []string{aRecord.String()}}, p); diff != "" {
		t.Error(diff)
	}
	lines := []string{"version: STSv1", "mode: enforce", "mx: *.example.net", "max_age: 86400"}
	w := policies("enforce")
	f := w.now[domain]
	f.Policy.Lines = lines
	d := engine(policy.Options{Default: policy.Rule{Auto: true}, STS: w}).Decide(context.Background(), domain, mx, 25)
	p, _, _ = policy.Outcome{Decision: d}.Report()
	if diff := cmp.Diff(report.Policy{Type: report.STS, Domain: domain, Strings: lines, MX: []string{"*.example.net"}}, p); diff != "" {
		t.Error(diff)
	}
}

// certificate is one that a server may show, and what kind of failure that is at level secure, by name.
type certificate struct {
	name string
	tls.Certificate
	want string
}

func certificates(t *testing.T, root *catest.CA) ([]certificate, *policy.Roots) {
	hour, now := time.Hour, time.Now()
	constrained, key := authority(t, x509.Certificate{PermittedDNSDomains: []string{"example.org"}, NotBefore: now.Add(-hour), NotAfter: now.Add(hour)})
	beyond, _ := issue(t, &x509.Certificate{DNSNames: []string{mx}, NotBefore: now.Add(-hour), NotAfter: now.Add(hour)}, constrained.Leaf, key)
	pool := root.Pool()
	pool.AddCert(constrained.Leaf)
	leaf := func(l catest.Leaf) tls.Certificate { return root.Issue(t, l) }
	all := []certificate{
		{"good", leaf(catest.Leaf{Names: []string{mx}}), ""},
		{"wrong name", leaf(catest.Leaf{Names: []string{"www.example.org"}}), "certificate-host-mismatch"},
		{"expired", leaf(catest.Leaf{Names: []string{mx}, NotBefore: now.Add(-2 * hour), NotAfter: now.Add(-hour)}), "certificate-expired"},
		{"too early", leaf(catest.Leaf{Names: []string{mx}, NotBefore: now.Add(hour), NotAfter: now.Add(2 * hour)}), "certificate-expired not-yet-valid"},
		{"unknown authority", catest.New(t).Issue(t, catest.Leaf{Names: []string{mx}}), "certificate-not-trusted unknown-authority"},
		{"self-signed", selfSigned(t, mx), "certificate-not-trusted self-signed"},
		{"signed by no authority", signedByLeaf(t, root).Certificates[0], "certificate-not-trusted unknown-authority"},
		{"of an authority for other names", beyond, "certificate-not-trusted chain-invalid"},
		{"of a client", leaf(catest.Leaf{Names: []string{mx}, Client: true}), "certificate-not-trusted not-for-tls-servers"},
		{"none", tls.Certificate{}, "validation-failure no-certificate"},
	}
	return all, &policy.Roots{Pool: pool}
}

func words(f report.Failure) string {
	return strings.TrimSpace(string(f.Result) + " " + f.Reason)
}

// TestEachCertificateThatIsRefusedHasItsKindOfFailure: what is enforced at level secure, and by an MTA-STS policy; and
// what a policy in mode testing has counted, without a consequence (RFC 8461, 5).
func TestEachCertificateThatIsRefusedHasItsKindOfFailure(t *testing.T) {
	root := catest.New(t)
	all, roots := certificates(t, root)
	decide := func(l level.Level, sts string) *policy.Decision {
		r := policy.Rule{Auto: l == level.None, Level: l, Roots: roots, Match: []string{"hostname"}}
		return policy.New(policy.Options{Default: r, STS: weblike(sts)}).Decide(context.Background(), domain, mx, 25)
	}
	secure, enforce, testing, others := decide(level.Secure, ""), decide(level.None, "enforce"), decide(level.None, "testing"), decide(level.None, "testing others")
	for _, c := range all {
		state := shown(c.Certificate)
		for name, d := range map[string]*policy.Decision{"secure": secure, "enforce": enforce} {
			if v := d.Judge(state, time.Now()); words(v.Failure) != c.want || v.Met != (c.want == "") || !v.Tested.OK() {
				t.Errorf("%s, %s: %+v", name, c.name, v)
			}
		}
		if v := testing.Judge(state, time.Now()); !v.Met || !v.Failure.OK() || words(v.Tested) != c.want {
			t.Errorf("testing, %s: %+v", c.name, v)
		}
		if v := others.Judge(state, time.Now()); !v.Met || words(v.Tested) != "validation-failure mx-not-in-policy" {
			t.Errorf("testing for other hosts, %s: %+v", c.name, v)
		}
	}
	old := shown(all[0].Certificate)
	old.Version, old.CipherSuite = tls.VersionTLS11, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
	if v := testing.Judge(old, time.Now()); !v.Met || words(v.Tested) != "validation-failure tls-too-weak" {
		t.Errorf("TLS 1.1: %+v", v)
	}
}

// TestFailuresByTLSARecordsHaveTheirKind is STANDARDS 142 for DANE.
func TestFailuresByTLSARecordsHaveTheirKind(t *testing.T) {
	root := catest.New(t)
	sub := root.Intermediate(t)
	good := sub.Issue(t, catest.Leaf{Names: []string{mx}})
	issuer, err := x509.ParseCertificate(good.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	ta, other := dane.From(issuer, 2, 0, 1), dane.From(selfSigned(t, mx).Leaf, 3, 1, 1)
	past := catest.Leaf{Names: []string{mx}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	for _, tt := range []struct {
		name   string
		server tls.Certificate
		record dane.Record
		want   string
	}{
		{"the issuer", good, ta, ""},
		{"another key", good, other, "validation-failure tlsa-mismatch"},
		{"another name", sub.Issue(t, catest.Leaf{Names: []string{"www.example.org"}}), ta, "certificate-host-mismatch dane-ta"},
		{"expired", sub.Issue(t, past), ta, "certificate-expired dane-ta"},
	} {
		if v := byTLSA(nil, true, tt.record).Judge(shown(tt.server), time.Now()); words(v.Failure) != tt.want || v.Met != (tt.want == "") {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
	d := demands(nil, nil)["mispinned"]
	if v := d.Judge(shown(good), time.Now()); words(v.Failure) != "validation-failure fingerprint-mismatch" {
		t.Errorf("fingerprint: %+v", v)
	}
}
