package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the .want files of testdata")

// files lists the configurations of a folder of testdata.
func files(t *testing.T, folder string, atLeast int) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*.hcl"))
	if err != nil || len(names) < atLeast {
		t.Fatalf("found %d files in %s: %v", len(names), folder, err)
	}
	return names
}

// compare compares a text with the .want file beside a configuration.
func compare(t *testing.T, name, got string) {
	t.Helper()
	wantFile := strings.TrimSuffix(name, ".hcl") + ".want"
	if *update {
		if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(wantFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestEveryMistakeIsReportedAtItsLine(t *testing.T) {
	t.Setenv("POSTERN_TEST_LISTEN", "127.0.0.1:2500")
	for _, name := range files(t, "bad", 20) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, err := Load(name)
			var mistakes *Error
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v, want *Error", err)
			}
			compare(t, name, strings.ReplaceAll(mistakes.Error()+"\n", abs(t, "testdata"), "TESTDATA"))
		})
	}
}

func TestWhatIsDoubtfulIsAWarningAtItsLine(t *testing.T) {
	for _, name := range files(t, "doubtful", 8) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name, strings.Join(c.Warnings, "\n")+"\n")
		})
	}
}

func TestGoodFilesRaiseNothing(t *testing.T) {
	t.Setenv("POSTERN_TEST_LISTEN", "127.0.0.1:2500")
	for _, name := range files(t, "good", 3) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) > 0 {
				t.Errorf("warnings: %q", c.Warnings)
			}
		})
	}
}

func TestPrintShowsTheLinesOfTheFile(t *testing.T) {
	for _, name := range []string{"values", "backend_empty", "missing_quote", "loop"} {
		name = "testdata/bad/" + name + ".hcl"
		_, err := Load(name)
		var mistakes *Error
		if !errors.As(err, &mistakes) {
			t.Fatal(err)
		}
		var plain, colored bytes.Buffer
		mistakes.Print(&plain, false, 78)
		mistakes.Print(&colored, true, 0)
		compare(t, strings.Replace(name, "/bad/", "/print/", 1), plain.String())
		if !strings.Contains(colored.String(), "\x1b[31m") || strings.Contains(plain.String(), "\x1b") {
			t.Errorf("%s: color is not as asked for", name)
		}
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}
