package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/tls/level"
	"postern/tls/policy"
)

// conversation is what a server executed on one connection, in one line.
func conversation(c *smtptest.Conn) string { return strings.Join(c.Commands(), "|") }

const oneMessage = "MAIL FROM:<a@sender.test>|RCPT TO:<b@example.com>|DATA"

// SEM 23.
func TestAConnectionIsUsedAgainByTheNextSession(t *testing.T) {
	w := newWorld(t)
	b := w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com")})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	for range 3 {
		wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	}
	w.wantWent("192.0.2.1")
	if got, want := conversation(b.Connection(0)), "EHLO gateway.test|STARTTLS|EHLO gateway.test|"+oneMessage+"|RSET|"+oneMessage+"|RSET|"+oneMessage; got != want {
		t.Errorf("it executed\n%s, want\n%s", got, want)
	}
	for i, want := range []bool{false, true, true} {
		d := e.delivery(i)
		if d.Reused != want || d.Version == 0 || d.Trust != "Verified" {
			t.Errorf("delivery %d: %+v", i, d)
		}
		if want && (d.Connect != 0 || d.Handshake != 0) {
			t.Errorf("delivery %d counts what was done before: %+v", i, d)
		}
	}
	e.wantNothingLeft()
	b.Connection(0).WaitFor("QUIT\r\n")
}

// The RSET and the envelope leave together.
func TestAConnectionThatIsTakenOverIsResetInOneRoundTrip(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	e.deliver("b@example.com")
	e.deliver("b@example.com")
	if s := b.Connection(0).Segments(); !slices.Contains(s, "RSET\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.com>\r\n") {
		t.Errorf("it read %q", s)
	}
}

func TestTheSameSessionNeedsNoRSET(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	c := e.client()
	for range 3 {
		wantReply(t, offerMessage(c, "b@example.com"), "250")
	}
	if got := conversation(b.Connection(0)); got != "EHLO gateway.test|"+oneMessage+"|"+oneMessage+"|"+oneMessage {
		t.Errorf("it executed %s", got)
	}
}

// Two domains with one exchanger have one connection, unless their decisions differ.
func TestOnlyWhatIsDecidedAlikeIsReused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*layout)
		want   int // connections
	}{
		"alike": {func(*layout) {}, 1},
		"level": {func(p *layout) {
			p.rules = []policy.Rule{{Pattern: "two.test", Level: level.Encrypt, Grade: p.own.Grade}}
		}, 2},
		"none":      {func(p *layout) { p.rules = []policy.Rule{{Pattern: "two.test", Level: level.None}} }, 2},
		"the names": {func(p *layout) { p.own.Auto, p.own.Level, p.own.Match = false, level.Secure, []string{"nexthop"} }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.server("mx.test", smtptest.Script{TLS: w.cert("mx.test", "one.test", "two.test")})
			w.domain("one.test", "mx.test")
			w.domain("two.test", "mx.test")
			e := newEgress(t, w, c.change)
			for _, to := range []string{"b@one.test", "b@two.test", "b@one.test", "b@two.test"} {
				wantReply(t, e.deliver(to), "250 2.0.0 queued")
			}
			if n := len(b.Conns()); n != c.want {
				t.Errorf("%d connections, want %d", n, c.want)
			}
		})
	}
}

func TestAConnectionIsNotUsedUnderAnotherName(t *testing.T) {
	w := newWorld(t)
	b := w.serve("192.0.2.7", smtptest.Script{})
	e := newEgress(t, w, redirected("192.0.2.7:25"))
	for _, name := range []string{"one.test", "two.test", "one.test"} {
		c := e.connect()
		c.Expect("220")
		c.Do("EHLO "+name, "250")
		wantReply(t, offerMessage(c, "b@example.com"), "250")
		c.Do("QUIT", "221")
	}
	if len(b.Conns()) != 2 || b.Commands()[0] != "EHLO one.test" {
		t.Errorf("%d connections: %q", len(b.Conns()), b.Commands())
	}
}

// A connection that was kept may be stale. The client never sees that (SEM 23).
func TestAStaleConnectionCostsOneFreshOneThatNobodySees(t *testing.T) {
	second := func(reply string) smtptest.Script { // of one connection
		return smtptest.Script{Answer: func(c *smtptest.Conn, phase, _ string) string {
			if (phase == "RSET" || phase == "MAIL" || phase == "RCPT") && len(c.Messages()) > 0 && strings.HasPrefix(reply, phase) {
				return strings.TrimPrefix(reply, phase+" ")
			}
			return ""
		}}
	}
	for name, s := range map[string]smtptest.Script{
		"RSET 421": second("RSET 421 4.3.2 enough"), "RSET 4xx": second("RSET 451 4.3.0 no"), "RSET 5xx": second("RSET 502 5.5.1 what"), "RSET junk": second("RSET what"),
		"MAIL 421": second("MAIL 421 4.3.2 enough"), "MAIL 4xx": second("MAIL 452 4.5.3 too many messages"), "MAIL junk": second("MAIL what"),
		"RCPT 421": second("RCPT 421 4.3.2 enough"), "RCPT 4xx": second("RCPT 450 4.7.1 too fast"),
		"RSET EOF": {Answer: func(c *smtptest.Conn, phase, _ string) string {
			if phase == "RSET" {
				c.Close()
			}
			return ""
		}},
	} {
		for _, capability := range []string{"PIPELINING", "SIZE"} {
			t.Run(name+" "+capability, func(t *testing.T) {
				s.Capabilities = []string{capability}
				b, e := theDomain(t, s)
				for range 2 {
					wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
				}
				if n := len(b.Conns()); n != 2 {
					t.Errorf("%d connections", n)
				}
				if d := e.delivery(1); d.Code != 250 || d.Reused {
					t.Errorf("delivery: %+v", d)
				}
				e.wantNothingLeft()
			})
		}
	}
}

