package smtpwire

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// readAll reads lines until a final error and shows lines and errors in turn.
func readAll(r *Reader, limit int) (got []string, final error) {
	for {
		line, err := r.ReadLine(limit)
		switch {
		case err == nil:
			got = append(got, string(line))
		case errors.Is(err, ErrLineTooLong), errors.Is(err, ErrBareCR), errors.Is(err, ErrBareLF):
			got = append(got, "! "+err.Error())
		default:
			return got, err
		}
	}
}

func TestOnlyCRLFEndsALine(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name, in string
		want     string // lines, joined by |
		end      error
	}{
		{"two lines", "EHLO a\r\nQUIT\r\n", "EHLO a|QUIT", io.EOF},
		{"an empty line is a line", "\r\n\r\n", "|", io.EOF},
		{"a bare LF", "NOOP\nQUIT\r\n", "! bare LF|QUIT", io.EOF},
		{"a lone LF", "\nQUIT\r\n", "! bare LF|QUIT", io.EOF},
		{"a bare CR within", "NO\rOP\r\nQUIT\r\n", "! bare CR|QUIT", io.EOF},
		{"a CR in front of CRLF", "NOOP\r\r\nQUIT\r\n", "! bare CR|QUIT", io.EOF},
		{"a bare CR and a bare LF", "a\rb\nQUIT\r\n", "! bare LF|QUIT", io.EOF},
		{"a bare CR is no end", "NOOP\rQUIT\r\n", "! bare CR", io.EOF},
		{"LF CR", "NOOP\n\rQUIT\r\n", "! bare LF|! bare CR", io.EOF},
		{"NUL and 8-bit octets are the caller's matter", "a\x00\xff\r\n", "a\x00\xff", io.EOF},
		{"the greatest line", x(62) + "\r\nQUIT\r\n", x(62) + "|QUIT", io.EOF},
		{"one more", x(63) + "\r\nQUIT\r\n", "! line too long|QUIT", io.EOF},
		{"a line over many blocks", x(9000) + "\r\nQUIT\r\n", "! line too long|QUIT", io.EOF},
		{"the end within a line", "QUIT", "", io.ErrUnexpectedEOF},
		{"the end behind one octet", "Q", "", io.ErrUnexpectedEOF},
		{"the end behind CR", "NOOP\r\nQUIT\r", "NOOP", io.ErrUnexpectedEOF},
		{"the end within a line that is too long", x(5000), "", io.ErrUnexpectedEOF},
		{"a line without an end", x(maxDiscard + 100), "", ErrEndlessLine},
	} {
		for kind, source := range sources {
			for i, p := range [][][]byte{whole(c.in), each(c.in), random(c.in, 7)} {
				got, end := readAll(newReader(source(p, io.EOF)), 64)
				if strings.Join(got, "|") != c.want || !errors.Is(end, c.end) {
					t.Errorf("%s, %s, split %d: got %q, %v", c.name, kind, i, got, end)
				}
			}
		}
	}
}

func TestLinesOfEveryLengthAroundTheBlocks(t *testing.T) {
	for _, limit := range []int{MaxCommandLine, MaxAuthLine, largeBlock} {
		for n := limit - 3; n <= limit+3; n++ {
			in := "NOOP\r\n" + strings.Repeat("x", n-2) + "\r\nQUIT\r\n"
			for kind, source := range sources {
				got, end := readAll(newReader(source(random(in, uint64(n)), io.EOF)), limit)
				long := len(got) == 3 && got[1] == "! line too long"
				if end != io.EOF || len(got) != 3 || got[2] != "QUIT" || long != (n > limit) || !long && len(got[1]) != n-2 {
					t.Errorf("limit %d, %d octets, %s: %d lines, too long %v, %v", limit, n, kind, len(got), long, end)
				}
			}
		}
	}
}

