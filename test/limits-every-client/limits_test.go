// Package limits proves that no client takes more than its share, and none can
// hold a session for ever.
package limits

import (
	"fmt"
	"strings"
	"testing"

	"postern/test/harness"
)

func start(t *testing.T, inbound string) (*harness.Backend, *harness.Postern) {
	t.Helper()
	backend := harness.NewBackend(t, harness.Script{})
	return backend, harness.Edge{Backend: backend.Addr, Inbound: "  trace_header = false\n" + inbound}.Start(t)
}

// from opens a connection and reads the greeting, which must have the code.
func from(t *testing.T, edge *harness.Postern, ip string, code int) *harness.Client {
	t.Helper()
	c := harness.ConnectFrom(t, ip, edge.Addr)
	if text := c.Expect(code); code == 421 {
		if !strings.Contains(text, "4.7.0") {
			t.Errorf("refused with %q", text)
		}
		c.Closed()
	}
	return c
}

// served waits until a connection from ip is greeted.
func served(t *testing.T, edge *harness.Postern, ip string) {
	t.Helper()
	harness.Eventually(t, "the place is free again", func() bool {
		c := harness.ConnectFrom(t, ip, edge.Addr)
		defer c.Close()
		code, _, err := c.Reply()
		return err == nil && code == 220
	})
}

func TestConnectionsPerClient(t *testing.T) {
	t.Parallel()
	_, edge := start(t, "  limits {\n    per_client = 2\n    exempt = [\"127.0.0.9/32\"]\n  }")
	first := from(t, edge, "127.0.0.2", 220)
	from(t, edge, "127.0.0.2", 220)
	from(t, edge, "127.0.0.2", 421)
	from(t, edge, "127.0.0.3", 220)
	for range 5 {
		from(t, edge, "127.0.0.9", 220)
	}
	first.Quit()
	served(t, edge, "127.0.0.2")
}

// SEM 13: a client of IPv6 is a /64.
func TestANetworkOfIPv6IsOneClient(t *testing.T) {
	t.Parallel()
	_, edge := start(t, "  limits {\n    per_client = 1\n  }\n  proxy_protocol {\n    from = [\"127.0.0.0/8\"]\n  }")
	for _, c := range []struct {
		ip   string
		code int
	}{{"2001:db8:0:1::1", 220}, {"2001:db8:0:1:ffff::2", 421}, {"2001:db8:0:2::1", 220}, {"192.0.2.1", 220}, {"192.0.2.2", 220}, {"192.0.2.1", 421}} {
		client := harness.Connect(t, edge.Addr)
		family, local := "TCP6", "2001:db8::1"
		if !strings.Contains(c.ip, ":") {
			family, local = "TCP4", "192.0.2.25"
		}
		client.Send(fmt.Sprintf("PROXY %s %s %s 4711 25\r\n", family, c.ip, local))
		client.Expect(c.code)
	}
}

func TestConnectionsInTotal(t *testing.T) {
	t.Parallel()
	_, edge := start(t, "  limits {\n    connections = 3\n  }")
	var last *harness.Client
	for i := range 3 {
		last = from(t, edge, fmt.Sprintf("127.0.0.%d", i+2), 220)
	}
	from(t, edge, "127.0.0.7", 421)
	last.Quit()
	served(t, edge, "127.0.0.7")
}

// A client that is over its rate of handshakes is told so, in clear, and may
// go on without.
func TestHandshakesPerClient(t *testing.T) {
	t.Parallel()
	_, edge := start(t, "  limits {\n    handshakes_per_client = 2\n  }")
	refused := 0
	for range 4 {
		c := harness.ConnectFrom(t, "127.0.0.2", edge.Addr)
		c.Expect(220)
		c.Cmd("EHLO client.test", 250)
		c.Send("STARTTLS\r\n")
		switch code, text, err := c.Reply(); {
		case err != nil:
			t.Fatal(err)
		case code == 220:
			if err := c.Handshake(edge.Roots("mx.test")); err != nil {
				t.Fatal(err)
			}
			c.Cmd("EHLO client.test", 250)
		case code == 421 || code == 454:
			refused++
			if !strings.Contains(text, "4.7.0") {
				t.Errorf("refused with %q", text)
			}
		}
	}
	if refused != 2 {
		t.Errorf("%d of 4 handshakes refused, want 2", refused)
	}
	c := harness.ConnectFrom(t, "127.0.0.3", edge.Addr)
	c.Expect(220)
	c.StartTLS(edge.Roots("mx.test"))
}

func TestErrorsInASession(t *testing.T) {
	t.Parallel()
	_, edge := start(t, "  limits {\n    errors = 3\n  }")
	c := harness.Dial(t, edge.Addr)
	for range 10 {
		if c.TrySend("XYZZY\r\n") != nil {
			break
		}
		code, text, err := c.Reply()
		if err != nil {
			t.Fatalf("hung up without 421: %v", err)
		}
		if code == 421 {
			if !strings.Contains(text, "4.7.0") {
				t.Errorf("refused with %q", text)
			}
			c.Closed()
			return
		}
	}
	t.Error("ten errors were allowed, three are")
}

