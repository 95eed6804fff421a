package app

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"postern/config"
)

// systemConfig is where a package installs the configuration.
const systemConfig = "/etc/postern/config.hcl"

// unconfigured is an error of the configuration itself: there is no file, or it
// cannot be read, or it has mistakes.
type unconfigured struct{ error }

// Unwrap returns what is wrong with it.
func (u unconfigured) Unwrap() error { return u.error }

// NeedsEditing says whether Run failed because of its configuration: until
// somebody has changed it, to start again is in vain. All else that keeps
// postern from starting, such as a port in use, may go away by itself.
func NeedsEditing(err error) bool {
	var u unconfigured
	return errors.As(err, &u)
}

// findConfig returns the file that --config names, else the first of the usual
// places that has one.
func findConfig(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	return firstOf(usualPlaces(os.Geteuid()))
}

func firstOf(places []string) (string, error) {
	for _, path := range places {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", problem("Name one with --config FILE. config.hcl.example is the commented template; `postern demo` needs no configuration at all.",
		"%w: looked for %s", errNoConfig, strings.Join(places, " and "))
}

// errNoConfig: there is none in the usual places.
var errNoConfig = errors.New("no configuration found")

// usualPlaces leaves the current folder out for root: whoever may write into
// some folder could otherwise choose what root runs there.
func usualPlaces(euid int) []string {
	if euid == 0 {
		return []string{systemConfig}
	}
	return []string{"./config.hcl", systemConfig}
}

// load finds and reads the configuration. The error is a *config.Error for
// mistakes in the file, else one with a hint.
func load(named string) (*config.Config, string, error) {
	path, err := findConfig(named)
	if err != nil {
		return nil, "", err
	}
	cfg, err := config.Load(path)
	switch {
	case err == nil:
		return cfg, path, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, path, problem("Check the path given with --config. config.hcl.example is the commented template; `postern demo` needs no configuration at all.",
			"%w", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, path, problem("Give the user that postern runs as permission to read the file and to enter its folders.", "%w", err)
	}
	return nil, path, err
}
