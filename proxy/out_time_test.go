package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/smtptest"
	"postern/resolve"
)

// The tests of this file run on a clock that stands still while anything can happen.

// inTime runs a test in a bubble, in a world of a domain with some exchangers of which
// none is there.
func inTime(t *testing.T, exchangers int, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipedWorld(t)
		var names []string
		for i := range exchangers {
			names = append(names, fmt.Sprintf("mx%d.example.com", i))
			w.place(names[i], fmt.Sprintf("192.0.2.%d", 101+i))
		}
		w.domain("example.com", names...)
		f(t, w)
	})
}

// silent is a network in which nobody answers: a dial ends with its time.
func silent(w *world) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		w.mu.Lock()
		w.dialled = append(w.dialled, to)
		known := w.servers[to] != nil
		w.mu.Unlock()
		if known {
			w.mu.Lock()
			w.dialled = w.dialled[:len(w.dialled)-1]
			w.mu.Unlock()
			return w.dial(ctx, to)
		}
		ctx, cancel := context.WithTimeout(ctx, realistic.Connect)
		defer cancel()
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}
	}
}

// wantTook says how long something took on the clock.
func wantTook(t *testing.T, from time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(from); got != want {
		t.Errorf("it took %s, want %s", got, want)
	}
}

// SEM 19: the client waits five minutes for the reply to a RCPT.
func TestWhenTheTimeForARecipientIsSpentItIsDeferred(t *testing.T) {
	inTime(t, 5, func(t *testing.T, w *world) {
		e := newPipedEgress(t, w, func(p *layout) { p.Timeouts.Route = time.Minute })
		e.dialing(silent(w))
		c, start := e.client(), time.Now()
		c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "451 4.4.1 example.com: no server answered in time")
		wantTook(t, start, time.Minute)
		if n := len(w.went()); n != 3 { // 30 s, half of what is left but at least 20, and the rest
			t.Errorf("it dialled %d times", n)
		}
		c.Do("QUIT", "221")
	})
}

func TestEveryRecipientOfAGroupIsAnsweredInTime(t *testing.T) {
	inTime(t, 5, func(t *testing.T, w *world) {
		w.mx["example.net"], w.mx["example.org"] = w.mx["example.com"], w.mx["example.com"]
		e := newPipedEgress(t, w)
		e.dialing(silent(w))
		c, start := e.client(), time.Now()
		c.Do(fromA+"\r\n"+rcpts("b@example.com", "b@example.net", "b@example.org"), "250", "451 4.4.1", "451 4.4.1", "451 4.4.1")
		if d := time.Since(start); d > realistic.Route {
			t.Errorf("it took %s", d)
		}
		c.Do("QUIT", "221")
	})
}

// The DNS has no time of its own.
func TestTheTimeForLookUpsIsPartOfIt(t *testing.T) {
	inTime(t, 5, func(t *testing.T, w *world) {
		e := newPipedEgress(t, w, func(p *layout) { p.gateway.Resolver = slowResolver{w} })
		e.dialing(silent(w))
		c, start := e.client(), time.Now()
		c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "451 4.4.1")
		wantTook(t, start, realistic.Route)
		c.Do("QUIT", "221")
	})
}

// slowResolver takes two minutes for MX records.
type slowResolver struct{ *world }

func (s slowResolver) MX(ctx context.Context, domain string) (resolve.MXAnswer, error) {
	select {
	case <-time.After(2 * time.Minute):
		return s.world.MX(ctx, domain)
	case <-ctx.Done():
		return resolve.MXAnswer{}, ctx.Err()
	}
}

func TestAServerThatIsSilentIsLeftInTime(t *testing.T) {
	for _, phase := range []string{"greeting", "EHLO", "MAIL", "RCPT"} {
		t.Run(phase, func(t *testing.T) {
			inTime(t, 0, func(t *testing.T, w *world) {
				w.server("mx.example.com", smtptest.Script{Hold: map[string]<-chan struct{}{phase: make(chan struct{})}})
				w.domain("example.com", "mx.example.com")
				e := newPipedEgress(t, w)
				c, start := e.client(), time.Now()
				c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "451 4.4.")
				if d := time.Since(start); d > realistic.Route+2*sweepEvery {
					t.Errorf("it took %s", d)
				}
				c.Do("QUIT", "221")
			})
		})
	}
}

func TestAServerWhoseReplyNeverEndsIsLeftInTime(t *testing.T) {
	for _, phase := range []string{"greeting", "EHLO", "MAIL", "RCPT"} {
		t.Run(phase, func(t *testing.T) {
			inTime(t, 0, func(t *testing.T, w *world) {
				w.server("mx.example.com", smtptest.Script{Answer: dripping(phase)})
				w.domain("example.com", "mx.example.com")
				e := newPipedEgress(t, w)
				c, start := e.client(), time.Now()
				c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "451 4.4.")
				if d := time.Since(start); d > realistic.Route+2*sweepEvery {
					t.Errorf("it took %s", d)
				}
				c.Do("QUIT", "221")
			})
		})
	}
}