// RFC 1870: the size is told, refused at MAIL, and refused at the end of the
// message, which is read to its end.
func TestMessageSize(t *testing.T) {
	t.Parallel()
	backend, edge := start(t, "  limits {\n    message_size = \"100KiB\"\n  }")
	c := harness.Dial(t, edge.Addr)
	if reply := c.StartTLS(edge.Roots("mx.test")); !strings.Contains(reply, "SIZE 102400") {
		t.Errorf("offered %q", reply)
	}
	if text := c.Cmd("MAIL FROM:<a@client.test> SIZE=102401", 552); !strings.Contains(text, "5.3.4") {
		t.Errorf("refused with %q", text)
	}
	c.Cmd("MAIL FROM:<a@client.test> SIZE=99999999999999999999", 552)
	c.Cmd("MAIL FROM:<a@client.test> SIZE=many", 501)
	c.Envelope("a@client.test", "b@mx.test")
	c.Send(strings.Repeat(strings.Repeat("x", 98)+"\r\n", 1025) + ".\r\n")
	if text := c.Expect(552); !strings.Contains(text, "5.3.4") {
		t.Errorf("refused with %q", text)
	}
	c.Close()
	backend.Idle()
	if got := backend.Messages(); len(got) != 0 {
		t.Errorf("the backend took a message of %d octets", len(got[0]))
	}

	just := harness.Dial(t, edge.Addr)
	just.Cmd("EHLO client.test", 250)
	just.Deliver(strings.Repeat(strings.Repeat("x", 98)+"\r\n", 1024))
	just.Quit()
}

// Who is silent in any phase is let go, with a word where words are possible;
// others are served meanwhile.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, timeout, says string
		until               func(c *harness.Client, edge *harness.Postern)
	}{
		{"before EHLO", "command", "421 4.4.2", func(*harness.Client, *harness.Postern) {}},
		{"within a command", "command", "421 4.4.2", func(c *harness.Client, _ *harness.Postern) { c.Send("EHL") }},
		{"after EHLO", "command", "421 4.4.2", func(c *harness.Client, _ *harness.Postern) { c.Cmd("EHLO client.test", 250) }},
		{"inside TLS", "command", "421 4.4.2", func(c *harness.Client, e *harness.Postern) { c.StartTLS(e.Roots("mx.test")) }},
		{"instead of a handshake", "starttls", "", func(c *harness.Client, _ *harness.Postern) {
			c.Cmd("EHLO client.test", 250)
			c.Cmd("STARTTLS", 220)
		}},
		{"within a handshake", "starttls", "", func(c *harness.Client, _ *harness.Postern) {
			c.Cmd("EHLO client.test", 250)
			c.Cmd("STARTTLS", 220)
			c.Send("\x16\x03\x01\x02\x00\x01")
		}},
		{"within a message", "data", "421 4.4.2", func(c *harness.Client, _ *harness.Postern) {
			c.Cmd("EHLO client.test", 250)
			c.Envelope("a@client.test", "b@mx.test")
			c.Send("Subject: never finished\r\n")
		}},
		{"within a chunk", "data", "421 4.4.2", func(c *harness.Client, _ *harness.Postern) {
			c.Cmd("EHLO client.test", 250)
			c.Cmd("MAIL FROM:<a@client.test>", 250)
			c.Cmd("RCPT TO:<b@mx.test>", 250)
			c.Send("BDAT 100 LAST\r\nabc")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			backend, edge := start(t, "  timeouts {\n    "+c.timeout+" = \"700ms\"\n  }")
			silent := harness.Dial(t, edge.Addr)
			c.until(silent, edge)
			other := harness.Dial(t, edge.Addr)
			other.StartTLS(edge.Roots("mx.test"))
			other.Deliver(harness.Message("meanwhile"))
			other.Quit()
			if rest := silent.Rest(); !strings.HasPrefix(rest, c.says) {
				t.Errorf("was told %q", rest)
			}
			backend.Idle()
			if got := len(backend.Messages()); got != 1 {
				t.Errorf("the backend has %d messages", got)
			}
		})
	}
}

// SEM 22: a session that is too long ends at a command, not in a message.
func TestALongSessionEndsBetweenCommands(t *testing.T) {
	t.Parallel()
	backend, edge := start(t, "  timeouts {\n    session = \"300ms\"\n  }")
	c := harness.Dial(t, edge.Addr)
	c.StartTLS(edge.Roots("mx.test"))
	var last string
	harness.Eventually(t, "the session ends with 421", func() bool {
		for _, step := range []string{"MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>", "DATA", "."} {
			if c.TrySend(step+"\r\n") != nil {
				return true
			}
			code, text, err := c.Reply()
			if err != nil {
				return true
			}
			last = step + " " + text
			if code == 421 {
				return true
			}
		}
		return false
	})
	if !strings.Contains(last, " 421 4.4.2") || strings.HasPrefix(last, ". ") {
		t.Errorf("the last reply was %q", last)
	}
	backend.Idle()
}