func TestAConnectionThatTheServerHasClosedIsNotUsed(t *testing.T) {
	for name, farewell := range map[string]string{"without a word": "", "with 421": "421 4.4.2 idle\r\n"} {
		t.Run(name, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{})
			wantReply(t, e.deliver("b@example.com"), "250")
			k := b.Connection(0)
			k.Write([]byte(farewell))
			k.Close()
			b.Connection(0).WaitOver()
			wantReply(t, e.deliver("b@example.com"), "250")
			if n := len(b.Conns()); n != 2 {
				t.Errorf("%d connections", n)
			}
			if strings.Contains(k.Octets(), "RSET") {
				t.Error("it was spoken to")
			}
		})
	}
}

// What a server refuses for good it refuses on a kept connection as well.
func TestARefusalOnAKeptConnectionIsTheAnswer(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{Answer: byRecipient(map[string]string{"no@": "550 5.1.1 no"})})
	wantReply(t, e.deliver("b@example.com"), "250")
	wantReply(t, e.deliver("no@example.com"), "550 5.1.1 no")
	eventually(t, "the end of the session", func() bool { return e.Sessions() == 0 })
	wantReply(t, e.deliver("b@example.com"), "250")
	if n := len(b.Conns()); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A fresh connection that is refused as well is the end of it: two, not more.
func TestAStaleConnectionIsReplacedOnce(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	wantReply(t, e.deliver("b@example.com"), "250")
	b.Play(smtptest.Script{Replies: map[string]string{"MAIL": "451 4.3.0 not now"}})
	b.Connection(0).Close()
	b.Connection(0).WaitOver()
	wantReply(t, e.deliver("b@example.com"), "451 4.3.0 not now")
	if n := len(b.Conns()); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestNothingIsKeptBeyondASessionWhereReuseIsOff(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{}, forget)
	for i := range 2 {
		c := e.client()
		for range 2 {
			wantReply(t, offerMessage(c, "b@example.com"), "250")
		}
		c.Do("QUIT", "221")
		b.Connection(i).WaitFor("QUIT\r\n")
		b.Connection(i).WaitOver()
	}
	if n := len(b.Conns()); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestAKeptConnectionIsEndedWithQUITWhenItHasBeenIdle(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{}, func(p *layout) { p.gateway.ReuseIdle = 20 * time.Millisecond })
	wantReply(t, e.deliver("b@example.com"), "250")
	b.Connection(0).WaitFor("QUIT\r\n")
	b.Connection(0).WaitOver()
	wantReply(t, e.deliver("b@example.com"), "250")
	e.wantNothingLeft()
}

func TestClosingTheGatewayTakesLeaveOfWhatIsKept(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	wantReply(t, e.deliver("b@example.com"), "250")
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250") // has the connection now
	e.g.Close()
	c.Do("DATA", "354")
	c.Do("x\r\n.", "250 2.0.0 queued")
	b.Connection(0).WaitFor("QUIT\r\n") // and gives it back
	c.Do("QUIT", "221")
	e.wantNothingLeft()
}

func TestNoMoreThanTenConnectionsAreKeptForOneHost(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	var all []*smtptest.Client
	for range keptPerKey + 3 {
		c := e.client()
		c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
		all = append(all, c)
	}
	for _, c := range all {
		c.Do("QUIT", "221")
		c.ExpectClose()
	}
	ended := func() (n int) {
		for _, c := range b.Conns() {
			if c.Over() {
				n++
			}
		}
		return n
	}
	b.Wait("three ends", func() bool { return ended() >= 3 })
	e.g.pool.mu.Lock()
	defer e.g.pool.mu.Unlock()
	if e.g.pool.count != keptPerKey || ended() != 3 {
		t.Errorf("%d are kept, %d were ended", e.g.pool.count, ended())
	}
}

// All that is kept is bounded, however many destinations there are.
func TestAllConnectionsThatAreKeptAreBounded(t *testing.T) {
	w := newWorld(t)
	b := w.server("mx.example.com", smtptest.Script{})
	e := newEgress(t, w)
	e.g.pool.count = keptInAll - 1
	defer func() { e.g.pool.count -= keptInAll - 1 }()
	for i := range 3 {
		host := fmt.Sprintf("mx%d.test", i)
		w.place(host, "192.0.2.1")
		w.domain(fmt.Sprintf("d%d.test", i), host)
		wantReply(t, e.deliver(fmt.Sprintf("b@d%d.test", i)), "250")
	}
	b.Connection(1).WaitOver()
	b.Connection(2).WaitOver()
	if b.Connection(0).Over() {
		t.Error("the one that there was room for was ended")
	}
}
