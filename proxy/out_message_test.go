package proxy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// begun is a client that has the 354 for a message to b@example.com.
func (e *egress) begun() *smtptest.Client {
	e.t.Helper()
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@example.com")+"\r\nDATA", "250", "250", "354")
	return c
}

// RFC 5321, 6.1: who answers 250 has taken responsibility, so nobody does it for a
// server that has not said so.
func TestAMessageWhoseConnectionIsLostIsDeferredAndNever250(t *testing.T) {
	for name, s := range map[string]smtptest.Script{
		"at DATA":                 {Die: "DATA"},
		"within":                  {Die: "message"},
		"after the dot":           {Die: "."},
		"nonsense after the dot":  {Replies: map[string]string{".": "what?"}},
		"another 354":             {Replies: map[string]string{".": "354 more"}},
		"half a reply":            {Replies: map[string]string{".": "250-wait"}, Answer: cutOff(".", "250-wait\r\n")},
		"nonsense at DATA":        {Replies: map[string]string{"DATA": "what?"}},
		"250 to DATA":             {Replies: map[string]string{"DATA": "250 2.0.0 queued"}},
		"250 with the 354":        {Replies: map[string]string{"DATA": "354 go\r\n250 2.0.0 queued"}},
		"a bare 421 at the dot":   {Replies: map[string]string{".": "421 4.3.2 bye"}},
		"421 and gone at the dot": {Answer: cutOff(".", "421 4.3.2 bye\r\n")},
	} {
		for size, body := range map[string]string{"small": "x\r\n", "big": strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<15)} {
			t.Run(name+" "+size, func(t *testing.T) {
				_, e := theDomain(t, s)
				c := e.client()
				c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
				c.Send("DATA\r\n")
				r, _ := c.Reply()
				if strings.HasPrefix(r, "354") {
					c.Send(body + ".\r\n")
					r, _ = c.Reply()
				}
				wantReply(t, r, "451 4.4.2 mx.example.com: ")
				c.Do("NOOP", "250") // the session goes on
				c.Do("QUIT", "221")
				if d := e.delivery(0); d.Code != 451 || d.Cause == "" || d.DSN != "4.4.2" {
					t.Errorf("delivery: %+v", d)
				}
				e.watch.until(t, "the message", func() bool { return size != "" && (len(e.watch.messages) == 0 || e.watch.messages[0].Code == 451) })
				e.wantNothingLeft()
			})
		}
	}
}

// cutOff closes the connection behind some octets at a phase.
func cutOff(phase, octets string) func(*smtptest.Conn, string, string) string {
	return func(c *smtptest.Conn, p, _ string) string {
		if p == phase {
			defer c.Close()
			c.Write([]byte(octets))
		}
		return ""
	}
}

func TestTheServersAnswerToTheMessageReachesTheClientAsItIs(t *testing.T) {
	for _, r := range []string{"250 2.0.0 Ok: queued as 4bXz", "250-2.0.0 one\r\n250 2.0.0 two", "451 4.3.0 try later", "452 4.3.1 disk full", "550 5.7.1 spam", "554-5.7.1 spam\r\n554 5.7.1 really", "251 odd", "250"} {
		t.Run(r[:3], func(t *testing.T) {
			_, e := theDomain(t, smtptest.Script{Replies: map[string]string{".": r}})
			c := e.begun()
			c.Send("x\r\n.\r\n")
			want := r
			if r == "250" {
				want = "250 " // in normal form
			}
			if got, _ := c.Reply(); got != want+"\r\n" {
				t.Errorf("it got %q", got)
			}
			c.Do(fromA, "250")
			c.Do("QUIT", "221")
		})
	}
}

func TestARefusalOfDATAIsTheAnswer(t *testing.T) {
	for _, r := range []string{"451 4.3.0 not now", "554 5.5.1 no", "550 5.7.1 policy"} {
		t.Run(r[:3], func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Replies: map[string]string{"DATA": r}})
			c := e.client()
			c.Do(fromA+"\r\n"+rcpts("b@example.com")+"\r\nDATA", "250", "250", r)
			c.Do("DATA", "503 5.5.1") // the transaction is over
			c.Do(fromA+"\r\n"+rcpts("c@example.com")+"\r\nDATA", "250", "250", r)
			c.Do("QUIT", "221")
			wantCommands(t, b, "EHLO gateway.test", fromA, "RCPT TO:<b@example.com>", "DATA", "RSET", fromA, "RCPT TO:<c@example.com>", "DATA")
			if d := e.delivery(0); d.Recipients != 1 || d.Cause != CauseUpstreamReply {
				t.Errorf("delivery: %+v", d)
			}
		})
	}
}

// A server that has heard enough may say so before the end. Its answer counts, and the
// dot is not said: it would be taken for that of a message that the server has given up.
func TestAnEarlyRefusalIsTheAnswer(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{Replies: map[string]string{"DATA": "354 go\r\n552 5.3.4 enough"}})
	c := e.begun()
	c.Send("x\r\n.\r\n")
	c.Expect("552 5.3.4 enough")
	c.Do("QUIT", "221")
	k := b.Connection(0)
	k.WaitOver()
	if got := k.Octets(); strings.Contains(got, "\r\n.\r\n") {
		t.Errorf("the dot was said: %q", got)
	}
}

