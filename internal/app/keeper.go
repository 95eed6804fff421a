package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"postern/config"
	"postern/outcomes"
	"postern/peers"
	"postern/store"
)

// keeper has the file of the state, which is for one process at a time, and
// lets go of it while sessions go on, for the process that comes next. What is
// learned without the file is not lost: it is merged when the file is there, or
// left beside it for whoever has it.
type keeper struct {
	*store.Handover
	path    string // empty: there is no file
	trouble string // that gather has told of last
	log     *slog.Logger

	memory   *peers.Memory     // who keep things in it; nil at first
	outcomes *outcomes.Counter // likewise

	halt func() // ends run and waits for that; nil while it does not run
}

// claimEvery is how often the file is tried again, and what others have left
// beside it is looked for.
const claimEvery = time.Second

// openKeeper opens the state. One that succeeds another process may find the
// file in use: it begins without, and claims it later.
func openKeeper(c config.State, log *slog.Logger, succeeds bool) (*keeper, error) {
	k := &keeper{Handover: store.NewHandover(time.Now, stateBounds(log)), log: log}
	s, err := openState(c, log, succeeds)
	if succeeds && isInUse(err) {
		k.path = c.Path
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	if _, inFile := s.(*store.Bolt); inFile {
		k.path = c.Path
	}
	return k, k.Attach(s, nil) // nothing has been learned yet
}

// claim opens the file, and writes what was learned without it. For a file in use it
// waits as store.BoltOptions says.
func (k *keeper) claim(patience time.Duration) error {
	if k.path == "" || k.Attached() {
		return nil
	}
	s, err := openBolt(store.BoltOptions{Path: k.path, Bounds: stateBounds(k.log), Timeout: patience})
	if err != nil {
		return err
	}
	if err := k.memory.Rebase(func() error { return k.Attach(s, k.memory.Merge) }); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// begin claims the file, as soon as it can be had, and looks after it from then
// on until letGo or finish.
func (k *keeper) begin() {
	if k.path == "" || k.halt != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	k.halt = func() { cancel(); <-done }
	go func() { defer close(done); k.run(ctx) }()
}

// rest ends what begin has begun.
func (k *keeper) rest() {
	if k.halt != nil {
		k.halt()
		k.halt = nil
	}
}

// run claims the file until it has it, and then takes up what others leave
// beside it, until ctx ends.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(claimEvery)
	defer tick.Stop()
	for k.insist(ctx, tick.C) {
		k.gather()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// insist comes back when there is the file, and is false when ctx has ended
// before.
func (k *keeper) insist(ctx context.Context, tick <-chan time.Time) bool {
	for told := false; ; {
		err := k.claim(0)
		if err == nil {
			if told {
				k.log.Info("the state is there: what was learned without it has been added", "file", k.path)
			}
			return true
		}
		if !told {
			k.log.Warn("the state cannot be used yet: what is learned is kept in memory until then, and what is remembered does not protect",
				"error", err, "hint", "The process before this one lets go of it when it stops accepting. One that hangs can be killed: no message is lost by that.")
		}
		told = true
		select {
		case <-ctx.Done():
			return false
		case <-tick:
		}
	}
}

// flush has everybody write what is due. Both log what cannot be written; it is learned
// then.
func (k *keeper) flush() {
	if k.memory != nil {
		_ = k.memory.Flush()
		_ = k.outcomes.Flush()
	}
}

// letGo writes what is due and closes the file. What it had is still known.
func (k *keeper) letGo() {
	if k.path == "" {
		return
	}
	k.rest()
	k.flush()
	if err := k.Release(); err != nil {
		k.log.Warn("the state was not closed well", "file", k.path, "error", err)
	}
}

// finish writes what was learned last, and closes. Where another process has
// the file by now, it is left beside it.
func (k *keeper) finish() {
	k.rest()
	k.flush()
	if learned, lost := k.Learned(); k.path != "" && len(learned) > 0 {
		err := k.claim(time.Millisecond) // who has it keeps it
		if isInUse(err) {
			err = leave(k.path, learned)
		}
		if err != nil || lost > 0 {
			k.log.Warn("what was learned last is lost", "records", len(learned)+lost, "error", err)
		}
	}
	if err := k.Close(); err != nil {
		k.log.Warn("the state was not closed well", "error", err)
	}
}

// legacy is what the names of such files have behind that of the state.
const legacy = ".learned-"

// leave writes what was learned into a file of its own, which appears when it
// is complete.
func leave(path string, learned []store.Change) error {
	text, err := json.Marshal(learned)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".draft-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // which is not there any more when all went well
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), fmt.Sprintf("%s%s%d-%d", path, legacy, os.Getpid(), time.Now().UnixNano()))
}

// gather takes up what others have left.
func (k *keeper) gather() {
	files, _ := filepath.Glob(globbed(k.path) + legacy + "*") // the pattern is well formed
	for _, file := range files {
		n, err := k.take(file)
		switch {
		case errors.Is(err, errUnreadable): // and it will not be readable later
			k.log.Warn("what another process has learned is not taken up", "file", file, "error", err)
		case err != nil:
			if text := err.Error(); text != k.trouble { // it is tried every second
				k.trouble = text
				k.log.Warn("what another process has learned cannot be taken up now, and stays in its file", "file", file, "error", err)
			}
			continue
		default:
			k.log.Info("what the process before has learned last was taken up", "records", n)
		}
		if err := os.Remove(file); err != nil {
			k.log.Warn("a file that was taken up cannot be removed", "file", file, "error", err)
			return
		}
	}
}

var errUnreadable = errors.New("it cannot be read")

func (k *keeper) take(file string) (n int, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var learned []store.Change
	if err := json.Unmarshal(text, &learned); err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return len(learned), k.memory.Rebase(func() error { return k.Take(learned, k.memory.Merge) })
}

// globbed writes a path so that it stands for itself in a pattern.
func globbed(path string) string {
	var b []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return string(b)
}
