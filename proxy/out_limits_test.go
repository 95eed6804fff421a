package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/resolve"
)

func concurrency(n int) func(*layout) { return func(p *layout) { p.gateway.Concurrency = n } }

func TestNoMoreConnectionsThanAllowedAreOpenToADestination(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{}, concurrency(2), forget)
	var first []*smtptest.Client
	for range 2 {
		c := e.client()
		c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
		first = append(first, c)
	}
	third := e.client()
	third.Send(fromA + "\r\n" + rcpts("b@example.com") + "\r\n")
	e.waitsForAPlace("example.com", 3)
	if n := len(b.Conns()); n != 2 {
		t.Fatalf("%d connections", n)
	}
	first[0].Do("QUIT", "221") // makes room
	third.Expect("250")
	third.Expect("250")
	if n := len(b.Conns()); n != 3 {
		t.Errorf("%d connections", n)
	}
	third.Do("QUIT", "221")
	first[1].Do("QUIT", "221")
	e.wantNothingLeft()
}

// waitsForAPlace waits until n have a place or wait for one.
func (e *egress) waitsForAPlace(destination string, n int) {
	e.t.Helper()
	eventually(e.t, "the wait for a place", func() bool {
		e.g.places.mu.Lock()
		defer e.g.places.mu.Unlock()
		s := e.g.places.taken[destination]
		return s != nil && s.users == n
	})
}

func TestTheLimitIsThatOfEachDestination(t *testing.T) {
	w := newWorld(t)
	w.server("mx.one.test", smtptest.Script{})
	w.server("mx.two.test", smtptest.Script{})
	w.domain("one.test", "mx.one.test")
	w.domain("two.test", "mx.two.test")
	e := newEgress(t, w, concurrency(1))
	one, two := e.client(), e.client()
	one.Do(fromA+"\r\n"+rcpts("b@one.test"), "250", "250")
	two.Do(fromA+"\r\n"+rcpts("b@two.test"), "250", "250")
}

// A place that only a kept connection has is taken from it.
func TestAKeptConnectionMakesRoomForOneThatIsNeeded(t *testing.T) {
	w := newWorld(t)
	one := w.server("a.example.com", smtptest.Script{Replies: map[string]string{"RCPT": "451 4.7.1 greylisted"}})
	two := w.server("b.example.com", smtptest.Script{})
	w.domain("example.com", "a.example.com", "b.example.com")
	e := newEgress(t, w, concurrency(1), func(p *layout) { p.gateway.ReuseIdle = time.Hour })
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	one.Play(smtptest.Script{})
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	two.Connection(0).WaitFor("QUIT\r\n")
	if len(one.Messages()) != 1 {
		t.Error("the best exchanger did not get the second message")
	}
	e.wantNothingLeft()
}

func TestADeliveryThatFailsGivesItsPlaceBack(t *testing.T) {
	for name, s := range map[string]smtptest.Script{
		"greeting": {Replies: map[string]string{"greeting": "554 no"}}, "EHLO": {Die: "EHLO"}, "MAIL": {Replies: map[string]string{"MAIL": "550 5.7.1 no"}},
		"RCPT": {Die: "RCPT"}, "RCPT 4xx": {Replies: map[string]string{"RCPT": "450 4.7.1 no"}}, "DATA": {Die: "DATA"}, "message": {Die: "message"}, "dot": {Die: "."}, "TLS": {Replies: map[string]string{"STARTTLS": "454 no"}},
		"size": {Capabilities: []string{"SIZE 1"}}, "fine": {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s.TLS = w.cert("mx.example.com")
			w.server("mx.example.com", s)
			w.place("dead.example.com", "192.0.2.200")
			w.domain("example.com", "dead.example.com", "mx.example.com")
			e := newEgress(t, w, concurrency(1))
			c := e.client()
			for range 2 {
				c.Send(fromA + " SIZE=2\r\n" + rcpts("b@example.com", "c@example.com") + "\r\nDATA\r\n")
				last := ""
				for range 4 {
					last, _ = c.Reply()
				}
				if strings.HasPrefix(last, "354") {
					c.Send("x\r\n.\r\n")
					c.Reply()
				}
				c.Do("RSET", "250")
			}
			c.Do("QUIT", "221")
			e.wantNothingLeft()
		})
	}
}

func TestADrainLetsARecipientHaveItsReplyAndEndsTheSession(t *testing.T) {
	release := make(chan struct{})
	b, e := theDomain(t, smtptest.Script{Hold: map[string]<-chan struct{}{"RCPT": release}})
	c := e.client()
	c.Send(fromA + "\r\n" + rcpts("b@example.com") + "\r\n")
	b.Connection(0).WaitFor("RCPT")
	over := make(chan error, 1)
	go func() { over <- e.Shutdown(t.Context()) }()
	eventually(t, "the drain", e.stopping)
	close(release)
	for _, want := range []string{"250", "250", "421 4.3.2"} {
		c.Expect(want)
	}
	c.ExpectClose()
	if err := <-over; err != nil {
		t.Error(err)
	}
	e.wantNothingLeft()
}

