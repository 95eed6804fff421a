package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// byRecipient answers RCPT by what the line holds.
func byRecipient(replies map[string]string) func(*smtptest.Conn, string, string) string {
	return func(_ *smtptest.Conn, phase, line string) string {
		for part, r := range replies {
			if phase == "RCPT" && strings.Contains(line, part) {
				return r
			}
		}
		return ""
	}
}

// rcpts are RCPT commands for some recipients, without the last line end.
func rcpts(to ...string) string { return "RCPT TO:<" + strings.Join(to, ">\r\nRCPT TO:<") + ">" }

const fromA = "MAIL FROM:<a@sender.test>"

func TestARecipientThatIsDeferredGoesToTheNextServerAndOneThatIsRefusedDoesNot(t *testing.T) {
	for name, c := range map[string]struct {
		first  smtptest.Script
		want   string
		second bool
	}{
		"RCPT 4xx":  {smtptest.Script{Replies: map[string]string{"RCPT": "451 4.7.1 later"}}, "250 2.0.0 queued", true},
		"RCPT 5xx":  {smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 no such user"}}, "550 5.1.1 no such user", false},
		"RCPT 421":  {smtptest.Script{Replies: map[string]string{"RCPT": "421 4.3.2 enough"}}, "250 2.0.0 queued", true},
		"RCPT dies": {smtptest.Script{Die: "RCPT"}, "250 2.0.0 queued", true},
		"RCPT junk": {smtptest.Script{Replies: map[string]string{"RCPT": "what?"}}, "250 2.0.0 queued", true},
		"RCPT 354":  {smtptest.Script{Replies: map[string]string{"RCPT": "354 go"}}, "250 2.0.0 queued", true},
		"MAIL 4xx":  {smtptest.Script{Replies: map[string]string{"MAIL": "452 4.3.1 disk full"}}, "250 2.0.0 queued", true},
		"MAIL 5xx":  {smtptest.Script{Replies: map[string]string{"MAIL": "550 5.7.1 not you"}}, "550 5.7.1 not you", false},
		"MAIL 421":  {smtptest.Script{Replies: map[string]string{"MAIL": "421 4.3.2 enough"}}, "250 2.0.0 queued", true},
		"MAIL dies": {smtptest.Script{Die: "MAIL"}, "250 2.0.0 queued", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.server("a.example.com", c.first)
			b := w.server("b.example.com", smtptest.Script{})
			w.domain("example.com", "a.example.com", "b.example.com")
			e := newEgress(t, w)
			wantReply(t, e.deliver("b@example.com"), c.want)
			if got := len(b.Messages()) == 1; got != c.second {
				t.Errorf("the second server got %q", b.Messages())
			}
			e.wantNothingLeft()
		})
	}
}

// What a server says last is what the client hears, in its words.
func TestWhenEveryServerDefersTheClientHearsTheLast(t *testing.T) {
	w := newWorld(t)
	w.server("a.example.com", smtptest.Script{Replies: map[string]string{"RCPT": "451 4.7.1 a"}})
	w.server("b.example.com", smtptest.Script{Replies: map[string]string{"RCPT": "452-4.7.1 b\r\n452 4.7.1 and more"}})
	w.domain("example.com", "a.example.com", "b.example.com")
	c := newEgress(t, w).client()
	c.Do(fromA, "250")
	if r := c.Do("RCPT TO:<b@example.com>", "452"); r != "452-4.7.1 b\r\n452 4.7.1 and more\r\n" {
		t.Errorf("it got %q", r)
	}
	c.Do("QUIT", "221")
}

// SEM 6.
func TestARefusalOfTheSenderIsGivenAtEachRecipient(t *testing.T) {
	for _, r := range []string{"550 5.7.1 not you", "450 4.1.8 cannot verify you"} {
		t.Run(r[:3], func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Replies: map[string]string{"MAIL": r}})
			c := e.client()
			c.Do(fromA+"\r\n"+rcpts("b@example.com", "c@example.com", "d@example.com")+"\r\nDATA", "250", r, r, r, "554 5.5.1")
			c.Do("RCPT TO:<e@example.com>", r)
			c.Do("QUIT", "221")
			if n := len(b.Conns()); n != 1 {
				t.Errorf("it was connected to %d times", n)
			}
		})
	}
}

