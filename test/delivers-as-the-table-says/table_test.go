// Package tablesays proves that mail leaves as safely as each destination can
// do and each level asks for, and never in another way: every kind of receiving
// server, at every level, in every state of the memory. Postfix sends, and what
// is expected stands in one table.
package tablesays

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/test/harness"
)

// levels are the columns of the table. "legacy" is level may with that grade.
var levels = []string{"none", "may", "legacy", "auto", "encrypt", "fingerprint", "verify", "secure"}

// table has what becomes of a message: "clear", "deferred", or it is delivered
// over TLS and what was made of the certificate, in Postfix's words.
//
// The state of the memory is what is known of the server when the message
// comes: nothing; that it has done TLS; that its certificate was valid, so that
// it must stay so (SEM 32); or that its TLS is broken, so that it is skipped
// (SEM 30). It counts at level may and auto only.
const table = `
unknown         none   may        legacy     auto       encrypt    fingerprint verify    secure
postfix         clear  clear      clear      clear      deferred   deferred    deferred  deferred
opensmtpd       clear  clear      clear      clear      deferred   deferred    deferred  deferred
refuses         clear  clear      clear      clear      deferred   deferred    deferred  deferred
garbage         clear  clear      clear      clear      deferred   deferred    deferred  deferred
closes          clear  clear      clear      clear      deferred   deferred    deferred  deferred
stalls          clear  clear      clear      clear      deferred   deferred    deferred  deferred
injects         clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
expired         clear  Untrusted  Untrusted  Untrusted  Untrusted  deferred    deferred  deferred
long-expired    clear  Untrusted  Untrusted  Untrusted  Untrusted  deferred    deferred  deferred
wrong-name      clear  Trusted    Trusted    Trusted    Trusted    deferred    deferred  deferred
self-signed     clear  Untrusted  Untrusted  Untrusted  Untrusted  deferred    deferred  deferred
tls-1-0         clear  clear      Verified   clear      deferred   deferred    deferred  deferred
rsa-only        clear  Verified   Verified   Verified   deferred   deferred    deferred  deferred
postfix-tls     clear  Verified   Verified   Verified   Verified   Verified    Verified  Verified
exim-tls        clear  Verified   Verified   Verified   Verified   Verified    Verified  Verified

did-tls         none   may        legacy     auto       encrypt    fingerprint verify    secure
postfix         clear  clear      clear      clear      deferred   deferred    deferred  deferred
opensmtpd       clear  clear      clear      clear      deferred   deferred    deferred  deferred
refuses         clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
garbage         clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
closes          clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
stalls          clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
injects         clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
expired         clear  Untrusted  Untrusted  Untrusted  Untrusted  deferred    deferred  deferred
long-expired    clear  Untrusted  Untrusted  Untrusted  Untrusted  deferred    deferred  deferred
wrong-name      clear  Trusted    Trusted    Trusted    Trusted    deferred    deferred  deferred
self-signed     clear  Untrusted  Untrusted  Untrusted  Untrusted  deferred    deferred  deferred
tls-1-0         clear  deferred   Verified   deferred   deferred   deferred    deferred  deferred
rsa-only        clear  Verified   Verified   Verified   deferred   deferred    deferred  deferred
postfix-tls     clear  Verified   Verified   Verified   Verified   Verified    Verified  Verified
exim-tls        clear  Verified   Verified   Verified   Verified   Verified    Verified  Verified

remembered      none   may        legacy     auto       encrypt    fingerprint verify    secure
postfix         clear  clear      clear      deferred   deferred   deferred    deferred  deferred
opensmtpd       clear  clear      clear      deferred   deferred   deferred    deferred  deferred
refuses         clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
garbage         clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
closes          clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
stalls          clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
injects         clear  deferred   deferred   deferred   deferred   deferred    deferred  deferred
expired         clear  Untrusted  Untrusted  Verified   Untrusted  deferred    deferred  deferred
long-expired    clear  Untrusted  Untrusted  deferred   Untrusted  deferred    deferred  deferred
wrong-name      clear  Trusted    Trusted    deferred   Trusted    deferred    deferred  deferred
self-signed     clear  Untrusted  Untrusted  deferred   Untrusted  deferred    deferred  deferred
tls-1-0         clear  deferred   Verified   deferred   deferred   deferred    deferred  deferred
rsa-only        clear  Verified   Verified   deferred   deferred   deferred    deferred  deferred
postfix-tls     clear  Verified   Verified   Verified   Verified   Verified    Verified  Verified
exim-tls        clear  Verified   Verified   Verified   Verified   Verified    Verified  Verified

skip            none   may        legacy     auto       encrypt    fingerprint verify    secure
postfix         clear  clear      clear      clear      deferred   deferred    deferred  deferred
opensmtpd       clear  clear      clear      clear      deferred   deferred    deferred  deferred
refuses         clear  clear      clear      clear      deferred   deferred    deferred  deferred
garbage         clear  clear      clear      clear      deferred   deferred    deferred  deferred
closes          clear  clear      clear      clear      deferred   deferred    deferred  deferred
stalls          clear  clear      clear      clear      deferred   deferred    deferred  deferred
injects         clear  clear      clear      clear      deferred   deferred    deferred  deferred
expired         clear  clear      clear      clear      Untrusted  deferred    deferred  deferred
long-expired    clear  clear      clear      clear      Untrusted  deferred    deferred  deferred
wrong-name      clear  clear      clear      clear      Trusted    deferred    deferred  deferred
self-signed     clear  clear      clear      clear      Untrusted  deferred    deferred  deferred
tls-1-0         clear  clear      clear      clear      deferred   deferred    deferred  deferred
rsa-only        clear  clear      clear      clear      deferred   deferred    deferred  deferred
postfix-tls     clear  clear      clear      clear      Verified   Verified    Verified  Verified
exim-tls        clear  clear      clear      clear      Verified   Verified    Verified  Verified
`

