package smtpwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

const next = "MAIL FROM:<next@example>\r\n"

// copied is what became of one message.
type copied struct {
	out  string
	bad  error
	err  error
	size int64
	rest string // what the reader has for the next command
}

// copyDots runs CopyDots over a source that would block behind its pieces.
func copyDots(newlines Newlines, limit int64, kind string, p [][]byte) copied {
	s, b := new(sink), NewBody(newlines, limit)
	r := newReader(sources[kind](slices.Clone(p), errWouldBlock))
	w := newWriter(s)
	bad, err := b.CopyDots(w, r)
	switch {
	case w.block != nil:
		bad = errors.New("the writer still holds a block")
	case waited(r) > 0:
		bad = errors.New("waited behind the end")
	}
	return copied{s.String(), bad, err, b.Size(), rest(r)}
}

// splits are ways for in to arrive.
func splits(in string) map[string][][]byte {
	ways := map[string][][]byte{"whole": whole(in), "random": random(in, uint64(len(in)))}
	if len(in) < 5000 {
		ways["octet by octet"] = each(in)
	}
	return ways
}

func TestACleanMessageIsCopiedOctetForOctet(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		size int64
	}{
		"an empty message":           {".\r\n", 0},
		"an empty line":              {"\r\n.\r\n", 2},
		"a line":                     {"a\r\n.\r\n", 3},
		"a stuffed dot":              {"..\r\n.\r\n", 3},
		"a stuffed dot later":        {"a\r\n..b\r\n.\r\n", 7},
		"a single dot before text":   {".b\r\n.\r\n", 3},
		"dots within lines":          {"a.\r\nb.c\r\n...\r\n.\r\n", 4 + 5 + 4},
		"NUL before the dot":         {"a\r\n\x00.\r\n.\r\n", 3 + 4},
		"NUL behind the dot":         {"a\r\n.\x00\r\n.\r\n", 3 + 3},
		"8-bit octets":               {"\xff\x80\r\n.\r\n", 4},
		"a line of 70,000 octets":    {strings.Repeat("x", 7e4) + "\r\n.\r\n", 7e4 + 2},
		"35,000 lines":               {strings.Repeat("\r\n", 35e3) + ".\r\n", 7e4},
		"70,000 dots":                {strings.Repeat(".", 7e4) + "\r\n.\r\n", 7e4 + 1},
		"a stuffed dot on each line": {strings.Repeat("..\r\n", 2e4) + ".\r\n", 6e4},
	} {
		for how, p := range splits(c.in + next) {
			for kind := range sources {
				for _, mode := range []Newlines{Reject, Normalize} {
					got := copyDots(mode, 0, kind, p)
					if got != (copied{c.in, nil, nil, c.size, next}) {
						t.Errorf("%s, %s, %s, mode %d: %d octets, size %d, %v, %v", name, how, kind, mode, len(got.out), got.size, got.bad, got.err)
					}
				}
			}
		}
	}
}

func TestTheEndMayBeSplitAnywhere(t *testing.T) {
	const in = "a\r\n..b\r\n.\r\n"
	for i := range len(in) + 1 {
		for j := i; j <= len(in); j++ {
			for kind := range sources {
				got := copyDots(Reject, 0, kind, split(in, i, j))
				if got != (copied{in, nil, nil, 3 + 4, ""}) {
					t.Errorf("split at %d and %d, %s: %+v", i, j, kind, got)
				}
			}
		}
	}
}

func TestTheEndMayStandAtEveryBorderOfABlock(t *testing.T) {
	for _, border := range []int{smallBlock, largeBlock, 2 * largeBlock} {
		for n := border - 8; n <= border+3; n++ {
			for _, dots := range []string{".\r\n", "..\r\n.\r\n", "\r\n.\r\n"} {
				in := strings.Repeat("x", n-2) + "\r\n" + dots
				for kind := range sources {
					for _, p := range [][][]byte{whole(in + next), split(in+next, border), split(in+next, border-1, border)} {
						if got := copyDots(Reject, 0, kind, p); got.out != in || got.bad != nil || got.err != nil || got.rest != next {
							t.Errorf("%d octets and %q, %s: %d octets, %v, %v", n, dots, kind, len(got.out), got.bad, got.err)
						}
					}
				}
			}
		}
	}
}

