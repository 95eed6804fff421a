// Package everymta proves that mail servers that are set up as
// docs/outbound.md says deliver through postern, and that what a destination
// answers comes back to them: what is delivered is delivered, what is refused
// bounces, and what cannot go now waits in their queue, each with the reason.
package everymta

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// front is one way to hand mail to postern, set up as docs/outbound.md says
// under its name.
type front struct {
	name, protocol string
	// neverBounces: it takes every refusal for a temporary one.
	neverBounces bool
	// splits: it cannot be told to send one destination at a time, so that all
	// but one wait for its next queue run.
	splits bool
	start  func(t testing.TB, heading, addr string) *harness.Sender
}

var fronts = []front{
	{"Postfix, SMTP", "smtp", false, false, postfix},
	{"Postfix, LMTP", "lmtp", false, false, postfix},
	{"Exim, SMTP", "smtp", false, false, exim},
	{"Exim, LMTP", "lmtp", false, false, exim},
	{"OpenSMTPD, SMTP", "smtp", false, true, openSMTPD},
	{"OpenSMTPD, LMTP", "lmtp", true, false, openSMTPD},
}

func postfix(t testing.TB, heading, addr string) *harness.Sender {
	return harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", heading, 0, addr))
}

func exim(t testing.TB, heading, addr string) *harness.Sender {
	router := harness.Snippets(t, "outbound.md", "Exim")[0]
	return harness.NewEximSender(t, "", router, harness.Snippet(t, "outbound.md", heading, 0, addr))
}

func openSMTPD(t testing.TB, heading, addr string) *harness.Sender {
	return harness.NewOpenSMTPDSender(t, harness.Snippet(t, "outbound.md", heading, 0, addr))
}

// outcome is what becomes of mail for one of the destinations.
type outcome struct {
	domain string
	is     string // delivered, deferred or bounced
	reason string // what the sender is told; empty when delivered
}

var outcomes = []outcome{
	{"tls.test", "delivered", ""},
	{"clear.test", "delivered", ""},
	{"full.test", "deferred", "452 4.2.2 mailbox full"},
	{"self-signed.test", "deferred", "451 4.7.5"},
	{"lost.test", "deferred", "451 4.4.3"},
	{"unknown.test", "bounced", "550 5.1.1 no such user"},
	{"null-mx.test", "bounced", "556 5.1.10"},
	{"none.test", "bounced", "550 5.1.2"},
}

// world is a mail server that sends through postern, and where it sends to.
type world struct {
	sender  *harness.Sender
	servers map[string]*smtptest.Backend // by domain
}

// lab has a server for each of the outcomes.
func lab(t testing.TB) (*harness.Lab, world) {
	l := harness.NewLab(t)
	servers := map[string]*smtptest.Backend{}
	for domain, script := range map[string]smtptest.Script{
		"tls.test":         {TLS: l.Good()},
		"clear.test":       {},
		"full.test":        reply("RCPT", "452 4.2.2 mailbox full"),
		"unknown.test":     reply("RCPT", "550 5.1.1 no such user"),
		"self-signed.test": {TLS: harness.With(catest.New(t).Issue(t, catest.Leaf{Names: []string{"mx.self-signed.test"}}))},
	} {
		servers[domain] = l.Serve(script, domain)
	}
	l.DNS.Set("null-mx.test. IN MX 0 .")
	l.DNS.Break("lost.test", "", dnstest.ServFail)
	return l, world{servers: servers}
}

// run starts the front, with postern and the lab behind it.
func (f front) run(t testing.TB) world {
	l, w := lab(t)
	g := l.Gateway()
	g.Protocol = f.protocol
	g.Outbound = "destination \"self-signed.test\" {\n  level = \"verify\"\n}"
	w.sender = f.start(t, f.name, g.Start(t).Addr)
	return w
}

// outcome is o, as far as the server can tell a refusal for good from one for
// now.
func (f front) outcome(o outcome) outcome {
	if f.neverBounces && o.is == "bounced" {
		o.is = "deferred"
	}
	return o
}

