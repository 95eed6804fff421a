package app

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Lines of the log are collected for a moment and written together: one write
// for each message costs as much as a tenth of all else that is done for it.
const (
	logDelay = 20 * time.Millisecond
	logBlock = 64 << 10 // octets from which on there is no waiting
)

// logWriter collects what is written to it. A line is written logDelay after it
// came at the latest; Flush writes all at once. Who is killed before that loses
// it.
type logWriter struct {
	mu    sync.Mutex
	to    io.Writer
	lines []byte
	timer *time.Timer // set while lines wait
}

func newLogWriter(to io.Writer) *logWriter { return &logWriter{to: to} }

// Write takes whole lines, as handlers of slog write them.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, p...)
	switch {
	case len(w.lines) >= logBlock:
		return len(p), w.flush()
	case w.timer == nil:
		w.timer = time.AfterFunc(logDelay, func() { w.Flush() })
	}
	return len(p), nil
}

// Flush writes what waits.
func (w *logWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

func (w *logWriter) flush() error {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if len(w.lines) == 0 {
		return nil
	}
	_, err := w.to.Write(w.lines)
	w.lines = w.lines[:0]
	return err
}

// prompt is a handler whose warnings and errors do not wait.
type prompt struct {
	slog.Handler
	w *logWriter
}

// Handle implements slog.Handler.
func (h prompt) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.w.Flush()
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{h.Handler.WithAttrs(attrs), h.w}
}

// WithGroup implements slog.Handler.
func (h prompt) WithGroup(name string) slog.Handler {
	return prompt{h.Handler.WithGroup(name), h.w}
}
