package smtpwire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// chunks runs one message in chunks of the given contents, the way that a
// session does: by StuffChunk and EndDots, or by CopyChunk.
func chunks(mode Newlines, limit int64, source func([][]byte, error) io.Reader, stuffed bool, contents ...string) copied {
	s, b := new(sink), NewBody(mode, limit)
	w := newWriter(s)
	for i, c := range contents {
		r := newReader(source(random(c+next, uint64(len(c))), errWouldBlock))
		var bad, err error
		if stuffed {
			bad, err = b.StuffChunk(w, r, int64(len(c)))
		} else {
			bad, err = b.CopyChunk(w, r, int64(len(c)), i == len(contents)-1)
		}
		if waited(r) > 0 {
			return copied{err: errors.New("waited behind the chunk")}
		}
		if left := rest(r); err != nil || left != next {
			return copied{s.String(), bad, err, b.Size(), left}
		}
		if bad != nil && bad != b.bad {
			return copied{err: errors.New("another error than the body's")}
		}
	}
	bad := b.bad
	if stuffed {
		bad = b.EndDots(w)
	}
	if w.block != nil {
		bad = errors.New("the writer still holds a block")
	}
	return copied{s.String(), bad, nil, b.Size(), next}
}

// cut makes every pair of cuts of in into three chunks.
func cut(in string, f func(parts ...string)) {
	for i := range len(in) + 1 {
		for j := i; j <= len(in); j++ {
			f(in[:i], in[i:j], in[j:])
		}
	}
}

func TestChunksAreCopiedOctetForOctet(t *testing.T) {
	for _, in := range []string{
		"", "a", ".", "a\r\n", "a\r\n.\r\nb\r\n", "\r\n.\r\n", ".\r\n.\r\n", "\x00\xff.\r\n", "\r\n\r\n",
	} {
		for kind, source := range sources {
			cut(in, func(parts ...string) {
				if got := chunks(Reject, 0, source, false, parts...); got != (copied{in, nil, nil, int64(len(in)), next}) {
					t.Errorf("%q, %s: %+v", parts, kind, got)
				}
			})
		}
	}
	big := strings.Repeat("..line\r\n", 20000)
	if got := chunks(Reject, 0, sources["reader"], false, big[:99999], big[99999:]); got.out != big || got.bad != nil {
		t.Errorf("%d octets of %d, %v", len(got.out), len(big), got.bad)
	}
}

func TestABareCROrLFInAChunkIsRefusedBeforeTheMessageIsComplete(t *testing.T) {
	for in, want := range map[string]error{
		"a\nb": ErrBareLF, "a\rb": ErrBareCR, "\n": ErrBareLF, "\r": ErrBareCR, "a\r": ErrBareCR, "a\r\n\r": ErrBareCR, "\r\r\n": ErrBareCR, "a\n": ErrBareLF, "\n\r\n": ErrBareLF,
	} {
		for _, mode := range []Newlines{Reject, Normalize} {
			cut(in, func(parts ...string) {
				got := chunks(mode, 0, sources["lender"], false, parts...)
				// The last octet may leave only when chunks without octets follow, whose BDAT is held.
				if got.bad != want || got.err != nil || got.rest != next || parts[2] != "" && len(got.out) == len(in) {
					t.Errorf("%q, mode %d: %+v", parts, mode, got)
				}
			})
		}
	}
}

func TestTheHeldBDATCommandLeavesWithItsChunkOrNotAtAll(t *testing.T) {
	for _, c := range []struct{ first, want string }{{"a\r\n", "a\r\nBDAT 0 LAST\r\n"}, {"a\r", "a\r"}} {
		s, b := new(sink), NewBody(Reject, 0)
		w := newWriter(s)
		if bad, err := b.CopyChunk(w, reader(c.first), int64(len(c.first)), false); bad != nil || err != nil {
			t.Fatal(bad, err)
		}
		w.Line([]byte("BDAT 0 LAST"))
		_, err := b.CopyChunk(w, reader(""), 0, true)
		if s.String() != c.want || err != nil || w.Pending() != 0 {
			t.Errorf("%q: wrote %q, %d wait", c.first, s, w.Pending())
		}
	}
}

