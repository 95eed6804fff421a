package app

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"postern/probe"
)

// reportWriter writes reports in one of the forms.
type reportWriter interface {
	report(*probe.Report) error
	end() error // behind the last one
}

func (o ProbeOptions) writer(targets int) reportWriter {
	switch {
	case o.JSON:
		return jsonReports{json.NewEncoder(o.Out)}
	case o.CSV:
		return &csvReports{w: csv.NewWriter(o.Out)}
	}
	return &textReports{paint: painter(o.Out), out: o.Out, whole: o.File == "", table: o.File != "" || targets > 1}
}

// jsonReports writes one object on each line.
type jsonReports struct{ *json.Encoder }

func (j jsonReports) report(r *probe.Report) error { return j.Encode(r) }

func (jsonReports) end() error { return nil }

// column is one of the summary: what it is called, and the checks whose worst grade it holds.
type column struct {
	name   string
	checks []probe.Check
}

var columns = []column{
	{"dnssec", []probe.Check{probe.CheckDNSSEC}},
	{"starttls", []probe.Check{probe.CheckSTARTTLS, probe.CheckHello, probe.CheckEHLO, probe.CheckInjection, probe.CheckAuth}},
	{"versions", []probe.Check{probe.CheckVersions}},
	{"suites", []probe.Check{probe.CheckSuites, probe.CheckOrder, probe.CheckSecrecy}},
	{"exchange", []probe.Check{probe.CheckGroups, probe.CheckSignatures, probe.CheckEMS, probe.CheckRenegotiation, probe.CheckCompression}},
	{"certificate", []probe.Check{probe.CheckCertificate, probe.CheckKey, probe.CheckSignature}},
	{"dane", []probe.Check{probe.CheckTLSA, probe.CheckDANE}},
	{"mta-sts", []probe.Check{probe.CheckMTASTS}},
	{"tlsrpt", []probe.Check{probe.CheckTLSRPT}},
}

// cell is the grade of a column; empty where nothing was graded.
func (c column) cell(r *probe.Report) string {
	if g := r.Worst(c.checks...); g != probe.Unknown {
		return g.String()
	}
	return ""
}

// csvReports writes one line for each target (RFC 4180).
type csvReports struct {
	w      *csv.Writer
	headed bool
}

func (c *csvReports) report(r *probe.Report) error {
	if !c.headed {
		head := []string{"target", "kind", "grade", "complete", "hosts"}
		for _, col := range columns {
			head = append(head, strings.ReplaceAll(col.name, "-", "_"))
		}
		if err := c.w.Write(append(head, "seconds", "worst")); err != nil {
			return err
		}
		c.headed = true
	}
	line := []string{formula(r.Target), r.Kind, r.Grade.String(), fmt.Sprint(r.Complete), fmt.Sprint(len(r.Hosts))}
	for _, col := range columns {
		line = append(line, col.cell(r))
	}
	if err := c.w.Write(append(line, fmt.Sprint(r.Seconds), formula(worst(r)))); err != nil {
		return err
	}
	c.w.Flush()
	return c.w.Error()
}

func (c *csvReports) end() error {
	c.w.Flush()
	return c.w.Error()
}

// formula keeps a spreadsheet from calculating with what a stranger wrote.
func formula(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t", rune(s[0])) {
		return "'" + s
	}
	return s
}

// worst is the finding that the grade is about.
func worst(r *probe.Report) string {
	for _, f := range r.Findings {
		if f.Grade.Wanting() || f.Grade == probe.Unknown {
			return place(f) + string(f.Check) + ": " + f.Text
		}
	}
	return ""
}

// place is what a finding is about, before the check.
func place(f probe.Finding) string {
	switch {
	case f.Host == "":
		return ""
	case f.Address == "" || f.Address == f.Host:
		return f.Host + " "
	}
	return f.Host + " [" + f.Address + "] "
}

// summary writes the table of all targets.
func summary(w io.Writer, all []*probe.Report, paint palette) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "TARGET\tGRADE")
	for _, col := range columns {
		fmt.Fprint(t, "\t"+strings.ToUpper(col.name))
	}
	fmt.Fprintln(t)
	tally := map[probe.Grade]int{}
	for _, r := range all {
		grade := r.Grade.String()
		if !r.Complete && r.Grade != probe.Unknown {
			grade += " (not all)"
		}
		fmt.Fprint(t, printable(r.Target)+"\t"+grade)
		for _, col := range columns {
			fmt.Fprint(t, "\t"+orNone(col.cell(r)))
		}
		fmt.Fprintln(t)
		tally[r.Grade]++
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var words []string
	for _, g := range []probe.Grade{probe.Good, probe.Sufficient, probe.PhaseOut, probe.Insufficient, probe.Unknown} {
		if n := tally[g]; n > 0 {
			words = append(words, paint.grade(g, fmt.Sprintf("%d %s", n, g)))
		}
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", count(len(all), "target"), strings.Join(words, ", "))
	return err
}