func TestReadLineDoesNotWaitForMoreThanTheLine(t *testing.T) {
	const in = "QUIT\r\n"
	for kind, source := range sources {
		for i := range len(in) {
			r := newReader(source(split(in, i), errWouldBlock))
			line, err := r.ReadLine(100)
			if string(line) != "QUIT" || err != nil || waited(r) > 0 {
				t.Errorf("%s, split at %d: %q, %v", kind, i, line, err)
			}
		}
		long := strings.Repeat("x", 5000) + "\r\n"
		r := newReader(source(split(long, len(long)-1), errWouldBlock))
		if _, err := r.ReadLine(100); err != ErrLineTooLong || waited(r) > 0 {
			t.Errorf("%s, a line that is too long, whose LF comes alone: %v, waited %d times", kind, err, waited(r))
		}
		r = newReader(source(whole("\n"), errWouldBlock))
		if _, err := r.ReadLine(100); err != ErrBareLF || waited(r) > 0 {
			t.Errorf("%s, a lone LF: %v", kind, err)
		}
	}
}

func TestAnEmptyReaderHoldsNoBlockWhileItWaits(t *testing.T) {
	in := "NOOP\r\n" + strings.Repeat("x", 9000) + "\r\nDATA\r\nline\r\n.\r\n220 ok\r\n0123456789QUIT\r\n"
	for i, p := range [][][]byte{whole(in), each(in), random(in, 3)} {
		for _, lend := range []bool{false, true} {
			r := new(Reader)
			src := watched{t, r, pieces{left: slices.Clone(p), end: io.EOF}}
			if r.Reset(&src); lend {
				r.Reset(&watchedLender{src})
			}
			readThrough(t, r)
			if _, err := r.ReadLine(100); err != io.EOF {
				t.Errorf("split %d, lender %v: %v", i, lend, err)
			}
			if r.block != nil {
				t.Errorf("split %d, lender %v: a block is held at the end", i, lend)
			}
		}
	}
}

// readThrough reads one of each kind.
func readThrough(t *testing.T, r *Reader) {
	t.Helper()
	var ten [4]byte
	_, err1 := r.ReadLine(100)
	_, err2 := r.ReadLine(100)
	_, err3 := r.ReadLine(100)
	_, err4 := NewBody(Reject, 0).CopyDots(newWriter(io.Discard), r)
	_, err5 := ReadReply(r, nil)
	err6 := r.ReadExact(ten[:])
	_, err7 := NewBody(Reject, 0).CopyChunk(newWriter(io.Discard), r, 3, false)
	err8 := DiscardChunk(r, 3)
	_, err9 := r.ReadLine(100)
	if err2 != ErrLineTooLong {
		t.Error(err2)
	}
	if err := errors.Join(err1, err3, err4, err5, err6, err7, err8, err9); err != nil {
		t.Error(err)
	}
}

func TestReadExactTakesWhatItNeedsAndNoMore(t *testing.T) {
	for kind, source := range sources {
		for n := 1; n <= 4; n++ {
			for _, p := range [][][]byte{whole("PROX"[:n]), each("PROX"[:n])} {
				buf := make([]byte, n)
				r := newReader(source(p, errWouldBlock))
				if err := r.ReadExact(buf); err != nil || string(buf) != "PROX"[:n] || waited(r) > 0 {
					t.Errorf("%s, %d octets: %q, %v", kind, n, buf, err)
				}
			}
		}
		buf := make([]byte, 9000)
		in := strings.Repeat("0123456789", 900)
		r := newReader(source(whole(in+"QUIT\r\n"), io.EOF))
		if err := r.ReadExact(buf); err != nil || string(buf) != in || rest(r) != "QUIT\r\n" {
			t.Errorf("%s: over many blocks: %v", kind, err)
		}
		if err := newReader(source(whole("PR"), io.EOF)).ReadExact(buf); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: the end within: %v", kind, err)
		}
		if err := newReader(source(nil, io.EOF)).ReadExact(buf); err != io.EOF {
			t.Errorf("%s: the end in front: %v", kind, err)
		}
	}
}

func TestLinesThatAreBufferedStayValidTogether(t *testing.T) {
	r := reader("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nsub")
	var lines []string
	var kept [][]byte
	for len(kept) == 0 || r.HasLine() {
		line := try(r.ReadLine(100))(t)
		kept, lines = append(kept, line), append(lines, string(line))
	}
	for i, line := range kept {
		if string(line) != lines[i] {
			t.Errorf("line %d became %q", i, line)
		}
	}
	if len(kept) != 3 || string(r.Peek()) != "sub" || r.Buffered() != 3 {
		t.Errorf("%d lines, and %q is left", len(kept), r.Peek())
	}
}

