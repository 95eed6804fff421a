package smuggling

import (
	"fmt"
	"strings"
	"testing"

	"postern/test/harness"
)

// chunks writes a message as BDAT commands, the last with LAST.
func chunks(parts ...string) string {
	var b strings.Builder
	for i, part := range parts {
		last := ""
		if i == len(parts)-1 {
			last = " LAST"
		}
		fmt.Fprintf(&b, "BDAT %d%s\r\n%s", len(part), last, part)
	}
	return b.String()
}

// bdatBackends are one that takes chunks and one for which they become DATA.
func bdatBackends(gullible bool) map[string]harness.Script {
	return map[string]harness.Script{
		"as BDAT": {Gullible: gullible},
		"as DATA": {Gullible: gullible, Capabilities: []string{"PIPELINING", "8BITMIME", "SIZE 0"}},
	}
}

func start(t *testing.T, script harness.Script) (*harness.Backend, *harness.Postern) {
	t.Helper()
	backend := harness.NewBackend(t, script)
	return backend, harness.Edge{Backend: backend.Addr, Inbound: "  trace_header = false"}.Start(t)
}

func openBDAT(t *testing.T, edge *harness.Postern, secured bool) *harness.Client {
	t.Helper()
	c := harness.Dial(t, edge.Addr)
	reply := ""
	if secured {
		reply = c.StartTLS(edge.Roots("mx.test"))
	} else {
		reply = c.Cmd("EHLO client.test", 250)
	}
	if !strings.Contains(reply, "CHUNKING") {
		t.Fatalf("CHUNKING is not offered: %q", reply)
	}
	c.Cmd("MAIL FROM:<a@client.test>", 250)
	c.Cmd("RCPT TO:<b@mx.test>", 250)
	return c
}

// RFC 3030, 2: in a chunk the real ending of DATA is nothing but five octets.
func TestARealEndingInsideAChunkIsContent(t *testing.T) {
	t.Parallel()
	message := first + "\r\n.\r\n" + second + ".\r\n..\r\n.x\r\n"
	for name, script := range bdatBackends(false) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, edge := start(t, script)
			inClearAndTLS(t, func(t *testing.T, secured bool) {
				for cut := range len(message) + 1 {
					before := len(backend.Messages())
					c := openBDAT(t, edge, secured)
					c.Send(chunks(message[:cut], message[cut:]))
					c.Expect(250)
					c.Expect(250)
					c.Quit()
					got := backend.Messages()[before:]
					if len(got) != 1 || string(got[0]) != message {
						t.Fatalf("cut at %d: the backend has %q, want %q", cut, got, message)
					}
				}
			})
		})
	}
}

// A bare CR or LF is refused in chunks as it is in DATA. With a backend that
// takes BDAT a gullible one is not fooled either way; re-framed it would be.
func TestEveryEndingInChunksIsRefused(t *testing.T) {
	t.Parallel()
	for name, script := range bdatBackends(true) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, edge := start(t, script)
			for _, ending := range endings {
				for cut := range len(ending) + 1 {
					t.Run(fmt.Sprintf("%q cut at %d", ending, cut), func(t *testing.T) {
						c := openBDAT(t, edge, cut%2 == 0)
						c.Send(chunks(first+ending[:cut], ending[cut:]+second))
						wantChunkRefused(t, c)
						wantNothing(t, backend)
					})
				}
			}
		})
	}
}

// wantChunkRefused reads the replies to two chunks: one of them must refuse,
// and the message must not be accepted.
func wantChunkRefused(t *testing.T, c *harness.Client) {
	t.Helper()
	var last int
	var all string
	for range 2 {
		code, text, err := c.Reply()
		all += text
		if err != nil {
			break // closed behind a refusal
		}
		last = code
	}
	if last/100 != 5 || !strings.Contains(all, "550 5.5.2") {
		t.Errorf("chunks with a bare CR or LF got %q", all)
	}
	c.Close()
}

// RFC 3030, 2: the octets of a refused chunk are read, never executed.
func TestARefusedChunkIsNoCommand(t *testing.T) {
	t.Parallel()
	backend, edge := start(t, harness.Script{Reply: map[string]string{"RCPT": "550 5.1.1 nobody"}})
	c := harness.Dial(t, edge.Addr)
	c.StartTLS(edge.Roots("mx.test"))
	c.Cmd("MAIL FROM:<a@client.test>", 250)
	c.Cmd("RCPT TO:<b@mx.test>", 550)
	c.Send(chunks(second))
	c.Expect(5)
	c.Cmd("NOOP", 250)
	c.Quit()
	wantNothing(t, backend)
}

// RFC 3030, 2: DATA may not follow BDAT within a transaction.
func TestDATAAfterBDATIsRefused(t *testing.T) {
	t.Parallel()
	backend, edge := start(t, harness.Script{})
	c := openBDAT(t, edge, true)
	c.Send("BDAT 5\r\nabcde")
	c.Expect(250)
	c.Cmd("DATA", 503)
	c.Close()
	wantNothing(t, backend)
}

// What is abandoned within a message is not a message.
func TestAnAbandonedChunkIsNoMessage(t *testing.T) {
	t.Parallel()
	for name, script := range bdatBackends(false) {
		t.Run(name, func(t *testing.T) {
			backend, edge := start(t, script)
			c := openBDAT(t, edge, true)
			c.Send("BDAT 100 LAST\r\nabcde")
			c.Close()
			wantNothing(t, backend)
		})
	}
}
