package main

import (
	"bufio"
	"crypto/tls"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tally is what all workers count together.
type tally struct {
	id       atomic.Uint64 // of the last message
	sessions atomic.Int64
	messages atomic.Int64
	bytes    atomic.Int64
	errors   atomic.Int64
	resumed  atomic.Int64
	tlsNote  atomic.Value

	mu   sync.Mutex
	errs []string // the first few
}

func (t *tally) fail(err error) {
	t.errors.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) < 5 {
		t.errs = append(t.errs, err.Error())
	}
}

// worker runs sessions one after the other.
type worker struct {
	*tally
	o    *options
	cfg  *tls.Config
	br   *bufio.Reader
	buf  []byte
	hs   []time.Duration
	sess []time.Duration
}

func newWorker(o *options, t *tally) *worker {
	return &worker{tally: t, o: o, cfg: clientTLS(o.tls, o.resume), br: bufio.NewReaderSize(nil, 4096)}
}

// session is one whole session.
func (w *worker) session(msg *message, limit time.Time) error {
	t0 := time.Now()
	c, err := w.open(w.br, limit)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	for range w.o.messages {
		if err := w.send(c, msg); err != nil {
			return err
		}
	}
	if err := c.cmd("QUIT\r\n", "QUIT", "221"); err != nil {
		return err
	}
	w.sess = append(w.sess, time.Since(t0))
	w.sessions.Add(1)
	return nil
}

// send sends one message and counts it once it has been answered.
func (w *worker) send(c *conn, msg *message) error {
	do := w.sendData
	if w.o.bdat {
		do = w.sendBDAT
	}
	if err := do(c, msg); err != nil {
		return err
	}
	w.messages.Add(1)
	w.bytes.Add(int64(headLen + len(msg.rest)))
	return nil
}

func (w *worker) sendData(c *conn, msg *message) error {
	if w.o.pipeline {
		if err := c.cmd(w.o.mail+w.o.rcpt+"DATA\r\n", "MAIL", "250"); err != nil {
			return err
		}
		if err := c.replies("RCPT", "250", "DATA", "354"); err != nil {
			return err
		}
	} else {
		if err := w.envelope(c); err != nil {
			return err
		}
		if err := c.cmd("DATA\r\n", "DATA", "354"); err != nil {
			return err
		}
	}
	w.buf = msg.head(w.buf[:0], w.id.Add(1))
	if err := w.write(c, msg.stuffed, ".\r\n"); err != nil {
		return err
	}
	return c.reply("message", "250")
}

// sendBDAT sends the message as one chunk. With -pipeline the envelope leaves
// in the same write.
func (w *worker) sendBDAT(c *conn, msg *message) error {
	if !strings.Contains(c.ext, "CHUNKING") {
		return errNoCHUNKING
	}
	w.buf = w.buf[:0]
	var waiting []string
	if w.o.pipeline {
		w.buf = append(append(w.buf, w.o.mail...), w.o.rcpt...)
		waiting = []string{"MAIL", "250", "RCPT", "250"}
	} else if err := w.envelope(c); err != nil {
		return err
	}
	w.buf = append(w.buf, bdatLine(headLen+len(msg.rest))...)
	w.buf = msg.head(w.buf, w.id.Add(1))
	if err := w.write(c, msg.rest, ""); err != nil {
		return err
	}
	return c.replies(append(waiting, "BDAT", "250")...)
}

func (w *worker) envelope(c *conn) error {
	if err := c.cmd(w.o.mail, "MAIL", "250"); err != nil {
		return err
	}
	return c.cmd(w.o.rcpt, "RCPT", "250")
}

// writeSize is the most that leaves in one write; a small message leaves in
// one write with its end.
const writeSize = 256 << 10

// write sends w.buf, then body, then end.
func (w *worker) write(c *conn, body []byte, end string) error {
	k := min(len(body), writeSize-len(w.buf))
	w.buf = append(w.buf, body[:k]...)
	body = body[k:]
	for len(body) > 0 {
		if _, err := c.nc.Write(w.buf); err != nil {
			return err
		}
		k := min(len(body), writeSize)
		w.buf = append(w.buf[:0], body[:k]...)
		body = body[k:]
	}
	w.buf = append(w.buf, end...)
	_, err := c.nc.Write(w.buf)
	return err
}