func TestEachRecipientHasItsOwnReplyInOrder(t *testing.T) {
	replies := map[string]string{"no@": "550 5.1.1 no", "full@": "452 4.2.2 full", "else@": "251 2.1.5 forwarded", "many@": "250-2.1.5 one\r\n250 2.1.5 two"}
	for _, capabilities := range [][]string{{"PIPELINING"}, {"SIZE"}} {
		for name, pipelined := range map[string]bool{"at once": true, "one by one": false} {
			t.Run(capabilities[0]+" "+name, func(t *testing.T) {
				b, e := theDomain(t, smtptest.Script{Capabilities: capabilities, Answer: byRecipient(replies)})
				c := e.client()
				lines := []string{fromA, rcpts("no@example.com"), rcpts("yes@example.com"), rcpts("full@example.com"), rcpts("else@example.com"), rcpts("many@example.com")}
				want := []string{"250 2.1.0", "550 5.1.1 no", "250 2.0.0 ok", "452 4.2.2 full", "251 2.1.5 forwarded", "250 2.1.5 two"}
				if pipelined {
					c.Do(strings.Join(lines, "\r\n"), want...)
				} else {
					for i, l := range lines {
						c.Do(l, want[i])
					}
				}
				c.Do("DATA", "354")
				c.Do("x\r\n.", "250 2.0.0 queued")
				c.Do("QUIT", "221")
				if d := e.delivery(0); pipelined && (d.Recipients != 3 || d.Code != 250) {
					t.Errorf("delivery: %+v", d)
				}
				wantMessages(t, b, "x\r\n")
			})
		}
	}
}

// The octets on both sides of one message that came in as few segments as it can.
func TestAMessageCrossesOctetForOctet(t *testing.T) {
	const group = fromA + " SIZE=10 BODY=8BITMIME\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@EXAMPLE.com>\r\nDATA\r\n"
	const message = "Subject: x\r\n\r\n..dot\r\n\xe4\r\n.\r\n"
	for name, c := range map[string]struct {
		capabilities []string
		segments     []string
	}{
		"pipelining": {[]string{"PIPELINING", "SIZE", "8BITMIME"}, []string{"EHLO gateway.test\r\n",
			fromA + " SIZE=10 BODY=8BITMIME\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@EXAMPLE.com>\r\n", "DATA\r\n", message}},
		"not": {[]string{"SIZE", "8BITMIME"}, []string{"EHLO gateway.test\r\n",
			fromA + " SIZE=10 BODY=8BITMIME\r\n", "RCPT TO:<b@example.com>\r\n", "RCPT TO:<c@EXAMPLE.com>\r\n", "DATA\r\n", message}},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Capabilities: c.capabilities})
			k := e.client()
			k.Send(group)
			got := ""
			for range 4 {
				r, _ := k.Reply()
				got += r
			}
			k.Send(message)
			r, _ := k.Reply()
			k.Send("QUIT\r\n")
			bye, _ := k.Reply()
			want := "250 2.1.0 Ok\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 queued\r\n221 2.0.0 Bye\r\n"
			if got+r+bye != want {
				t.Errorf("the client read %q, want %q", got+r+bye, want)
			}
			if got := b.Connection(0).Segments(); !slices.Equal(got, c.segments) {
				t.Errorf("the server read %q, want %q", got, c.segments)
			}
		})
	}
}

