package config

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Error holds every mistake of a file, in the order of the file.
type Error struct {
	diags hcl.Diagnostics
	files map[string]*hcl.File
}

// Error returns one line per problem: "file:line: what is wrong: what to write".
func (e *Error) Error() string {
	lines := make([]string, len(e.diags))
	for i, d := range e.diags {
		lines[i] = oneLine(d)
	}
	return strings.Join(lines, "\n")
}

// Len returns the number of problems.
func (e *Error) Len() int {
	return len(e.diags)
}

// Print writes every problem with the lines of the file that it is about.
// Texts are wrapped at width columns; 0 = not at all.
func (e *Error) Print(w io.Writer, color bool, width int) {
	// A terminal that went away is no reason to fail differently: the caller
	// fails anyway, and has nowhere else to write.
	_ = hcl.NewDiagnosticTextWriter(w, e.files, uint(max(width, 0)), color).WriteDiagnostics(e.diags)
}

func oneLine(d *hcl.Diagnostic) string {
	summary := d.Summary
	if len(summary) > 1 && !unicode.IsUpper(rune(summary[1])) { // not TLS
		summary = strings.ToLower(summary[:1]) + summary[1:]
	}
	text := summary + ": " + strings.Join(strings.Fields(d.Detail), " ")
	return fmt.Sprintf("%s:%d: %s", d.Subject.Filename, d.Subject.Start.Line, text)
}

// wrong reports a mistake.
func (d *decoder) wrong(at hcl.Range, summary, detail string) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at})
}

// warn reports what is legal but probably not meant.
func (d *decoder) warn(at hcl.Range, summary, detail string) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: detail, Subject: &at})
}

// finish sorts what was found into mistakes and warnings.
func (d *decoder) finish() (mistakes hcl.Diagnostics, warnings []string) {
	slices.SortStableFunc(d.diags, func(a, b *hcl.Diagnostic) int {
		return cmp.Compare(a.Subject.Start.Byte, b.Subject.Start.Byte)
	})
	for _, x := range d.diags {
		if x.Severity == hcl.DiagError {
			mistakes = append(mistakes, x)
		} else {
			warnings = append(warnings, oneLine(x))
		}
	}
	return mistakes, warnings
}

// firstPerLine keeps the first mistake of the parser in each line, because one
// slip gives several. A missing quote turns the meaning of every later quote
// over, so nothing behind it is kept.
func firstPerLine(diags hcl.Diagnostics) hcl.Diagnostics {
	var kept hcl.Diagnostics
	seen := map[int]bool{}
	for _, d := range diags {
		if seen[d.Subject.Start.Line] {
			continue
		}
		seen[d.Subject.Start.Line] = true
		kept = append(kept, reword(d))
		if quoteMissing(d) {
			break
		}
	}
	return kept
}

func quoteMissing(d *hcl.Diagnostic) bool {
	return d.Summary == "Invalid multi-line string" || d.Summary == "Unterminated template string"
}

// reword puts what the parser says of its grammar into what to write.
func reword(d *hcl.Diagnostic) *hcl.Diagnostic {
	r := *d
	switch {
	case quoteMissing(d):
		r.Summary, r.Detail = "closing quote missing", `Write a " at the end of the value. What follows in the file was not checked.`
	case d.Summary == "Missing newline after argument", d.Summary == "Invalid number literal":
		r.Detail += ` A value such as 30s or 192.0.2.1:25 stands in double quotes: "30s".`
	}
	return &r
}

// rewordCall does the same for what the evaluation of an expression found.
func rewordCall(d *hcl.Diagnostic) *hcl.Diagnostic {
	r := *d
	if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && call.FunctionCallError() != nil {
		r.Summary = call.CalledFunctionName() + " has no value"
		r.Detail = sentence(call.FunctionCallError().Error())
	}
	if d.Summary == "Variables not allowed" {
		r.Detail = `There are no variables: write text in double quotes, and env("NAME") for an environment variable.`
	}
	return &r
}

// dropShadowed removes what we found in lines where the parser found something
// first: it is about text that was not read as it was meant.
func dropShadowed(parser, ours hcl.Diagnostics) hcl.Diagnostics {
	lines := map[int]bool{}
	last := 1 << 62
	for _, d := range parser {
		lines[d.Subject.Start.Line] = true
		if d.Summary == "closing quote missing" {
			last = d.Subject.Start.Line
		}
	}
	return slices.DeleteFunc(ours, func(d *hcl.Diagnostic) bool {
		line := d.Subject.Start.Line
		return lines[line] || line >= last
	})
}

// parseFile makes the syntax tree, as far as there is one.
func parseFile(src []byte, filename string) (*hcl.File, hcl.Diagnostics) {
	file, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	diags = located(diags, hcl.Range{Filename: filename, Start: hcl.InitialPos, End: hcl.InitialPos})
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		return cmp.Compare(a.Subject.Start.Line, b.Subject.Start.Line)
	})
	return file, firstPerLine(diags)
}

// located gives every diagnostic a place, which the library does not promise.
func located(diags hcl.Diagnostics, at hcl.Range) hcl.Diagnostics {
	for _, d := range diags {
		if d.Subject == nil {
			d.Subject = &at
		}
	}
	return diags
}

// folder returns the absolute folder of a file.
func folder(filename string) (string, error) {
	return filepath.Abs(filepath.Dir(filename))
}
