package proxy

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/peers"
)

// SEM 20: our mail server would leave all destinations alone for a while because of the
// addresses that its users mistype.
func TestRecipientsThatAreRefusedAreNoErrorsOfTheClient(t *testing.T) {
	for name, change := range map[string]func(*layout){"SMTP": forget, "LMTP": lmtp} {
		t.Run(name, func(t *testing.T) {
			_, e := theDomain(t, smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 nobody"}}, change, func(p *layout) { p.Limits.Errors = 3 })
			c := e.client()
			for range 5 {
				c.Do(fromA+"\r\n"+rcpts("b@example.com")+"\r\nDATA", "250", "550", "5")
				c.Do("RSET", "250")
			}
			c.Do("FOO", "500")
			c.Do("FOO", "500")
			c.Send("FOO\r\n")
			c.Expect("500")
			c.Expect("421")
		})
	}
}

// SEM 19: one server that stalls keeps the mail from no other.
func TestAServerThatStallsLeavesTimeForTheNext(t *testing.T) {
	for _, phase := range []string{"greeting", "EHLO", "MAIL", "RCPT"} {
		inTime(t, 1, func(t *testing.T, w *world) {
			never := make(chan struct{})
			w.server("stalled.example.com", smtptest.Script{Hold: map[string]<-chan struct{}{phase: never}})
			good := w.server("good.example.com", smtptest.Script{})
			w.domain("example.com", "stalled.example.com", "good.example.com")
			e := newPipedEgress(t, w)
			start := time.Now()
			wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
			if took := time.Since(start); took > realistic.Route || len(good.Messages()) != 1 {
				t.Errorf("%s: it took %s, and the good server has %d messages", phase, took, len(good.Messages()))
			}
		})
	}
}

// Who waits for a place has it before who comes later.
func TestAConnectionThatIsFreeGoesToWhoWaits(t *testing.T) {
	_, e := theDomain(t, smtptest.Script{}, concurrency(1))
	first, second := e.client(), e.client()
	first.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
	second.Send(fromA + "\r\n" + rcpts("b@example.com") + "\r\n")
	e.waitsForAPlace("example.com", 2)
	first.Do("DATA", "354")
	first.Do("hello\r\n.", "250")
	first.Send(fromA + "\r\n" + rcpts("b@example.com") + "\r\n")
	second.Expect("250")
	second.Expect("250")
	second.Do("DATA", "354")
	second.Do("hello\r\n.", "250")
	first.Expect("250")
	first.Expect("250")
}

// Two transactions that each hold what the other waits for come to an end by themselves.
func TestTransactionsThatWaitForEachOtherDoNotWaitLong(t *testing.T) {
	inTime(t, 1, func(t *testing.T, w *world) {
		for _, name := range []string{"one.test", "two.test"} {
			w.server("mx."+name, smtptest.Script{})
			w.domain(name, "mx."+name)
		}
		e := newPipedEgress(t, w, lmtp, concurrency(1))
		a, b := e.client(), e.client()
		a.Do(fromA+"\r\n"+rcpts("x@one.test"), "250", "250")
		b.Do(fromA+"\r\n"+rcpts("x@two.test"), "250", "250")
		start := time.Now()
		a.Send(rcpts("x@two.test") + "\r\n")
		b.Send(rcpts("x@one.test") + "\r\n")
		a.Expect("451 4.4.5")
		b.Expect("451 4.4.5")
		wantTook(t, start, placePatience)
	})
}

// A server that is busy inside TLS has TLS: nothing goes in clear.
func TestAServerThatIsBusyInsideTLSIsNotSpokenToInClear(t *testing.T) {
	for _, said := range []string{"421 4.3.2 too busy", "451 4.3.2 later"} {
		w := newWorld(t)
		b := w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"TLS EHLO": said}})
		w.domain("example.com", "mx.example.com")
		e := newEgress(t, w)
		wantReply(t, e.deliver("b@example.com"), "451 4.4.1")
		if n := len(b.Conns()); n != 1 {
			t.Errorf("%d connections", n)
		}
		if s := e.g.o.Peers.Standing(peers.Host{Name: "mx.example.com", Port: 25}); s.Skip {
			t.Error("it is skipped")
		}
	}
}