func TestHundredsOfRecipientsAreOfferedAndAnsweredInOrder(t *testing.T) {
	const n = 350
	for _, capability := range []string{"PIPELINING", "SIZE"} {
		t.Run(capability, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Capabilities: []string{capability}, Answer: func(c *smtptest.Conn, phase, line string) string {
				var i int
				if fmt.Sscanf(line, "RCPT TO:<u%d@", &i); phase == "RCPT" && i%7 == 3 {
					return fmt.Sprintf("550 5.1.1 no %d", i)
				}
				return ""
			}})
			c := e.client()
			var group strings.Builder
			group.WriteString(fromA + "\r\n")
			for i := range n {
				fmt.Fprintf(&group, "RCPT TO:<u%d@example.com>\r\n", i)
			}
			go c.Try(group.String() + "DATA\r\n")
			c.Expect("250")
			for i := range n {
				want := "250"
				if i%7 == 3 {
					want = fmt.Sprintf("550 5.1.1 no %d", i)
				}
				c.Expect(want)
			}
			c.Expect("354")
			c.Do(".", "250 2.0.0 queued")
			if got := len(b.Commands()); got != n+3 {
				t.Errorf("it executed %d commands", got)
			}
		})
	}
}

// SEM 18.
func TestATransactionIsBoundByTheFirstRecipientWhoIsAccepted(t *testing.T) {
	greylist := smtptest.Script{Replies: map[string]string{"RCPT": "451 4.7.1 greylisted"}}
	refuse := smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 no such user"}}
	for name, c := range map[string]struct {
		one, two smtptest.Script
		want     []string // for one, two, one, two
		one2     int      // messages that the servers get in the end
		two2     int
	}{
		"the first is accepted":  {smtptest.Script{}, smtptest.Script{}, []string{"250", "452 4.5.3", "250", "452 4.5.3"}, 1, 0},
		"the first is deferred":  {greylist, smtptest.Script{}, []string{"451 4.7.1", "250", "452 4.5.3", "250"}, 0, 1},
		"the first is refused":   {refuse, smtptest.Script{}, []string{"550 5.1.1", "250", "452 4.5.3", "250"}, 0, 1},
		"the first does not say": {smtptest.Script{Die: "RCPT"}, smtptest.Script{}, []string{"451 4.4.2", "250", "452 4.5.3", "250"}, 0, 1},
		"none is accepted":       {greylist, refuse, []string{"451 4.7.1", "550 5.1.1", "451 4.7.1", "550 5.1.1"}, 0, 0},
	} {
		for _, pipelined := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, pipelined: %v", name, pipelined), func(t *testing.T) {
				w := newWorld(t)
				one, two := w.server("mx.one.test", c.one), w.server("mx.two.test", c.two)
				w.domain("one.test", "mx.one.test")
				w.domain("two.test", "mx.two.test")
				e := newEgress(t, w)
				k := e.client()
				k.Do(fromA, "250")
				to := []string{"b@one.test", "b@two.test", "c@one.test", "c@two.test"}
				if pipelined && c.want[0][0] == '2' {
					k.Do(rcpts(to...), c.want...)
				} else if pipelined { // all of a destination are offered together
					k.Do(rcpts(to...), c.want[0], c.want[1], c.want[0], c.want[3])
				} else {
					for i, r := range to {
						k.Do(rcpts(r), c.want[i])
					}
				}
				if c.one2+c.two2 > 0 {
					k.Do("DATA", "354")
					k.Do("x\r\n.", "250 2.0.0 queued")
				} else {
					k.Do("DATA", "554 5.5.1")
				}
				k.Do("QUIT", "221")
				if len(one.Messages()) != c.one2 || len(two.Messages()) != c.two2 {
					t.Errorf("messages: %q and %q", one.Messages(), two.Messages())
				}
				e.wantNothingLeft()
			})
		}
	}
}

