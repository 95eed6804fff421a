package policy

import (
	"cmp"

	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/report"
)

// Counted is what those who count outcomes want to know of a decision, besides Findings.
type Counted struct {
	TLSAUnknown bool // it could not be found out whether there are TLSA records, and which
	// Failure is why Decision.Err is set, where that is the destination's doing.
	Failure report.Failure
	// Tested is what a policy in mode testing would ask in mode enforce; else nil (RFC 8461, 5).
	Tested *Decision
	// Relay says that the host was declared as a relay, and is no MX of the domain.
	Relay bool
}

// The failures that are found before there is a connection.
var (
	failedBogus    = report.Failure{Result: report.DNSSECInvalid, Reason: "bogus"}
	failedLookup   = report.Failure{Result: report.DNSSECInvalid, Reason: "lookup-failed"}
	failedNoTLSA   = report.Failure{Result: report.DANERequired}
	failedTLSA     = report.Failure{Result: report.TLSAInvalid}
	failedNotAnMX  = report.Failure{Result: report.ValidationFailure, Reason: "mx-not-in-policy"}
	failedNoCert   = report.Failure{Result: report.ValidationFailure, Reason: "no-certificate"}
	failedWeak     = report.Failure{Result: report.ValidationFailure, Reason: "tls-too-weak"}
	failedPrint    = report.Failure{Result: report.ValidationFailure, Reason: "fingerprint-mismatch"}
	failedName     = report.Failure{Result: report.CertificateHostMismatch}
	failedNoRoots  = report.Failure{Result: report.ValidationFailure, Reason: "no-trusted-roots"}
	failedExpired  = report.Failure{Result: report.CertificateExpired}
	failedTooEarly = report.Failure{Result: report.CertificateExpired, Reason: "not-yet-valid"}
	failedPurpose  = report.Failure{Result: report.CertificateNotTrusted, Reason: "not-for-tls-servers"}
	failedChain    = report.Failure{Result: report.CertificateNotTrusted, Reason: "chain-invalid"}
	failedSelf     = report.Failure{Result: report.CertificateNotTrusted, Reason: "self-signed"}
	failedIssuer   = report.Failure{Result: report.CertificateNotTrusted, Reason: "unknown-authority"}
)

// failureByTLSA keeps dane's words, which are those of RFC 8460.
func failureByTLSA(r dane.Result) report.Failure {
	f := report.Failure{Result: report.Result(r.Failure), Reason: "dane-ta"}
	if r.Failure == dane.Mismatch {
		f.Reason = "tlsa-mismatch"
	}
	return f
}

// Bogus is the decision for a domain whose MX records do not validate: mail waits, and no
// host is known (RFC 7672, 2.1.2).
func Bogus(domain string, err error) *Decision {
	return &Decision{Domain: canonical(domain), Source: SourceDANE, Err: err,
		Counted: Counted{TLSAUnknown: true, Failure: failedBogus}}
}

// Outcome is how one session attempt came out, as far as TLS is concerned.
type Outcome struct {
	Decision *Decision
	Failure  report.Failure // why the session is not what the decision asks, or has no TLS; zero: all is well
	Tested   report.Failure // Verdict.Tested
}

// Refused is the outcome of a host that is not used because of Err.
func (d *Decision) Refused() Outcome { return Outcome{Decision: d, Failure: d.Counted.Failure} }

// DANE is what DANE came to, as metrics call it: ok, mismatch (or no TLS at all), unusable,
// not_applicable (no TLSA records), insecure_chain, tempfail; "" where it was not asked or
// did not come to that.
func (o Outcome) DANE() string {
	d, found := o.Decision, o.Decision.Found.DANE
	switch {
	case d.Counted.TLSAUnknown:
		return "tempfail"
	case found == nil || d.NotAnMX != "":
		return ""
	case found.Status == dane.Unusable:
		return "unusable"
	case found.Status == dane.Usable && o.Failure.OK():
		return "ok"
	case found.Status == dane.Usable:
		return "mismatch"
	case found.Status == dane.NotApplicable && !isAddress(d.Host):
		return "insecure_chain"
	}
	return "not_applicable"
}

func isAddress(host string) bool {
	_, ok := address(host)
	return ok
}

