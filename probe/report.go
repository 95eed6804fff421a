package probe

import (
	"cmp"
	"slices"
	"time"
)

// Check is what a finding is about. The words are stable: scripts may go by them.
type Check string

// The checks of a domain.
const (
	CheckMX     Check = "mx"     // somebody takes its mail
	CheckDNSSEC Check = "dnssec" // its MX records are signed, and the addresses of its hosts
	CheckMTASTS Check = "mta-sts"
	CheckTLSRPT Check = "tlsrpt"
)

// The checks of a host.
const (
	CheckTLSA     Check = "tlsa"     // there are TLSA records, of use
	CheckRollover Check = "rollover" // the certificate can change without an outage
)

// The checks of an address.
const (
	CheckConnect       Check = "connect"
	CheckSTARTTLS      Check = "starttls" // offered, and the handshake works
	CheckHello         Check = "clienthello"
	CheckVersions      Check = "versions"
	CheckSuites        Check = "suites"
	CheckOrder         Check = "order"
	CheckSecrecy       Check = "forward-secrecy"
	CheckGroups        Check = "groups"
	CheckSignatures    Check = "signatures" // of the key exchange
	CheckEMS           Check = "extended-master-secret"
	CheckRenegotiation Check = "renegotiation"
	CheckCompression   Check = "compression"
	CheckCertificate   Check = "certificate" // trust, names and dates
	CheckKey           Check = "key"
	CheckSignature     Check = "signature" // of the certificates
	CheckDANE          Check = "dane"      // the certificate is what the TLSA records say
	CheckTickets       Check = "tickets"
	CheckEHLO          Check = "ehlo" // after the handshake
	CheckInjection     Check = "injection"
	CheckPlaintext     Check = "plaintext"
	CheckAuth          Check = "auth"
)

// Finding is what one check came to.
type Finding struct {
	Check   Check  `json:"check"`
	Host    string `json:"host,omitempty"`    // the finding is about; empty: about the domain
	Address string `json:"address,omitempty"` // likewise; empty: about the host
	Grade   Grade  `json:"grade"`
	Text    string `json:"text"`             // what was found, one line
	Advice  string `json:"advice,omitempty"` // what to do; empty: nothing
}

// Report is what was found out about one target.
type Report struct {
	Target   string    `json:"target"`
	Kind     string    `json:"kind"`     // domain | host
	Grade    Grade     `json:"grade"`    // the worst one of all findings
	Complete bool      `json:"complete"` // nothing remained unknown
	Findings []Finding `json:"findings"` // the worst first
	Hosts    []Host    `json:"hosts"`    // in the order in which they are tried
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"` // that it took
}

// Host is one mail server.
type Host struct {
	Name       string    `json:"name"`
	Port       uint16    `json:"port"`
	Preference uint16    `json:"preference"`
	Level      string    `json:"level"`  // that a sender with DANE and MTA-STS asks of it
	Source     string    `json:"source"` // who asks for that: dane | mta-sts | default
	TLSA       []string  `json:"tlsa,omitempty"`
	Addresses  []Address `json:"addresses"`
}

// Address is what one address of a host can do.
type Address struct {
	Address         string       `json:"address"`
	Capabilities    []string     `json:"capabilities,omitempty"`     // in clear
	CapabilitiesTLS []string     `json:"capabilities_tls,omitempty"` // inside TLS
	Protocol        string       `json:"protocol,omitempty"`         // that a sender of today gets: version, suite, group
	Versions        []string     `json:"versions,omitempty"`         // accepted, the newest first
	Suites          []Suite      `json:"suites,omitempty"`           // accepted, in the server's order of preference
	Order           string       `json:"order,omitempty"`            // who chooses the suite below TLS 1.3: server | client
	Groups          []Group      `json:"groups,omitempty"`
	Certificate     *Certificate `json:"certificate,omitempty"`
	Connections     int          `json:"connections"` // that were made
}

// Suite is a cipher suite that is accepted.
type Suite struct {
	Version string `json:"version"`
	Name    string `json:"name"`
	Grade   Grade  `json:"grade"`
}

// Group is a key exchange group that is accepted.
type Group struct {
	Name  string `json:"name"`
	Grade Grade  `json:"grade"`
}

// Certificate is the server's own one.
type Certificate struct {
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	NotAfter  time.Time `json:"not_after"`
	Key       string    `json:"key"`       // "RSA 2048 bits", "ECDSA P-256"
	Signature string    `json:"signature"` // "SHA256-RSA"
	Trust     string    `json:"trust"`     // Anonymous | Untrusted | Trusted | Verified, as Postfix says
	SHA256    string    `json:"sha256"`    // of the whole, in hex
}

// add notes a finding. Texts hold words of strangers: they are made printable here, once.
func (r *Report) add(f Finding) {
	f.Text, f.Advice = clean(f.Text), clean(f.Advice)
	r.Findings = append(r.Findings, f)
}

// finish gives the grade of all, and the order.
func (r *Report) finish(now time.Time) {
	r.Complete, r.Grade = true, Unknown
	for _, f := range r.Findings {
		r.Complete = r.Complete && f.Grade != Unknown
		if f.Grade.Graded() {
			r.Grade = max(r.Grade, f.Grade)
		}
	}
	rank := func(g Grade) int {
		return [...]int{Unknown: 3, Note: 2, Good: 0, Sufficient: 1, PhaseOut: 4, Insufficient: 5}[g]
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(rank(b.Grade)-rank(a.Grade), cmp.Compare(urgency(a.Check), urgency(b.Check)))
	})
	r.Seconds = now.Sub(r.Began).Round(time.Millisecond).Seconds()
}

// urgency orders what is equally bad: first what keeps mail from coming, then what leaves it in clear or
// open to whoever interferes, then the rest.
func urgency(c Check) int {
	switch c {
	case CheckConnect, CheckMX, CheckDANE:
		return 0
	case CheckSTARTTLS, CheckInjection:
		return 1
	case CheckMTASTS, CheckCertificate, CheckTLSA:
		return 2
	}
	return 3
}

// Good says whether nothing is wanting, and nothing remained unknown.
func (r *Report) Good() bool { return r.Complete && r.Grade.Graded() && !r.Grade.Wanting() }

// Worst is the worst grade of the checks that are named; Unknown where none of them was graded.
func (r *Report) Worst(checks ...Check) Grade {
	worst := Unknown
	for _, f := range r.Findings {
		if f.Grade.Graded() && slices.Contains(checks, f.Check) {
			worst = max(worst, f.Grade)
		}
	}
	return worst
}