func TestRecipientsThatHaveToWaitAreCountedAndWarnedAboutOnce(t *testing.T) {
	w := newWorld(t)
	w.server("mx.one.test", smtptest.Script{})
	w.server("mx.two.test", smtptest.Script{})
	w.domain("one.test", "mx.one.test")
	w.domain("two.test", "mx.two.test")
	e := newEgress(t, w)
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@one.test", "b@two.test", "c@two.test"), "250", "250", "452 4.5.3", "452 4.5.3")
	c.Do("RSET", "250")
	c.Do(fromA+"\r\n"+rcpts("b@one.test", "b@two.test"), "250", "250", "452 4.5.3")
	e.watch.until(t, "three refusals", func() bool {
		n := 0
		for _, cause := range e.watch.refused {
			if cause == CauseOtherDestination {
				n++
			}
		}
		return n == 3
	})
	if n := strings.Count(e.logged("had to be split"), "had to be split"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	w.wantWent("192.0.2.1") // who has to wait needs no connection
}

// A day later it is said again.
func TestTheWarningComesOncePerDay(t *testing.T) {
	g := NewGateway(GatewayOptions{})
	if !g.warnOnce() || g.warnOnce() {
		t.Error("not once")
	}
	g.warned.Store(g.warned.Load() - 24*60*60)
	if !g.warnOnce() || g.warnOnce() {
		t.Error("not once the next day")
	}
}

// SEM 20: an MTA would leave all destinations alone because one said 421.
func TestA421OfAServerIsNeverOursOnRouteMX(t *testing.T) {
	for name, c := range map[string]struct {
		s    smtptest.Script
		want []string // to two RCPTs and DATA, and to the message where there is one
	}{
		"greeting": {smtptest.Script{Replies: map[string]string{"greeting": "421 4.3.2 no"}}, []string{"451 4.4.1", "451 4.4.1", "554"}},
		"EHLO":     {smtptest.Script{Replies: map[string]string{"EHLO": "421 4.3.2 no"}}, []string{"451 4.4.1", "451 4.4.1", "554"}},
		"MAIL":     {smtptest.Script{Replies: map[string]string{"MAIL": "421 4.3.2 no"}}, []string{"451 4.4.2", "451 4.4.2", "554"}},
		"RCPT":     {smtptest.Script{Replies: map[string]string{"RCPT": "421 4.3.2 no"}}, []string{"451 4.4.2", "451 4.4.2", "554"}},
		"2nd RCPT": {smtptest.Script{Answer: byRecipient(map[string]string{"c@": "421 4.3.2 no"})}, []string{"451 4.4.2", "451 4.4.2", "554"}},
		"DATA":     {smtptest.Script{Replies: map[string]string{"DATA": "421 4.3.2 no"}}, []string{"250", "250", "451 4.4.2"}},
		"dot":      {smtptest.Script{Replies: map[string]string{".": "421 4.3.2 no"}}, []string{"250", "250", "354", "451 4.4.2"}},
		"QUIT":     {smtptest.Script{Replies: map[string]string{"QUIT": "421 4.3.2 no"}}, []string{"250", "250", "354", "250"}},
	} {
		for _, capability := range []string{"PIPELINING", "SIZE"} {
			t.Run(name+" "+capability, func(t *testing.T) {
				c.s.Capabilities = []string{capability}
				_, e := theDomain(t, c.s)
				k := e.client()
				k.Do(fromA+"\r\n"+rcpts("b@example.com", "c@example.com")+"\r\nDATA", append([]string{"250"}, c.want[:3]...)...)
				if len(c.want) > 3 {
					k.Do("x\r\n.", c.want[3])
				}
				k.Do("NOOP", "250")
				k.Do("QUIT", "221")
				e.wantNothingLeft()
			})
		}
	}
}

// A 421 to a later recipient ends the server's part; who was accepted before it cannot
// be served any more, and the client must not lose its session.
func TestA421ToALaterRecipientCostsTheDestinationAlone(t *testing.T) {
	for name, s := range map[string]smtptest.Script{
		"421":  {Answer: byRecipient(map[string]string{"c@": "421 4.3.2 no"})},
		"junk": {Answer: byRecipient(map[string]string{"c@": "what?"})},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := theDomain(t, s)
			c := e.client()
			c.Do(fromA, "250")
			c.Do(rcpts("b@example.com"), "250")
			c.Do(rcpts("c@example.com"), "451 4.4.2")
			c.Do(rcpts("d@example.com"), "451 4.4.2")
			c.Do("DATA", "451 4.4.2")
			c.Do("NOOP", "250")
			c.Do("QUIT", "221")
			e.wantNothingLeft()
		})
	}
}

