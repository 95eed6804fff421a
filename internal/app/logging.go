package app

import (
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"postern/config"
)

// newLogger writes to w as the configuration says: JSON, or text, with colours
// where a person reads it on a terminal. flush writes what is collected.
func newLogger(w io.Writer, c config.Log) (log *slog.Logger, flush func()) {
	if c.Format != "json" && isTerminal(w) {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: c.Level, TimeFormat: "15:04:05.000"})), func() {}
	}
	options := &slog.HandlerOptions{Level: c.Level}
	lines := newLogWriter(w)
	var h slog.Handler = slog.NewTextHandler(lines, options)
	if c.Format == "json" {
		h = slog.NewJSONHandler(lines, options)
	}
	return slog.New(prompt{h, lines}), func() { lines.Flush() }
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width returns the columns of the terminal, 0 when it is none.
func width(w io.Writer) int {
	if !isTerminal(w) {
		return 0
	}
	columns, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return columns
}