// smuggling is STANDARDS 176: what must not end a message.
var smuggling = []struct {
	name, seq string
	bare      error // what Reject says of it
}{
	{"LF.LF", "\n.\n", ErrBareLF},
	{"LF.CRLF", "\n.\r\n", ErrBareLF},
	{"CRLF.LF", "\r\n.\n", ErrBareLF},
	{"CRLF.CR", "\r\n.\r", ErrBareCR},
	{"LF.CR", "\n.\r", ErrBareLF},
	{"CR.LF", "\r.\n", ErrBareCR},
	{"CR.CR", "\r.\r", ErrBareCR},
	{"CR.CRLF", "\r.\r\n", ErrBareCR},
	{"CRLF NUL.CRLF", "\r\n\x00.\r\n", nil},
	{"CRLF.NUL CRLF", "\r\n.\x00\r\n", nil},
	{"CRLF.CR CRLF", "\r\n.\r\r\n", ErrBareCR},
	{"CRCRLF.CRCRLF", "\r\r\n.\r\r\n", ErrBareCR},
	{"LF LF.LF", "\n\n.\n", ErrBareLF},
	{"CRLF.LF CR", "\r\n.\n\r", ErrBareLF},
	{"CRLF.CR.CRLF", "\r\n.\r.\r\n", ErrBareCR},
	{"CRLF SP.CRLF", "\r\n .\r\n", nil},
	{"CRLF.SP CRLF", "\r\n. \r\n", nil},
	{"CRLF..CRLF", "\r\n..\r\n", nil},
}

func TestNothingElseEndsAMessage(t *testing.T) {
	const before, behind = "Subject: one\r\n\r\nclean", "MAIL FROM:<smuggled@example>\r\nDATA\r\nSubject: two\r\n"
	for _, c := range smuggling {
		in := before + c.seq + behind + ".\r\n"
		for how, p := range splits(in + next) {
			for kind := range sources {
				where := fmt.Sprintf("%s, %s, %s", c.name, how, kind)
				got := copyDots(Reject, 0, kind, p)
				if got.bad != c.bare || got.err != nil || got.rest != next {
					t.Errorf("%s: %v, %v, and %q follows", where, got.bad, got.err, got.rest)
				}
				if c.bare == nil && got.out != in || c.bare != nil && !strings.HasPrefix("Subject: one\r\n\r\nclean\r\n.", got.out) {
					t.Errorf("%s: passed on %q", where, got.out)
				}
				got = copyDots(Normalize, 0, kind, p)
				if got.bad != nil || got.err != nil || got.rest != next || hasBare(got.out) {
					t.Errorf("%s, normalized: %v, %v, %q", where, got.bad, got.err, got.out)
				}
				if i := strings.Index(got.out, "\r\n.\r\n"); i != len(got.out)-5 || !strings.Contains(got.out, behind) {
					t.Errorf("%s, normalized: ends at %d of %q", where, i, got.out)
				}
			}
		}
	}
}

func TestSmugglingAtTheStartOfAMessage(t *testing.T) {
	for _, start := range []string{".\n", ".\r", ".\r\r\n", "\n.\r\n", "\r.\r\n", "\n.\n", ".\r.\r\n"} {
		for how, p := range splits(start + "x\r\n.\r\n" + next) {
			for kind := range sources {
				got := copyDots(Reject, 0, kind, p)
				if got.bad == nil || got.err != nil || got.rest != next || len(got.out) > 1 {
					t.Errorf("%q, %s, %s: %+v", start, how, kind, got)
				}
				got = copyDots(Normalize, 0, kind, p)
				if got.bad != nil || got.rest != next || hasBare(got.out) || strings.Index("\r\n"+got.out, "\r\n.\r\n") != len(got.out)-3 {
					t.Errorf("%q normalized, %s, %s: %+v", start, how, kind, got)
				}
			}
		}
	}
}

func TestNormalizeMends(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a\nb\r\n", "a\r\nb\r\n"},
		{"a\rb\r\n", "a b\r\n"},
		{"a\r\r\n", "a \r\n"},
		{"a\n\rb\r\n", "a\r\n b\r\n"},
		{"a\n.b\r\n", "a\r\n..b\r\n"},
		{"a\n.\r\n", "a\r\n..\r\n"},
		{"a\n..\r\n", "a\r\n...\r\n"},
		{"a\r\n.\n", "a\r\n..\r\n\r\n"},
		{"a\r\n..\n", "a\r\n..\r\n\r\n"},
		{"a\r\n.\rb\r\n", "a\r\n. b\r\n"},
		{"\n", "\r\n\r\n"},
		{"\n\n.\n\n", "\r\n\r\n..\r\n\r\n\r\n"},
		{"\r", " \r\n"},
	} {
		in := c.in
		if !strings.HasSuffix(in, "\r\n") {
			in += "\r\n"
		}
		for how, p := range splits(in + ".\r\n" + next) {
			for kind := range sources {
				if got := copyDots(Normalize, 0, kind, p); got.out != c.want+".\r\n" || got.bad != nil || got.err != nil || got.rest != next {
					t.Errorf("%q, %s, %s: %+v", c.in, how, kind, got)
				}
			}
		}
	}
}