func TestAServerThatKnowsNoEHLOIsSpokenToInItsOwnWay(t *testing.T) {
	for _, code := range []string{"500", "501", "502", "504", "550"} {
		t.Run(code, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Replies: map[string]string{"EHLO": code + " what?"}})
			c := e.client()
			c.Do(fromA+" SIZE=10 BODY=8BITMIME\r\n"+rcpts("b@example.com")+"\r\nDATA", "250", "250", "354")
			c.Do("x\r\n.", "250 2.0.0 queued")
			wantCommands(t, b, "EHLO gateway.test", "HELO gateway.test", fromA, "RCPT TO:<b@example.com>", "DATA")
		})
	}
}

func TestAServerThatKnowsNeitherIsLeft(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{Replies: map[string]string{"EHLO": "502 what?", "HELO": "502 what?"}})
	wantReply(t, e.deliver("b@example.com"), "451 4.4.1 mx.example.com [192.0.2.1] said in reply to HELO: 502 what?")
	b.Connection(0).WaitFor("QUIT")
}

func TestAServerThatDoesNotSpeakSMTPIsLeft(t *testing.T) {
	long := "220-" + strings.Repeat("x", 1<<20) + "\r\n220 there"
	for name, c := range map[string]struct {
		s    smtptest.Script
		want string
	}{
		"greeting 4xx":     {smtptest.Script{Replies: map[string]string{"greeting": "450 4.3.2 not now"}}, "said in reply to our connection: 450 4.3.2 not now"},
		"greeting 5xx":     {smtptest.Script{Replies: map[string]string{"greeting": "554-5.7.1 listed\r\n554 5.7.1 go away"}}, "said in reply to our connection: 554-5.7.1 listed / 554 5.7.1 go away"},
		"greeting 250":     {smtptest.Script{Replies: map[string]string{"greeting": "250 hello"}}, "said in reply to our connection: 250 hello"},
		"garbage":          {smtptest.Script{Replies: map[string]string{"greeting": "SSH-2.0-OpenSSH"}}, "no greeting: not an SMTP reply"},
		"nothing":          {smtptest.Script{Die: "greeting"}, "no greeting: "},
		"half":             {smtptest.Script{Replies: map[string]string{"greeting": "220-wait"}, Answer: dieAfter("greeting")}, ""},
		"mixed codes":      {smtptest.Script{Replies: map[string]string{"greeting": "220-a\r\n250 b"}}, "no greeting: not an SMTP reply"},
		"a line of 1 MiB":  {smtptest.Script{Replies: map[string]string{"greeting": long}}, "no greeting: reply too long"},
		"EHLO of 1 MiB":    {smtptest.Script{Replies: map[string]string{"EHLO": strings.Replace(long, "220", "250", 2)}}, "no reply to EHLO: reply too long"},
		"EHLO without end": {smtptest.Script{Replies: map[string]string{"EHLO": strings.Repeat("250-x\r\n", 1<<15) + "250 x"}}, "no reply to EHLO: reply too long"},
		"EHLO 5xx":         {smtptest.Script{Replies: map[string]string{"EHLO": "554 5.7.1 no"}}, "said in reply to EHLO: 554 5.7.1 no"},
		"EHLO dies":        {smtptest.Script{Die: "EHLO"}, "no reply to EHLO: "},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := theDomain(t, c.s)
			wantReply(t, e.deliver("b@example.com"), "451 4.4.1 mx.example.com [192.0.2.1]")
			if log := e.logged("msg=delivery"); !strings.Contains(log, c.want) {
				t.Errorf("log: %s", log)
			}
			b.Connection(0).WaitOver()
			e.wantNothingLeft()
		})
	}
}

// dieAfter closes the connection behind the reply of a phase.
func dieAfter(phase string) func(*smtptest.Conn, string, string) string {
	return func(c *smtptest.Conn, p, _ string) string {
		if p == phase {
			defer c.Close()
			c.Write([]byte("220-wait\r\n"))
		}
		return ""
	}
}
