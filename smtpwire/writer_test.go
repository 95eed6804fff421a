package smtpwire

import (
	"errors"
	"strings"
	"testing"
)

func TestAGroupLeavesInOneWrite(t *testing.T) {
	s := new(sink)
	w := newWriter(s)
	w.Line([]byte("MAIL FROM:<>"))
	w.Line([]byte("RCPT TO:<a@b>"))
	w.Raw([]byte("DATA\r\n"))
	if w.Pending() != 35 || len(s.writes) != 0 || w.Written() != 0 {
		t.Errorf("%d octets wait, %d writes", w.Pending(), len(s.writes))
	}
	if err := w.Flush(); err != nil || s.String() != "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n" {
		t.Errorf("%q, %v", s, err)
	}
	if len(s.writes) != 1 || w.Pending() != 0 || w.Written() != 35 || w.block != nil {
		t.Errorf("%d writes, %d wait, %d written, block %v", len(s.writes), w.Pending(), w.Written(), w.block != nil)
	}
	if err := w.Flush(); err != nil || len(s.writes) != 1 {
		t.Errorf("a second Flush wrote, %v", err)
	}
}

func TestLineNeverWritesTwoLines(t *testing.T) {
	for _, line := range []string{"a\r\nRCPT TO:<b>", "a\n", "a\r", "\n", "\r", "a\rb"} {
		s := new(sink)
		w := newWriter(s)
		w.Line([]byte("NOOP"))
		w.Line([]byte(line))
		w.Line([]byte("QUIT"))
		if err := w.Flush(); err != ErrNotALine || len(s.writes) != 0 || w.block != nil {
			t.Errorf("%q: %v, wrote %q", line, err, s)
		}
	}
}

func TestSizesAroundTheBlocks(t *testing.T) {
	var sizes []int
	for d := -3; d <= 3; d++ {
		sizes = append(sizes, smallBlock+d, largeBlock+d, 2*largeBlock+d)
	}
	for _, first := range append(sizes, 0, 1) {
		for _, then := range append(sizes, 0, 1) {
			s := new(sink)
			w := newWriter(s)
			a, b := strings.Repeat("a", first), strings.Repeat("b", then)
			w.Raw([]byte(a))
			w.Raw([]byte(b))
			w.Raw([]byte("."))
			if err := w.Flush(); err != nil || s.String() != a+b+"." {
				t.Fatalf("%d and %d octets: %v", first, then, err)
			}
			if n := len(s.writes); first+then < largeBlock && n != 1 || n > 3 {
				t.Errorf("%d and %d octets left in %d writes", first, then, n)
			}
			s.writes = nil
			w.Raw([]byte(a))
			if err := w.Through([]byte(b)); err != nil || s.String() != a+b || w.block != nil {
				t.Fatalf("Through %d and %d octets: %v", first, then, err)
			}
		}
	}
}

func TestTheFirstErrorSticks(t *testing.T) {
	broken := errors.New("broken pipe")
	big := make([]byte, largeBlock+1)
	for name, write := range map[string]func(w *Writer){
		"a small piece":             func(w *Writer) { w.Raw([]byte("x")) },
		"a line":                    func(w *Writer) { w.Line([]byte("x")) },
		"two lines":                 func(w *Writer) { w.Line([]byte("x\ny")) },
		"a large piece":             func(w *Writer) { w.Raw(big) },
		"a large one behind others": func(w *Writer) { w.Raw([]byte("x")); w.Raw(big) },
		"a full block":              func(w *Writer) { w.Raw(big[:largeBlock]); w.Raw(big[:largeBlock]) },
		"straight through":          func(w *Writer) { _ = w.Through([]byte("x")) },
		"a large one through":       func(w *Writer) { w.Raw([]byte("x")); _ = w.Through(big) },
	} {
		s := &sink{fail: broken}
		w := newWriter(s)
		if err := w.Through([]byte("x")); err != broken {
			t.Fatal(err)
		}
		s.fail = nil
		write(w)
		if err := w.Flush(); err != broken || len(s.writes) != 0 {
			t.Errorf("%s: %v, and %d writes behind an error", name, err, len(s.writes))
		}
		if w.block != nil {
			t.Errorf("%s: a block is held", name)
		}
		s = new(sink)
		if w.Reset(s); w.Through([]byte("x")) != nil || s.String() != "x" {
			t.Errorf("%s: the error outlives Reset", name)
		}
	}
}

func TestNothingFollowsAWriteThatFailsWithinACall(t *testing.T) {
	broken := errors.New("broken pipe")
	for name, write := range map[string]func(w *Writer){
		"Raw":     func(w *Writer) { w.Raw(make([]byte, 2*largeBlock)) },
		"Through": func(w *Writer) { _ = w.Through(make([]byte, 2*largeBlock)) },
	} {
		f := &failOnce{err: broken}
		w := newWriter(f)
		w.Raw([]byte("x"))
		write(w)
		if err := w.Flush(); err != broken || f.calls != 1 || w.Written() != 0 {
			t.Errorf("%s: %v, %d writes, %d octets", name, err, f.calls, w.Written())
		}
	}
}

type failOnce struct {
	err   error
	calls int
}

func (f *failOnce) Write(p []byte) (int, error) {
	if f.calls++; f.calls == 1 {
		return 0, f.err
	}
	return len(p), nil
}

type short struct{}

func (short) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestAShortWriteIsAnError(t *testing.T) {
	w := newWriter(short{})
	if err := w.Through([]byte("QUIT\r\n")); err == nil || w.Written() != 5 {
		t.Errorf("%v, %d written", err, w.Written())
	}
}