func TestStuffChunk(t *testing.T) {
	for _, c := range []struct {
		in, want  string
		normalize string // the same with Normalize
	}{
		{"", ".\r\n", ".\r\n"},
		{"a", "a\r\n.\r\n", "a\r\n.\r\n"},
		{"a\r\n", "a\r\n.\r\n", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n", "..\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n", "..\r\n.\r\n"},
		{"..\r\n", "...\r\n.\r\n", "...\r\n.\r\n"},
		{"a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n"},
		{"\r\n.\r\n", "\r\n..\r\n.\r\n", "\r\n..\r\n.\r\n"},
		{"a.b\r\n", "a.b\r\n.\r\n", "a.b\r\n.\r\n"},
		{"a\n.", "", "a\r\n..\r\n.\r\n"},
		{"\n.\n", "", "\r\n..\r\n.\r\n"},
		{"a\r.", "", "a .\r\n.\r\n"},
		{"a\r", "", "a \r\n.\r\n"},
		{"\r\r\n.", "", " \r\n..\r\n.\r\n"},
	} {
		for kind, source := range sources {
			cut(c.in, func(parts ...string) {
				if got := chunks(Normalize, 0, source, true, parts...); got != (copied{c.normalize, nil, nil, int64(len(c.in)), next}) {
					t.Errorf("%q, %s, normalized: %+v", parts, kind, got)
				}
				got := chunks(Reject, 0, source, true, parts...)
				if c.want != "" && got.out != c.want || (got.bad == nil) != (c.want != "") || got.rest != next || got.bad != nil && strings.Contains(got.out, ".\r\n") {
					t.Errorf("%q, %s: %+v", parts, kind, got)
				}
			})
		}
	}
}

func TestChunksOverTheLimitAreReadAndNotPassedOn(t *testing.T) {
	for _, stuffed := range []bool{false, true} {
		for limit, want := range map[int64]error{9: nil, 8: ErrTooBig, 4: ErrTooBig, 1: ErrTooBig} {
			got := chunks(Reject, limit, sources["reader"], stuffed, "abc", "def", "ghi")
			if got.bad != want || got.err != nil || got.rest != next || got.size != 9 || int64(len(got.out)) > limit && want != nil {
				t.Errorf("limit %d, stuffed %v: %+v", limit, stuffed, got)
			}
		}
	}
}

func TestAChunkOfOneOctetIsNotWaitedBehind(t *testing.T) {
	for kind, source := range sources {
		for _, octet := range []string{"a", ".", "\xff"} {
			for name, run := range map[string]func(*Body, *Writer, *Reader) (bad, err error){
				"CopyChunk":    func(b *Body, w *Writer, r *Reader) (error, error) { return b.CopyChunk(w, r, 1, true) },
				"StuffChunk":   func(b *Body, w *Writer, r *Reader) (error, error) { return b.StuffChunk(w, r, 1) },
				"DiscardChunk": func(_ *Body, _ *Writer, r *Reader) (error, error) { return nil, DiscardChunk(r, 1) },
			} {
				r := newReader(source(whole(octet), errWouldBlock))
				if bad, err := run(NewBody(Reject, 0), newWriter(io.Discard), r); bad != nil || err != nil || waited(r) > 0 {
					t.Errorf("%s, %s of %q: %v, %v, waited %d times", kind, name, octet, bad, err, waited(r))
				}
			}
		}
	}
}

func TestARefusedChunkIsDiscardedAndNoMore(t *testing.T) {
	for _, n := range []int{0, 1, 10, largeBlock, 3*largeBlock + 1} {
		in := strings.Repeat("QUIT\r\n", n/6+1)[:n]
		r := newReader(&pieces{left: random(in+next, 5), end: errWouldBlock})
		if err := DiscardChunk(r, int64(n)); err != nil || rest(r) != next {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	if err := DiscardChunk(newReader(&pieces{left: whole("abc"), end: io.EOF}), 4); err != io.ErrUnexpectedEOF {
		t.Errorf("the end within a chunk: %v", err)
	}
	if _, err := NewBody(Reject, 0).CopyChunk(newWriter(io.Discard), newReader(&pieces{left: whole("abc"), end: io.EOF}), 4, true); err != io.ErrUnexpectedEOF {
		t.Errorf("the end within a chunk: %v", err)
	}
}

func TestABrokenDestinationDoesNotStopTheReadingOfChunks(t *testing.T) {
	broken := errors.New("broken pipe")
	in := strings.Repeat("line\r\n", 20000)
	for _, stuffed := range []bool{false, true} {
		r := newReader(&pieces{left: whole(in + next), end: errWouldBlock})
		b, w := NewBody(Reject, 0), newWriter(&sink{fail: broken, after: 1})
		run := func() (error, error) { return b.CopyChunk(w, r, int64(len(in)), true) }
		if stuffed {
			run = func() (error, error) { return b.StuffChunk(w, r, int64(len(in))) }
		}
		if bad, err := run(); bad != broken || err != nil || rest(r) != next {
			t.Errorf("stuffed %v: %v, %v", stuffed, bad, err)
		}
		if err := b.EndDots(w); stuffed && err != broken {
			t.Errorf("EndDots: %v", err)
		}
	}
}

func TestStuffDots(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a\r\n": "a\r\n", ".a\r\n": "..a\r\n", "a\r\n.b\r\n": "a\r\n..b\r\n", "..\r\n..": "...\r\n...", "a.b": "a.b",
	} {
		kept := []byte(in)
		if got := StuffDots(kept); string(got) != want || string(kept) != in {
			t.Errorf("%q: %q", in, got)
		}
	}
}
