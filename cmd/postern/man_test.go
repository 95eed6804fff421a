package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// `make man` writes the pages with it.
var update = flag.Bool("update", false, "write docs/man instead of comparing with it")

// manDate is what the pages show as the month of their last revision. It is
// written by hand: pages with the date of the build would differ each day.
var manDate = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

const manFolder = "../../docs/man"

func TestTheManPagesAreThoseOfTheCommands(t *testing.T) {
	pages := manPages(t)
	if *update {
		writePages(t, pages)
		return
	}
	committed, err := filepath.Glob(manFolder + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range committed {
		if pages[filepath.Base(path)] == "" {
			t.Errorf("docs/man/%s is of no command: run `make man`", filepath.Base(path))
		}
	}
	for name, want := range pages {
		// One that is missing differs.
		got, _ := os.ReadFile(filepath.Join(manFolder, name))
		if diff := cmp.Diff(string(got), want); diff != "" {
			t.Errorf("docs/man/%s is out of date: run `make man`\n%s", name, diff)
		}
	}
}

// manPages makes all pages, by the names of their files.
func manPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{"postern-config.5": configPage(t)}
	root := newRoot()
	root.InitDefaultCompletionCmd()
	addPages(t, root, pages)
	return pages
}

func addPages(t *testing.T, cmd *cobra.Command, pages map[string]string) {
	t.Helper()
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() {
			addPages(t, sub, pages)
		}
	}
	cmd.DisableAutoGenTag = true
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	header := doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Date: &manDate, Source: "postern", Manual: "Postern Manual"}
	var page bytes.Buffer
	if err := doc.GenMan(cmd, &header, &page); err != nil {
		t.Fatal(err)
	}
	pages[name+".1"] = page.String() + manTrailer(name)
}

// manTrailer is what the commands themselves do not say.
func manTrailer(name string) string {
	switch name {
	case "postern", "postern-run":
		return exitStatus + files
	}
	return ""
}

const exitStatus = `.SH EXIT STATUS
.TP
\fB0\fP
all is good
.TP
\fB1\fP
something was found wanting, or failed
.TP
\fB2\fP
the command was not understood
.TP
\fB78\fP
of \fBpostern run\fP: the configuration is missing or has mistakes; to start again is in vain until somebody has changed it
`

const files = `.SH FILES
.TP
\fI/etc/postern/config.hcl\fP
the configuration, see \fBpostern-config(5)\fP
.TP
\fI/var/lib/postern/state.db\fP
what is remembered of other mail systems
.TP
\fI/run/postern/admin.sock\fP
where the commands ask a running postern, if the configuration says so
`

// configPage is the commented reference of the configuration as a manual page.
func configPage(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile("../../config.hcl.example")
	if err != nil {
		t.Fatal(err)
	}
	return `.TH "POSTERN-CONFIG" "5" "` + manDate.Format("Jan 2006") + `" "postern" "Postern Manual"
.SH NAME
postern-config \- configuration of the STARTTLS proxy postern
.SH DESCRIPTION
\fBpostern\fP reads \fI/etc/postern/config.hcl\fP, or the file that \fB\-\-config\fP names. It is written in HCL.
\fBpostern check\fP tells of mistakes, and SIGHUP makes a running postern read it again.
What follows is a whole file, with every name that may be written, what it means, and its default.
.PP
.nf
` + roff(string(example)) + `.fi
.SH SEE ALSO
\fBpostern(1)\fP, \fBpostern-check(1)\fP, \fBpostern-run(1)\fP
`
}

// roff writes text as lines that are shown as they are.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\`", "^", `\(ha`, "~", `\(ti`).Replace(text)
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "")
}

func writePages(t *testing.T, pages map[string]string) {
	t.Helper()
	if err := os.RemoveAll(manFolder); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(manFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(manFolder, name), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
