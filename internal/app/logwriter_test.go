package app

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

// writes counts the writes that reach it.
type writes struct {
	mu  sync.Mutex
	all bytes.Buffer
	n   int
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return w.all.Write(p)
}

func (w *writes) so() (text string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String(), w.n
}

func TestLinesOfTheLogAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		log, flush := newLogger(&out, config.Log{Format: "json"})
		for range 10 {
			log.Info("a line")
		}
		if _, n := out.so(); n != 0 {
			t.Errorf("%d writes at once", n)
		}
		time.Sleep(logDelay)
		synctest.Wait()
		text, n := out.so()
		if got := strings.Count(text, "a line"); n != 1 || got != 10 {
			t.Errorf("%d lines in %d writes", got, n)
		}
		log.Info("another")
		flush()
		if text, _ := out.so(); !strings.HasSuffix(text, "\"another\"}\n") {
			t.Errorf("the end is missing: %q", text)
		}
	})
}

func TestWarningsAreWrittenAtOnceAndInOrder(t *testing.T) {
	var out writes
	log, _ := newLogger(&out, config.Log{Format: "json"})
	log.With("a", 1).WithGroup("g").Info("first")
	log.With("a", 1).WithGroup("g").Warn("second")
	if s, n := out.so(); n != 1 || strings.Index(s, "first") > strings.Index(s, "second") || !strings.Contains(s, "second") {
		t.Errorf("%d writes: %q", n, s)
	}
}

func TestAFullLogDoesNotWait(t *testing.T) {
	var out writes
	log, _ := newLogger(&out, config.Log{Format: "json", Level: slog.LevelInfo})
	long := strings.Repeat("x", logBlock)
	log.Info(long)
	if text, _ := out.so(); !strings.Contains(text, long) {
		t.Error("a block of lines waits")
	}
}