// What fails the first time and is not there the second has failed (SEM 29).
func TestSTARTTLSThatVanishesAfterAFailureIsAFailure(t *testing.T) {
	w := newWorld(t)
	var n atomic.Int32
	b := w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com"), Hidden: true, Die: "handshake",
		Replies: map[string]string{"MAIL": "530 5.7.0 Must issue a STARTTLS command first"},
		Answer: func(_ *smtptest.Conn, phase, _ string) string {
			if phase == "EHLO" && n.Add(1) == 1 {
				return "250-gullible\r\n250 STARTTLS"
			}
			return ""
		}})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	wantReply(t, e.deliver("b@example.com"), "451 4.7.5")
	if n := len(b.Conns()); n != 3 {
		t.Errorf("%d connections", n)
	}
	e.logged("tls=may:none")
}

// What a stranger says is bounded on its way to our mail server, to the log and to the
// memory.
func TestAServerOfManyWordsIsCutShort(t *testing.T) {
	line := strings.Repeat("x", 1000)
	long := func(code string) string {
		return strings.Repeat(code+"-"+line+"\r\n", 60) + code + " 5.7.1 " + line
	}
	for _, phase := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		t.Run(phase, func(t *testing.T) {
			_, e := theDomain(t, smtptest.Script{Replies: map[string]string{phase: long("554")}}, func(p *layout) {})
			r := e.deliver("b@example.com")
			if len(r) > maxRelayed {
				t.Errorf("%d octets", len(r))
			}
			for _, l := range strings.SplitAfter(r, "\r\n") {
				if len(l) > 512 {
					t.Errorf("a line of %d octets", len(l))
				}
			}
			for _, l := range strings.Split(e.logged("msg=delivery"), "\n") {
				if len(l) > 2048 {
					t.Errorf("a line of the log has %d octets", len(l))
				}
			}
		})
	}
}

// SEM 30: a connection that is in clear because TLS failed is for one message.
func TestAConnectionInClearBecauseTLSFailedIsNotUsedAgain(t *testing.T) {
	w := newWorld(t)
	b := w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"STARTTLS": "454 4.7.0 no"}})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	c := e.client()
	wantReply(t, offerMessage(c, "b@example.com"), "250")
	b.Play(smtptest.Script{TLS: w.cert("mx.example.com")})
	e.clock.turn(2 * time.Hour) // the skip is over
	wantReply(t, offerMessage(c, "b@example.com"), "250")
	if last := b.Conns()[len(b.Conns())-1]; last.Secured() == nil {
		t.Error("it went in clear again")
	}
}

// A limit that a server has for one connection is no verdict on the message.
func TestARefusalOfMAILOnAKeptConnectionCostsAFreshOne(t *testing.T) {
	for _, said := range []string{"550 5.7.0 too many messages", "503 5.5.1 no"} {
		var mails atomic.Int32
		b, e := theDomain(t, smtptest.Script{Answer: func(_ *smtptest.Conn, phase, _ string) string {
			if phase == "MAIL" && mails.Add(1) == 2 {
				return said
			}
			return ""
		}})
		for i := range 2 {
			if r := e.deliver("b@example.com"); !strings.HasPrefix(r, "250") {
				t.Errorf("message %d: %q", i, r)
			}
		}
		if n := len(b.Conns()); n != 2 {
			t.Errorf("%d connections", n)
		}
	}
}

func TestAConnectionIsNotUsedForEver(t *testing.T) {
	inTime(t, 1, func(t *testing.T, w *world) {
		b := w.server("mx.example.com", smtptest.Script{})
		w.domain("example.com", "mx.example.com")
		e := newPipedEgress(t, w, func(p *layout) { p.gateway.ReuseIdle = time.Hour })
		c := e.client()
		for range 4 {
			wantReply(t, offerMessage(c, "b@example.com"), "250")
			time.Sleep(maxAge / 2)
		}
		if n := len(b.Conns()); n != 2 {
			t.Errorf("%d connections", n)
		}
		c.Do("QUIT", "221")
	})
}

// Promise 2: what comes in a TLS record of its own is early all the same.
func TestAnAnswerInTheNextRecordIsNotTheAnswerToTheMessage(t *testing.T) {
	w := newWorld(t)
	said := make(chan struct{})
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"DATA": "", ".": "554 5.7.1 no"},
		Answer: func(c *smtptest.Conn, phase, _ string) string {
			if phase == "DATA" {
				c.Say("354 go\r\n")
				c.Say("250 2.0.0 this is not the answer\r\n")
				close(said)
			}
			return ""
		}})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
	c.Send("DATA\r\n")
	if r, _ := c.Reply(); strings.HasPrefix(r, "354") {
		<-said
		c.Send("hello\r\n.\r\n")
		r, _ = c.Reply()
		wantReply(t, r, "451")
	} else {
		wantReply(t, r, "451")
	}
}

