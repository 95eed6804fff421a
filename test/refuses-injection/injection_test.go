// Package injection proves that nothing crosses the TLS boundary (RFC 3207, 4
// and 6): what a man in the middle puts in front of the handshake is not
// executed inside, and what was agreed in clear is forgotten.
package injection

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
)

func TestPlaintextBehindSTARTTLSIsRefused(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	for _, injected := range []string{
		"NOOP\r\n", "EHLO evil.test\r\n", "MAIL FROM:<evil@evil.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n", "Q", "\r\n", "\x00", "\x16\x03\x01",
	} {
		t.Run(fmt.Sprintf("%.20q", injected), func(t *testing.T) {
			c := harness.Dial(t, edge.Addr)
			c.Cmd("EHLO client.test", 250)
			c.Send("STARTTLS\r\n" + injected)
			if text := c.Expect(503); !strings.Contains(text, "5.5.1") {
				t.Errorf("refused with %q", text)
			}
			c.Closed()
		})
	}
	backend.Idle()
	if got := backend.Commands(); len(got) != 0 {
		t.Errorf("the backend was given %q", got)
	}
}

func TestPlaintextBehindThe220IsNoHandshake(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	c := harness.Dial(t, edge.Addr)
	c.Cmd("EHLO client.test", 250)
	c.Cmd("STARTTLS", 220)
	c.Send("MAIL FROM:<evil@evil.test>\r\n")
	if rest := c.Rest(); strings.Contains(rest, "250") {
		t.Errorf("a command was answered instead of a handshake: %q", rest)
	}
	if got := backend.Commands(); len(got) != 0 {
		t.Errorf("the backend was given %q", got)
	}
}

func TestATransactionDoesNotCrossTheHandshake(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	c := harness.Dial(t, edge.Addr)
	c.Cmd("EHLO before.test", 250)
	c.Cmd("MAIL FROM:<evil@evil.test>", 250)
	c.Cmd("RCPT TO:<b@mx.test>", 250)
	c.Send("STARTTLS\r\n")
	if code, text, err := c.Reply(); err != nil || code == 503 {
		return // refused within a transaction: nothing to forget
	} else if code != 220 {
		t.Fatalf("STARTTLS got %q", text)
	}
	if err := c.Handshake(edge.Roots("mx.test")); err != nil {
		t.Fatal(err)
	}
	c.Cmd("RCPT TO:<c@mx.test>", 503)
	c.Cmd("DATA", 503)
	c.Cmd("EHLO after.test", 250)
	c.Cmd("DATA", 503)
	c.Deliver(harness.Message("after"))
	c.Quit()
	if got := backend.Messages(); len(got) != 1 {
		t.Errorf("the backend has %d messages", len(got))
	}
	last := backend.Sessions()[len(backend.Sessions())-1].Commands
	if slices.Contains(last, "EHLO before.test") || slices.Contains(last, "MAIL FROM:<evil@evil.test>") {
		t.Errorf("the session inside TLS has %q", last)
	}
}

func TestSTARTTLSIsAskedForProperly(t *testing.T) {
	t.Parallel()
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr}.Start(t)
	c := harness.Dial(t, edge.Addr)
	c.Cmd("STARTTLS", 503)
	reply := c.Cmd("EHLO client.test", 250)
	if !slices.Contains(harness.Capabilities(reply), "STARTTLS") {
		t.Errorf("STARTTLS is not offered: %q", reply)
	}
	c.Cmd("STARTTLS now", 501)
	inside := c.StartTLS(edge.Roots("mx.test"))
	if strings.Contains(inside, "STARTTLS") {
		t.Errorf("STARTTLS is offered inside TLS: %q", inside)
	}
	c.Cmd("STARTTLS", 503)
	c.Quit()
}