func TestEveryAnswerComesBack(t *testing.T) {
	t.Parallel()
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := f.run(t)
			for _, o := range outcomes {
				w.sender.Submit(harness.Message(o.domain), "b@"+o.domain)
			}
			for _, o := range outcomes {
				w.check(t, o.domain, f.outcome(o))
			}
		})
	}
}

// The destinations of one message do not harm each other.
func TestOneMessageForAll(t *testing.T) {
	t.Parallel()
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := f.run(t)
			var recipients []string
			for _, o := range outcomes {
				recipients = append(recipients, "b@"+o.domain)
			}
			w.sender.Submit(harness.Message("one"), recipients...)
			if f.splits {
				w.flushUntilSplit()
			}
			for _, o := range outcomes {
				w.check(t, "one", f.outcome(o))
			}
			for domain, server := range w.servers {
				if n := len(server.Messages()); n > 1 {
					t.Errorf("%s has the message %d times", domain, n)
				}
			}
		})
	}
}

// flushUntilSplit makes the next queue runs come soon, until no recipient waits
// only because the message was for other destinations too (SEM 18).
func (w world) flushUntilSplit() {
	w.sender.FlushUntil("every destination has had its turn", func() bool {
		return !slices.ContainsFunc(w.sender.Queue(), func(q harness.Queued) bool { return q.Reason == "" || strings.Contains(q.Reason, "452 4.5.3") })
	})
}

// Without its setting, Postfix sends the rest at its next queue run.
func TestWithoutTheLimitPostfixComesAgain(t *testing.T) {
	t.Parallel()
	l, w := lab(t)
	out := l.Gateway().Start(t)
	unlimited := strings.ReplaceAll(harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, out.Addr), "smtp_destination_recipient_limit = 1", "")
	w.sender = harness.NewPostfixSender(t, unlimited, "minimal_backoff_time = 1s")
	w.sender.Submit(harness.Message("split"), "b@tls.test", "b@clear.test")
	harness.Eventually(t, "one of them waits", func() bool { return len(w.sender.Deferred()) == 1 })
	for domain, reason := range w.sender.Deferred() {
		if !strings.Contains(reason, "452 4.5.3") {
			t.Errorf("%s waits because of %q", domain, reason)
		}
	}
	out.WaitLog("WARN", "had to be split")
	w.flushUntilSplit()
	w.check(t, "split", outcomes[0])
	w.check(t, "split", outcomes[1])
}

// A provider takes the recipients of all domains in one message.
func TestOneProvider(t *testing.T) {
	t.Parallel()
	l := harness.NewLab(t)
	for name, implicit := range map[string]bool{"starttls": false, "implicit": true} {
		provider := l.Server(smtptest.Script{TLS: l.Good(), Implicit: implicit})
		host := name + ".provider.test"
		l.At(provider.Addr, host)
		g := l.Gateway()
		g.Route, g.Level = "smarthost", "verify"
		g.Outbound = fmt.Sprintf("smarthost {\n  address = \"%s:%d\"\n  tls = %q\n}", host, l.Port, name)
		sender := harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, one provider", 0, g.Start(t).Addr))
		sender.Submit(harness.Message(name), "a@a.test", "b@b.test", "c@c.test")
		harness.Eventually(t, "the provider has the message", func() bool { return len(provider.Messages()) == 1 })
		harness.Eventually(t, "nothing waits", func() bool { return len(sender.Queue()) == 0 })
		c := provider.Conns()[0]
		if n := strings.Count(strings.Join(c.Commands(), "\n"), "RCPT TO:"); n != 3 || c.Secured() == nil {
			t.Errorf("%s: %d recipients, TLS %v", name, n, c.Secured())
		}
	}
}

// The mail server knows the limit, and asks nobody.
func TestTooLargeAMessageBounces(t *testing.T) {
	t.Parallel()
	l, w := lab(t)
	g := l.Gateway()
	g.Outbound = "limits {\n  message_size = \"10KiB\"\n}"
	w.sender = harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, g.Start(t).Addr))
	w.sender.Submit(harness.Message("large")+strings.Repeat(strings.Repeat("x", 76)+"\r\n", 200), "b@tls.test")
	if bounce := unfolded(string(w.sender.Wait("b@tls.test"))); !strings.Contains(bounce, "exceeds size limit 10240") {
		t.Errorf("the bounce says %q", bounce)
	}
}

