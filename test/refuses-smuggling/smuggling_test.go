// Package smuggling proves that no input makes two messages out of one: not
// with a backend behind it that believes every ending that any server ever
// believed.
package smuggling

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"postern/test/harness"
)

// endings is the union of the published lists: what must not end a message.
// CRLF.CRLF alone does (RFC 5321, 4.1.1.4). Each holds a bare CR or LF.
var endings = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\n.\r", "\r.\n", "\r.\r", "\r.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n",
}

// nulEndings hold no bare CR or LF. Whether NUL in a message is refused is up
// to the operator; that it ends nothing is not.
var nulEndings = []string{"\r\n\x00.\r\n", "\r\n.\x00\r\n"}

const first, second = "Subject: one\r\n\r\nvisible", "MAIL FROM:<smuggled@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\nSubject: two\r\n\r\nsmuggled\r\n"

// open begins a message, in clear or inside TLS.
func open(t *testing.T, edge *harness.Postern, secured bool) *harness.Client {
	t.Helper()
	c := harness.Dial(t, edge.Addr)
	if secured {
		c.StartTLS(edge.Roots("mx.test"))
	} else {
		c.Cmd("EHLO client.test", 250)
	}
	c.Envelope("a@client.test", "b@mx.test")
	return c
}

// inClearAndTLS runs a test twice.
func inClearAndTLS(t *testing.T, test func(t *testing.T, secured bool)) {
	t.Run("clear", func(t *testing.T) { test(t, false) })
	t.Run("TLS", func(t *testing.T) { test(t, true) })
}

// wantRefused expects 550 5.5.2, once, at the real end of the message.
func wantRefused(t *testing.T, c *harness.Client) {
	t.Helper()
	if text := c.Expect(550); !strings.Contains(text, "5.5.2") {
		t.Errorf("refused with %q", text)
	}
	if c.TrySend("QUIT\r\n") != nil {
		return // it may have hung up already
	}
	if rest := c.Rest(); rest != "" && !strings.HasPrefix(rest, "221 ") || strings.Count(rest, "\n") > 1 {
		t.Errorf("more than one answer to one message: %q", rest)
	}
}

// wantNothing fails the test when the backend has got a message, or a command
// that was part of one.
func wantNothing(t *testing.T, backend *harness.Backend) {
	t.Helper()
	backend.Idle()
	if got := backend.Messages(); len(got) != 0 {
		t.Errorf("the backend took %d messages: %q", len(got), got)
	}
	for _, command := range backend.Commands() {
		if strings.Contains(command, "smuggled") {
			t.Errorf("the backend was given the command %q", command)
		}
	}
}

func TestEveryEndingIsRefused(t *testing.T) {
	t.Parallel()
	for _, ending := range endings {
		t.Run(fmt.Sprintf("%q", ending), func(t *testing.T) {
			t.Parallel()
			inClearAndTLS(t, func(t *testing.T, secured bool) {
				backend := harness.NewBackend(t, harness.Script{Gullible: true})
				edge := harness.Edge{Backend: backend.Addr}.Start(t)
				c := open(t, edge, secured)
				c.Send(first + ending + second + ".\r\n")
				wantRefused(t, c)
				wantNothing(t, backend)
			})
		})
	}
}

func TestEveryEndingInSegments(t *testing.T) {
	t.Parallel()
	for _, secured := range []bool{false, true} {
		backend := harness.NewBackend(t, harness.Script{Gullible: true})
		edge := harness.Edge{Backend: backend.Addr, Inbound: "  limits {\n    exempt = [\"127.0.0.0/8\"]\n  }"}.Start(t)
		for _, ending := range endings {
			for cut := range len(ending) + 1 {
				t.Run(fmt.Sprintf("TLS %v/%q cut at %d", secured, ending, cut), func(t *testing.T) {
					c := open(t, edge, secured)
					c.Segments(first+ending[:cut], ending[cut:]+second, ".\r\n")
					wantRefused(t, c)
					wantNothing(t, backend)
				})
			}
			t.Run(fmt.Sprintf("TLS %v/%q octet by octet", secured, ending), func(t *testing.T) {
				c := open(t, edge, secured)
				c.Segments(first)
				c.Segments(strings.Split(ending, "")...)
				c.Segments(second + ".\r\n")
				wantRefused(t, c)
				wantNothing(t, backend)
			})
		}
	}
}

