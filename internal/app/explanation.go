package app

import (
	"context"
	"slices"
	"time"

	"postern/proxy"
	"postern/tls/policy"
)

// Explanation is what one outbound would do with mail for a domain, and why.
type Explanation struct {
	Outbound string          `json:"outbound"`
	Route    string          `json:"route"`
	Domain   string          `json:"domain"`
	DNSSEC   ExplainedDNSSEC `json:"dnssec"`
	Usable   bool            `json:"usable"`            // there is a server that mail may be handed to
	Hosts    []ExplainedHost `json:"hosts,omitempty"`   // in the order in which they are tried
	Refusal  string          `json:"refusal,omitempty"` // the reply to a RCPT, where there are no hosts
	Cause    string          `json:"cause,omitempty"`   // of the refusal
	State    string          `json:"state,omitempty"`   // "unavailable": what is remembered could not be looked at
}

// withoutMemory takes out what is only true where nothing is remembered.
func (e *Explanation) withoutMemory() {
	e.State = "unavailable"
	for i := range e.Hosts {
		h := &e.Hosts[i]
		for j := range h.Decision.Reasons {
			if r := &h.Decision.Reasons[j]; r.Source == string(policy.SourceRemembered) {
				r.Text = "not looked at: another process has the state"
			}
		}
		h.OnFailure, h.Decision.Remembered = "", nil
	}
}

// ExplainedHost is one server that mail would go to.
type ExplainedHost struct {
	Name        string `json:"name"`
	Port        uint16 `json:"port"`
	Preference  uint16 `json:"preference"`
	ImplicitTLS bool   `json:"implicit_tls,omitempty"`
	// The security of what the DNS says is secure (signed), insecure (proved not to be) or indeterminate.
	MXSecurity      string            `json:"mx_security,omitempty"`
	MXWhy           string            `json:"mx_why,omitempty"`
	Addresses       []string          `json:"addresses"`
	AddressSecurity string            `json:"address_security,omitempty"`
	AddressWhy      string            `json:"address_why,omitempty"`
	AddressError    string            `json:"address_error,omitempty"`
	Decision        ExplainedDecision `json:"decision"`
	KnownTLS        bool              `json:"known_tls"`           // it completed TLS within 30 days
	SkipUntil       time.Time         `json:"skip_until,omitzero"` // STARTTLS is not tried before that
	JustFailed      bool              `json:"just_failed,omitempty"`
	Own             bool              `json:"own,omitempty"`           // it is one of our outbounds: mail would go round in circles
	Protects        string            `json:"protects_from,omitempty"` // and from what not
	OnFailure       string            `json:"on_failure"`              // what becomes of mail when TLS is not as asked for
}

// ExplainedDecision is what is asked of the connection to a server.
type ExplainedDecision struct {
	Level        string             `json:"level"`
	Source       string             `json:"source"` // who asked for it
	Place        string             `json:"place,omitempty"`
	Names        []string           `json:"names,omitempty"` // the certificate must be for one of these
	Fingerprints []string           `json:"fingerprints,omitempty"`
	TLSA         []string           `json:"tlsa,omitempty"`       // the certificate must match one of these, as in a zone file
	TLSANames    []string           `json:"tlsa_names,omitempty"` // and be for one of these where a record is about its issuer
	DANE         *ExplainedDANE     `json:"dane,omitempty"`       // if it was asked for, and could be found out
	MTASTS       *ExplainedPolicy   `json:"mta_sts,omitempty"`    // if it was asked for
	Remembered   *ExplainedMemory   `json:"remembered,omitempty"` // if it was asked for
	Grade        string             `json:"grade"`
	TrustedRoots string             `json:"trusted_roots"`
	SNI          string             `json:"sni,omitempty"`
	GraceSeconds int64              `json:"grace_seconds,omitempty"` // for which an expired certificate passes
	Expires      time.Time          `json:"expires,omitzero"`
	Error        string             `json:"error,omitempty"`    // what could not be found out
	Observed     *ExplainedDecision `json:"observed,omitempty"` // what remember = "enforce" would ask for
	Reasons      []ExplainedReason  `json:"reasons"`            // all that was looked at, in order
}

// ExplainedReason is one thing that was looked at.
type ExplainedReason struct {
	Source string `json:"source"`
	Text   string `json:"text"`
}

// usable says whether mail may be handed to the server.
func (h ExplainedHost) usable() bool {
	return h.AddressError == "" && !h.Own && h.Decision.Error == ""
}

func (out *outbound) explain(ctx context.Context, domain string) Explanation {
	x := out.gateway.Explain(ctx, domain)
	e := Explanation{Outbound: out.name, Route: out.cfg.Route, Domain: x.Domain, Cause: string(x.Cause)}
	if x.Refusal.Code != 0 {
		e.Refusal = x.Refusal.String()
	}
	for _, h := range x.Hosts {
		e.Hosts = append(e.Hosts, out.explainHost(h))
	}
	e.Usable = slices.ContainsFunc(e.Hosts, ExplainedHost.usable)
	return e
}

func (out *outbound) explainHost(h proxy.HostExplanation) ExplainedHost {
	e := ExplainedHost{
		Name: h.Name, Port: h.Port, Preference: h.Preference, ImplicitTLS: h.Implicit, MXSecurity: h.MXSecurity, MXWhy: h.MXWhy,
		Addresses: []string{}, AddressSecurity: h.AddressSecurity, AddressWhy: h.AddressWhy, Decision: explainDecision(h.Decision), KnownTLS: h.Standing.KnownTLS, JustFailed: h.Failed, Own: h.Own,
		Protects: protection(h.Decision, h.Proven), OnFailure: out.onFailure(h),
	}
	for _, a := range h.Addresses {
		e.Addresses = append(e.Addresses, a.String())
	}
	if h.AddressError != nil {
		e.AddressError = h.AddressError.Error()
	}
	if h.Standing.Skip {
		e.SkipUntil = h.Standing.SkipUntil
	}
	return e
}

func explainDecision(d *policy.Decision) ExplainedDecision {
	e := ExplainedDecision{
		Level: d.Level.String(), Source: string(d.Source), Place: d.Place, Names: d.Names, Grade: d.Grade.String(),
		TrustedRoots: "system", SNI: d.SNI, GraceSeconds: int64(d.Grace / time.Second), Expires: d.Expires, Reasons: []ExplainedReason{},
	}
	if d.Roots != nil {
		e.TrustedRoots = d.Roots.Name
	}
	if d.Err != nil {
		e.Error = d.Err.Error()
	}
	for _, f := range d.Fingerprints {
		e.Fingerprints = append(e.Fingerprints, f.String())
	}
	for _, r := range d.TLSA {
		e.TLSA = append(e.TLSA, r.String())
	}
	if len(d.TLSA) > 0 {
		e.TLSANames = d.DANENames
	}
	if d.Found.DANE != nil {
		e.DANE = explainTLSA(d.Found.DANE)
	}
	if d.Found.STS != nil {
		e.MTASTS = explainPolicy(d.Found.STS, d.Host)
	}
	if d.Found.Remembered != nil {
		e.Remembered = (*ExplainedMemory)(d.Found.Remembered)
	}
	for _, r := range d.Reasons {
		e.Reasons = append(e.Reasons, ExplainedReason{string(r.Source), r.Text})
	}
	if d.Observed != nil {
		observed := explainDecision(d.Observed)
		e.Observed = &observed
	}
	return e
}
