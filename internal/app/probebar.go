package app

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// bar shows on a terminal how far many targets are.
type bar struct {
	mu    sync.Mutex
	out   io.Writer // nil: it is no terminal, or there is one target
	all   int
	ready int
	last  string // the target that became ready last

	columns func() int // of the terminal now
}

func newBar(w io.Writer, all int) *bar {
	b := &bar{all: all, columns: func() int { return barWidth(w) }}
	if all > 1 && b.columns() >= 40 {
		b.out = w
	}
	b.show()
	return b
}

// barWidth returns the columns of a terminal. One that does not say how wide it is
// (a serial line, a container) has those of the VT100.
func barWidth(w io.Writer) int {
	if columns := width(w); columns > 0 || !isTerminal(w) {
		return columns
	}
	return 80
}

// done notes that one is ready.
func (b *bar) done(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready++
	b.last = name
	b.show()
}

// aside takes the bar away while something else is written, and brings it back: the next target may
// take minutes.
func (b *bar) aside(write func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wipe()
	defer b.show()
	return write()
}

// end takes the bar away for good.
func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wipe()
}

func (b *bar) wipe() {
	if b.out != nil {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}

func (b *bar) show() {
	if b.out != nil {
		fmt.Fprint(b.out, "\r\x1b[K"+barText(b.columns(), b.ready, b.all, b.last))
	}
}

// barText is the bar in so many columns: "[#######---] 7/10 example.com".
func barText(columns, ready, all int, name string) string {
	const cells = 20
	full := cells * ready / all
	text := fmt.Sprintf("[%s%s] %d/%d %s", strings.Repeat("#", full), strings.Repeat("-", cells-full), ready, all, printable(name))
	if len(text) >= columns {
		text = text[:max(columns-1, 0)]
	}
	return text
}
