package app

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"postern/peers"
)

// none stands where a table has nothing to say.
const none = "-"

// moment is a time as people read it, in their own zone, which it names: what is
// shown is compared with logs of other machines.
const moment = "2006-01-02 15:04 MST"

func when(t time.Time) string {
	if t.IsZero() {
		return none
	}
	return t.Local().Format(moment)
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return printable(s)
}

// printSummaries writes a table of the peers.
func printSummaries(w io.Writer, all []peers.Summary, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tLAST SEEN\tSECURED\tCLEAR\tFAILED\tTLS\tTRUST\tREMEMBERED\tSKIP UNTIL")
	for _, s := range all {
		name := s.Name
		if s.Hello != "" {
			name += " (" + s.Hello + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", printable(name), s.Kind, when(s.LastSeen), s.Secured, s.Clear, s.Failed,
			orNone(s.Version), orNone(s.Trust), rememberedText(s), skipText(s.SkipUntil, now))
	}
	return t.Flush()
}

func rememberedText(s peers.Summary) string {
	text := orNone(strings.Join(s.Remembered, ", "))
	if !s.Outage.IsZero() {
		text += " (failing since " + when(s.Outage) + ")"
	}
	return text
}

func skipText(until, now time.Time) string {
	if !now.Before(until) {
		return none
	}
	return when(until)
}

// printRecords writes all about some peers, each under its name.
func printRecords(w io.Writer, records []PeerRecord, now time.Time) error {
	t := newSheet(w)
	for i, r := range records {
		if i > 0 {
			t.line("")
		}
		name := r.Kind + " " + printable(r.Name)
		if r.Hello != "" {
			name += " (" + printable(r.Hello) + ")"
		}
		t.line(name)
		switch {
		case r.Host != nil:
			t.host(r.Host, now)
		case r.Domain != nil:
			t.domain(r.Domain)
		case r.Client != nil:
			t.client(r.Client)
		case r.Policy != nil:
			t.policy(r.Policy, now)
		case r.TLSA != nil:
			t.row("had TLSA records", when(r.TLSA.Seen)+", and is expected to for 30 days, also while DNSSEC is not available")
		}
	}
	return t.to.Flush()
}

// sheet is a list of names and values. A value that says nothing is left out.
type sheet struct {
	to     *tabwriter.Writer
	indent string // of names beyond two columns
}

func newSheet(w io.Writer) *sheet { return &sheet{to: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t *sheet) line(text string) { fmt.Fprintln(t.to, text) }

func (t *sheet) row(name, value string) {
	if value != "" {
		fmt.Fprintf(t.to, "  %s%s\t%s\n", t.indent, name, value)
	}
}

func (t *sheet) tally(name string, n peers.Tally) { t.row(name, tallyText(n)) }

// tallyText says how often, and when first and last.
func tallyText(n peers.Tally) string {
	switch {
	case n.Count == 0:
		return ""
	case n.Count == 1 || n.First.Equal(n.Last):
		return fmt.Sprintf("%d, %s", n.Count, when(n.Last))
	}
	return fmt.Sprintf("%d, from %s to %s", n.Count, when(n.First), when(n.Last))
}

func (t *sheet) uses(name string, all peers.Uses) {
	for _, u := range all {
		t.row(name, printable(u.Name)+": "+tallyText(u.Tally))
		name = ""
	}
}

func (t *sheet) habits(h peers.Habits) {
	t.tally("with TLS", h.Secured)
	t.tally("resumed", h.Resumed)
	t.tally("forward secret", h.ForwardSecret)
	t.tally("certificate valid", h.Valid)
	t.uses("verdicts", h.Verdicts)
	t.uses("versions", h.Versions)
	t.uses("cipher suites", h.Suites)
	t.uses("groups", h.Groups)
}

func (t *sheet) host(r *peers.HostRecord, now time.Time) {
	t.tally("seen", r.Seen)
	t.habits(r.Habits)
	t.tally("without TLS", r.Clear)
	t.tally("TLS failed", r.Failed)
	t.tally("failed since TLS worked", r.Failing)
	t.tally("refused by us", r.Rejected)
	t.row("why", printable(r.Why))
	if !r.Skip.Until.IsZero() {
		over := ""
		if !now.Before(r.Skip.Until) {
			over = ", which is over: STARTTLS is tried again"
		}
		t.row("STARTTLS skipped", fmt.Sprintf("until %s (%s in a row, the last for %s)%s", when(r.Skip.Until), count(r.Skip.Times, "time"), r.Skip.Hold, over))
	}
	if !r.AskedForTLS.IsZero() {
		t.row("asked for TLS", when(r.AskedForTLS))
	}
}

func (t *sheet) domain(r *peers.DomainRecord) {
	t.tally("seen", r.Seen)
	if !r.Outage.IsZero() {
		t.row("failing", "since "+when(r.Outage))
	}
	t.tally("memory released", r.Released)
	for _, h := range r.Hosts {
		t.row("server", fmt.Sprintf("%s:%d, seen %s", printable(h.Name), h.Port, tallyText(h.Seen)))
		t.tally("  valid in a row", h.Valid)
		if !h.Since.IsZero() {
			t.row("  remembered", "since "+when(h.Since)+": its certificate must validate")
		}
		t.tally("  refused by us", h.Rejected)
		t.row("  why", printable(h.Why))
	}
}

func (t *sheet) policy(r *PolicyRecord, now time.Time) {
	t.row("MTA-STS", "mode "+orNone(r.Mode))
	t.row("for", printable(strings.Join(r.MX, " or ")))
	t.row("id", orNone(r.ID))
	if r.Fetched.IsZero() {
		t.row("fetched", none)
		return
	}
	t.row("fetched", fmt.Sprintf("%s (%s ago), good for %s", when(r.Fetched), ago(now.Sub(r.Fetched)), days(time.Duration(r.MaxAgeSeconds)*time.Second)))
}

func (t *sheet) client(r *peers.ClientRecord) {
	t.tally("handshakes", r.Seen)
	t.habits(r.Habits)
	t.tally("failed", r.Failed)
	if !r.Held.IsZero() {
		t.row("STARTTLS withheld", "since "+when(r.Held))
	}
	if !r.Expected.IsZero() {
		t.row("forward secrecy expected", "since "+when(r.Expected))
	}
}
