package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestRootTakesNoConfigurationFromTheCurrentFolder(t *testing.T) {
	if got := usualPlaces(0); !slices.Equal(got, []string{"/etc/postern/config.hcl"}) {
		t.Errorf("root looks at %q", got)
	}
	if got := usualPlaces(1000); !slices.Equal(got, []string{"./config.hcl", "/etc/postern/config.hcl"}) {
		t.Errorf("others look at %q", got)
	}
}

func TestTheFirstConfigurationThatIsThereIsTaken(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	if _, err := firstOf([]string{one, two}); err == nil || !strings.Contains(err.Error(), one+" and "+two) || !strings.Contains(Hint(err), "postern demo") {
		t.Errorf("with none: %v (%s)", err, Hint(err))
	}
	must(os.WriteFile(two, nil, 0o600))
	if got, err := firstOf([]string{one, two}); got != two || err != nil {
		t.Errorf("with the second: %q %v", got, err)
	}
	must(os.WriteFile(one, nil, 0o600))
	if got, err := firstOf([]string{one, two}); got != one || err != nil {
		t.Errorf("with both: %q %v", got, err)
	}
}

func TestAMissingConfigurationHasAHint(t *testing.T) {
	_, _, err := load(filepath.Join(t.TempDir(), "none.hcl"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(Hint(err), "config.hcl.example") {
		t.Errorf("%v (%s)", err, Hint(err))
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	a, b, c := errors.New("a"), problem("do b", "b"), errors.New("c")
	got := Errors(errors.Join(a, errors.Join(b, c)))
	if !slices.Equal(got, []error{a, b, c}) {
		t.Errorf("got %q", got)
	}
	if got := Errors(a); !slices.Equal(got, []error{a}) {
		t.Errorf("one alone: %q", got)
	}
	if Hint(a) != "" || Hint(b) != "do b" {
		t.Errorf("hints %q and %q", Hint(a), Hint(b))
	}
}

func TestTheVersionSaysWhatTheToolchainRecorded(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.99"}
	if got := versionOf(info).String(); got != "postern devel, go1.99" {
		t.Errorf("without a repository: %q", got)
	}
	info.Main.Version = "v1.2.3"
	info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-23T00:00:00Z"}, {Key: "vcs.modified", Value: "true"}}
	if got := versionOf(info).String(); got != "postern v1.2.3 (revision abc of 2026-11-23T00:00:00Z, with local changes), go1.99" {
		t.Errorf("with one: %q", got)
	}
}
