// Package badinput proves that what is no SMTP, or not in its turn, is refused
// and never reaches the backend.
package badinput

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"postern/test/harness"
)

func start(t *testing.T) (*harness.Backend, *harness.Postern) {
	t.Helper()
	backend := harness.NewBackend(t, harness.Script{Gullible: true})
	return backend, harness.Edge{Backend: backend.Addr, Inbound: "  trace_header = false"}.Start(t)
}

// STANDARDS 21: lines end in CRLF, and only so.
func TestABareCRorLFInACommand(t *testing.T) {
	t.Parallel()
	backend, edge := start(t)
	for _, command := range []string{"NOOP\n", "NOOP\r\r\n", "NO\rOP\r\n", "NO\nOP\r\n", "MAIL FROM:<a@client.test>\nRCPT TO:<b@mx.test>\r\n"} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%.20q TLS %v", command, secured), func(t *testing.T) {
				c := harness.Dial(t, edge.Addr)
				if secured {
					c.StartTLS(edge.Roots("mx.test"))
				} else {
					c.Cmd("EHLO client.test", 250)
				}
				c.Send(command)
				if text := c.Expect(500); !strings.Contains(text, "5.5.2") {
					t.Errorf("refused with %q", text)
				}
			})
		}
	}
	for _, command := range backend.Commands() {
		if !strings.HasPrefix(command, "EHLO") {
			t.Errorf("the backend was given %q", command)
		}
	}
}

func TestWhatNoClientMaySay(t *testing.T) {
	t.Parallel()
	backend, edge := start(t)
	for command, code := range map[string]int{
		"XCLIENT ADDR=192.0.2.7 NAME=evil.test":  550,
		"xclient ADDR=192.0.2.7":                 550,
		"XFORWARD NAME=evil.test ADDR=192.0.2.7": 550,
		"PROXY TCP4 192.0.2.7 192.0.2.1 1 25":    5,
		"NOOP \x00":                              5,
		"MAIL FROM:<a\x00@client.test>":          5,
		"XYZZY":                                  5,
		"TURN":                                   5,
		"BURL imap://x LAST":                     5,
		"SEND FROM:<a@client.test>":              5,
	} {
		t.Run(fmt.Sprintf("%.20q", command), func(t *testing.T) {
			c := harness.Dial(t, edge.Addr)
			c.StartTLS(edge.Roots("mx.test"))
			c.Cmd(command, code)
			c.Cmd("MAIL FROM:<a@client.test>", 250)
			c.Quit()
		})
	}
	for _, command := range backend.Commands() {
		for _, word := range []string{"XCLIENT", "xclient", "XFORWARD", "PROXY", "\x00", "XYZZY", "TURN", "BURL", "SEND"} {
			if strings.Contains(command, word) {
				t.Errorf("the backend was given %q", command)
			}
		}
	}
}

func TestHTTPIsHungUpOn(t *testing.T) {
	t.Parallel()
	backend, edge := start(t)
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: mx.test\r\n\r\n", "HEAD / HTTP/1.0\r\n", "CONNECT mx.test:25 HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n",
		"POST / HTTP/1.1\r\nHost: mx.test\r\nContent-Length: 99\r\n\r\nMAIL FROM:<evil@evil.test>\r\nRCPT TO:<b@mx.test>\r\n",
		"PUT / HTTP/1.1\r\n", "DELETE / HTTP/1.1\r\n",
	} {
		t.Run(request[:4], func(t *testing.T) {
			c := harness.Dial(t, edge.Addr)
			c.Send(request)
			if rest := c.Rest(); strings.Contains(rest, "250") {
				t.Errorf("was answered %q", rest)
			}
		})
	}
	if got := backend.Commands(); len(got) != 0 {
		t.Errorf("the backend was given %q", got)
	}
}

// STANDARDS 25: a long line is read to its end, refused, and the session goes
// on; 4096 octets are not long.
func TestALongLine(t *testing.T) {
	t.Parallel()
	_, edge := start(t)
	c := harness.Dial(t, edge.Addr)
	c.Cmd("EHLO client.test", 250)
	c.Cmd("NOOP "+strings.Repeat("x", 2000), 250)
	if text := c.Cmd("NOOP "+strings.Repeat("x", 20_000), 500); !strings.Contains(text, "5.5.2") {
		t.Errorf("refused with %q", text)
	}
	c.Cmd("NOOP", 250)
	c.Quit()
}

func TestAnEndlessLineTakesNoMemory(t *testing.T) {
	t.Parallel()
	_, edge := start(t)
	before := peakMemory(t, edge)
	block := strings.Repeat("x", 1<<20)
	c := harness.Dial(t, edge.Addr)
	for range 64 {
		if c.TrySend(block) != nil {
			break // refused by hanging up
		}
	}
	c.Close()
	if grown := peakMemory(t, edge) - before; grown > 16<<10 {
		t.Errorf("a line of 64 MiB took %d KiB", grown)
	}
}

// peakMemory is the most that the process ever had resident, in KiB.
func peakMemory(t *testing.T, edge *harness.Postern) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", edge.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
