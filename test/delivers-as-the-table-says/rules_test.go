package tablesays

import (
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// submit has Postfix send one message through a gateway.
func submit(t *testing.T, g harness.Gateway, to string) (*harness.Sender, *harness.Postern) {
	out := g.Start(t)
	sender := harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, out.Addr))
	sender.Submit(harness.Message("one"), to)
	return sender, out
}

// waitDeferred waits until the recipient waits in the queue, and returns why.
func waitDeferred(t *testing.T, sender *harness.Sender, to string) (reason string) {
	t.Helper()
	harness.Eventually(t, to+" waits in the queue", func() bool { reason = sender.Deferred()[to]; return reason != "" })
	return reason
}

// SEM 29: what follows broken TLS at level may is the operator's choice.
func TestFallback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fallback      string
		first, second bool // whether the message is delivered at that attempt
	}{{"same-session", true, true}, {"next-session", false, true}, {"never", false, false}} {
		t.Run(c.fallback, func(t *testing.T) {
			t.Parallel()
			l := harness.NewLab(t)
			broken := l.Serve(smtptest.Script{TLS: l.Good(), Die: "handshake"}, "broken.test")
			g := l.Gateway()
			g.Outbound = "fallback = \"" + c.fallback + "\""
			sender, out := submit(t, g, "b@broken.test")
			arrived := func() bool { return len(broken.Messages()) == 1 }
			if c.first {
				harness.Eventually(t, "the message arrives in the same session", arrived)
				return
			}
			if reason := waitDeferred(t, sender, "b@broken.test"); !strings.Contains(reason, "451 4.7.5") {
				t.Errorf("it waits because of %q", reason)
			}
			if arrived() {
				t.Error("the first attempt delivered it")
			}
			sender.FlushUntil("a second attempt", func() bool { return len(out.Deliveries()) >= 2 })
			if c.second {
				harness.Eventually(t, "the message arrives at the second attempt", arrived)
				return
			}
			if arrived() {
				t.Error("the second attempt delivered it in clear")
			}
		})
	}
}

// A certificate that does not do sends the message to the next mail exchanger.
func TestTheNextExchangerIsTried(t *testing.T) {
	t.Parallel()
	l := harness.NewLab(t)
	wrong := l.Server(smtptest.Script{TLS: harness.With(catest.New(t).Issue(t, catest.Leaf{Names: []string{"mx1.two.test"}}))})
	right := l.Server(smtptest.Script{TLS: l.Good()})
	l.Domain("two.test", "mx1.two.test", "mx2.two.test")
	l.At(wrong.Addr, "mx1.two.test")
	l.At(right.Addr, "mx2.two.test")
	g := l.Gateway()
	g.Level = "verify"
	submit(t, g, "b@two.test")
	harness.Eventually(t, "the second has the message", func() bool { return len(right.Messages()) == 1 })
	if got := wrong.Messages(); len(got) != 0 {
		t.Errorf("the first has %q", got)
	}
}

// SEM 29: a server that insists on TLS, after TLS with it has failed, does not
// make the mail bounce, and is not skipped any more.
func TestAServerThatInsistsOnTLSIsTriedAgain(t *testing.T) {
	t.Parallel()
	l := harness.NewLab(t)
	server := l.Serve(smtptest.Script{TLS: l.Good(), Die: "handshake", Replies: map[string]string{"MAIL": "530 5.7.0 Must issue a STARTTLS command first"}}, "insists.test")
	sender, _ := submit(t, l.Gateway(), "b@insists.test")
	if reason := waitDeferred(t, sender, "b@insists.test"); !strings.Contains(reason, "451 4.7.5") {
		t.Errorf("it waits because of %q", reason)
	}
	server.Play(smtptest.Script{TLS: l.Good()})
	sender.FlushUntil("the message arrives", func() bool { return len(server.Messages()) == 1 })
	conns := server.Conns()
	if conns[len(conns)-1].Secured() == nil {
		t.Error("it came in clear")
	}
}
