package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/smtptest"
	"postern/smtpwire"
)

// rfc are the timeouts of RFC 5321, 4.5.3.2. The tests of this file run on a
// clock that stands still while anything can happen.
var rfc = Timeouts{Command: 5 * time.Minute, Data: 3 * time.Minute, Final: 15 * time.Minute, Session: 2 * time.Hour}

// slowBackend answers each command after a time.
func slowBackend(ctx context.Context, conn net.Conn, delay func(line string) time.Duration) {
	defer conn.Close()
	var r smtpwire.Reader
	r.Reset(conn)
	for data := false; ; {
		line, err := r.ReadLine(smtpwire.MaxCommandLine)
		if err != nil {
			return
		}
		text, reply := string(line), "250 2.0.0 ok"
		switch {
		case data && text != ".":
			continue
		case text == "DATA":
			data, reply = true, "354 go"
		case text == ".":
			data, reply = false, "250 2.0.0 queued"
		}
		select {
		case <-time.After(delay(text)):
		case <-ctx.Done():
		}
		if _, err := fmt.Fprint(conn, reply+"\r\n"); err != nil {
			return
		}
	}
}

// timed is a client of a session over pipes, greeted, with its backend
// connected.
func timed(t *testing.T, delay func(line string) time.Duration) (*smtptest.Client, *Server) {
	down, client := net.Pipe()
	up, backend := net.Pipe()
	b := NewBackends(BackendOptions{Addresses: []string{"pipe"}})
	srv := NewServer(&Inbound{Front: Front{Hostname: "mx.test", Timeouts: rfc, Log: slog.New(slog.DiscardHandler)}, Backends: b})
	base := srv.now().open(session{srv: srv, front: srv.now().settings(), down: leg{conn: newConn(down)}, tally: tally{started: time.Now()}})
	s := base.role.(*inboundSession)
	s.up = &backendLeg{upstream: upstream{leg: leg{conn: newConn(up)}, caps: smtpwire.MakeCapabilities(smtpwire.Capability{Keyword: "PIPELINING"})}, target: b.targets[0]}
	s.hello = greeted{name: "client.test", esmtp: true}
	s.down.over(s.down.conn)
	s.up.over(s.up.conn)
	srv.register(&s.session)
	go slowBackend(t.Context(), backend, delay)
	go func() { s.finish(s.talk(t.Context())) }()
	c := smtptest.Over(t, client)
	client.SetDeadline(time.Time{})
	return c, srv
}

// The time that the backend takes is not the client's: what came of it must
// still be said, or the client sends its message again.
func TestAReplyReachesTheClientHoweverLongTheBackendTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := timed(t, func(line string) time.Duration {
			if line == "." {
				return 14 * time.Minute
			}
			return 4 * time.Minute
		})
		for _, step := range [][2]string{{"MAIL FROM:<a@b.test>", "250"}, {"RCPT TO:<c@d.test>", "250"}, {"DATA", "354"}, {"x\r\n.", "250 2.0.0 queued"}, {"NOOP", "250"}} {
			<-time.After(2 * time.Minute)
			c.Do(step[0], step[1])
		}
		c.Do("QUIT", "221")
	})
}

// STANDARDS 29: the time is that of each command, not of its group.
func TestEachReplyOfAGroupHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := timed(t, func(string) time.Duration { return time.Minute })
		c.Send("MAIL FROM:<a@b.test>\r\n" + strings.Repeat("RCPT TO:<c@d.test>\r\n", 20))
		for range 21 {
			c.Expect("250")
		}
		c.Close()
	})
}

// SEM 22.
func TestASessionIsEndedAtACommandAndNeverWithinAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := timed(t, func(string) time.Duration { return 0 })
		began := time.Now()
		c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA", "250", "250", "354")
		for time.Since(began) < rfc.Session+time.Hour {
			<-time.After(2 * time.Minute)
			c.Send("line\r\n")
		}
		c.Do(".", "250 2.0.0 queued")
		c.Expect("421 4.4.2 Session too long")
		c.ExpectClose()
	})
}

func TestASessionOfSmallTalkEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := timed(t, func(string) time.Duration { return 0 })
		began := time.Now()
		for {
			<-time.After(4 * time.Minute)
			if c.Try("NOOP\r\n") != nil {
				break
			}
			if r, err := c.Reply(); err != nil || !strings.HasPrefix(r, "250") {
				break
			}
		}
		if d := time.Since(began); d > rfc.Session+5*time.Minute {
			t.Errorf("it lasted %s", d)
		}
		c.Close()
	})
}

// SEM 39: a last deadline on every connection, whatever trickles in.
func TestAMessageThatTricklesForEverIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := timed(t, func(string) time.Duration { return 0 })
		began := time.Now()
		c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA", "250", "250", "354")
		for c.Try("x") == nil {
			<-time.After(2 * time.Minute)
			if time.Since(began) > 3*rfc.Session {
				t.Fatal("it never ends")
			}
		}
		c.Close()
	})
}

// STANDARDS 30: also where the client never pauses between its messages.
func TestAClientThatNeverPausesIsToldToGoAtTheNextMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, srv := timed(t, func(string) time.Duration { return 0 })
		c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA", "250", "250", "354")
		done := make(chan error)
		go func() { done <- srv.Shutdown(t.Context()) }()
		synctest.Wait()
		go c.Try("x\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
		c.Expect("250 2.0.0 queued")
		c.Expect("421 4.3.2")
		c.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// SEM 22: a backend that never answers a message.
func TestAMessageWithoutAnAnswerIsA451AfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := timed(t, func(line string) time.Duration {
			if line == "." {
				return time.Hour
			}
			return 0
		})
		began := time.Now()
		c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA", "250", "250", "354")
		c.Do("x\r\n.", "451 4.4.2")
		if d := time.Since(began); d < rfc.Final-time.Minute || d > rfc.Final+time.Minute {
			t.Errorf("after %s", d)
		}
		c.Close()
	})
}
