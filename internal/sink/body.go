package sink

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var eod = []byte("\r\n.\r\n")

// body is what becomes of the bytes of the message that is being read. A body
// that nobody looks at is only counted.
type body struct {
	begun bool     // a BDAT chunk has come, and not yet the last one
	check *checker // nil: not verified
	keep  bool
	kept  []byte
	limit int
	size  int64
}

// begin starts a message, unless one has begun already (RFC 3030, 2: the
// chunks of one message).
func (b *body) begin(srv *Server) {
	if b.begun {
		return
	}
	*b = body{begun: true, keep: srv.OnMessage != nil, limit: srv.maxData()}
	if srv.verify.on.Load() {
		b.check = newChecker()
	}
}

// watched says whether somebody looks at the bytes.
func (b *body) watched() bool { return b.keep || b.check != nil }

// Write takes the next piece of the body. It never fails.
func (b *body) Write(p []byte) (int, error) {
	b.size += int64(len(p))
	if b.check != nil {
		b.check.Write(p)
	}
	if b.keep && len(b.kept) < b.limit {
		b.kept = append(b.kept, p[:min(len(p), b.limit-len(b.kept))]...)
	}
	return len(p), nil
}

func (b *body) abandon() { *b = body{} }

// data reads the body behind DATA and answers it.
func (s *session) data() error {
	s.body.abandon() // chunks of BDAT cannot be finished by DATA
	s.out = append(s.out, "354 go\r\n"...)
	if err := s.flush(); err != nil {
		return err
	}
	s.body.begin(s.srv)
	var err error
	if s.body.watched() {
		err = unstuff(s.br, &s.body)
	} else {
		s.body.size, err = skip(s.br)
	}
	if err != nil {
		return err
	}
	return s.message()
}

// bdat reads one chunk and answers it.
func (s *session) bdat(line string) error {
	n, last, err := parseBDAT(line)
	if err != nil { // where the chunk ends cannot be known
		return err
	}
	// The replies of the group so far must not wait for the chunk.
	if int64(s.br.Buffered()) < n {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.body.begin(s.srv)
	if s.body.watched() {
		_, err = io.CopyN(&s.body, s.br, n)
	} else {
		err = discard(s.br, n)
		s.body.size += n
	}
	if err != nil {
		return err
	}
	if last {
		return s.message()
	}
	return s.say("250 2.0.0 go on")
}

// message counts, verifies and hands out the message just read, and answers
// for it.
func (s *session) message() error {
	srv, b := s.srv, &s.body
	srv.counters.messages.Add(1)
	srv.counters.bytes.Add(b.size)
	if b.check != nil {
		srv.verified(b.check)
	}
	reply := ""
	if srv.OnMessage != nil {
		m := s.env
		m.Data, m.Size = b.kept, b.size
		reply = srv.OnMessage(m)
		s.env.From, s.env.To = "", nil
	}
	b.abandon()
	if reply == "" {
		reply = "250 2.0.0 queued"
	}
	return s.say(reply)
}

// skip reads up to the end of DATA, looking at whole buffers at a time, and
// returns the size of the body with its dots still stuffed.
func skip(br *bufio.Reader) (size int64, err error) {
	b, err := br.Peek(3)
	if err != nil {
		return 0, err
	}
	if string(b) == ".\r\n" { // the empty message
		br.Discard(3)
		return 0, nil
	}
	for {
		b, _ := br.Peek(br.Buffered())
		if i := bytes.Index(b, eod); i >= 0 {
			br.Discard(i + len(eod))
			return size + int64(i) + 2, nil
		}
		// The end may straddle two buffers: its first four bytes stay.
		keep := min(len(b), len(eod)-1)
		br.Discard(len(b) - keep)
		size += int64(len(b) - keep)
		if _, err := br.Peek(keep + 1); err != nil {
			return size, err
		}
	}
}

// unstuff copies a DATA body to w without its end and its stuffed dots. Only
// CRLF ends a line (RFC 5321, 2.3.8): a dot behind a bare LF is a dot.
func unstuff(br *bufio.Reader, w io.Writer) error {
	bol := true // at the beginning of a line
	cr := false // the byte before was a CR
	for {
		l, err := br.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		last := len(l) - 1
		ended := l[last] == '\n' && (last > 0 && l[last-1] == '\r' || last == 0 && cr)
		cr = l[last] == '\r'
		if bol && l[0] == '.' {
			if string(l) == ".\r\n" {
				return nil
			}
			l = l[1:]
		}
		bol = ended
		if _, err := w.Write(l); err != nil {
			return err
		}
	}
}

// discard drops n bytes; bufio's own Discard takes an int and io.CopyN copies.
func discard(br *bufio.Reader, n int64) error {
	for n > 0 {
		k, err := br.Discard(int(min(n, 1<<20)))
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}
