// Command postern is a transparent STARTTLS proxy for SMTP: it stands beside a
// mail server and gives it the TLS that the mail server itself has not.
//
// Results go to standard output, everything else to standard error. The exit
// code is 0 when all is good, 1 when something was found wanting, 2 when
// the command was not understood, and 78 when run has no configuration that
// it could run with.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postern/internal/app"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitGood    = 0
	exitWanting = 1
	exitUsage   = 2
	// EX_CONFIG of sysexits.h, of run alone. A service manager that starts again
	// what has failed must not do so here, and a Go program that crashes ends
	// with 2.
	exitConfiguration = 78
)

// failure is an error of the work that a command does. All other errors are of
// its use.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run runs one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var f failure
	switch {
	case err == nil:
		return exitGood
	case errors.As(err, &f):
		app.Report(stderr, f.error)
		if wrong := (*app.UsageError)(nil); errors.As(err, &wrong) {
			return exitUsage
		}
		if app.NeedsEditing(f.error) {
			return exitConfiguration
		}
		return exitWanting
	case errors.Is(err, errNoCommand):
		return exitUsage
	}
	fmt.Fprintf(stderr, "postern: %s\n", strings.TrimSpace(err.Error()))
	fmt.Fprintln(stderr, "See `postern help`.")
	return exitUsage
}