func TestADrainLetsAMessageBeFinished(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	c := e.begun()
	c.Send("half\r\n")
	over := make(chan error, 1)
	go func() { over <- e.Shutdown(t.Context()) }()
	eventually(t, "the drain", e.stopping)
	c.Send("whole\r\n.\r\n")
	c.Expect("250 2.0.0 queued")
	c.Expect("421 4.3.2")
	c.ExpectClose()
	if err := <-over; err != nil {
		t.Error(err)
	}
	wantMessages(t, b, "half\r\nwhole\r\n")
	e.wantNothingLeft()
}

func TestAShutdownThatIsOutOfPatienceCutsOffWhatIsUnderWay(t *testing.T) {
	for _, phase := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA", "message", "."} {
		t.Run(phase, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Hold: map[string]<-chan struct{}{phase: make(chan struct{})}}, concurrency(1))
			c := e.client()
			c.Send(fromA + "\r\n" + rcpts("b@example.com") + "\r\nDATA\r\n")
			if phase == "message" || phase == "." {
				c.Expect("250")
				c.Expect("250")
				c.Expect("354")
				c.Send("x\r\n" + strings.Repeat(".\r\n", index(phase == ".")))
			}
			reached, ok := map[string]string{"greeting": "", "message": "DATA", ".": "x\r\n.\r\n"}[phase]
			if !ok {
				reached = phase
			}
			b.Connection(0).WaitFor(reached)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if e.Shutdown(ctx) == nil {
				t.Error("nothing was cut off")
			}
			eventually(t, "the end of all sessions", func() bool { return e.Sessions() == 0 })
			c.Close()
			b.Stop()
			wantMessages(t, b, []string{"x\r\n"}[:index(phase == ".")]...)
			e.wantNothingLeft()
		})
	}
}

func TestAPanicEndsOneDeliveryAndNoOther(t *testing.T) {
	t.Run("in the dial", func(t *testing.T) {
		_, e := theDomain(t, smtptest.Script{}, concurrency(1))
		e.dialing(func(context.Context, netip.AddrPort) (net.Conn, error) { panic("a defect") })
		wantReply(t, e.deliver("b@example.com"), "451 4.4.1 mx.example.com")
		e.logged("please report it")
		e.watch.update(e.log.b.Reset)
		e.wantNothingLeft()
	})
	t.Run("in the dialogue", func(t *testing.T) {
		b, e := theDomain(t, smtptest.Script{}, concurrency(1))
		e.dialing(func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			c, err := e.w.dial(ctx, to)
			return defectiveConn{c}, err
		})
		wantReply(t, e.deliver("b@example.com"), "451 4.4.1 mx.example.com")
		b.Connection(0).WaitOver()
		e.logged("please report it")
		e.watch.update(e.log.b.Reset)
		e.wantNothingLeft()
	})
	t.Run("in the session", func(t *testing.T) {
		w := newWorld(t)
		b := w.server("mx.example.com", smtptest.Script{})
		w.domain("example.com", "mx.example.com")
		e := newEgress(t, w, concurrency(1), func(p *layout) { p.gateway.Resolver = defectiveResolver{w} })
		c := e.client()
		c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
		c.Do("RSET", "250")
		c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
		other := e.client()
		other.Send(fromA + "\r\n" + rcpts("b@defect.test") + "\r\n")
		other.ExpectClose()
		e.logged("please report it")
		e.watch.update(e.log.b.Reset)
		c.Do("DATA", "354")
		c.Do(".", "250 2.0.0 queued")
		c.Do("QUIT", "221")
		wantMessages(t, b, "")
		e.wantNothingLeft()
	})
	t.Run("in a session with a leg", func(t *testing.T) {
		w := newWorld(t)
		b := w.server("mx.example.com", smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 no"}})
		w.domain("example.com", "mx.example.com")
		e := newEgress(t, w, concurrency(1), func(p *layout) { p.gateway.Resolver = defectiveResolver{w} })
		c := e.client()
		c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "550")
		c.Send(rcpts("b@defect.test") + "\r\n")
		c.ExpectClose()
		b.Connection(0).WaitOver()
		e.logged("please report it")
		e.watch.update(e.log.b.Reset)
		e.wantNothingLeft()
	})
}

// defectiveConn panics when it is written to.
type defectiveConn struct{ net.Conn }

func (defectiveConn) Write([]byte) (int, error) { panic("a defect") }

// defectiveResolver panics when it is asked for defect.test.
type defectiveResolver struct{ *world }

func (d defectiveResolver) MX(ctx context.Context, domain string) (resolve.MXAnswer, error) {
	if domain == "defect.test" {
		panic("a defect")
	}
	return d.world.MX(ctx, domain)
}
