package badinput

import (
	"fmt"
	"strings"
	"testing"

	"postern/test/harness"
)

// SEM 8: input where a reply had to be awaited.
func TestInputBeforeItsTurnIsRefused(t *testing.T) {
	t.Parallel()
	backend, edge := start(t)
	for _, c := range []struct{ hello, flight string }{
		{"", "EHLO client.test\r\nMAIL FROM:<early@client.test>\r\n"},
		{"", "HELO client.test\r\nMAIL FROM:<early@client.test>\r\n"},
		{"EHLO", "NOOP\r\nMAIL FROM:<early@client.test>\r\n"},
		{"EHLO", "VRFY b\r\nMAIL FROM:<early@client.test>\r\n"},
		{"EHLO", "EXPN b\r\nMAIL FROM:<early@client.test>\r\n"},
		{"EHLO", "EHLO client.test\r\nMAIL FROM:<early@client.test>\r\n"},
		{"EHLO", "MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\nSubject: early\r\n\r\n.\r\n"},
		{"HELO", "MAIL FROM:<a@client.test>\r\nRCPT TO:<early@mx.test>\r\n"},
		{"TLS", "AUTH PLAIN AGEAYg==\r\nMAIL FROM:<early@client.test>\r\n"},
		{"TLS", "NOOP\r\nMAIL FROM:<early@client.test>\r\n"},
	} {
		t.Run(fmt.Sprintf("%s %.12q", c.hello, c.flight), func(t *testing.T) {
			client := harness.Dial(t, edge.Addr)
			switch c.hello {
			case "TLS":
				client.StartTLS(edge.Roots("mx.test"))
			case "EHLO", "HELO":
				client.Cmd(c.hello+" client.test", 250)
			}
			client.Send(c.flight)
			if rest := client.Rest(); !strings.Contains(rest, "554 5.5.1") {
				t.Errorf("answered %q", rest)
			}
		})
	}
	backend.Idle()
	for _, command := range backend.Commands() {
		if strings.Contains(command, "early") {
			t.Errorf("the backend was given %q", command)
		}
	}
	if got := backend.Messages(); len(got) != 0 {
		t.Errorf("the backend took %q", got)
	}
}

// Input before the 220. Where a PROXY header comes first, it is sure to be
// early.
func TestAnEarlyTalkerIsRefused(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, Inbound: "  proxy_protocol {\n    from = [\"127.0.0.0/8\"]\n  }"}.Start(t)
	c := harness.Connect(t, edge.Addr)
	c.Send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\nEHLO early.test\r\n")
	if rest := c.Rest(); !strings.HasPrefix(rest, "554 5.5.1") {
		t.Errorf("answered %q", rest)
	}
	if got := backend.Commands(); len(got) != 0 {
		t.Errorf("the backend was given %q", got)
	}
}

// RFC 2920, 3.1: what may be sent in one flight, and the replies in its order.
func TestAllowedPipelining(t *testing.T) {
	t.Parallel()
	backend, edge := start(t)
	c := harness.Dial(t, edge.Addr)
	c.StartTLS(edge.Roots("mx.test"))
	c.Send("RSET\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nRCPT TO:<c@mx.test>\r\nDATA\r\n")
	expect(c, 250, 250, 250, 250, 354)
	c.Send("Subject: 1\r\n\r\n.\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n")
	expect(c, 250, 250, 250, 354)
	c.Send("Subject: 2\r\n\r\n.\r\nRSET\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\n\r\n" +
		"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n")
	expect(c, 250, 250, 250, 250, 250, 250, 250, 250, 354)
	c.Send("Subject: 3\r\n\r\n.\r\nQUIT\r\nNOOP\r\nthis is ignored\r\n")
	expect(c, 250, 221)
	c.Closed()
	if got := len(backend.Messages()); got != 4 {
		t.Errorf("the backend has %d messages", got)
	}
}

// Replies of the backend come back one for one, refusals too.
func TestRefusedRecipientsInAGroup(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Reply: map[string]string{"RCPT": "550 5.1.1 nobody", "DATA": "554 5.5.1 no valid recipients"}})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	c := harness.Dial(t, edge.Addr)
	c.StartTLS(edge.Roots("mx.test"))
	c.Send("MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nRCPT TO:<c@mx.test>\r\nDATA\r\n")
	expect(c, 250, 550, 550, 554)
	c.Cmd("RSET", 250)
	c.Quit()
}

func expect(c *harness.Client, codes ...int) {
	for _, code := range codes {
		c.Expect(code)
	}
}
