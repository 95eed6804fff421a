// Package bytes_test proves that the backend gets the octets that the client
// sent, however they are sent.
package bytes_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

const transparent = "  trace_header = false"

// content makes a message of the n-th kind. All of them are lines that end in
// CRLF, without bare CR or LF: what DATA can carry.
func content(r *rand.Rand, n int) string {
	switch n % 10 {
	case 0:
		return ""
	case 1:
		return strings.Repeat(".\r\n", r.IntN(50))
	case 2:
		return strings.Repeat("..\r\n.\r\n...x\r\n", r.IntN(50)+1)
	case 3:
		return octets(r, 100_000) + "\r\n" // one line of 100 kB
	case 4:
		return strings.Repeat(".", 10_000) + "\r\n"
	case 5:
		return strings.Repeat("\r\n", r.IntN(300))
	case 6: // ends of lines around the sizes of buffers
		return strings.Repeat("x", 4090+r.IntN(12)) + "\r\n." + strings.Repeat("y", 32760+r.IntN(12)) + "\r\n.\r\n"
	default:
		var b strings.Builder
		for range r.IntN(60) {
			b.WriteString([]string{"", ".", "..", "\t", " "}[r.IntN(5)] + octets(r, r.IntN(200)) + "\r\n")
		}
		return b.String()
	}
}

// octets are n of any value but CR and LF, mostly 8-bit, NUL among them.
func octets(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		for b[i] = byte(r.Uint32()); b[i] == '\r' || b[i] == '\n'; b[i] = byte(r.Uint32()) {
		}
	}
	return string(b)
}

// The ways to send a message.
var ways = []func(c *harness.Client, r *rand.Rand, message string){
	func(c *harness.Client, _ *rand.Rand, message string) { c.Deliver(message) },
	func(c *harness.Client, _ *rand.Rand, message string) { // pipelined, in one write
		c.Send("MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n")
		expect(c, 250, 250, 354)
		c.Send(harness.Stuff(message) + ".\r\n")
		expect(c, 250)
	},
	func(c *harness.Client, r *rand.Rand, message string) { // in writes of any size
		c.Envelope("a@client.test", "b@mx.test")
		for rest := harness.Stuff(message) + ".\r\n"; rest != ""; {
			n := min(len(rest), 1+r.IntN(20_000))
			c.Send(rest[:n])
			rest = rest[n:]
		}
		expect(c, 250)
	},
	func(c *harness.Client, _ *rand.Rand, message string) { // one chunk
		c.Send(fmt.Sprintf("MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nBDAT %d LAST\r\n%s", len(message), message))
		expect(c, 250, 250, 250)
	},
	func(c *harness.Client, r *rand.Rand, message string) { // many chunks, all in flight
		c.Send("MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\n")
		expect(c, 250, 250)
		var flight strings.Builder
		count := 1
		for ; len(message) > 0 && count < 20; count++ {
			n := r.IntN(len(message) + 1)
			fmt.Fprintf(&flight, "BDAT %d\r\n%s", n, message[:n])
			message = message[n:]
		}
		fmt.Fprintf(&flight, "BDAT %d LAST\r\n%s", len(message), message)
		c.Send(flight.String())
		for range count {
			expect(c, 250)
		}
	},
}

func expect(c *harness.Client, codes ...int) {
	for _, code := range codes {
		c.Expect(code)
	}
}

func TestAThousandMessages(t *testing.T) {
	t.Parallel()
	const sessions, each = 8, 125
	for name, capabilities := range map[string][]string{
		"backend with CHUNKING":    nil,
		"backend without anything": {"8BITMIME"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := harness.NewBackend(t, harness.Script{Capabilities: capabilities})
			edge := harness.Edge{Backend: backend.Addr, Inbound: transparent}.Start(t)
			var mu sync.Mutex
			var want []string
			t.Run("sessions", func(t *testing.T) {
				for session := range sessions {
					t.Run(fmt.Sprint(session), func(t *testing.T) {
						t.Parallel()
						c := harness.Dial(t, edge.Addr)
						if session%2 == 0 {
							c.StartTLS(edge.Roots("mx.test"))
						} else {
							c.Cmd("EHLO client.test", 250)
						}
						r := rand.New(rand.NewPCG(uint64(session), 2026))
						for n := range each {
							message := content(r, n)
							ways[(n/10+n)%len(ways)](c, r, message)
							mu.Lock()
							want = append(want, harness.Sum([]byte(message)))
							mu.Unlock()
						}
						c.Quit()
					})
				}
			})
			var got []string
			for _, message := range backend.Messages() {
				got = append(got, harness.Sum(message))
			}
			slices.Sort(want)
			slices.Sort(got)
			if len(want) != sessions*each || !slices.Equal(got, want) {
				t.Errorf("%d of %d messages arrived, or some changed", len(got), len(want))
			}
		})
	}
}

// RFC 3030, 2: what is in no line of DATA can be in chunks: an end without
// CRLF. Re-framed as DATA it gets one, and nothing else.
func TestAnEndWithoutCRLF(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		capabilities []string
		added        string
	}{"as BDAT": {nil, ""}, "as DATA": {[]string{"8BITMIME"}, "\r\n"}} {
		t.Run(name, func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{Capabilities: c.capabilities})
			edge := harness.Edge{Backend: backend.Addr, Inbound: transparent}.Start(t)
			client := harness.Dial(t, edge.Addr)
			client.StartTLS(edge.Roots("mx.test"))
			for i, message := range []string{"Subject: x\r\n\r\nno end", ".", "..", "x\r\n."} {
				ways[3](client, nil, message)
				if got := string(backend.Messages()[i]); got != message+c.added {
					t.Errorf("the backend has %q, want %q", got, message+c.added)
				}
			}
			client.Quit()
		})
	}
}

// SEM 15: one Received field, directly above the message, and not one octet
// else.
func TestTheTraceHeaderIsTheOnlyAddition(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	for i, way := range ways {
		c := harness.Dial(t, edge.Addr)
		c.StartTLS(edge.Roots("mx.test"))
		message := harness.Message(fmt.Sprint("trace", i)) + ".\r\n..\r\n"
		way(c, rand.New(rand.NewPCG(1, 2)), message)
		c.Quit()
		got := string(backend.Messages()[i])
		header, ok := strings.CutSuffix(got, message)
		if !ok || !strings.HasPrefix(header, "Received: ") || !strings.HasSuffix(header, "\r\n") {
			t.Fatalf("the backend has %q", got)
		}
		unfolded := strings.ReplaceAll(header, "\r\n\t", " ")
		if strings.Count(strings.ReplaceAll(unfolded, "\r\n ", " "), "\r\n") != 1 {
			t.Errorf("more than one field: %q", header)
		}
		for _, word := range []string{"from client.test", "127.0.0.1", "by mx.test", "with ESMTPS", "TLSv1.3", "AES", "X25519"} {
			if !strings.Contains(strings.ReplaceAll(header, "TLS1.3", "TLSv1.3"), word) {
				t.Errorf("the field does not say %s: %q", word, header)
			}
		}
	}
}
