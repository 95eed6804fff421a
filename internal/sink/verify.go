package sink

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
	"sync/atomic"
)

// verification is whether messages are checked, and the ids seen so far.
type verification struct {
	on  atomic.Bool
	ids sync.Map
}

const (
	idPrefix  = "X-Bench-Id: "
	sumPrefix = "X-Bench-Sha256: "
	// maxHeld is how much of a line is looked at above the sum line: either of
	// the two lines fits, and the rest of a longer one is let go by.
	maxHeld = 256
)

// checker computes the sum of one message. It is given the body in pieces of
// any length, and holds no more than a beginning of one header line.
type checker struct {
	sum   hash.Hash
	line  []byte // the line that is being read, up to maxHeld bytes
	id    string
	want  string
	armed bool // the sum line has been seen; all that follows is summed
}

func newChecker() *checker { return &checker{sum: sha256.New()} }

// Write takes the next piece of the body. It never fails.
func (c *checker) Write(p []byte) (int, error) {
	n := len(p)
	for !c.armed && len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		l := p[:i+1]
		if i < 0 {
			l = p
		}
		p = p[len(l):]
		c.line = append(c.line, l[:min(len(l), maxHeld-len(c.line))]...)
		if i >= 0 {
			c.header(c.line)
			c.line = c.line[:0]
		}
	}
	if c.armed {
		c.sum.Write(p)
	}
	return n, nil
}

func (c *checker) header(l []byte) {
	if v, ok := bytes.CutPrefix(l, []byte(idPrefix)); ok {
		c.id = string(bytes.TrimSpace(v))
	} else if v, ok := bytes.CutPrefix(l, []byte(sumPrefix)); ok {
		c.want = string(bytes.TrimSpace(v))
		c.armed = true
	}
}

func (c *checker) ok() bool {
	return c.armed && hex.EncodeToString(c.sum.Sum(nil)) == c.want
}

// verified counts the verdict on one message.
func (s *Server) verified(c *checker) {
	if c.ok() {
		s.counters.ok.Add(1)
	} else {
		s.counters.bad.Add(1)
	}
	if _, seen := s.verify.ids.LoadOrStore(c.id, true); seen {
		s.counters.duplicates.Add(1)
	}
}
