package proxy

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"postern/internal/smtptest"
)

func lmtp(p *layout) { p.LMTP = true }

// fanOut is a gateway with an LMTP front, and one server for each destination: d0.test,
// d1.test and so on.
type fanOut struct {
	*egress
	to []*smtptest.Backend
}

// fanned runs a test in a synctest bubble with so many destinations.
func fanned(t *testing.T, n int, f func(t *testing.T, x *fanOut), change ...func(*layout)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newPipedWorld(t)
		x := &fanOut{}
		for i := range n {
			name := fmt.Sprintf("mx%d.test", i)
			x.to = append(x.to, w.server(name, smtptest.Script{TLS: w.cert(name)}))
			w.domain(fmt.Sprintf("d%d.test", i), fmt.Sprintf("mx%d.test", i))
		}
		x.egress = newPipedEgress(t, w, append([]func(*layout){lmtp}, change...)...)
		f(t, x)
	})
}

// begin sends MAIL and a RCPT for each of some destinations, and DATA, in one write, and
// wants all to be accepted.
func (x *fanOut) begin(c *smtptest.Client, to ...int) {
	x.t.Helper()
	lines, want := "MAIL FROM:<a@sender.test>", []string{"250"}
	for _, i := range to {
		lines += fmt.Sprintf("\r\nRCPT TO:<b@d%d.test>", i)
		want = append(want, "250")
	}
	c.Do(lines+"\r\nDATA", append(want, "354")...)
}

const letter = "Subject: x\r\n\r\nhello\r\n"

// got says which destinations have the letter, once each.
func (x *fanOut) got() (all []int) {
	for i, b := range x.to {
		switch m := b.Messages(); {
		case len(m) > 1 || len(m) == 1 && m[0] != letter:
			x.t.Errorf("destination %d got %q", i, m)
		case len(m) == 1:
			all = append(all, i)
		}
	}
	return all
}

