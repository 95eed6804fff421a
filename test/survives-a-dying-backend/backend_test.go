// Package dyingbackend proves that a backend may fail at any moment: the
// client is told so at once, is never told that its message was taken, and
// never left waiting.
package dyingbackend

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

const quick = `
  trace_header = false
  timeouts {
    connect = "2s"
    command = "2s"
    final = "2s"
    data = "2s"
  }`

// start has the backend seen in good health before it is changed, so that its
// capabilities are known.
func start(t *testing.T, clientAddress string) (*harness.Backend, *harness.Postern) {
	t.Helper()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, ClientAddress: clientAddress, Inbound: quick}.Start(t)
	harness.Eventually(t, "postern is ready", edge.Ready)
	return backend, edge
}

// outcome drives a session up to the answer to its message and returns the
// first reply that is a refusal, or the last.
func outcome(t *testing.T, edge *harness.Postern, secured bool, message string) (step, text string) {
	t.Helper()
	c := harness.Dial(t, edge.Addr)
	c.Cmd("EHLO client.test", 250)
	if secured {
		c.Cmd("STARTTLS", 220)
		if err := c.Handshake(edge.Roots("mx.test")); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []string{"EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>", "DATA", "."} {
		line := step + "\r\n"
		if step == "." {
			line = message + line
		}
		sent := c.TrySend(line)
		code, text, err := c.Reply()
		if err != nil {
			t.Fatalf("%s: hung up without a word: %v, %v", step, sent, err)
		}
		if code >= 400 || step == "." {
			return step, text
		}
	}
	return "", ""
}

func TestItFailsInEveryPhase(t *testing.T) {
	t.Parallel()
	big := "Subject: big\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 4000)
	for _, c := range []struct {
		name    string
		script  harness.Script
		replies []string // one of which is due
	}{
		{"before its greeting", reply("greeting", harness.Close), []string{"421 4.3.2", "451 4.4.1"}},
		{"greeting of 421", reply("greeting", "421 4.7.0 too many"), []string{"421 4.3.2", "451 4.4.1"}},
		{"greeting of 554, client unknown to it", reply("greeting", "554 5.7.1 go away"), []string{"421 4.3.2"}},
		{"greeting that is no SMTP", reply("greeting", "SSH-2.0-OpenSSH"), []string{"421 4.3.2", "451 4.4.1"}},
		{"after EHLO", reply("EHLO", harness.Close), []string{"421 4.3.2", "451 4.4.1"}},
		{"EHLO of 421", reply("EHLO", "421 4.3.2 stopping"), []string{"421 4.3.2", "451 4.4.1"}},
		{"after MAIL", reply("MAIL", harness.Close), []string{"421 4.", "451 4.4."}},
		{"MAIL unanswered", reply("MAIL", harness.Hang), []string{"421 4.", "451 4.4."}},
		{"MAIL of 421", reply("MAIL", "421 4.3.2 stopping"), []string{"421 4."}},
		{"after RCPT", reply("RCPT", harness.Close), []string{"421 4.", "451 4.4."}},
		{"RCPT unanswered", reply("RCPT", harness.Hang), []string{"421 4.", "451 4.4."}},
		{"after DATA", reply("DATA", harness.Close), []string{"421 4.", "451 4.4."}},
		{"DATA unanswered", reply("DATA", harness.Hang), []string{"421 4.", "451 4.4."}},
		{"DATA answered with 250", reply("DATA", "250 2.0.0 what?"), []string{"421 4.", "451 4."}},
		{"in the message", harness.Script{CloseAfter: 100}, []string{"421 4.", "451 4.4.2"}},
		{"after the dot", reply(".", harness.Close), []string{"421 4.", "451 4.4.2"}},
		{"dot unanswered", reply(".", harness.Hang), []string{"421 4.", "451 4.4."}},
		{"dot answered with 421", reply(".", "421 4.3.2 stopping"), []string{"421 4.3.2"}},
		{"dot answered with no SMTP", reply(".", "Segmentation fault"), []string{"421 4.", "451 4."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, secured := range []bool{false, true} {
				for _, message := range []string{"Subject: small\r\n\r\n" + strings.Repeat("x", 200) + "\r\n", big} {
					backend, edge := start(t, "none")
					backend.Change(c.script)
					step, text := outcome(t, edge, secured, message)
					if !hasPrefix(text, c.replies) {
						t.Errorf("TLS %v, %d octets: %s got %q, want one of %q", secured, len(message), step, text, c.replies)
					}
					backend.Change(harness.Script{})
					if _, text := outcome(t, edge, secured, message); !strings.HasPrefix(text, "250") {
						t.Errorf("once the backend is well again: %q", text)
					}
				}
			}
		})
	}
}

// A backend may take its time over a message, longer than any other step is
// allowed to, up to timeouts.final: the client gets its answer, or it would
// send the message again.
func TestALateAnswerReachesTheClient(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Delay: 1500 * time.Millisecond})
	edge := harness.Edge{Backend: backend.Addr, Inbound: "  timeouts {\n    command = \"500ms\"\n    data = \"500ms\"\n    final = \"20s\"\n  }"}.Start(t)
	for _, lines := range []int{1, 4000} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d lines, TLS %v", lines, secured), func(t *testing.T) {
				t.Parallel()
				if step, text := outcome(t, edge, secured, strings.Repeat(strings.Repeat("x", 76)+"\r\n", lines)); !strings.HasPrefix(text, "250") {
					t.Errorf("%s got %q", step, text)
				}
			})
		}
	}
}

