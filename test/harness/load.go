package harness

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Load sends messages from several clients at once, each message with an id of
// its own, and remembers which of them were acknowledged. A client that is
// refused with 421, or hung up on, goes on with a new session; one that nobody
// listens to any more ends.
type Load struct {
	Clients    int    // at the same time, 4 when 0
	PerSession int    // messages in one session, 3 when 0
	Secured    bool   // with STARTTLS
	Through    string // the address to connect to, when it is not that of the edge
	Rate       int    // sessions to begin in a second, however many are open; Clients does not count then

	mu    sync.Mutex
	acked map[string]bool
	cut   []string // how sessions were cut short
	stop  atomic.Bool
	done  sync.WaitGroup
}

// Start begins to send to edge.
func (l *Load) Start(t testing.TB, edge *Postern) {
	l.acked = map[string]bool{}
	if l.Clients == 0 {
		l.Clients = 4
	}
	if l.PerSession == 0 {
		l.PerSession = 3
	}
	if l.Rate > 0 {
		l.done.Go(func() { l.pace(t, edge) })
		return
	}
	for i := range l.Clients {
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			for n := 0; !l.stop.Load(); n++ {
				err := l.session(t, edge, fmt.Sprintf("load-%d-%d", i, n))
				if err != nil {
					l.note(err)
				}
				if errors.Is(err, syscall.ECONNREFUSED) {
					return
				}
			}
		}()
	}
}

// pace begins a session whenever it is time for the next.
func (l *Load) pace(t testing.TB, edge *Postern) {
	tick := time.NewTicker(time.Second / time.Duration(l.Rate))
	defer tick.Stop()
	for n := 0; !l.stop.Load(); n++ {
		<-tick.C
		l.done.Go(func() {
			if err := l.session(t, edge, fmt.Sprintf("load-%d", n)); err != nil {
				l.note(err)
			}
		})
	}
}

// Stop ends the load after the messages in flight.
func (l *Load) Stop() {
	l.stop.Store(true)
	l.done.Wait()
}

// Acknowledged is the number of messages that were answered 250 so far.
func (l *Load) Acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// Cut tells how sessions ended that did not end with QUIT.
func (l *Load) Cut() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// Compare fails the test unless the backend has exactly the messages that were
// acknowledged, once each.
func (l *Load) Compare(t testing.TB, messages [][]byte) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	times := map[string]int{}
	for _, m := range messages {
		_, rest, _ := strings.Cut(string(m), "Message-ID: <")
		id, _, _ := strings.Cut(rest, "@")
		times[id]++
	}
	for id := range l.acked {
		if times[id] != 1 {
			t.Errorf("%s was acknowledged, and the backend has it %d times", id, times[id])
		}
	}
	for id, n := range times {
		if !l.acked[id] {
			t.Errorf("%s was not acknowledged, and the backend has it %d times", id, n)
		}
	}
}

// Lost are the messages that were acknowledged and are not among those that
// arrived.
func (l *Load) Lost(arrived []string) (lost []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Join(arrived, "")
	for id := range l.acked {
		if !strings.Contains(all, "<"+id+"@") {
			lost = append(lost, id)
		}
	}
	return lost
}

func (l *Load) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = append(l.cut, err.Error())
}

func (l *Load) session(t testing.TB, edge *Postern, name string) error {
	c, err := tryDial(t, edge, cmp.Or(l.Through, edge.Addr), l.Secured)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range l.PerSession {
		id := fmt.Sprintf("%s-%d", name, i)
		if err := c.tryDeliver(Message(id)); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		l.mu.Lock()
		l.acked[id] = true
		l.mu.Unlock()
	}
	return c.try("QUIT\r\n", 221)
}

func tryDial(t testing.TB, edge *Postern, addr string, secured bool) (*Client, error) {
	c, err := TryConnect(t, addr)
	if err != nil {
		return nil, err
	}
	if err := c.try("", 220); err != nil {
		return nil, err
	}
	if err := c.try("EHLO client.test\r\n", 250); err != nil || !secured {
		return c, err
	}
	if err := c.try("STARTTLS\r\n", 220); err != nil {
		return nil, err
	}
	if err := c.Handshake(edge.Roots("mx.test")); err != nil {
		return nil, err
	}
	return c, c.try("EHLO client.test\r\n", 250)
}

func (c *Client) tryDeliver(message string) error {
	for _, step := range []struct {
		line string
		code int
	}{
		{"MAIL FROM:<a@client.test>\r\n", 250}, {"RCPT TO:<b@mx.test>\r\n", 250}, {"DATA\r\n", 354}, {Stuff(message) + ".\r\n", 250},
	} {
		if err := c.try(step.line, step.code); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) try(line string, code int) error {
	if line != "" {
		if err := c.TrySend(line); err != nil {
			return err
		}
	}
	got, text, err := c.Reply()
	if err == nil && got != code {
		err = fmt.Errorf("%.20q got %q", line, text)
	}
	return err
}
