package smtpwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

// A block that two hold at once would mix the octets of two connections: each
// connection here has octets of its own, and the race detector looks on.
func TestConnectionsNeverShareABlock(t *testing.T) {
	var wg sync.WaitGroup
	for id := range 8 {
		wg.Go(func() {
			for round := range 30 {
				if err := converse(byte('a'+id), uint64(round)); err != nil {
					t.Errorf("connection %d, round %d: %v", id, round, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// converse takes lines, a message and a chunk of the octet c from one reader
// to one writer. Every third connection breaks off.
func converse(c byte, seed uint64) error {
	line := strings.Repeat(string(c), 60)
	lines := strings.Repeat(line+"\r\n", 300+int(seed)*20)
	in := line + "\r\n" + line + "\r\n" + lines + ".\r\n" + lines
	s := new(sink)
	r, w := newReader(&lender{pieces{left: random(in, seed), end: io.EOF}}), newWriter(s)
	defer r.Release()
	for range 2 {
		got, err := r.ReadLine(100)
		if err != nil || string(got) != line {
			return fmt.Errorf("line %q, %w", got, err)
		}
		w.Line(got)
	}
	if seed%3 == 0 {
		w.Reset(nil)
		return nil
	}
	bad, err := NewBody(Reject, 0).CopyDots(w, r)
	bad2, err2 := NewBody(Reject, 0).CopyChunk(w, r, int64(len(lines)), true)
	if err := errors.Join(bad, err, bad2, err2); err != nil {
		return err
	}
	if !bytes.Equal([]byte(s.String()), []byte(in)) {
		return errors.New("foreign octets")
	}
	return nil
}

func TestBlocksAreAsLargeAsAskedFor(t *testing.T) {
	for size, want := range map[int]int{0: smallBlock, 1: smallBlock, smallBlock: smallBlock, smallBlock + 1: largeBlock, largeBlock: largeBlock} {
		b := borrow(size)
		if len(b) != want || cap(b) != want {
			t.Errorf("%d: %d octets", size, len(b))
		}
		giveBack(b)
	}
	giveBack(make([]byte, 100)) // none of ours: forgotten
}
