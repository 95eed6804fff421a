package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Snippets returns the indented blocks that a document below docs/ has under a
// heading, up to the next one, without their indentation. So what the document
// advises is what is tested.
func Snippets(t testing.TB, document, heading string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(moduleRoot(), "docs", document))
	must(t, err)
	var section []string
	under := false
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			under = strings.TrimSpace(strings.TrimLeft(line, "#")) == heading
			section = append(section, "\x00\n") // blocks end at a heading
		} else if under {
			section = append(section, line)
		}
	}
	blocks := indented(section)
	if len(blocks) == 0 {
		t.Fatalf("docs/%s has no block under %q", document, heading)
	}
	return blocks
}

// Snippet is the n-th of the Snippets, counted from 0, with the address that
// stands in it, 127.0.0.1 and port 10025, replaced.
func Snippet(t testing.TB, document, heading string, n int, addr string) string {
	t.Helper()
	blocks := Snippets(t, document, heading)
	if n >= len(blocks) {
		t.Fatalf("docs/%s has only %d blocks under %q", document, len(blocks), heading)
	}
	host, port, _ := strings.Cut(addr, ":")
	text := strings.ReplaceAll(blocks[n], "10025", port)
	if !strings.Contains(text, port) {
		t.Fatalf("docs/%s, %q: no port 10025 in\n%s", document, heading, text)
	}
	return strings.ReplaceAll(text, "127.0.0.1", host)
}

// Block is a fenced block of a document.
type Block struct {
	Language string
	Title    string // what the document says of where it belongs; may be empty
	Text     string
}

// Blocks are the fenced blocks of a document below docs/. The line that opens one
// may have a title="..." behind the language.
func Blocks(t testing.TB, document string) []Block {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(moduleRoot(), "docs", document))
	must(t, err)
	var blocks []Block
	in := false
	for line := range strings.Lines(string(data)) {
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && in:
			in = false
		case fence:
			language, title, _ := strings.Cut(info, " title=")
			blocks, in = append(blocks, Block{Language: language, Title: strings.Trim(title, `"`)}), true
		case in:
			blocks[len(blocks)-1].Text += line
		}
	}
	return blocks
}

// Titled is the text of the one block that has the title.
func Titled(t testing.TB, document, title string) string {
	t.Helper()
	var found []string
	for _, b := range Blocks(t, document) {
		if b.Title == title {
			found = append(found, b.Text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("docs/%s has %d blocks titled %q, want one", document, len(found), title)
	}
	return found[0]
}

// Documents are the names of all documents below docs/.
func Documents(t testing.TB) []string {
	t.Helper()
	root := filepath.Join(moduleRoot(), "docs")
	var all []string
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			name, _ := filepath.Rel(root, path)
			all = append(all, name)
		}
		return err
	}))
	return all
}

// CodeBlocks are all blocks of a document, fenced or indented, without their
// indentation.
func CodeBlocks(t testing.TB, document string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(moduleRoot(), "docs", document))
	must(t, err)
	var all []string
	for _, b := range Blocks(t, document) {
		all = append(all, b.Text)
	}
	return append(all, indented(strings.SplitAfter(string(data), "\n"))...)
}

// indented are the blocks of indented lines.
func indented(lines []string) []string {
	var blocks []string
	in := false
	for _, line := range lines {
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented && in:
			blocks[len(blocks)-1] += code
		case indented:
			blocks, in = append(blocks, code), true
		case strings.TrimSpace(line) == "" && in:
			blocks[len(blocks)-1] += "\n"
		default:
			in = false
		}
	}
	return blocks
}
