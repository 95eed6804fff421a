package app

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"postern/config"
	"postern/store"
)

// openState opens what is remembered of peers. Where the configuration names no
// place and the usual one cannot be used, it is kept in memory, with a warning:
// mail flows without it. A file that is there and cannot be read is an error
// all the same, because what it held must not be lost without a word, and so is
// whatever keeps a place from being used that was named. For one that succeeds
// another process a file that is in use is an error too: it will be free.
func openState(c config.State, log *slog.Logger, succeeds bool) (store.Store, error) {
	bounds := stateBounds(log)
	if c.Kind == "memory" {
		return store.NewBoundedMemory(time.Now, bounds), nil
	}
	patience := time.Duration(0) // that of the store
	if succeeds {
		patience = time.Millisecond // the other waits for us before it lets go
	}
	s, err := openBolt(store.BoltOptions{Path: c.Path, Bounds: bounds, Timeout: patience})
	if err == nil {
		return s, nil
	}
	if c.Written || errors.Is(err, store.ErrForeign) || succeeds && isInUse(err) {
		return nil, problem(stateHint, "state: %w", err)
	}
	log.Warn("what is remembered of other mail systems is kept in memory alone, and forgotten at a restart", "error", err,
		"hint", `write state "bolt" { path = "…" } with a place that postern may write to, or state "memory" {} if that is meant`)
	return store.NewBoundedMemory(time.Now, bounds), nil
}

const stateHint = `The file is the path of the state "bolt" block, by default in the folder that systemd gives (StateDirectory=postern), else /var/lib/postern. ` +
	`With state "memory" {} nothing is kept over a restart.`

// openBolt makes the folder of the file, for its owner alone, if there is none.
func openBolt(o store.BoltOptions) (store.Store, error) {
	folder := filepath.Dir(o.Path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	s, err := store.OpenBolt(o)
	if err != nil {
		return nil, err // not s: a nil *store.Bolt in an interface is not nil
	}
	return s, nil
}

// checkState says why postern would not start with this state, and what it is
// warned of. It makes no file and no folder.
func checkState(c config.State) (warnings []string, err error) {
	if c.Kind != "bolt" {
		return nil, nil
	}
	if info, err := os.Stat(c.Path); err == nil && info.Size() > 0 {
		s, err := store.OpenBolt(store.BoltOptions{Path: c.Path})
		switch {
		case err == nil:
			return nil, s.Close()
		case errors.Is(err, store.ErrForeign):
			return nil, problem(stateHint, "state: %w", err)
		case errors.Is(err, store.ErrInUse): // by the postern that runs
			return nil, nil
		}
		return []string{"state: the user that checks cannot use it: " + err.Error()}, nil
	}
	if folder := existing(filepath.Dir(c.Path)); c.Written && !mayWrite(folder) {
		return []string{"state: the user that checks may not write to " + folder + "; the user that runs must, to make " + c.Path}, nil
	}
	return nil, nil
}

// existing returns a folder, or the nearest one above it that there is.
func existing(folder string) string {
	for {
		if _, err := os.Stat(folder); err == nil || folder == filepath.Dir(folder) {
			return folder
		}
		folder = filepath.Dir(folder)
	}
}

// kept is what a change of needs a restart.
func kept(c config.State) config.State { return config.State{Kind: c.Kind, Path: c.Path, URL: c.URL} }
