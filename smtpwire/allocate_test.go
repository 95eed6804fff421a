//go:build !race

package smtpwire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// Not under the race detector, with which sync.Pool drops blocks at random.
func TestTheSteadyPathDoesNotAllocate(t *testing.T) {
	r, l, w := newReader(nil), newReader(&records{}), newWriter(io.Discard)
	src := &records{size: 1 << 10}
	give := func(s string) { src.all, src.left = []byte(s), nil }
	line, replies := []byte("250 2.1.5 ok"), make([]byte, 0, 1<<10)
	args := []byte("FROM:<a@b.example> SIZE=1000 BODY=8BITMIME")
	var body Body
	for _, c := range []struct {
		name, in string
		run      func(r *Reader) error
	}{
		{"ReadLine", "RCPT TO:<a@b.example>\r\n", func(r *Reader) error { _, err := r.ReadLine(100); return err }},
		{"ReadLine over a small block", strings.Repeat("x", 2*smallBlock) + "\r\n", func(r *Reader) error { _, err := r.ReadLine(MaxAuthLine); return err }},
		{"ReadReply", "250-a\r\n250-b\r\n250 c\r\n", func(r *Reader) error { _, err := ReadReply(r, replies); return err }},
		{"ParseCommand", "x", func(*Reader) error { _ = ParseCommand(args); return nil }},
		{"ParseEnvelope", "x", func(*Reader) error { _, err := ParseEnvelope(args, "FROM:"); return err }},
		{"ParseSize", "x", func(*Reader) error { _, _ = ParseSize(args[23:27]); return nil }},
		{"ParseChunk", "x", func(*Reader) error { _, _, err := ParseChunk([]byte("1000 LAST")); return err }},
		{"Line and Flush", "x", func(*Reader) error { w.Line(line); w.Line(line); return w.Flush() }},
		{"CopyDots", strings.Repeat("a line\r\n..dot\r\n", 50) + ".\r\n", func(r *Reader) error {
			body = Body{}
			bad, err := body.CopyDots(w, r)
			return errors.Join(bad, err)
		}},
		{"CopyDots that mends", strings.Repeat("a\n.b\rc\r\n.\n", 50) + "\r\n.\r\n", func(r *Reader) error {
			body = Body{newlines: Normalize}
			bad, err := body.CopyDots(w, r)
			return errors.Join(bad, err)
		}},
		{"CopyChunk", strings.Repeat("a line\r\n..dot\r\n", 50), func(r *Reader) error {
			body = Body{}
			bad, err := body.CopyChunk(w, r, 15*50, true)
			return errors.Join(bad, err)
		}},
		{"StuffChunk", strings.Repeat(".line\r\n..dot\n\n", 50), func(r *Reader) error {
			body = Body{newlines: Normalize}
			bad, err := body.StuffChunk(w, r, 14*50)
			return errors.Join(bad, err, body.EndDots(w))
		}},
		{"DiscardChunk", strings.Repeat("x", 5000), func(r *Reader) error { return DiscardChunk(r, 5000) }},
	} {
		give(c.in)
		for kind, r := range map[string]*Reader{"reader": r, "lender": l} {
			if r.Reset(src); kind == "reader" {
				r.Reset(struct{ io.Reader }{src})
			}
			var err error
			if n := testing.AllocsPerRun(100, func() { err = errors.Join(err, c.run(r)) }); n != 0 || err != nil {
				t.Errorf("%s, %s: %v allocations, %v", c.name, kind, n, err)
			}
		}
	}
}
