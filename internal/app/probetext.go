package app

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"postern/probe"
)

// textReports writes reports for people: the worst first, with what to do.
type textReports struct {
	paint palette
	out   io.Writer
	whole bool // each report, not only the table
	table bool
	all   []*probe.Report
}

func (t *textReports) report(r *probe.Report) error {
	t.all = append(t.all, r)
	if !t.whole {
		return nil
	}
	var b strings.Builder
	if len(t.all) > 1 {
		b.WriteString("\n")
	}
	t.text(&b, r)
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *textReports) end() error {
	if !t.table || len(t.all) == 0 {
		return nil
	}
	if t.whole {
		fmt.Fprintln(t.out)
	}
	return summary(t.out, t.all, t.paint)
}

// sections are the parts of a report, and the grades in them.
var sections = []struct {
	title  string
	grades []probe.Grade
}{
	{"To do", []probe.Grade{probe.Insufficient, probe.PhaseOut}},
	{"Not known", []probe.Grade{probe.Unknown}},
	{"As it should be", []probe.Grade{probe.Sufficient, probe.Good}},
	{"To know", []probe.Grade{probe.Note}},
}

func (t *textReports) text(b *strings.Builder, r *probe.Report) {
	fmt.Fprintf(b, "%s: %s", printable(r.Target), t.paint.grade(r.Grade, r.Grade.String()))
	if !r.Complete && r.Grade != probe.Unknown {
		b.WriteString(", as far as it could be looked at")
	}
	fmt.Fprintf(b, " (%s, %.1f s)\n", count(len(r.Hosts), "host"), r.Seconds)
	for _, s := range sections {
		title := s.title
		for _, g := range s.grades {
			for _, f := range r.Findings {
				if f.Grade != g {
					continue
				}
				if title != "" {
					fmt.Fprintf(b, "\n%s\n", title)
					title = ""
				}
				t.finding(b, f)
			}
		}
	}
	for _, h := range r.Hosts {
		t.host(b, h)
	}
}

const gradeWidth = 12 // of "insufficient"

func (t *textReports) finding(b *strings.Builder, f probe.Finding) {
	pad := strings.Repeat(" ", gradeWidth-len(f.Grade.String()))
	fmt.Fprintf(b, "  %s%s  %s%s: %s\n", t.paint.grade(f.Grade, f.Grade.String()), pad, place(f), f.Check, f.Text)
	if f.Advice != "" {
		fmt.Fprintf(b, "  %s  → %s\n", strings.Repeat(" ", gradeWidth), f.Advice)
	}
}

// host is what a server can do, as a list.
func (t *textReports) host(b *strings.Builder, h probe.Host) {
	fmt.Fprintf(b, "\n%s:%d, level %s (%s)\n", h.Name, h.Port, h.Level, h.Source)
	for _, r := range h.TLSA {
		fmt.Fprintf(b, "  TLSA %s\n", r)
	}
	for _, a := range h.Addresses {
		fmt.Fprintf(b, "  %s, %s\n", a.Address, count(a.Connections, "connection"))
		if a.Protocol != "" {
			fmt.Fprintf(b, "    a sender of today: %s\n", a.Protocol)
		}
		if c := a.Certificate; c != nil {
			fmt.Fprintf(b, "    certificate: %s, %s, for %s, by %s, until %s\n", c.Key, c.Trust, orNone(some(c.Names)), c.Issuer, c.NotAfter.Format(time.DateOnly))
		}
		t.suites(b, a)
		var groups []string
		for _, g := range a.Groups {
			groups = append(groups, t.paint.grade(g.Grade, g.Name))
		}
		if len(groups) > 0 {
			fmt.Fprintf(b, "    groups: %s\n", strings.Join(groups, ", "))
		}
	}
}

// some are the first few of a list.
func some(all []string) string {
	const most = 5
	if len(all) > most {
		return strings.Join(all[:most], " ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, " ")
}

func (t *textReports) suites(b *strings.Builder, a probe.Address) {
	version := ""
	for _, s := range a.Suites {
		if s.Version != version {
			version = s.Version
			who := ""
			if version != "TLS 1.3" && a.Order != "" {
				who = ", the " + a.Order + " chooses"
			}
			fmt.Fprintf(b, "    %s%s\n", version, who)
		}
		fmt.Fprintf(b, "      %-50s %s\n", s.Name, t.paint.grade(s.Grade, s.Grade.String()))
	}
}

// palette colours words, where that is wanted.
type palette bool

// painter says whether w is a terminal that wants colours (no-color.org).
func painter(w io.Writer) palette {
	return palette(isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

// hues are those of ANSI terminals: red, yellow, green.
var hues = map[probe.Grade]string{
	probe.Insufficient: "31", probe.PhaseOut: "33", probe.Unknown: "35", probe.Sufficient: "32", probe.Good: "32",
}

func (p palette) grade(g probe.Grade, word string) string {
	if hue := hues[g]; bool(p) && hue != "" {
		return "\x1b[" + hue + "m" + word + "\x1b[0m"
	}
	return word
}