func TestReleaseAndResetDropWhatIsBuffered(t *testing.T) {
	r := reader("STARTTLS\r\nMAIL FROM:<evil@example>\r\n")
	try(r.ReadLine(100))(t)
	r.Reset(&pieces{left: whole("EHLO inside\r\n"), end: io.EOF})
	if r.Buffered() != 0 || r.HasLine() || r.block != nil {
		t.Errorf("%d octets cross a Reset", r.Buffered())
	}
	if line := try(r.ReadLine(100))(t); string(line) != "EHLO inside" {
		t.Errorf("got %q", line)
	}
	r.Reset(&lender{pieces{left: whole("NOOP\r\nQUIT\r\n"), end: io.EOF}})
	try(r.ReadLine(100))(t)
	r.Release()
	if _, err := r.ReadLine(100); err != io.EOF {
		t.Errorf("after Release: %v", err)
	}
}

func TestASourceThatFails(t *testing.T) {
	broken := errors.New("connection reset")
	for kind, source := range sources {
		if _, err := newReader(source(nil, broken)).ReadLine(100); err != broken {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := newReader(source(whole("QU"), broken)).ReadLine(100); err != broken {
			t.Errorf("%s, within a line: %v", kind, err)
		}
		if _, err := newReader(source(nil, nil)).ReadLine(100); err != io.ErrNoProgress {
			t.Errorf("%s, neither octets nor an error: %v", kind, err)
		}
	}
}

// dataAndError gives its octets together with the error, as io.Reader allows.
type dataAndError struct{ pieces }

func (s *dataAndError) Read(p []byte) (int, error) {
	n, err := s.pieces.Read(p)
	if len(s.left) == 0 || len(s.left) == 1 && len(s.left[0]) == 0 {
		err = s.end
	}
	return n, err
}

func TestOctetsThatComeTogetherWithTheEndCount(t *testing.T) {
	for _, in := range []string{"QUIT\r\n", "A\r\n", "\r\n"} {
		for _, p := range [][][]byte{whole(in), each(in)} {
			r := newReader(&dataAndError{pieces{left: slices.Clone(p), end: io.EOF}})
			if line, err := r.ReadLine(100); string(line)+"\r\n" != in || err != nil {
				t.Errorf("%q: %q, %v", in, line, err)
			}
			if _, err := r.ReadLine(100); err != io.EOF {
				t.Errorf("%q, then: %v", in, err)
			}
		}
	}
}

func TestWaitConsumesNothing(t *testing.T) {
	for kind, source := range sources {
		r := newReader(source(whole("Q"), errWouldBlock))
		if err := r.Wait(); err != nil || string(r.Peek()) != "Q" || waited(r) > 0 {
			t.Errorf("%s: %q, %v", kind, r.Peek(), err)
		}
		if err := r.Wait(); err != nil || string(r.Peek()) != "Q" {
			t.Errorf("%s, again: %q, %v", kind, r.Peek(), err)
		}
		if err := newReader(source(nil, io.EOF)).Wait(); err != io.EOF {
			t.Errorf("%s, at the end: %v", kind, err)
		}
	}
}

func TestATimeLimitLosesNothing(t *testing.T) {
	late := errors.New("i/o timeout")
	for kind, source := range sources {
		for _, half := range []string{"Q", "QUI", "QUIT\r"} {
			r := newReader(source(whole(half), late))
			if _, err := r.ReadLine(100); err != late {
				t.Errorf("%s, %q: %v", kind, half, err)
			}
			switch src := r.src.(type) {
			case *pieces:
				src.left = whole("QUIT\r\n"[len(half):])
			case *lender:
				src.left = whole("QUIT\r\n"[len(half):])
			}
			if line, err := r.ReadLine(100); string(line) != "QUIT" || err != nil {
				t.Errorf("%s, %q, then: %q, %v", kind, half, line, err)
			}
		}
	}
}

func TestALimitOverALargeBlockIsAnError(t *testing.T) {
	if _, err := reader(strings.Repeat("x", 2*largeBlock)).ReadLine(2 * largeBlock); err != io.ErrShortBuffer {
		t.Error(err)
	}
}