func (x *fanOut) wantGot(want ...int) {
	x.t.Helper()
	if got := x.got(); !slices.Equal(got, want) {
		x.t.Errorf("%v got the message, want %v", got, want)
	}
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// SEM 18 and 21: every destination has its leg; nobody has to come again.
func TestAMessageToFiftyDomainsIsDeliveredWithoutADeferral(t *testing.T) {
	fanned(t, 50, func(t *testing.T, x *fanOut) {
		c := x.client()
		x.begin(c, upTo(50)...)
		c.Send(letter + ".\r\n")
		for range 50 {
			c.Expect("250 2.0.0 queued")
		}
		c.Do("QUIT", "221")
		x.wantGot(upTo(50)...)
		for i, b := range x.to {
			if b.Connection(0).Secured() == nil {
				t.Errorf("destination %d got it in clear", i)
			}
		}
	})
}

// No server greets before all have been dialled.
func TestDestinationsAreDialledInParallel(t *testing.T) {
	fanned(t, 20, func(_ *testing.T, x *fanOut) {
		var all sync.WaitGroup
		all.Add(20)
		for _, b := range x.to {
			b.Play(smtptest.Script{Answer: func(_ *smtptest.Conn, phase, _ string) string {
				if phase == "greeting" {
					all.Done()
					all.Wait()
				}
				return ""
			}})
		}
		c := x.client()
		x.begin(c, upTo(20)...)
		c.Send(letter + ".\r\n")
		for range 20 {
			c.Expect("250")
		}
	})
}

// RFC 2033, 4.2: in the order of the RCPTs. SEM 21: as they become known.
func TestRepliesComeInTheOrderOfTheRecipientsAndEachAsSoonAsItCan(t *testing.T) {
	fanned(t, 3, func(_ *testing.T, x *fanOut) {
		first, second, third := make(chan struct{}), make(chan struct{}), make(chan struct{})
		for i, hold := range []chan struct{}{first, second, third} {
			x.to[i].Play(smtptest.Script{Hold: map[string]<-chan struct{}{".": hold}, Replies: map[string]string{".": fmt.Sprintf("250 2.0.0 from %d", i)}})
		}
		c := x.client()
		c.Do("MAIL FROM:<a@sender.test>", "250")
		for _, to := range []string{"b@d2.test", "c@d0.test", "d@d1.test", "e@d2.test"} {
			c.Do("RCPT TO:<"+to+">", "250")
		}
		c.Do("DATA", "354")
		c.Send(letter + ".\r\n")
		close(third)
		c.Expect("250 2.0.0 from 2")
		close(second)
		synctest.Wait()
		close(first)
		c.Expect("250 2.0.0 from 0")
		c.Expect("250 2.0.0 from 1")
		c.Expect("250 2.0.0 from 2")
		c.Do("NOOP", "250")
	})
}

func TestAReplyThatIsKnownDoesNotWaitForTheLastServer(t *testing.T) {
	fanned(t, 2, func(_ *testing.T, x *fanOut) {
		hold := make(chan struct{})
		x.to[0].Play(smtptest.Script{Replies: map[string]string{"DATA": "554 5.7.1 not from you"}})
		x.to[1].Play(smtptest.Script{Hold: map[string]<-chan struct{}{".": hold}})
		c := x.client()
		x.begin(c, 0, 1)
		c.Send(letter + ".\r\n")
		c.Expect("554 5.7.1 not from you")
		close(hold)
		c.Expect("250")
	})
}

// What one server does is its own recipients' business.
func TestOneServerHarmsNobodyElse(t *testing.T) {
	for name, c := range map[string]struct {
		script smtptest.Script
		rcpt   string // reply to its RCPT
		final  string // to the message, for its recipient
	}{
		"closes at MAIL":        {smtptest.Script{Die: "MAIL"}, "451 4.4.2", ""},
		"refuses MAIL":          {smtptest.Script{Replies: map[string]string{"MAIL": "550 5.7.1 no"}}, "550 5.7.1 no", ""},
		"defers MAIL":           {smtptest.Script{Replies: map[string]string{"MAIL": "450 4.7.1 no"}}, "450 4.7.1 no", ""},
		"refuses RCPT":          {smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 no"}}, "550 5.1.1 no", ""},
		"says 421 at RCPT":      {smtptest.Script{Replies: map[string]string{"RCPT": "421 4.3.2 bye"}}, "451 4.4.2", ""},
		"does not greet":        {smtptest.Script{Die: "greeting"}, "451 4.4.1", ""},
		"greets with 554":       {smtptest.Script{Replies: map[string]string{"greeting": "554 5.7.1 no"}}, "451 4.4.1", ""},
		"closes at DATA":        {smtptest.Script{Die: "DATA"}, "250", "451 4.4.2"},
		"refuses DATA":          {smtptest.Script{Replies: map[string]string{"DATA": "554 5.5.1 no"}}, "250", "554 5.5.1 no"},
		"defers DATA":           {smtptest.Script{Replies: map[string]string{"DATA": "451 4.3.0 no"}}, "250", "451 4.3.0 no"},
		"says 421 at DATA":      {smtptest.Script{Replies: map[string]string{"DATA": "421 4.3.0 bye"}}, "250", "451 4.4.2"},
		"answers DATA with 250": {smtptest.Script{Replies: map[string]string{"DATA": "250 2.0.0 ok"}}, "250", "451 4.4.2"},
		"closes in the message": {smtptest.Script{Die: "message"}, "250", "451 4.4.2"},
		"closes at the dot":     {smtptest.Script{Die: "."}, "250", "451 4.4.2"},
		"refuses the message":   {smtptest.Script{Replies: map[string]string{".": "550 5.7.1 spam"}}, "250", "550 5.7.1 spam"},
		"defers the message":    {smtptest.Script{Replies: map[string]string{".": "452 4.3.1 full"}}, "250", "452 4.3.1 full"},
		"says 421 to it":        {smtptest.Script{Replies: map[string]string{".": "421 4.3.2 bye"}}, "250", "451 4.4.2"},
		"answers it with 354":   {smtptest.Script{Replies: map[string]string{".": "354 go on"}}, "250", "451 4.4.2"},
		"answers it with prose": {smtptest.Script{Replies: map[string]string{".": "thank you"}}, "250", "451 4.4.2"},
		"answers with the 354":  {smtptest.Script{Replies: map[string]string{"DATA": "354 go\r\n250 2.0.0 thanks"}}, "250", "451 4.4.2"},
		"is in good health":     {smtptest.Script{}, "250", "250 2.0.0 queued"},
	} {
		for at := range 3 {
			t.Run(fmt.Sprintf("%s/%d", name, at), func(t *testing.T) {
				fanned(t, 3, func(_ *testing.T, x *fanOut) {
					x.to[at].Play(c.script)
					k := x.client()
					rcpt, final := []string{"250", "250", "250", "250", "354"}, []string{"250 2.0.0 queued", "250 2.0.0 queued", "250 2.0.0 queued"}
					rcpt[at+1], final[at] = c.rcpt, c.final
					k.Do("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@d0.test>\r\nRCPT TO:<b@d1.test>\r\nRCPT TO:<b@d2.test>\r\nDATA", rcpt...)
					k.Send(letter + ".\r\n")
					for _, want := range final {
						if want != "" {
							k.Expect(want)
						}
					}
					others := upTo(3)
					if c.final != "250 2.0.0 queued" {
						others = slices.Delete(others, at, at+1)
					}
					for _, i := range others {
						if len(x.to[i].Messages()) != 1 {
							x.t.Errorf("destination %d has %d messages", i, len(x.to[i].Messages()))
						}
					}
					k.Do("MAIL FROM:<a@sender.test>", "250")
					k.Do("QUIT", "221")
				})
			})
		}
	}
}

func TestWhereAllServersRefuseDATATheMessageIsRefused(t *testing.T) {
	fanned(t, 2, func(_ *testing.T, x *fanOut) {
		x.to[0].Play(smtptest.Script{Replies: map[string]string{"DATA": "554 5.5.1 no"}})
		x.to[1].Play(smtptest.Script{Replies: map[string]string{"DATA": "451 4.3.0 later"}})
		c := x.client()
		x.begin(c, 0, 1, 0)
		c.Send(letter + ".\r\n")
		c.Expect("554 5.5.1 no")
		c.Expect("451 4.3.0 later")
		c.Expect("554 5.5.1 no")
		c.Do("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@d0.test>\r\nDATA", "250", "250", "554 5.5.1 no")
		c.Do("MAIL FROM:<a@sender.test>", "250")
		x.wantGot()
	})
}

// RFC 2033, 4.2: one reply for each successful RCPT, also of the same recipient.
func TestARecipientWhoIsNamedTwiceGetsTwoReplies(t *testing.T) {
	fanned(t, 2, func(_ *testing.T, x *fanOut) {
		c := x.client()
		x.begin(c, 0, 1, 0, 0)
		c.Send(letter + ".\r\n")
		for range 4 {
			c.Expect("250")
		}
		c.Do("NOOP", "250")
		x.wantGot(0, 1)
	})
}

func TestTheFrontSpeaksLMTPAndNothingElse(t *testing.T) {
	fanned(t, 2, func(t *testing.T, x *fanOut) {
		for _, other := range []string{"EHLO mta.test", "HELO mta.test"} { // its mail must not bounce
			c := x.connect()
			c.Expect("220")
			c.Do(other, "421 4.3.5")
			c.ExpectClose()
		}
		c := x.connect()
		c.Expect("220")
		reply := c.Do("LHLO mta.test", "250")
		if strings.Contains(reply, "RCPTDOMAINMAX") {
			t.Error("it promises to take one domain only")
		}
		c.Do("MAIL FROM:<a@sender.test>", "250")
		c.Do("DATA", "503 5.5.1 No valid recipients")
		c.Do("RCPT TO:<b@d0.test>", "250")
		c.Do("RSET", "250")
		c.Do("RCPT TO:<b@d0.test>", "503")
		c.Do("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@d0.test>", "250", "250")
		c.Do("LHLO again.test", "250")
		c.Do("DATA", "503")
		x.begin(c, 0, 1)
		c.Send(letter + ".\r\nQUIT\r\n")
		c.Expect("250")
		c.Expect("250")
		c.Expect("221")
		c.ExpectClose()
		x.wantGot(0, 1)
	})
}

func TestAnSMTPFrontSpeaksNoLMTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipedWorld(t)
		c := newPipedEgress(t, w).connect()
		c.Expect("220")
		c.Do("LHLO mta.test", "421 4.3.5")
		c.ExpectClose()
	})
}

// Behind a client that hung up before the dot, nobody gets one.
func TestAClientThatLeavesBeforeTheDotHasSentNothing(t *testing.T) {
	fanned(t, 3, func(_ *testing.T, x *fanOut) {
		c := x.client()
		x.begin(c, 0, 1, 2)
		c.Send(letter)
		c.Close()
		for _, b := range x.to {
			b.Connection(0).WaitOver()
		}
		x.wantGot()
	})
}
