package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTheExitCodeTellsUseFromWant(t *testing.T) {
	for line, want := range map[string]int{
		"version":                  exitGood,
		"help":                     exitGood,
		"check --config /no/file":  exitWanting,
		"run --config /no/file":    exitWanting,
		"":                         exitUsage,
		"nonsense":                 exitUsage,
		"run --nonsense":           exitUsage,
		"run file.hcl":             exitUsage,
		"version --json=sometimes": exitUsage,
	} {
		var out, err bytes.Buffer
		if got := run(strings.Fields(line), &out, &err); got != want {
			t.Errorf("postern %s: %d, not %d\n%s%s", line, got, want, &out, &err)
		}
	}
}
