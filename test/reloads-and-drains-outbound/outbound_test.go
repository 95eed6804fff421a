// Package outbound proves that an outbound takes a new configuration, and its
// own end, without losing a message or cutting off a delivery.
package outbound

import (
	"strings"
	"syscall"
	"testing"

	"postern/internal/smtptest"
	"postern/test/harness"
)

func start(t *testing.T, change func(*harness.Gateway)) (*harness.Lab, harness.Gateway, *harness.Postern) {
	l := harness.NewLab(t)
	g := l.Gateway()
	g.Addr = harness.FreePort(t, "127.0.0.1")
	g.Outbound = "  shutdown_grace = \"20s\""
	if change != nil {
		change(&g)
	}
	return l, g, g.Start(t)
}

func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	l, g, out := start(t, nil)
	server := l.Serve(smtptest.Script{TLS: l.Good()}, "mx.test")
	load := &harness.Load{}
	load.Start(t, out)
	for i, level := range []string{"encrypt", "may", "secure", "auto", "verify", "none", "may", "auto"} {
		harness.Eventually(t, "the load goes on", func() bool { return load.Acknowledged() >= 25*(i+1) })
		g.Level = level
		out.WriteConfig(g.HCL(out))
		out.Reload()
	}
	load.Stop()
	if cut := load.Cut(); len(cut) != 0 {
		t.Errorf("sessions were cut short: %q", cut)
	}
	load.Compare(t, octets(server))
}

// What is asked of a destination changes for the next message, also where a
// connection to it is kept.
func TestANewLevelIsForTheNextMessage(t *testing.T) {
	t.Parallel()
	l, g, out := start(t, nil)
	server := l.Serve(smtptest.Script{TLS: l.Good()}, "mx.test")
	l.Serve(smtptest.Script{}, "clear.test")
	session := harness.Dial(t, out.Addr)
	session.Cmd("EHLO client.test", 250)
	session.Deliver(harness.Message("before"))
	rcpt(session, "clear.test", 250)

	g.Level = "verify"
	out.WriteConfig(g.HCL(out))
	out.Reload()
	next := harness.Dial(t, out.Addr)
	next.Cmd("EHLO client.test", 250)
	next.Deliver(harness.Message("after"))
	if text := rcpt(next, "clear.test", 451); !strings.Contains(text, "4.7.5") {
		t.Errorf("refused with %q", text)
	}
	next.Quit()
	session.Quit()
	levels := ""
	for _, d := range out.WaitDeliveries(3) {
		if d.Destination == "mx.test" {
			levels += d.TLS + " "
		}
	}
	if levels != "may verify " || len(server.Messages()) != 2 {
		t.Errorf("%d messages, at the levels %s", len(server.Messages()), levels)
	}
}

func TestAMistakeKeepsWhatRuns(t *testing.T) {
	t.Parallel()
	l, g, out := start(t, func(g *harness.Gateway) { g.Level = "verify" })
	l.Serve(smtptest.Script{}, "mx.test")
	for name, text := range map[string]string{
		"a level that is none": strings.Replace(g.HCL(out), `"verify"`, `"strong"`, 1),
		"no roots":             strings.Replace(g.HCL(out), l.CA.File, l.CA.File+".gone", 1),
		"no route":             strings.Replace(g.HCL(out), "outbound \"egress\" {", "outbound \"egress\" {\n  route = \"smarthost\"", 1),
	} {
		t.Run(name, func(t *testing.T) {
			out.WriteConfig(text)
			out.Reload()
			c := harness.Dial(t, out.Addr)
			c.Cmd("EHLO client.test", 250)
			rcpt(c, "mx.test", 451)
			c.Quit()
		})
	}
}

func TestAStopUnderLoad(t *testing.T) {
	t.Parallel()
	l, _, out := start(t, nil)
	server := l.Serve(smtptest.Script{TLS: l.Good()}, "mx.test")
	load := &harness.Load{PerSession: 50}
	load.Start(t, out)
	harness.Eventually(t, "the load is on", func() bool { return load.Acknowledged() >= 100 })
	out.Stop()
	load.Stop()
	if code := out.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	load.Compare(t, octets(server))
}

// A message that is on its way to several destinations gets the answers of all
// of them; who is idle, or comes late, is told to come again.
func TestWhatIsUnderWayIsFinished(t *testing.T) {
	t.Parallel()
	l, _, out := start(t, func(g *harness.Gateway) { g.Protocol = "lmtp" })
	held := make(chan struct{})
	slow := l.Serve(smtptest.Script{TLS: l.Good(), Hold: map[string]<-chan struct{}{".": held}}, "slow.test")
	quick := l.Serve(smtptest.Script{TLS: l.Good()}, "quick.test")
	busy, idle := harness.Dial(t, out.Addr), harness.Dial(t, out.Addr)
	idle.Cmd("LHLO client.test", 250)
	busy.Cmd("LHLO client.test", 250)
	busy.Cmd("MAIL FROM:<a@client.test>", 250)
	busy.Cmd("RCPT TO:<b@slow.test>", 250)
	busy.Cmd("RCPT TO:<b@quick.test>", 250)
	busy.Cmd("DATA", 354)
	busy.Send(harness.Message("flight") + ".\r\n")
	harness.Eventually(t, "both servers have the message", func() bool { return len(slow.Messages()) == 1 && len(quick.Messages()) == 1 })

	out.Signal(syscall.SIGTERM)
	harness.Eventually(t, "the listener is closed", func() bool { return !harness.Listening(out.Addr) })
	close(held)
	busy.Expect(250)
	busy.Expect(250)
	_ = busy.TrySend("MAIL FROM:<a@client.test>\r\n") // it may have been told already
	if rest := busy.Rest(); !strings.HasPrefix(rest, "421 4.3.2") {
		t.Errorf("the next message was answered %q", rest)
	}
	_ = idle.TrySend("NOOP\r\n")
	if rest := idle.Rest(); !strings.HasPrefix(rest, "421 4.3.2") {
		t.Errorf("the idle client was told %q", rest)
	}
	out.WaitStopped()
	if code := out.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func rcpt(c *harness.Client, domain string, code int) string {
	c.Cmd("MAIL FROM:<a@client.test>", 250)
	text := c.Cmd("RCPT TO:<b@"+domain+">", code)
	c.Cmd("RSET", 250)
	return text
}

func octets(s *smtptest.Backend) (all [][]byte) {
	for _, m := range s.Messages() {
		all = append(all, []byte(m))
	}
	return all
}