// dripping sends a line of an endless reply each ten seconds.
func dripping(phase string) func(*smtptest.Conn, string, string) string {
	return func(c *smtptest.Conn, p, _ string) string {
		if p != phase {
			return ""
		}
		line := "250-more\r\n"
		if phase == "greeting" {
			line = "220-more\r\n"
		}
		for {
			if _, err := c.Write([]byte(line)); err != nil {
				return "421 gone"
			}
			<-time.After(10 * time.Second)
		}
	}
}

func TestADeadDomainIsTriedAgainAfterAMinute(t *testing.T) {
	inTime(t, 2, func(t *testing.T, w *world) {
		e := newPipedEgress(t, w)
		c := e.client()
		try := func(dials int) {
			t.Helper()
			c.Do(fromA+"\r\n"+rcpts("b@example.com")+"\r\nRSET", "250", "451 4.4.1", "250")
			if n := w.dials(); n != dials {
				t.Errorf("it dialled %d times, want %d", n, dials)
			}
		}
		try(2)
		<-time.After(59 * time.Second)
		try(0)
		<-time.After(time.Second)
		try(2)
		c.Do("QUIT", "221")
	})
}

func TestAHostThatFailedIsFirstAgainAfterTenMinutes(t *testing.T) {
	inTime(t, 1, func(t *testing.T, w *world) {
		w.server("good.example.com", smtptest.Script{})
		w.domain("example.com", "mx0.example.com", "good.example.com")
		e := newPipedEgress(t, w)
		try := func(want ...string) {
			t.Helper()
			wantReply(t, e.deliver("b@example.com"), "250")
			if got := w.went(); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("it dialled %v, want %v", got, want)
			}
		}
		try("192.0.2.101", "192.0.2.1")
		<-time.After(10*time.Minute - time.Second)
		try("192.0.2.1")
		<-time.After(time.Second)
		try("192.0.2.101", "192.0.2.1")
	})
}

func TestAnIdleConnectionIsEndedAfterItsTime(t *testing.T) {
	inTime(t, 0, func(t *testing.T, w *world) {
		b := w.server("mx.example.com", smtptest.Script{})
		w.domain("example.com", "mx.example.com")
		e := newPipedEgress(t, w, func(p *layout) { p.gateway.ReuseIdle = 5 * time.Second })
		for range 3 { // used every four seconds
			wantReply(t, e.deliver("b@example.com"), "250")
			<-time.After(4 * time.Second)
		}
		if len(b.Conns()) != 1 || b.Connection(0).Over() {
			t.Fatal("it was not kept")
		}
		<-time.After(3 * time.Second)
		synctest.Wait()
		if !b.Connection(0).Over() || !strings.HasSuffix(b.Connection(0).Octets(), "QUIT\r\n") {
			t.Errorf("it goes on: %q", b.Connection(0).Octets())
		}
	})
}

func TestWhoWaitsTooLongForAPlaceIsDeferred(t *testing.T) {
	inTime(t, 0, func(t *testing.T, w *world) {
		b := w.server("mx.example.com", smtptest.Script{})
		w.domain("example.com", "mx.example.com")
		e := newPipedEgress(t, w, concurrency(1))
		first, second := e.client(), e.client()
		first.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
		start := time.Now()
		second.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "451 4.4.5 example.com")
		wantTook(t, start, realistic.Route)
		first.Do("QUIT", "221")
		second.Do("RSET", "250")
		second.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250") // it is no failure of the destination
		second.Do("QUIT", "221")
		if n := len(b.Conns()); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}

// SEM 22: the reply to a message may take its time, and the client waits that long.
func TestTheReplyToAMessageIsWaitedFor(t *testing.T) {
	inTime(t, 0, func(t *testing.T, w *world) {
		slow := make(chan struct{})
		w.server("mx.example.com", smtptest.Script{Hold: map[string]<-chan struct{}{".": slow}})
		w.domain("example.com", "mx.example.com")
		e := newPipedEgress(t, w)
		c := e.begun()
		start := time.Now()
		time.AfterFunc(14*time.Minute, func() { close(slow) })
		c.Do("x\r\n.", "250 2.0.0 queued")
		wantTook(t, start, 14*time.Minute)
		c.Do("QUIT", "221")
	})
}

func TestAReplyToAMessageThatNeverComesIsADeferral(t *testing.T) {
	inTime(t, 0, func(t *testing.T, w *world) {
		w.server("mx.example.com", smtptest.Script{Hold: map[string]<-chan struct{}{".": make(chan struct{})}})
		w.domain("example.com", "mx.example.com")
		e := newPipedEgress(t, w)
		c := e.begun()
		start := time.Now()
		c.Do("x\r\n.", "451 4.4.2 mx.example.com: the connection was lost: no reply to the message: timed out")
		if d := time.Since(start); d < realistic.Final-2*sweepEvery || d > realistic.Final+2*sweepEvery {
			t.Errorf("it took %s", d)
		}
		c.Do("QUIT", "221")
	})
}
