package app

import (
	"context"
	"time"

	"postern/proxy"
	"postern/tls/level"
	"postern/tls/policy"
)

// Explanation is what one outbound would do with mail for a domain, and why.
type Explanation struct {
	Outbound string          `json:"outbound"`
	Route    string          `json:"route"`
	Domain   string          `json:"domain"`
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
		h.OnFailure = ""
	}
}

// ExplainedHost is one server that mail would go to.
type ExplainedHost struct {
	Name         string            `json:"name"`
	Port         uint16            `json:"port"`
	Preference   uint16            `json:"preference"`
	ImplicitTLS  bool              `json:"implicit_tls,omitempty"`
	MXSecurity   string            `json:"mx_security,omitempty"` // of the MX records: secure, insecure or indeterminate
	MXWhy        string            `json:"mx_why,omitempty"`
	Addresses    []string          `json:"addresses"`
	AddressError string            `json:"address_error,omitempty"`
	Decision     ExplainedDecision `json:"decision"`
	KnownTLS     bool              `json:"known_tls"`           // it completed TLS within 30 days
	SkipUntil    time.Time         `json:"skip_until,omitzero"` // STARTTLS is not tried before that
	JustFailed   bool              `json:"just_failed,omitempty"`
	Own          bool              `json:"own,omitempty"` // it is one of our outbounds: mail would go round in circles
	OnFailure    string            `json:"on_failure"`    // what becomes of mail when TLS is not as asked for
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
	MTASTS       *ExplainedPolicy   `json:"mta_sts,omitempty"`    // of the domain, if it was looked for
	Grade        string             `json:"grade"`
	TrustedRoots string             `json:"trusted_roots"`
	SNI          string             `json:"sni,omitempty"`
	GraceSeconds int64              `json:"grace_seconds,omitempty"` // for which an expired certificate passes
	Expires      time.Time          `json:"expires,omitzero"`
	Error        string             `json:"error,omitempty"`    // what could not be found out
	Observed     *ExplainedDecision `json:"observed,omitempty"` // what remember = "enforce" would ask for
	Reasons      []ExplainedReason  `json:"reasons"`            // all that was looked at, in order
}

// ExplainedPolicy is an MTA-STS policy (RFC 8461, 3.2).
type ExplainedPolicy struct {
	Mode string   `json:"mode"`
	MX   []string `json:"mx"`
}

// ExplainedReason is one thing that was looked at.
type ExplainedReason struct {
	Source string `json:"source"`
	Text   string `json:"text"`
}

// good says whether there is a server that mail may be handed to.
func (e Explanation) good() bool {
	for _, h := range e.Hosts {
		if h.AddressError == "" && !h.Own && h.Decision.Error == "" {
			return true
		}
	}
	return false
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
	return e
}

func (out *outbound) explainHost(h proxy.HostExplanation) ExplainedHost {
	e := ExplainedHost{
		Name: h.Name, Port: h.Port, Preference: h.Preference, ImplicitTLS: h.Implicit, MXSecurity: h.MXSecurity, MXWhy: h.MXWhy, Addresses: []string{},
		Decision: explainDecision(h.Decision), KnownTLS: h.Standing.KnownTLS, JustFailed: h.Failed, Own: h.Own,
		OnFailure: out.onFailure(h),
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
	if d.STS != nil {
		e.MTASTS = &ExplainedPolicy{Mode: d.STS.Mode.String(), MX: append([]string{}, d.STS.MX...)}
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

// onFailure is what the rules make of a handshake that fails, or of a server
// without STARTTLS (SEM 29, 30).
func (out *outbound) onFailure(h proxy.HostExplanation) string {
	switch d := h.Decision; {
	case d.Err != nil:
		return "the server is not used; when none is left, the mail waits (451)"
	case d.Level == level.None:
		return "TLS is not tried"
	case d.Level.Mandatory():
		return "the next server is tried; when none is left, the mail waits (451)"
	case h.Implicit:
		return "the mail waits (451): this port knows nothing but TLS"
	case h.Standing.Skip:
		return "STARTTLS is not tried before the skip ends; mail goes in clear"
	case out.cfg.Fallback == "never":
		return "the mail waits (451); where STARTTLS is not offered it goes in clear"
	case h.Standing.KnownTLS:
		return "the mail waits (451), because TLS has worked before; a second failure at least 5 minutes later lets it go in clear; where STARTTLS is not offered it goes in clear at once"
	case out.cfg.Fallback == "next-session":
		return "the mail waits once (451), and goes in clear the next time"
	}
	return "the same mail goes in clear, at once"
}