// With DSN hidden, the mail server itself tells that a message was relayed (RFC
// 3461, 5.2.2); with DSN, the request goes on.
func TestWhoTellsThatAMessageWasRelayed(t *testing.T) {
	t.Parallel()
	for _, dsn := range []bool{false, true} {
		l, w := lab(t)
		g := l.Gateway()
		g.Outbound = fmt.Sprintf("dsn = %v", dsn)
		w.sender = harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, g.Start(t).Addr))
		c := harness.Dial(t, w.sender.Addr)
		c.Cmd("EHLO mua.test", 250)
		c.Cmd("MAIL FROM:<a@client.test>", 250)
		c.Cmd("RCPT TO:<b@tls.test> NOTIFY=SUCCESS", 250)
		c.Cmd("DATA", 354)
		c.Send(harness.Message("asked") + ".\r\n")
		c.Expect(250)
		c.Quit()
		w.check(t, "asked", outcomes[0])
		if asked := strings.Contains(strings.Join(w.servers["tls.test"].Commands(), "\n"), "NOTIFY=SUCCESS"); asked != dsn {
			t.Errorf("dsn %v: the destination was asked for a notice: %v", dsn, asked)
		}
		if !dsn {
			w.sender.Wait("Action: relayed")
		}
	}
}

// SEM 25: postern speaks no TLS with its own mail server.
func TestMandatoryTLSOfTheMTADefers(t *testing.T) {
	t.Parallel()
	l, w := lab(t)
	out := l.Gateway().Start(t)
	mandatory := strings.ReplaceAll(harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, out.Addr), "smtp_tls_security_level = none", "smtp_tls_security_level = encrypt")
	w.sender = harness.NewPostfixSender(t, mandatory)
	w.sender.Submit(harness.Message("mandatory"), "b@tls.test")
	w.check(t, "mandatory", outcome{"tls.test", "deferred", "TLS is required, but was not offered"})
}

// check waits until the message for o's domain has the outcome.
func (w world) check(t *testing.T, id string, o outcome) {
	t.Helper()
	switch recipient := "b@" + o.domain; o.is {
	case "delivered":
		harness.Eventually(t, o.domain+" has its message", func() bool { return w.arrived(id, o.domain) })
		harness.Eventually(t, "nothing waits for "+o.domain, func() bool { return !w.waits(recipient) })
	case "deferred":
		var got string
		if !harness.Poll(harness.Deadline, func() bool { got = w.sender.Deferred()[recipient]; return got != "" }) {
			t.Fatalf("%s does not wait in the queue\n%s", o.domain, w.sender.Log())
		}
		if !strings.Contains(got, o.reason) {
			t.Errorf("%s waits because of %q, want %q", o.domain, got, o.reason)
		}
	case "bounced":
		bounce := string(w.sender.Wait(recipient))
		if !strings.Contains(unfolded(bounce), o.reason) {
			t.Errorf("the bounce for %s does not say %q:\n%s", o.domain, o.reason, bounce)
		}
	}
	if o.is != "delivered" && w.arrived(id, o.domain) {
		t.Errorf("%s has its message", o.domain)
	}
}

func (w world) arrived(id, domain string) bool {
	server := w.servers[domain]
	return server != nil && strings.Contains(strings.Join(server.Messages(), "\n"), "<"+id+"@")
}

func (w world) waits(recipient string) bool {
	return slices.ContainsFunc(w.sender.Queue(), func(q harness.Queued) bool { return q.Recipient == recipient })
}

// unfolded is a text with its lines in one.
func unfolded(text string) string { return strings.Join(strings.Fields(text), " ") }

func reply(verb, text string) smtptest.Script {
	return smtptest.Script{Replies: map[string]string{verb: text}}
}
