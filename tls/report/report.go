// Package report has the words of SMTP TLS Reporting (RFC 8460): what sending mail systems
// tell a domain every day about the TLS of the sessions with its mail servers.
//
// A domain that publishes TLSA records or an MTA-STS policy asks senders to refuse what does not
// meet them, and would not hear of it when they do: of its own mistakes, such as a certificate that
// has expired, as little as of an attack. So senders count: each session attempt is one success or one
// failure under the policy that was in force, and a failure has a type.
//
// The types here are values and nothing more. They stand below the packages that come to know
// an outcome, so that each error says what it is where it arises, and nobody has to read
// its text. Counting is package outcomes' business; making and sending reports is not done yet.
package report

import "net/netip"

// Result is the type of a failure (RFC 8460, 4.3). The empty Result is success.
type Result string

// The results of RFC 8460, 4.3.1 (of the negotiation), 4.3.2.1 (of DANE) and 4.3.2.2 (of MTA-STS).
const (
	STARTTLSNotSupported    Result = "starttls-not-supported"
	CertificateHostMismatch Result = "certificate-host-mismatch"
	CertificateExpired      Result = "certificate-expired"
	CertificateNotTrusted   Result = "certificate-not-trusted"
	ValidationFailure       Result = "validation-failure" // any other; the reason says which

	TLSAInvalid   Result = "tlsa-invalid"   // there are records, and none can be used
	DNSSECInvalid Result = "dnssec-invalid" // no valid records came from the resolver
	DANERequired  Result = "dane-required"  // the sender insists on TLSA records, and there are none

	STSPolicyFetchError Result = "sts-policy-fetch-error"
	STSPolicyInvalid    Result = "sts-policy-invalid"
	STSWebPKIInvalid    Result = "sts-webpki-invalid"
)

// Failure is why a session attempt was not what the policy asks. The zero value is success.
type Failure struct {
	Result Result
	Reason string // failure-reason-code (RFC 8460, 4.4): a short, fixed word; may be empty
}

// OK says that there was no failure.
func (f Failure) OK() bool { return f.Result == "" }

// PolicyType says what kind of policy was in force (RFC 8460, 4.4).
type PolicyType string

// The types of policies.
const (
	TLSA     PolicyType = "tlsa"
	STS      PolicyType = "sts"
	NoPolicy PolicyType = "no-policy-found"
)

// Policy is what a session was held to (RFC 8460, 4.4). Its slices are shared and not to be changed.
type Policy struct {
	Type    PolicyType `json:"type"`
	Strings []string   `json:"strings,omitempty"` // TLSA records as in a zone file, or the lines of an MTA-STS policy
	Domain  string     `json:"domain"`            // the TLSA base domain, else that of the recipients
	MX      []string   `json:"mx,omitempty"`      // the patterns of an MTA-STS policy
}

// Outcome is one session attempt. What is not known is left zero: a host whose policy could
// not be found out was not connected to, for one.
type Outcome struct {
	Domain string // of the recipients
	Policy Policy
	Failure

	Sender  netip.Addr // ours
	Host    string     // as the MX record has it
	Address netip.Addr // of the host
	Hello   string     // what the host calls itself
}