// A connection that we cut says nothing about the server's TLS.
func TestAHandshakeThatWeInterruptIsNoFailureOfTheServer(t *testing.T) {
	w := newWorld(t)
	b := w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com"), Hold: map[string]<-chan struct{}{"STARTTLS": make(chan struct{})}})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	c := e.client()
	c.Send(fromA + "\r\n" + rcpts("b@example.com") + "\r\n")
	b.Connection(0).WaitFor("STARTTLS\r\n")
	e.cancel()
	c.Expect("250")
	c.Expect("421")
	if got := e.holds("mx.example.com"); strings.Contains(got, "fail") {
		t.Error(got)
	}
}

// A server that wants no more connections is up: the mail goes over those that it has.
func TestAServerAtItsLimitIsStillUsed(t *testing.T) {
	var n atomic.Int32
	_, e := theDomain(t, smtptest.Script{Answer: func(_ *smtptest.Conn, phase, _ string) string {
		if phase == "greeting" && n.Add(1) == 2 {
			return "421 4.7.0 too many connections"
		}
		return ""
	}})
	first, second, third := e.client(), e.client(), e.client()
	first.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
	second.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "451 4.4.1")
	first.Do("DATA", "354")
	first.Do("hello\r\n.", "250")
	wantReply(t, offerMessage(third, "b@example.com"), "250")
}

func TestATransactionHasABoundedNumberOfDestinations(t *testing.T) {
	w := newWorld(t)
	w.server("mx.test", smtptest.Script{})
	e := newEgress(t, w, lmtp, concurrency(0))
	c := e.client()
	c.Do(fromA, "250")
	for i := range maxDestinations + 1 {
		name := "d" + strconv.Itoa(i) + ".test"
		w.domain(name, "mx.test")
		want := "250"
		if i == maxDestinations {
			want = "452 4.5.3"
		}
		c.Do(rcpts("b@"+name), want)
	}
}

func TestConnectionsTakePlacesThatTheProcessHas(t *testing.T) {
	places := NewPlaces(3)
	_, e := theDomain(t, smtptest.Script{}, func(p *layout) { p.gateway.Places = places; p.Limits.Places = places })
	first, second := e.client(), e.client()
	first.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
	second.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "451 4.3.1")
	first.Do("QUIT", "221")
	e.watch.until(t, "the end of the first session", func() bool { return len(e.watch.sessions) == 1 })
	second.Do(rcpts("b@example.com"), "451") // as before, in this transaction
	second.Do("RSET\r\n"+fromA+"\r\n"+rcpts("b@example.com"), "250", "250", "250")
}

// A server that has refused all its recipients is not kept waiting for the others' message.
func TestAServerWithoutRecipientsIsLetGo(t *testing.T) {
	w := newWorld(t)
	refuses := w.server("mx.no.test", smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 nobody"}})
	w.server("mx.yes.test", smtptest.Script{})
	w.domain("no.test", "mx.no.test")
	w.domain("yes.test", "mx.yes.test")
	e := newEgress(t, w, lmtp, forget)
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@no.test"), "250", "550")
	c.Do(rcpts("b@yes.test"), "250")
	c.Do(rcpts("c@no.test"), "550")
	if n := len(refuses.Conns()); n != 1 {
		t.Errorf("%d connections", n)
	}
	c.Do("DATA", "354")
	c.Do("hello\r\n.", "250")
}

// SEM 21: one that takes octets all the time, but slowly, holds up the others only so long.
func TestAServerThatIsSlowAllAlongIsLeftBehind(t *testing.T) {
	fast, slow := &parcel{leg: &outLeg{}}, &parcel{leg: &outLeg{}}
	f := fan{to: []*parcel{fast, slow}}
	for range 5 {
		fast.took, slow.took = time.Second, 11*time.Second
		f.holdUp(f.to)
	}
	if slow.late != 50*time.Second || fast.late != 0 {
		t.Errorf("slow %s, fast %s", slow.late, fast.late)
	}
}