// SEM 22.
func TestAClientThatLeavesBeforeTheDotTakesItsMessageBack(t *testing.T) {
	for name, octets := range map[string]string{"at once": "", "within a line": "Subj", "after a line": "x\r\n", "at half a dot": "x\r\n.", "at half an end": "x\r\n.\r"} {
		t.Run(name, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{})
			c := e.begun()
			c.Send(octets)
			c.Close()
			b.Connection(0).WaitOver()
			wantMessages(t, b)
			if got := b.Connection(0).Octets(); strings.Contains(got, "QUIT") {
				t.Errorf("it was taken leave of within a message: %q", got)
			}
			if d := e.delivery(0); d.Cause != CauseClientGone || d.Code != 0 {
				t.Errorf("delivery: %+v", d)
			}
			e.wantNothingLeft()
		})
	}
}

func TestAClientThatLeavesBeforeDATALeavesNothingBehind(t *testing.T) {
	_, e := theDomain(t, smtptest.Script{}, forget)
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
	c.Close()
	if d := e.delivery(0); d.Cause != CauseClientGone || d.Recipients != 1 {
		t.Errorf("delivery: %+v", d)
	}
	e.wantNothingLeft()
}

func TestAMessageThatWeRefuseIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*layout)
		body   string
		want   string
	}{
		"too big":      {func(p *layout) { p.Message.MaxSize = 100 }, strings.Repeat("x\r\n", 100), "552 5.3.4"},
		"bare LF":      {func(p *layout) { p.Message.Newlines = 0 }, "a\n.\nMAIL FROM:<evil@sender.test>\r\n", "550 5.5.2"},
		"bare CR":      {func(p *layout) { p.Message.Newlines = 0 }, "a\rb\r\n", "550 5.5.2"},
		"not even big": {func(p *layout) { p.Message.MaxSize = 1 }, "", "250"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{}, c.change)
			k := e.begun()
			k.Send(c.body + ".\r\n")
			k.Expect(c.want)
			k.Do("NOOP", "250")
			if c.want != "250" {
				b.Connection(0).WaitOver()
				wantMessages(t, b)
			}
		})
	}
}

// SEM 36: what leaves is clean.
func TestBareLineEndsAreMended(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	c := e.begun()
	c.Send("a\nb\rc\n.\nMAIL FROM:<evil@sender.test>\r\n.\r\n")
	c.Expect("250")
	wantMessages(t, b, "a\r\nb c\r\n..\r\nMAIL FROM:<evil@sender.test>\r\n")
}

func TestATraceHeaderIsWrittenWhereItIsAskedFor(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{}, func(p *layout) { p.Message.TraceHeader = true })
	wantReply(t, e.deliver("b@example.com"), "250")
	m := b.Messages()[0]
	if !strings.HasPrefix(m, "Received: from mta.test ") || !strings.Contains(m, "by gateway.test ") || !strings.HasSuffix(m, "\r\nSubject: x\r\n\r\nhello\r\n") {
		t.Errorf("it received %q", m)
	}
}

// Postfix sends the dot and QUIT, or the next MAIL, together.
func TestWhatComesBehindTheDotInOneSegmentIsAnswered(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	c := e.begun()
	c.Send("x\r\n.\r\n" + fromA + "\r\n" + rcpts("c@example.com") + "\r\nDATA\r\n")
	for _, want := range []string{"250 2.0.0 queued", "250", "250", "354"} {
		c.Expect(want)
	}
	c.Send("y\r\n.\r\nQUIT\r\n")
	c.Expect("250 2.0.0 queued")
	c.Expect("221")
	c.ExpectClose()
	wantMessages(t, b, "x\r\n", "y\r\n")
	if n := len(b.Conns()); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestManyMessagesOfASessionGoTheirOwnWays(t *testing.T) {
	w := newWorld(t)
	var servers []*smtptest.Backend
	for i := range 3 {
		name := fmt.Sprintf("mx%d.test", i)
		servers = append(servers, w.server(name, smtptest.Script{}))
		w.domain(fmt.Sprintf("d%d.test", i), name)
	}
	e := newEgress(t, w)
	c := e.client()
	for round := range 3 {
		for i := range servers {
			c.Do(fmt.Sprintf("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@d%d.test>\r\nDATA", i), "250", "250", "354")
			c.Do(fmt.Sprintf("%d to %d\r\n.", round, i), "250")
		}
	}
	c.Do("QUIT", "221")
	for i, b := range servers {
		wantMessages(t, b, fmt.Sprintf("0 to %d\r\n", i), fmt.Sprintf("1 to %d\r\n", i), fmt.Sprintf("2 to %d\r\n", i))
		if n := len(b.Conns()); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
	e.wantNothingLeft()
}

func TestRSETTakesATransactionBack(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	c := e.client()
	c.Do(fromA+"\r\nRSET\r\n"+fromA+"\r\n"+rcpts("b@example.com")+"\r\nRSET", "250", "250", "250", "250", "250")
	c.Do("DATA", "503 5.5.1")
	c.Do(fromA+"\r\n"+rcpts("c@example.com")+"\r\nDATA", "250", "250", "354")
	c.Do(".", "250")
	wantCommands(t, b, "EHLO gateway.test", fromA, "RCPT TO:<b@example.com>", "RSET", fromA, "RCPT TO:<c@example.com>", "DATA")
}
