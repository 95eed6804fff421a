package resolve

import (
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	maxFile   = 4 << 20         // octets of a file that are read
	fileCheck = 5 * time.Second // how often it is looked at
)

// file is what a small file says, read again when it has changed.
type file[T any] struct {
	path  string
	parse func(io.Reader) T

	mu      sync.Mutex
	value   T
	read    bool
	checked time.Time
	seen    os.FileInfo // nil: it was not there
}

func newFile[T any](path string, parse func(io.Reader) T) *file[T] {
	return &file[T]{path: path, parse: parse}
}

// get returns the latest value. A file that is not there is empty; one that
// cannot be read leaves the value as it was.
func (f *file[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); !f.read || now.Sub(f.checked) >= fileCheck {
		f.checked = now
		f.refresh()
	}
	return f.value
}

func (f *file[T]) refresh() {
	info, err := os.Stat(f.path)
	if err != nil {
		info = nil
	}
	if f.read && same(f.seen, info) {
		return
	}
	text := ""
	if info != nil {
		if text, err = head(f.path); err != nil && f.read {
			return
		}
	}
	f.value, f.read, f.seen = f.parse(strings.NewReader(text)), true, info
}

// head reads the first octets of a file, which is all of any sensible one.
func head(path string) (string, error) {
	opened, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer opened.Close()
	text, err := io.ReadAll(io.LimitReader(opened, maxFile))
	return string(text), err
}

// same says whether nothing has changed between two looks.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