// cell is one entry of the table.
type cell struct{ state, server, level, want string }

// domain is a destination of its own for each cell, and host its mail
// exchanger, which is a subdomain of the same parent.
func (c cell) domain() string { return c.server + "-" + c.state + "." + c.level + ".test" }
func (c cell) host() string   { return "mx-" + c.domain() }
func (c cell) id() string     { return strings.ReplaceAll(c.domain(), ".", "-") }

func cells(t *testing.T) (all []cell) {
	for block := range strings.SplitSeq(strings.TrimSpace(table), "\n\n") {
		head, rows, _ := strings.Cut(block, "\n")
		if names := strings.Fields(head); !slices.Equal(names[1:], levels) {
			t.Fatalf("the columns are %q, want %q", names[1:], levels)
		}
		for row := range strings.Lines(rows) {
			words := strings.Fields(row)
			for i, level := range levels {
				all = append(all, cell{strings.Fields(head)[0], words[0], level, words[i+1]})
			}
		}
	}
	return all
}

// wildcards are the names that a sound certificate is for: all domains and
// hosts of the table.
func wildcards() (all []string) {
	for _, level := range levels {
		all = append(all, "*."+level+".test")
	}
	return all
}

func TestTheTable(t *testing.T) {
	t.Parallel()
	l := harness.NewLab(t)
	pair := l.CA.Issue(t, harness.RSA, wildcards()...)
	servers := receivers(t, l, pair)
	all := cells(t)
	out := gateway(t, l, pair)
	primed := prime(t, l, out, all)
	for _, c := range all {
		l.At(servers[c.server].addr, c.host())
	}
	sender := harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, out.Addr), "default_process_limit = 30")
	send := sender.Open()
	for _, c := range all {
		send.Message(harness.Message(c.id()), "b@"+c.domain())
	}
	send.Quit()
	harness.Eventually(t, "every message has been tried", func() bool { return strings.Count(sender.Log(), " status=") >= len(all) })
	deferred := sender.Deferred()
	attempts := map[string][]harness.Delivery{}
	for _, d := range out.WaitDeliveries(len(all) + primed) {
		if d.Outbound == "egress" {
			attempts[d.Destination] = append(attempts[d.Destination], d)
		}
	}
	for _, c := range all {
		c.check(t, servers[c.server], deferred["b@"+c.domain()], attempts[c.domain()])
	}
	story(t, out)
}