func reply(verb, text string) harness.Script {
	return harness.Script{Reply: map[string]string{verb: text}}
}

func hasPrefix(text string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(text, p) {
			return true
		}
	}
	return false
}

// SEM 3: where the backend knows who the client is, its 554 is a verdict on
// the client, and the client's to read.
func TestAVerdictOnTheClientIsRelayed(t *testing.T) {
	t.Parallel()
	const verdict = "554 5.7.1 your network is listed"
	for _, verb := range []string{"greeting", "EHLO"} {
		t.Run(verb, func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{Proxy: true})
			edge := harness.Edge{Backend: backend.Addr, ClientAddress: "proxy-v1"}.Start(t)
			harness.Eventually(t, "postern is ready", edge.Ready)
			script := reply(verb, verdict)
			script.Proxy = true
			if verb == "EHLO" {
				script.Reply["HELO"] = verdict
			}
			backend.Change(script)
			if step, text := outcome(t, edge, true, ""); step != "MAIL FROM:<a@client.test>" || text != verdict+"\r\n" {
				t.Errorf("%s got %q", step, text)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	edge := harness.Edge{Backend: harness.FreePort(t, "127.0.0.1"), Inbound: quick}.Start(t)
	if edge.Ready() {
		t.Error("ready without a backend")
	}
	c := harness.Dial(t, edge.Addr)
	if text := c.Cmd("EHLO client.test", 421); !strings.Contains(text, "4.3.2") {
		t.Errorf("refused with %q", text)
	}
	c.Closed()
}

func TestTheNextBackendIsTried(t *testing.T) {
	t.Parallel()
	for _, first := range []harness.Script{reply("greeting", harness.Close), reply("greeting", "421 4.3.2 stopping"), {}} {
		for _, balance := range []string{"failover", "round-robin"} {
			t.Run(fmt.Sprintf("%s %v", balance, first.Reply), func(t *testing.T) {
				broken, well := harness.NewBackend(t, first), harness.NewBackend(t, harness.Script{})
				addr := broken.Addr
				if first.Reply == nil {
					addr = harness.FreePort(t, "127.0.0.1")
				}
				edge := harness.Edge{Backends: []string{addr, well.Addr}, Inbound: quick, BackendBlock: fmt.Sprintf("balance = %q", balance)}.Start(t)
				for range 4 {
					if step, text := outcome(t, edge, true, "Subject: x\r\n\r\n"); !strings.HasPrefix(text, "250") {
						t.Errorf("%s got %q", step, text)
					}
				}
				if got := len(well.Messages()); got != 4 {
					t.Errorf("the backend that is well has %d messages of 4", got)
				}
			})
		}
	}
}

// SEM 22: a client that leaves before the dot leaves no message behind.
func TestTheClientLeaves(t *testing.T) {
	t.Parallel()
	backend, edge := start(t, "none")
	for _, sent := range []string{"", "Subject: x\r\n", "Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n\r\nbody\r\n.", "Subject: x\r\n\r\nbody\r\n.\r"} {
		for _, secured := range []bool{false, true} {
			c := harness.Dial(t, edge.Addr)
			if secured {
				c.StartTLS(edge.Roots("mx.test"))
			} else {
				c.Cmd("EHLO client.test", 250)
			}
			c.Envelope("a@client.test", "b@mx.test")
			c.Send(sent)
			c.Close()
		}
	}
	backend.Idle()
	if got := backend.Messages(); len(got) != 0 {
		t.Errorf("the backend took %q", got)
	}
}
