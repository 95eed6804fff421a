package smtpwire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// refLines is ReadLine once more, for a whole text.
func refLines(in string, limit int) (lines []string, end error) {
	for {
		line, rest, ok := strings.Cut(in, "\n")
		if !ok {
			if line == "" {
				return lines, io.EOF
			}
			return lines, io.ErrUnexpectedEOF
		}
		text, crlf := strings.CutSuffix(line, "\r")
		switch {
		case len(line)+1 > limit:
			text = "! line too long"
		case !crlf:
			text = "! bare LF"
		case strings.Contains(text, "\r"):
			text = "! bare CR"
		}
		lines, in = append(lines, text), rest
	}
}

func FuzzReadLine(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte, limit uint16, seed uint64) {
		if len(in) >= maxDiscard {
			return
		}
		n := 1 + int(limit)%largeBlock
		want, wantEnd := refLines(string(in), n)
		for kind, source := range sources {
			got, end := readAll(newReader(source(random(string(in), seed), io.EOF)), n)
			if strings.Join(got, "|") != strings.Join(want, "|") || len(got) != len(want) || end != wantEnd {
				t.Errorf("%s: %q, %v, want %q, %v", kind, got, end, want, wantEnd)
			}
		}
	})
}

func FuzzParseCommand(f *testing.F) {
	f.Fuzz(func(t *testing.T, line []byte) {
		kept := bytes.Clone(line)
		c := ParseCommand(line)
		if !bytes.Equal(c.Line, kept) || c.Verb >= verbs || !bytes.Contains(line, c.Args) || !bytes.Equal(bytes.Trim(c.Args, " "), c.Args) {
			t.Errorf("%q: %v, %q", line, c.Verb, c.Args)
		}
		word, _, _ := strings.Cut(string(line), " ")
		if known := c.Verb != Unknown && c.Verb != HTTPVerb; known && strings.ToUpper(word) != c.Verb.String() {
			t.Errorf("%q is taken for %v", line, c.Verb)
		}
	})
}

func FuzzParseEnvelope(f *testing.F) {
	f.Fuzz(func(t *testing.T, args []byte) {
		e, err := ParseEnvelope(args, "FROM:")
		if err != nil {
			if err != ErrPath && err != ErrParam {
				t.Errorf("%q: %v", args, err)
			}
			return
		}
		var texts [][]byte
		e.Each(func(p Param) bool {
			if bytes.ContainsAny(p.Text, " \r\n\x00") || len(p.Keyword) == 0 || !IsASCII(p.Keyword) {
				t.Errorf("%q: parameter %q", args, p.Text)
			}
			texts = append(texts, p.Text)
			return true
		})
		if bytes.ContainsAny(e.Path, "\r\n\x00") || len(e.Path) > maxPath {
			t.Errorf("%q: path %q", args, e.Path)
		}
		again := "FROM:<" + string(e.Path) + "> " + string(bytes.Join(texts, []byte(" ")))
		back, err := ParseEnvelope([]byte(again), "FROM:")
		if len(e.Path) < maxPath-2 && (err != nil || !bytes.Equal(back.Path, e.Path)) {
			t.Errorf("%q is written as %q and read as %q, %v", args, again, back.Path, err)
		}
	})
}

func FuzzParseChunk(f *testing.F) {
	f.Fuzz(func(t *testing.T, args []byte) {
		size, _, err := ParseChunk(args)
		if size < 0 || size > maxChunk || err != nil && (err != ErrChunkSize || size != 0) {
			t.Errorf("%q: %d, %v", args, size, err)
		}
		if err == nil && (len(args) == 0 || !digits(args[:1])) {
			t.Errorf("%q is accepted", args)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		r := newReader(&pieces{left: random(string(in), seed), end: io.EOF})
		got, err := ReadReply(r, nil)
		other, err2 := ReadReply(newReader(&lender{pieces{left: each(string(in)), end: io.EOF}}), nil)
		if !bytes.Equal(got.Lines, other.Lines) || !errors.Is(err, err2) {
			t.Fatalf("%q, %v and %q, %v", got.Lines, err, other.Lines, err2)
		}
		if err != nil {
			return
		}
		if hasBare(string(got.Lines)) || len(got.Lines) > maxReply || got.Class() < 2 || got.Class() > 5 {
			t.Errorf("code %d, %q", got.Code, got.Lines)
		}
		back, err := ReadReply(reader(string(got.Lines)), nil)
		if err != nil || back.Code != got.Code || !bytes.Equal(back.Lines, got.Lines) {
			t.Errorf("%q is read as %q, %v", got.Lines, back.Lines, err)
		}
	})
}

func FuzzParseCapabilities(f *testing.F) {
	f.Fuzz(func(t *testing.T, lines []byte) {
		c := ParseCapabilities(Reply{Code: 250, Lines: lines})
		if len(c.List()) > maxCapabilities || c.Size() < 0 {
			t.Errorf("%d capabilities, size %d", len(c.List()), c.Size())
		}
		for _, e := range c.List() {
			if !validKeyword(e.Keyword) || strings.ToUpper(e.Keyword) != e.Keyword || !c.Has(e.Keyword) || strings.Contains(e.Params, "\r\n") {
				t.Errorf("%q %q", e.Keyword, e.Params)
			}
		}
	})
}

func FuzzCopyDots(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		text := string(in) + "\r\n.\r\n" + next
		for kind := range sources {
			if err := checkDots(text, kind, func(s string) [][]byte { return random(s, seed) }); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			if err := checkDots(text, kind, each); err != nil {
				t.Errorf("%s, octet by octet: %v", kind, err)
			}
		}
	})
}

// FuzzChunks is for CopyChunk, StuffChunk and EndDots.
func FuzzChunks(f *testing.F) {
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		for kind, source := range sources {
			if err := checkChunks(source, string(first), string(second), string(third)); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
}
