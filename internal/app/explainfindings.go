package app

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/tls/dane"
)

// rows writes several values under one name.
func (t *sheet) rows(name string, values []string) {
	for _, v := range values {
		t.row(name, v)
		name = ""
	}
}

// findings are all that was looked at, each in the words of who looked, or of its values.
func (t *sheet) findings(h ExplainedHost, now time.Time) {
	d := h.Decision
	t.rows("rule", d.reasons("operator"))
	t.row("MX records", securityText(h.MXSecurity, h.MXWhy))
	t.row("addresses", addressesText(h))
	if d.DANE != nil {
		t.rows("TLSA records", d.DANE.text())
	}
	if d.MTASTS != nil {
		t.rows("MTA-STS", d.MTASTS.text(now))
	} else {
		t.rows("MTA-STS", d.reasons("mta-sts"))
	}
	t.rows("remembered", d.reasons("remembered"))
	t.row("not asked", notAsked(d))
}

// reasons are what one of those who were asked has said.
func (d ExplainedDecision) reasons(source string) (all []string) {
	for _, r := range d.Reasons {
		if r.Source == source {
			all = append(all, printable(r.Text))
		}
	}
	return all
}

// notAsked names those who come after the one that has decided (SEM 26).
func notAsked(d ExplainedDecision) string {
	order := []string{"operator", "dane", "mta-sts", "remembered"}
	names := map[string]string{"dane": "DANE", "mta-sts": "MTA-STS", "remembered": "what is remembered"}
	at := slices.Index(order, d.Source)
	if at < 0 {
		return ""
	}
	var missing []string
	for _, source := range order[at+1:] {
		if len(d.reasons(source)) == 0 {
			missing = append(missing, names[source])
		}
	}
	if len(missing) == 0 {
		return ""
	}
	names["operator"] = "the configuration"
	return strings.Join(missing, ", ") + ": " + names[d.Source] + " comes first"
}

// securityText is what DNSSEC says of an answer, to be read behind it.
func securityText(security, why string) string {
	switch {
	case security == "secure":
		return "signed"
	case security != "insecure":
		return ""
	case strings.Contains(why, "not signed"):
		return printable(why)
	case why == "":
		return "not signed"
	}
	return "not signed: " + printable(why)
}

// text is about DNSSEC as a whole, where it is not as it should be.
func (d ExplainedDNSSEC) text() (all []string) {
	servers := strings.Join(d.Servers, ", ")
	switch d.Status {
	case "unavailable":
		all = []string{"not available: no signatures come through " + servers + ", so there is no DANE, and mail goes as without it"}
	case "withheld":
		all = []string{"held back: no signatures come through " + servers + ", and they should: mail for signed domains waits, because somebody may be in between"}
	default:
		return nil
	}
	if d.Why != "" {
		all = append(all, "found: "+printable(d.Why))
	}
	return append(all, `what to do: name a resolver that lets DNSSEC through in resolver { servers }, such as Unbound on this machine or one by "tls://"; or write dnssec = "off"`)
}

const shownRecord = 80 // characters of a TLSA record; those of a digest fit

func (e *ExplainedDANE) text() []string {
	all := []string{printable(e.Why)}
	if e.Status == dane.NotApplicable.String() {
		all[0] = "do not count: " + all[0]
	}
	for _, r := range e.Records {
		text := r.Record
		if len(text) > shownRecord {
			text = text[:shownRecord] + "..."
		}
		if r.Usable {
			all = append(all, text+": can be used")
		} else {
			all = append(all, text+": cannot: "+printable(r.Why))
		}
	}
	return all
}

// tlsaText is what TLSA records ask of the certificate.
func tlsaText(d ExplainedDecision) string {
	text := "as the TLSA records below say"
	if slices.ContainsFunc(d.TLSA, func(r string) bool { return strings.HasPrefix(r, "2 ") }) {
		text += "; where its issuer is meant (2), for " + printable(strings.Join(d.TLSANames, " or "))
	}
	return text
}

func (e *ExplainedPolicy) text(now time.Time) (all []string) {
	if e.Mode == "" {
		if e.Pending {
			all = append(all, "a look is under way, mail does not wait for it")
		}
		return append(all, strings.TrimSuffix("no policy: "+printable(e.Why), ": "))
	}
	first := "mode " + e.Mode
	if e.Mode == "testing" {
		first += " (which asks for nothing)"
	}
	if len(e.MX) > 0 {
		first += ", for " + printable(strings.Join(e.MX, " or "))
	}
	if !e.NamesHost && e.Mode != "none" {
		first += ": not this server"
	}
	from := "fetched just now"
	if e.Source == "cache" {
		from = fmt.Sprintf("kept since %s (%s ago)", when(e.Fetched), ago(now.Sub(e.Fetched)))
	}
	all = []string{first, fmt.Sprintf("id %s, %s, good until %s, max_age %s", e.ID, from, when(e.Expires), days(time.Duration(e.MaxAgeSeconds)*time.Second))}
	if e.Trouble != "" {
		all = append(all, "the last look failed: "+printable(e.Trouble))
	}
	return all
}

// ago is a length of time as people say it.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}
