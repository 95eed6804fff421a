package smtpwire

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// message is 20 MiB in lines of 78 characters, with its end.
var message = append(bytes.Repeat([]byte(strings.Repeat("x", 78)+"\r\n"), 20<<20/80), ".\r\n"...)

// records gives p in pieces of the size of a TLS record, again and again.
type records struct {
	all, left []byte
	size      int
}

func (s *records) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		s.left = s.all
	}
	n := copy(p, s.left[:min(s.size, len(s.left))])
	s.left = s.left[n:]
	return n, nil
}

func (s *records) ReadLent(lend func() []byte) (int, error) { return s.Read(lend()) }

func benchmarkCopy(b *testing.B, in []byte, run func(dst *Writer, src *Reader) (bad, err error)) {
	r, w := newReader(&records{all: in, size: 32 << 10}), newWriter(io.Discard)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if bad, err := run(w, r); bad != nil || err != nil {
			b.Fatal(bad, err)
		}
	}
}

func BenchmarkCopyDots(b *testing.B) {
	for name, in := range map[string][]byte{
		"lines-of-78":   message,
		"lines-of-998":  append(bytes.Repeat([]byte(strings.Repeat("x", 998)+"\r\n"), 20<<20/1000), ".\r\n"...),
		"empty-lines":   append(bytes.Repeat(crlf, 10<<20), ".\r\n"...),
		"stuffed-dots":  append(bytes.Repeat([]byte("..\r\n"), 5<<20), ".\r\n"...),
		"one-long-line": append(bytes.Repeat([]byte("x"), 20<<20), "\r\n.\r\n"...),
	} {
		b.Run(name, func(b *testing.B) {
			benchmarkCopy(b, in, func(w *Writer, r *Reader) (error, error) { return NewBody(Reject, 0).CopyDots(w, r) })
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	for name, in := range map[string][]byte{
		"clean":   message,
		"bare-LF": append(bytes.Repeat([]byte(strings.Repeat("x", 78)+"\n"), 20<<20/79), "\r\n.\r\n"...),
		"only-CR": append(bytes.Repeat([]byte("\r"), 1<<20), "\r\n.\r\n"...),
		"only-LF": append(bytes.Repeat([]byte("\n"), 1<<20), "\r\n.\r\n"...),
	} {
		b.Run(name, func(b *testing.B) {
			benchmarkCopy(b, in, func(w *Writer, r *Reader) (error, error) { return NewBody(Normalize, 0).CopyDots(w, r) })
		})
	}
}

func BenchmarkCopyDotsOfARefusedMessage(b *testing.B) {
	in := append([]byte("x\n"), message...)
	r, w := newReader(&records{all: in, size: 32 << 10}), newWriter(io.Discard)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if bad, err := NewBody(Reject, 0).CopyDots(w, r); bad != ErrBareLF || err != nil {
			b.Fatal(bad, err)
		}
	}
}

func BenchmarkCopyChunk(b *testing.B) {
	benchmarkCopy(b, message, func(w *Writer, r *Reader) (error, error) {
		return NewBody(Reject, 0).CopyChunk(w, r, int64(len(message)), true)
	})
}

func BenchmarkStuffChunk(b *testing.B) {
	benchmarkCopy(b, message, func(w *Writer, r *Reader) (error, error) {
		body := NewBody(Reject, 0)
		bad, err := body.StuffChunk(w, r, int64(len(message)))
		if bad == nil {
			bad = body.EndDots(w)
		}
		return bad, err
	})
}

func BenchmarkReadLine(b *testing.B) {
	r := newReader(&records{all: bytes.Repeat([]byte("RCPT TO:<somebody@example.org>\r\n"), 1000), size: 1 << 10})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadLine(MaxCommandLine); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEnvelope(b *testing.B) {
	args := []byte("FROM:<somebody@example.org> SIZE=123456 BODY=8BITMIME RET=HDRS ENVID=QQ314159")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseEnvelope(args, "FROM:"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadReply(b *testing.B) {
	r := newReader(&records{all: []byte("250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n"), size: 1 << 10})
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadReply(r, buf); err != nil {
			b.Fatal(err)
		}
	}
}
