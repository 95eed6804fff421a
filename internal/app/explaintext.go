package app

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// printExplanations writes them as a person reads them: where the mail would go,
// how safe that must be, why, and what happens otherwise.
func printExplanations(w io.Writer, all []Explanation, now time.Time) error {
	t := newSheet(w)
	for i, e := range all {
		if i > 0 {
			t.line("")
		}
		t.explanation(e, now)
	}
	return t.to.Flush()
}

func (t *sheet) explanation(e Explanation, now time.Time) {
	t.line(fmt.Sprintf("%s by outbound %q, %s", printable(e.Domain), e.Outbound, routeText[e.Route]))
	refusal := e.Refusal
	switch {
	case refusal != "":
		t.row("no server", printable(strings.Join(strings.Fields(refusal), " ")))
		t.row("what happens", refusalText(refusal))
	case !e.Usable:
		t.row("what happens", "no server can be used: "+refusalText("4"))
	}
	t.rows("DNSSEC", e.DNSSEC.text())
	for _, h := range e.Hosts {
		t.line("")
		t.explainedHost(e, h, now)
	}
}

var routeText = map[string]string{
	"mx":        "to its mail exchangers",
	"smarthost": "to the smarthost",
	"original":  "to the server that the client has chosen; what holds for the mail exchangers:",
}

// refusalText is what a mail server does with a refused RCPT.
func refusalText(reply string) string {
	if strings.HasPrefix(reply, "4") {
		return "the mail waits, and your mail server tries again"
	}
	return "your mail server returns the mail to its sender"
}

func (t *sheet) explainedHost(e Explanation, h ExplainedHost, now time.Time) {
	title := fmt.Sprintf("%s:%d", printable(h.Name), h.Port)
	if e.Route != "smarthost" {
		title = fmt.Sprintf("%d %s", h.Preference, title)
	}
	if h.ImplicitTLS {
		title += ", TLS from the first octet"
	}
	t.line("  " + title)
	t.indent = "  "
	defer func() { t.indent = "" }()
	d := h.Decision
	t.row("level", d.Level+", "+sourceText(d))
	t.row("certificate", certificateText(d))
	t.row("protects from", h.Protects)
	if d.Error != "" {
		t.row("cannot be used", printable(d.Error))
		t.row("what happens", h.OnFailure)
	} else {
		t.row("if TLS fails", h.OnFailure)
	}
	if o := d.Observed; o != nil {
		t.row("would be", fmt.Sprintf(`%s, with remember = "enforce": %s`, o.Level, certificateText(*o)))
	}
	t.findings(h, now)
	if e.State == "" { // or else what is remembered could not be looked at
		t.rows("standing", h.standing(now))
	}
}

func addressesText(h ExplainedHost) string {
	if h.AddressError != "" {
		return "none: " + printable(h.AddressError)
	}
	why := h.AddressWhy
	if why == h.MXWhy {
		why = "" // which the reader knows
	}
	return strings.TrimSuffix(strings.Join(h.Addresses, ", ")+"; "+securityText(h.AddressSecurity, why), "; ")
}

func sourceText(d ExplainedDecision) string {
	switch d.Source {
	case "operator":
		text := "as the configuration says"
		if d.Place != "" {
			text = "as " + d.Place + " says"
		}
		if d.DANE != nil && d.DANE.Status != "usable" && d.Error == "" {
			text += " of a server without TLSA records that can be used"
		}
		return text
	case "remembered":
		return "because of what is remembered" + until(d.Expires)
	case "dane":
		if d.Error != "" {
			return "unless it is found to have no TLSA records"
		}
		return "because of its TLSA records" + until(d.Expires)
	case "mta-sts":
		return "because of the MTA-STS policy of its domain" + until(d.Expires)
	case "default":
		return "because nobody asks for more"
	}
	return "because of " + d.Source + until(d.Expires)
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " (until " + when(t) + ")"
}

// certificateText is what a decision asks of the certificate.
func certificateText(d ExplainedDecision) string {
	switch {
	case len(d.Fingerprints) > 0:
		return "with the fingerprint " + strings.Join(d.Fingerprints, " or ")
	case len(d.TLSA) > 0:
		return tlsaText(d)
	case d.Error != "" && len(d.Names) == 0:
		return ""
	case len(d.Names) == 0 && d.Level == "none":
		return ""
	case len(d.Names) == 0:
		return "any"
	}
	names := slices.Clone(d.Names)
	for i, n := range names {
		if below, ok := strings.CutPrefix(n, "."); ok {
			names[i] = "a name below " + below
		}
	}
	text := "for " + printable(strings.Join(names, " or ")) + ", by an authority that the system trusts"
	if d.TrustedRoots != "system" {
		text = "for " + printable(strings.Join(names, " or ")) + ", by an authority in " + d.TrustedRoots
	}
	if d.GraceSeconds > 0 {
		text += fmt.Sprintf("; may have expired up to %s ago", days(time.Duration(d.GraceSeconds)*time.Second))
	}
	return text
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return count(int(d/(24*time.Hour)), "day")
	}
	return d.String()
}

// standing is what is known of the server beside the decision.
func (h ExplainedHost) standing(now time.Time) (all []string) {
	if h.Own {
		all = append(all, "it is an outbound of this postern: mail would go round in circles, and is refused")
	}
	if h.JustFailed {
		all = append(all, "it could not be used a moment ago, and is tried last")
	}
	if now.Before(h.SkipUntil) {
		all = append(all, "STARTTLS has failed there, and is not tried before "+when(h.SkipUntil))
	}
	if h.KnownTLS {
		all = append(all, "TLS has worked in the last 30 days")
	}
	if len(all) == 0 {
		all = append(all, "no TLS with it in the last 30 days")
	}
	return all
}