// An ending that lies across the border of a buffer of any usual size.
func TestEveryEndingAtBufferBorders(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Gullible: true})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	for _, border := range []int{4 << 10, 8 << 10, 16 << 10, 32 << 10} {
		for _, ending := range endings {
			t.Run(fmt.Sprintf("%d/%q", border, ending), func(t *testing.T) {
				for before := range len(ending) + 1 {
					c := open(t, edge, false)
					filler := strings.Repeat(strings.Repeat("x", 70)+"\r\n", border/72+1)[:border-before]
					c.Send(strings.TrimRight(filler, "\r\n") + strings.Repeat("y", border-before-len(strings.TrimRight(filler, "\r\n"))) + ending + second + ".\r\n")
					wantRefused(t, c)
				}
				wantNothing(t, backend)
			})
		}
	}
}

// The message goes on to its real end: nothing is answered before it, and the
// next command after it is a command.
func TestTheSessionStaysInStep(t *testing.T) {
	t.Parallel()
	for _, ending := range nulEndings {
		t.Run(fmt.Sprintf("%q", ending), func(t *testing.T) {
			t.Parallel()
			inClearAndTLS(t, func(t *testing.T, secured bool) {
				backend := harness.NewBackend(t, harness.Script{})
				edge := harness.Edge{Backend: backend.Addr, Inbound: "  trace_header = false"}.Start(t)
				c := open(t, edge, secured)
				c.Send(first + ending + second + ".\r\n")
				code, text, err := c.Reply()
				if err != nil || code != 250 && code/100 != 5 {
					t.Fatalf("answered %q, %v", text, err)
				}
				c.Cmd("NOOP", 250)
				c.Quit()
				got, want := backend.Messages(), first+strings.Replace(ending, "\n.", "\n", 1)+second // a dot of the stuffing
				if code == 250 && (len(got) != 1 || string(got[0]) != want) || code != 250 && len(got) != 0 {
					t.Errorf("answered %q, and the backend has %q", text, got)
				}
			})
		})
	}
}

// bare_newline = "normalize": one message, with a bare LF made CRLF, a bare CR
// made a space, and a line that becomes a dot stuffed.
func TestNormalizedIsOneMessage(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Gullible: true})
	edge := harness.Edge{Backend: backend.Addr, Inbound: "  bare_newline = \"normalize\"\n  trace_header = false"}.Start(t)
	mended := map[string]string{
		"\n.\n": "\r\n.\r\n", "\n.\r\n": "\r\n.\r\n", "\r\n.\n": "\r\n.\r\n", "\r.\r\n": " .\r\n", "\r.\r": " . ", "\r.\n": " .\r\n",
	}
	for _, ending := range endings {
		t.Run(fmt.Sprintf("%q", ending), func(t *testing.T) {
			inClearAndTLS(t, func(t *testing.T, secured bool) {
				seen := len(backend.Messages())
				c := open(t, edge, secured)
				c.Segments(strings.Split(first[len(first)-2:]+ending, "")...)
				c.Send(second + ".\r\n")
				c.Expect(250)
				c.Quit()
				got := backend.Messages()[seen:]
				if len(got) != 1 || bytes.ContainsAny(bytes.ReplaceAll(got[0], []byte("\r\n"), nil), "\r\n") {
					t.Fatalf("the backend has %q", got)
				}
				if want, ok := mended[ending]; ok && !strings.Contains(string(got[0]), "le"+want+"MAIL FROM") {
					t.Errorf("mended to %q, want %q", got[0], want)
				}
			})
		})
	}
}

// Networks in bare_newline_exempt get normalize.
func TestExemptNetworksAreNormalized(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, Inbound: "  bare_newline_exempt = [\"127.0.0.2/32\"]"}.Start(t)
	for ip, code := range map[string]int{"127.0.0.2": 250, "127.0.0.3": 550} {
		c := harness.ConnectFrom(t, ip, edge.Addr)
		c.Expect(220)
		c.Cmd("EHLO client.test", 250)
		c.Envelope("a@client.test", "b@mx.test")
		c.Send("Subject: x\n\nbare\n\r\n.\r\n")
		c.Expect(code)
	}
}
