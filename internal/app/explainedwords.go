package app

import (
	"slices"

	"postern/proxy"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

// protection says in a line from whom a decision protects the mail, and from whom not;
// docs/levels.md has it at length. proven is as in proxy.HostExplanation. It is empty for a
// server that is not used.
func protection(d *policy.Decision, proven bool) string {
	switch {
	case d.Err != nil:
		return ""
	case d.Level == level.None:
		return "nobody"
	case d.Level == level.May:
		return "who only listens, as long as the server does TLS; not who can change what is on the way"
	case d.Level == level.Encrypt:
		return "who only listens, or takes STARTTLS away; not who answers in the server's place"
	case d.Level == level.Fingerprint:
		return "everybody who has not the server's key"
	}
	authority := "; it rests on certificate authorities"
	switch {
	case len(d.TLSA) > 0:
		authority = "; it rests on DNSSEC"
	case d.Source == policy.SourceMTASTS:
		authority += " and on the first fetch of the policy"
	case d.Source == policy.SourceRemembered:
		authority += " and on the first contacts"
	}
	if proven || named(d) {
		return "who listens, interferes or forges DNS answers" + authority
	}
	return "who listens or interferes on the way to this server; not who forges MX records, which are not signed" + authority
}

// named says whether somebody other than the MX record has said that the server is the
// domain's: its policy, or the operator.
func named(d *policy.Decision) bool {
	if d.STS != nil && d.STS.Mode == mtasts.Enforce {
		return true
	}
	return d.Source == policy.SourceOperator && len(d.Names) > 0 && !slices.Contains(d.Names, d.Host)
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
