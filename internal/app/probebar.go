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
}

func newBar(w io.Writer, all int) *bar {
	b := &bar{all: all}
	if all > 1 && width(w) >= 40 {
		b.out = w
	}
	b.show("")
	return b
}

// done notes that one is ready.
func (b *bar) done(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready++
	b.show(name)
}

// clear takes the bar away before something else is written.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out != nil {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}

func (b *bar) show(name string) {
	if b.out == nil {
		return
	}
	fmt.Fprint(b.out, "\r\x1b[K"+barText(width(b.out), b.ready, b.all, name))
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
