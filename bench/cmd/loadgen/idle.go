package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Where an idle session stops.
const (
	stageEHLO      = "ehlo"      // after the last EHLO
	stageRCPT      = "rcpt"      // after RCPT: a backend that is opened late is open by then
	stageMessage4K = "message4k" // after one message of 4 KiB
	stageMessage1M = "message1m" // after one message of 1 MiB
)

var stages = []string{stageEHLO, stageRCPT, stageMessage4K, stageMessage1M}

// stageMessage is the message that a stage sends, nil for none.
func stageMessage(stage string) *message {
	switch stage {
	case stageMessage4K:
		return newMessage(4 << 10)
	case stageMessage1M:
		return newMessage(1 << 20)
	}
	return nil
}

// hold opens all sessions, prints the result, and keeps them until stdin
// closes; the deadline keeps a lost run bounded. It gives up after 20 errors.
func hold(o *options, t *tally) {
	msg := stageMessage(o.stage)
	limit := time.Now().Add(o.deadline)
	var mu sync.Mutex
	var held []net.Conn
	spread(o, t, func(w *worker) bool {
		nc, err := w.idle(msg, limit)
		if err != nil {
			t.fail(err)
			return t.errors.Load() < 20 && time.Now().Before(limit)
		}
		mu.Lock()
		held = append(held, nc)
		mu.Unlock()
		return time.Now().Before(limit)
	})
	r := t.result()
	r.Sessions = len(held)
	output(r)
	closed := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(o.deadline):
	}
	for _, nc := range held {
		nc.Close()
	}
}

// idle opens one session and brings it to its stage.
func (w *worker) idle(msg *message, limit time.Time) (net.Conn, error) {
	c, err := w.open(bufio.NewReaderSize(nil, 512), limit)
	if err != nil {
		return nil, err
	}
	switch {
	case msg != nil:
		err = w.send(c, msg)
	case w.o.stage == stageRCPT:
		err = w.envelope(c)
	}
	if err == nil {
		err = c.nc.SetDeadline(time.Time{})
	}
	if err != nil {
		c.nc.Close()
		return nil, err
	}
	return c.nc, nil
}