// check compares what the server, the sender's queue and the log say.
func (c cell) check(t *testing.T, server receiver, reason string, attempts []harness.Delivery) {
	name := c.state + "/" + c.server + "/" + c.level
	if len(attempts) != 1 {
		t.Errorf("%s: the log tells of %d attempts", name, len(attempts))
		return
	}
	d := attempts[0]
	got := "lost"
	switch has, secured := server.took(c.id()); {
	case has && reason != "":
		got = "delivered and deferred"
	case has && secured:
		got = d.Peer
	case has && d.Version == "":
		got = "clear"
	case has:
		got = "clear, and logged as TLS"
	case reason != "":
		got = "deferred"
	}
	if got != c.want {
		t.Errorf("%s: %s, want %s; queued because of %q, and logged %+v", name, got, c.want, reason, d)
	}
	if got == "deferred" && !strings.Contains(reason, d.Reply) {
		t.Errorf("%s: the sender has %q, and the log %q", name, reason, d.Reply)
	}
}

// gateway has two ways out with one memory: egress is what is tested, prime
// makes the memory what it has to be.
func gateway(t *testing.T, l *harness.Lab, pair harness.Pair) *harness.Postern {
	g := l.Gateway()
	g.Outbound = common
	for _, level := range levels {
		g.Outbound += fmt.Sprintf("  destination \".%s.test\" {\n    %s\n  }\n", level, settings(t, level, pair))
	}
	g.Top = fmt.Sprintf("outbound \"prime\" {\n  listen = [%q]\n  protocol = \"lmtp\"\n  mx_port = %d\n  trusted_roots = %q\n%s}\n",
		harness.FreePort(t, "127.0.0.1"), l.Port, l.CA.File, common)
	return g.Start(t)
}

// common makes one session enough to be remembered, and every message have a
// connection of its own.
const common = `
  reuse_idle = "0s"
  remember_after {
    sessions = 1
    age = "0s"
  }
  timeouts {
    starttls = "3s"
  }
`

func settings(t *testing.T, level string, pair harness.Pair) string {
	switch level {
	case "legacy":
		return "level = \"may\"\n    grade = \"legacy\""
	case "fingerprint":
		return fmt.Sprintf("level = %q\n    fingerprints = [%q]", level, harness.Fingerprint(t, pair))
	}
	return fmt.Sprintf("level = %q", level)
}

// prime sends a message to every destination whose server must be known, while
// another server stands in its place, and says how many those are.
func prime(t *testing.T, l *harness.Lab, out *harness.Postern, all []cell) int {
	before := map[string]*smtptest.Backend{
		"did-tls":    l.Server(smtptest.Script{TLS: harness.With(selfSigned(t))}),
		"remembered": l.Server(smtptest.Script{TLS: l.Good()}),
		"skip":       l.Server(smtptest.Script{TLS: l.Good(), Die: "handshake"}),
	}
	var recipients []string
	for _, c := range all {
		l.Domain(c.domain(), c.host())
		if s := before[c.state]; s != nil {
			l.At(s.Addr, c.host())
			recipients = append(recipients, "b@"+c.domain())
		}
	}
	lmtp := harness.Dial(t, out.Listener("prime"))
	lmtp.Cmd("LHLO client.test", 250)
	for some := range slices.Chunk(recipients, 40) {
		lmtp.Cmd("MAIL FROM:<a@client.test>", 250)
		for _, r := range some {
			lmtp.Send("RCPT TO:<" + r + ">\r\n")
		}
		for range some {
			lmtp.Expect(250)
		}
		lmtp.Cmd("DATA", 354)
		lmtp.Send(harness.Message("prime") + ".\r\n")
		for range some {
			lmtp.Expect(250)
		}
	}
	lmtp.Quit()
	return len(recipients)
}