func TestWhatTheBackendOffersIsFiltered(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Capabilities: []string{
		"PIPELINING", "SIZE 1000000", "8BITMIME", "STARTTLS", "AUTH PLAIN LOGIN SCRAM-SHA-256-PLUS EXTERNAL", "XCLIENT NAME ADDR",
		"XFORWARD NAME", "BINARYMIME", "BURL imap", "TURN", "ATRN", "X-EXPS GSSAPI", "UNKNOWN-THING", "DSN", "SMTPUTF8",
	}})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	c := harness.Dial(t, edge.Addr)
	clear := harness.Capabilities(c.Cmd("EHLO client.test", 250))
	inside := harness.Capabilities(c.StartTLS(edge.Roots("mx.test")))
	hidden := []string{"XCLIENT", "XFORWARD", "BURL", "TURN", "ATRN", "X-EXPS", "UNKNOWN-THING", "-PLUS", "EXTERNAL"}
	for where, offer := range map[string][]string{"in clear": clear, "inside TLS": inside} {
		all := strings.Join(offer, "\n")
		for _, word := range hidden {
			if strings.Contains(all, word) {
				t.Errorf("%s is offered %s: %q", word, where, offer)
			}
		}
		for _, word := range []string{"PIPELINING", "SIZE", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING"} {
			if !strings.Contains(all, word) {
				t.Errorf("%s is not offered %s: %q", word, where, offer)
			}
		}
	}
	if strings.Contains(strings.Join(clear, "\n"), "AUTH") {
		t.Errorf("AUTH is offered in clear: %q", clear)
	}
	if !slices.Contains(inside, "AUTH PLAIN LOGIN") {
		t.Errorf("AUTH inside TLS: %q", inside)
	}
}

// SEM 37.
func TestAPasswordInClearIsRefused(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{
		Capabilities: []string{"AUTH PLAIN LOGIN"}, Reply: map[string]string{"AUTH": "235 2.7.0 welcome"},
	})
	edge := harness.Edge{Backend: backend.Addr, Inbound: "  auth_plaintext_from = [\"127.0.0.2/32\"]"}.Start(t)
	password := base64.StdEncoding.EncodeToString([]byte("\x00user\x00secret"))
	c := harness.Dial(t, edge.Addr)
	c.Cmd("EHLO client.test", 250)
	c.Cmd("AUTH PLAIN "+password, 5)
	if got := strings.Join(backend.Commands(), "\n"); strings.Contains(got, "AUTH") {
		t.Fatalf("the backend was given %q", got)
	}
	c.StartTLS(edge.Roots("mx.test"))
	c.Cmd("AUTH PLAIN "+password, 235)
	c.Cmd("AUTH PLAIN "+password, 503)
	c.Quit()

	exempt := harness.ConnectFrom(t, "127.0.0.2", edge.Addr)
	exempt.Expect(220)
	if reply := exempt.Cmd("EHLO client.test", 250); !strings.Contains(reply, "AUTH PLAIN LOGIN") {
		t.Errorf("AUTH is not offered to auth_plaintext_from: %q", reply)
	}
	exempt.Cmd("AUTH PLAIN "+password, 235)
	exempt.Quit()
	for _, secret := range []string{password, "secret"} {
		if strings.Contains(edge.Out.String(), secret) {
			t.Errorf("the log holds a password")
		}
	}
}

// RFC 3207, 4: which commands a listener answers that requires TLS.
func TestTLSRequired(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, TLS: "require"}.Start(t)
	c := harness.Dial(t, edge.Addr)
	for _, command := range []string{"HELO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>", "DATA", "RSET", "VRFY b", "AUTH PLAIN AGEAYg==", "XYZZY"} {
		if text := c.Cmd(command, 530); !strings.Contains(text, "5.7.0") {
			t.Errorf("%s got %q", command, text)
		}
	}
	c.Cmd("NOOP", 250)
	c.StartTLS(edge.Roots("mx.test"))
	c.Deliver(harness.Message("required"))
	c.Quit()
	if got := len(backend.Messages()); got != 1 {
		t.Errorf("the backend has %d messages", got)
	}
}

// RFC 8314, 3.3: no greeting in clear where TLS is implicit.
func TestImplicitTLSSaysNothingInClear(t *testing.T) {
	t.Parallel()
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr, TLS: "implicit"}.Start(t)
	c := harness.Connect(t, edge.Addr)
	c.Send("EHLO client.test\r\n")
	if rest := c.Rest(); strings.Contains(rest, "220") || strings.Contains(rest, "250") {
		t.Errorf("was answered in clear: %q", rest)
	}
}
