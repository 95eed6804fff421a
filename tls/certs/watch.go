package certs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// WatchOptions says how to watch. The zero value is good.
type WatchOptions struct {
	Log    *slog.Logger  // default: nothing is logged
	Settle time.Duration // from the first sign of a change to the reload; default 1 s
	Poll   time.Duration // reload without any sign; default 1 minute

	// Reloaded, if set, is called after each Reload with what it returned.
	Reloaded func(s *Source, changed bool, err error)
}

// Watch reloads sources when their files change, until ctx ends: it returns then,
// and not before.
//
// It watches folders rather than files, because certificates are replaced by
// renaming: a file over a file, or a symbolic link over another, as a Kubernetes
// Secret and certbot do it (the folder where a link points is watched too). A change
// starts a short wait, for the other half of the pair to arrive. All sources are
// also reloaded now and then without a sign of change, for what no notification
// tells (network file systems, a folder of the path that was itself exchanged, no
// inotify watches left) and for self-signed certificates, which are renewed that way.
func Watch(ctx context.Context, sources []*Source, o WatchOptions) {
	w := newWatch(sources, o)
	var events chan fsnotify.Event
	var errs chan error
	if n, err := fsnotify.NewWatcher(); err != nil {
		w.Log.Warn("certificate files are looked at periodically only: raise fs.inotify.max_user_instances",
			"every", w.Poll, "error", err)
	} else {
		defer n.Close()
		events, errs, w.watchDir = n.Events, n.Errors, n.Add
	}
	w.run(ctx, events, errs)
}

// watch is a Watch under way.
type watch struct {
	WatchOptions
	sources  []*Source
	watchDir func(dir string) error
	failed   map[string]string // the last error of each folder and source, to say it once
}

func newWatch(sources []*Source, o WatchOptions) *watch {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Settle <= 0 {
		o.Settle = time.Second
	}
	if o.Poll <= 0 {
		o.Poll = time.Minute
	}
	if o.Reloaded == nil {
		o.Reloaded = func(*Source, bool, error) {}
	}
	return &watch{
		WatchOptions: o,
		sources:      sources,
		watchDir:     func(string) error { return nil },
		failed:       map[string]string{},
	}
}

// run starts with a reload: the files may have changed since they were read.
func (w *watch) run(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error) {
	poll := time.NewTicker(w.Poll)
	defer poll.Stop()
	w.reload()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			w.reload()
		case <-settled:
			settled = nil
			w.reload()
		case <-events:
			// Not put off by further events: a busy folder must not hold up a reload for
			// ever. What comes after the reload starts the next wait.
			if settled == nil {
				settled = time.After(w.Settle)
			}
		case err := <-errs:
			w.Log.Warn("watching certificate files", "error", err)
			if settled == nil { // events may have been lost
				settled = time.After(w.Settle)
			}
		}
	}
}

// reload watches first and reads then, so that no change falls between the two.
func (w *watch) reload() {
	for _, s := range w.sources {
		w.watchFolders(s)
		changed, err := s.Reload()
		w.report(s, changed, err)
		w.Reloaded(s, changed, err)
	}
}

// watchFolders adds the folders of the source's files, each time anew: where a link
// points may have changed, and a folder that was removed is no longer watched.
func (w *watch) watchFolders(s *Source) {
	for _, file := range s.files {
		dirs := []string{filepath.Dir(file)}
		if real, err := filepath.EvalSymlinks(file); err == nil && filepath.Dir(real) != dirs[0] {
			dirs = append(dirs, filepath.Dir(real))
		}
		for _, dir := range dirs {
			err := w.watchDir(dir)
			if w.news(dir, err) && err != nil {
				w.Log.Warn("certificate folder is looked at periodically only", "folder", dir, "every", w.Poll, "error", err)
			}
		}
	}
}

func (w *watch) report(s *Source, changed bool, err error) {
	news := w.news("certificate "+s.name, err)
	switch {
	case err != nil && news:
		w.Log.Error("certificate not reloaded, the old one stays in use", "certificate", s.name, "error", err)
	case changed:
		for _, c := range s.Certificates() {
			w.Log.Info("certificate reloaded", "certificate", s.name, "key", KeyName(c.Leaf.PublicKey),
				"names", names(c.Leaf), "not_after", c.Leaf.NotAfter, "sha256", fmt.Sprintf("%x", sha256.Sum256(c.Certificate[0])))
		}
		for _, text := range s.Warnings(time.Now()) {
			w.Log.Warn(text)
		}
	case err == nil && news:
		w.Log.Info("certificate files are in order again, nothing has changed", "certificate", s.name)
	}
}

// news reports whether err differs from the last one of the same thing.
func (w *watch) news(thing string, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	old := w.failed[thing]
	w.failed[thing] = text
	return text != old
}