// stsWords are the results of a look-up as metrics call them.
var stsWords = map[mtasts.Result]string{
	mtasts.FetchError: "fetch_error", mtasts.PolicyInvalid: "policy_invalid",
	mtasts.WebPKIInvalid: "webpki_invalid", mtasts.TXTError: "txt_error",
}

// STS is what MTA-STS came to, as metrics call it: none (there is no policy, or one of mode none), pending or a word
// for why it is not known, mx_mismatch, not_met, or ok; "" where it was not asked. The mode is that of the policy,
// "none" without.
func (o Outcome) STS() (result, mode string) {
	d, found := o.Decision, o.Decision.Found.STS
	switch {
	case found == nil:
		return "", ""
	case found.Policy == nil && found.Result != "":
		return stsWords[found.Result], mtasts.None.String()
	case found.Pending:
		return "pending", mtasts.None.String()
	case found.Policy == nil || found.Policy.Mode == mtasts.None:
		return "none", mtasts.None.String()
	}
	mode = found.Policy.Mode.String()
	switch failure := o.bySTS(); {
	case d.NotAnMX != "" || failure == failedNotAnMX:
		return "mx_mismatch", mode
	case !failure.OK():
		return "not_met", mode
	}
	return "ok", mode
}

// bySTS is the failure by the policy, in mode testing too.
func (o Outcome) bySTS() report.Failure {
	if o.Failure.OK() {
		return o.Tested
	}
	return o.Failure
}

// Report is the outcome as RFC 8460 counts it: under the policy that has decided. ok is false where there is
// nothing to tell the domain: it is none, wanted no TLS from us, or was not reached because of ourselves.
func (o Outcome) Report() (p report.Policy, f report.Failure, ok bool) {
	d := o.Decision
	switch {
	case d.Domain == "" || isAddress(d.Domain), d.Counted.Relay,
		d.Err != nil && o.Failure.OK(), d.Err == nil && d.Level == level.None:
		return p, f, false
	}
	p, f = o.byPolicy()
	return p, f, true
}

func (o Outcome) byPolicy() (report.Policy, report.Failure) {
	d, tlsa, sts := o.Decision, o.Decision.Found.DANE, o.Decision.Found.STS
	switch {
	case d.NotAnMX != "":
		return d.policySTS(), o.Failure
	case tlsa != nil && tlsa.Status == dane.Usable:
		return d.policyTLSA(), o.Failure
	case d.Err != nil: // no records that could be had, or that could be used
		return d.policyTLSA(), o.Failure
	case tlsa != nil && tlsa.Status == dane.Unusable && d.Source != SourceMTASTS:
		if o.Failure.OK() && tlsa.Usable == 0 {
			return d.policyTLSA(), failedTLSA
		}
		return d.policyTLSA(), o.Failure
	case sts != nil && sts.Policy != nil && sts.Policy.Mode != mtasts.None:
		return d.policySTS(), o.bySTS()
	case sts != nil && sts.Policy == nil && sts.Result.Reportable(): // RFC 8460, 4.3.2.2
		return report.Policy{Type: report.STS, Domain: d.Domain}, report.Failure{Result: report.Result(sts.Result)}
	}
	return report.Policy{Type: report.NoPolicy, Domain: d.Domain}, o.Failure
}

func (d *Decision) policySTS() report.Policy {
	return report.Policy{Type: report.STS, Domain: d.Domain, Strings: d.STS.Lines, MX: d.STS.MX}
}

// policyTLSA is without records where there are none, or none that could be had.
func (d *Decision) policyTLSA() report.Policy {
	p := report.Policy{Type: report.TLSA, Domain: cmp.Or(d.Host, d.Domain)}
	if found := d.Found.DANE; found != nil {
		p.Domain = cmp.Or(found.Base, p.Domain)
		for _, r := range found.Records {
			p.Strings = append(p.Strings, r.String())
		}
	}
	return p
}

// test makes what a policy in mode testing would ask. What it asks is only looked at, never enforced.
func (e *Engine) test(d *Decision) {
	t := &Decision{Domain: d.Domain, Host: d.Host, Port: d.Port, Level: level.Secure, Source: SourceMTASTS,
		Names: []string{d.Host}, Grade: d.Grade, Roots: d.Roots, SNI: d.SNI, STS: d.STS, chains: d.chains}
	e.exclude(t)
	d.Counted.Tested = t
}
