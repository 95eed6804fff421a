package smtpwire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// errWouldBlock is what a test's source says instead of waiting for ever. It
// also counts in waits: who asked had what was needed already.
var errWouldBlock = errors.New("would block")

// pieces is a source that gives one piece with each read, as TLS does with its
// records, and then end.
type pieces struct {
	left  [][]byte
	end   error
	waits int
}

func (s *pieces) waited() int { return s.waits }

// waited is how often r's source was asked when it had nothing left.
func waited(r *Reader) int { return r.src.(interface{ waited() int }).waited() }

func (s *pieces) Read(p []byte) (int, error) {
	for len(s.left) > 0 && len(s.left[0]) == 0 {
		s.left = s.left[1:]
	}
	if len(s.left) == 0 {
		s.waits++
		return 0, s.end
	}
	n := copy(p, s.left[0])
	s.left[0] = s.left[0][n:]
	return n, nil
}

// lender is a source that asks for the buffer only when it has octets.
type lender struct{ pieces }

func (s *lender) ReadLent(lend func() []byte) (int, error) {
	if len(s.left) == 0 {
		s.waits++
		return 0, s.end
	}
	return s.Read(lend())
}

// watched complains when the reader holds a block although it is empty and
// waits.
type watched struct {
	t *testing.T
	r *Reader
	pieces
}

func (s *watched) Read(p []byte) (int, error) {
	s.t.Helper()
	if s.r.Buffered() == 0 && s.r.block != nil {
		s.t.Error("the empty reader waits with a block in its hands")
	}
	return s.pieces.Read(p)
}

type watchedLender struct{ watched }

func (s *watchedLender) ReadLent(lend func() []byte) (int, error) {
	s.t.Helper()
	if s.r.block != nil {
		s.t.Error("the empty reader waits with a block in its hands")
	}
	if len(s.left) == 0 {
		return 0, s.end
	}
	return s.pieces.Read(lend())
}

// sources are both kinds of source over the same pieces.
var sources = map[string]func([][]byte, error) io.Reader{
	"reader": func(p [][]byte, end error) io.Reader { return &pieces{left: p, end: end} },
	"lender": func(p [][]byte, end error) io.Reader { return &lender{pieces{left: p, end: end}} },
}

// whole, each and split cut a text into the pieces that a source gives.
func whole(s string) [][]byte { return [][]byte{[]byte(s)} }

func each(s string) (p [][]byte) {
	for i := range len(s) {
		p = append(p, []byte{s[i]})
	}
	return p
}

func split(s string, at ...int) (p [][]byte) {
	from := 0
	for _, to := range at {
		p = append(p, []byte(s[from:to]))
		from = to
	}
	return append(p, []byte(s[from:]))
}

func random(s string, seed uint64) (p [][]byte) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for len(s) > 0 {
		n := min(len(s), 1+rnd.IntN(1+min(len(s), 1+rnd.IntN(9000))))
		p, s = append(p, []byte(s[:n])), s[n:]
	}
	return p
}

// reader reads s from a plain source in one piece that would block at its end.
func reader(s string) *Reader { return newReader(&pieces{left: whole(s), end: errWouldBlock}) }

func newReader(src io.Reader) *Reader {
	r := new(Reader)
	r.Reset(src)
	return r
}

// rest is what r still has for its next user.
func rest(r *Reader) string {
	b := bytes.Clone(r.Peek())
	more, _ := io.ReadAll(r.src)
	return string(b) + string(more)
}

// sink keeps what is written to it, write by write, until it fails.
type sink struct {
	writes [][]byte
	fail   error
	after  int // writes that succeed when fail is set
}

func (s *sink) Write(p []byte) (int, error) {
	if s.fail != nil && len(s.writes) >= s.after {
		return 0, s.fail
	}
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), nil
}

func (s *sink) String() string { return string(bytes.Join(s.writes, nil)) }

func newWriter(dst io.Writer) *Writer {
	w := new(Writer)
	w.Reset(dst)
	return w
}

// hasBare says whether s holds a CR or LF that is no part of CRLF.
func hasBare(s string) bool {
	return bytes.ContainsAny(bytes.ReplaceAll([]byte(s), crlf, nil), "\r\n")
}

func try[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