func TestTheLimitCountsContentAndTheMessageIsReadToItsEnd(t *testing.T) {
	for _, c := range []struct {
		in   string
		size int64
	}{
		{"12345678\r\n", 10},
		{"..345678\r\n", 9},
		{"..\r\n..\r\n..\r\n", 9},
		{"", 0},
		{strings.Repeat("..\r\n", 20000), 60000},
	} {
		for how, p := range splits(c.in + ".\r\n" + next) {
			for kind := range sources {
				if got := copyDots(Reject, c.size, kind, p); got != (copied{c.in + ".\r\n", nil, nil, c.size, next}) {
					t.Errorf("%.20q, %s, %s: at the limit: %v, %v, size %d", c.in, how, kind, got.bad, got.err, got.size)
				}
				if c.size < 2 {
					continue
				}
				got := copyDots(Reject, c.size-1, kind, p)
				if got.bad != ErrTooBig || got.err != nil || got.rest != next || strings.HasSuffix("\r\n"+got.out, "\r\n.\r\n") {
					t.Errorf("%.20q, %s, %s: over the limit: %v, %v, %d octets, %q follows", c.in, how, kind, got.bad, got.err, len(got.out), got.rest)
				}
			}
		}
	}
}

func TestABadMessageIsReadToItsEndWhateverFollows(t *testing.T) {
	for _, tail := range []string{"", ".", "..", "\r", "\n.\n", "\r.\r", "\r\r", ".\r", "\r\n.", "\r\n.x", "\r\n.\r\r", "\r\n..", "\n\r", "\r\n\r"} {
		in := "a\nb" + tail + "\r\n.\r\n"
		if strings.HasSuffix(tail, "\r\n.") { // this is the end itself
			in = "a\nb" + tail + "\r\n"
		}
		for how, p := range splits(in + next) {
			for kind := range sources {
				if got := copyDots(Reject, 0, kind, p); got.bad != ErrBareLF || got.err != nil || got.rest != next {
					t.Errorf("%q, %s, %s: %+v", tail, how, kind, got)
				}
			}
		}
	}
}

func TestABrokenDestinationDoesNotStopTheReading(t *testing.T) {
	broken := errors.New("broken pipe")
	in := strings.Repeat("line\r\n", 20000) + ".\r\n"
	for after := range 3 {
		for kind, source := range sources {
			for _, p := range splits(in + next) {
				s := &sink{fail: broken, after: after}
				r := newReader(source(slices.Clone(p), errWouldBlock))
				bad, err := NewBody(Reject, 0).CopyDots(newWriter(s), r)
				if len(p) > 2*after+1 && bad != broken || err != nil || rest(r) != next {
					t.Errorf("%s, after %d: %v, %v", kind, after, bad, err)
				}
			}
		}
	}
}

func TestABrokenSourceIsFinal(t *testing.T) {
	broken := errors.New("connection reset")
	for kind, source := range sources {
		for _, c := range []struct{ end, want error }{{broken, broken}, {io.EOF, io.ErrUnexpectedEOF}} {
			for _, in := range []string{"", "a\r\n", "a\r", "a\r\n.", "a\r\n.\r", "a\nb"} {
				s := new(sink)
				_, err := NewBody(Reject, 0).CopyDots(newWriter(s), newReader(source(whole(in), c.end)))
				if err != c.want || strings.Contains(s.String(), "\r\n.\r\n") {
					t.Errorf("%s, %q: %v", kind, in, err)
				}
			}
		}
	}
}

func TestWhatWaitsInTheWriterLeavesWithTheMessageAndNotWithARefusedOne(t *testing.T) {
	for in, want := range map[string]string{"a\r\n.\r\n": "Received: x\r\na\r\n.\r\n", "a\n\r\n.\r\n": ""} {
		s := new(sink)
		w := newWriter(s)
		w.Raw([]byte("Received: x\r\n"))
		if _, err := NewBody(Reject, 0).CopyDots(w, reader(in)); err != nil || s.String() != want || w.Pending() != 0 {
			t.Errorf("%q: wrote %q, %d wait, %v", in, s, w.Pending(), err)
		}
	}
}

// waiting records how much is unwritten whenever the source is asked.
type waiting struct {
	pieces
	w   *Writer
	max int
}

func (s *waiting) Read(p []byte) (int, error) {
	s.max = max(s.max, s.w.Pending())
	return s.pieces.Read(p)
}

func TestNothingIsHeldBackWhileTheSourceIsSlow(t *testing.T) {
	for _, mode := range []Newlines{Reject, Normalize} {
		in := "line\r\n.\r\n"
		if mode == Normalize {
			in = "a\nb\n.c\rd\r\n.\r\n"
		}
		w := newWriter(new(sink))
		src := &waiting{pieces{left: each(in), end: errWouldBlock}, w, 0}
		if bad, err := NewBody(mode, 0).CopyDots(w, newReader(src)); bad != nil || err != nil || src.max > 0 {
			t.Errorf("mode %d: %v, %v, %d octets were held back", mode, bad, err, src.max)
		}
	}
}

func TestMendedLinesLeaveTogether(t *testing.T) {
	s := new(sink)
	in := bytes.Repeat([]byte("a line that ends in LF alone\n"), 1000)
	bad, err := NewBody(Normalize, 0).CopyDots(newWriter(s), reader(string(in)+"\r\n.\r\n"))
	if bad != nil || err != nil || len(s.writes) > 5 {
		t.Errorf("%v, %v, %d writes for 29,000 octets", bad, err, len(s.writes))
	}
}
