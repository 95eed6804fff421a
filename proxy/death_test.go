package proxy

import (
	"testing"
	"time"

	"postern/internal/smtptest"
)

// STANDARDS 31, 32: whatever the backend dies of, the client gets a temporary
// failure at once, and never 250 for a message.
func TestABackendThatDiesInAnyPhaseGivesTheRightReply(t *testing.T) {
	for _, c := range []struct {
		die  string
		want []string // to MAIL, RCPT, DATA, the message
	}{
		{"greeting", []string{"451 4.4.1", "503", "503"}},
		{"EHLO", []string{"451 4.4.1", "503", "503"}},
		{"MAIL", []string{"421 4.3.2"}},
		{"RCPT", []string{"250", "421 4.3.2"}},
		{"DATA", []string{"250", "250", "421 4.3.2"}},
		{"message", []string{"250", "250", "354", "451 4.4.2"}},
		{".", []string{"250", "250", "354", "451 4.4.2"}},
	} {
		for name, pipelining := range map[string]bool{"one by one": false, "as a group": true} {
			t.Run(c.die+", "+name, func(t *testing.T) {
				b, e := one(t, smtptest.Script{})
				b.Play(smtptest.Script{Die: c.die})
				k := e.hello()
				lines := []string{"MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA"}
				if pipelining {
					k.Send(lines[0] + "\r\n" + lines[1] + "\r\n" + lines[2] + "\r\n")
				}
				for i, want := range c.want {
					switch {
					case i == 3:
						k.Send("Subject: x\r\n\r\nbody\r\n.\r\n")
					case !pipelining:
						k.Send(lines[i] + "\r\n")
					}
					k.Expect(want)
				}
				if last := c.want[len(c.want)-1]; last[:3] == "421" {
					k.ExpectClose()
					return
				}
				b.Play(smtptest.Script{})
				deliver(k)
			})
		}
	}
}

// STANDARDS 31.
func TestABackendThatDiesAmidALargeMessageIsA4xxAfterTheWholeMessage(t *testing.T) {
	b, e := one(t, smtptest.Script{Die: "message"})
	c := e.secure()
	c.Do(envelope, "250", "250", "354")
	line := "0123456789012345678901234567890123456789012345678901234567890123456789\r\n"
	for range 2000 {
		if c.Try(line) != nil {
			t.Fatal("the client's connection was closed amid its message")
		}
	}
	c.Do(".", "451 4.4.2")
	wantMessages(t, b)
	b.Play(smtptest.Script{})
	deliver(c)
}

// What a backend says before it closes amid a message is its refusal.
func TestARefusalAmidAMessageIsRelayed(t *testing.T) {
	for _, refusal := range []string{"552 5.3.4 too much", "451 4.3.1 full"} {
		_, e := one(t, smtptest.Script{Replies: map[string]string{"DATA": "354 go\r\n" + refusal}, Die: "message"})
		k := e.hello()
		k.Do(envelope, "250", "250", "354")
		k.Do("x\r\n.", refusal)
	}
}

// STANDARDS 31: 421 of the backend goes to the client, whose session ends.
func TestA421OfTheBackendIsRelayedAndEndsTheSession(t *testing.T) {
	for _, c := range []struct {
		at   string
		want []string
	}{
		{"MAIL", []string{"421 4.3.2 bye"}}, {"RCPT", []string{"250", "421 4.3.2 bye"}}, {"DATA", []string{"250", "250", "421 4.3.2 bye"}},
		{".", []string{"250", "250", "354", "421 4.3.2 bye"}},
	} {
		_, e := one(t, smtptest.Script{Replies: map[string]string{c.at: "421 4.3.2 bye"}})
		k := e.secure()
		k.Send(envelope + "\r\n")
		for i, want := range c.want {
			if i == 3 {
				k.Send("x\r\n.\r\n")
			}
			k.Expect(want)
		}
		k.ExpectClose()
	}
	for _, line := range []string{"NOOP", "VRFY a", "RSET", "AUTH PLAIN dGVzdA=="} {
		_, e := one(t, smtptest.Script{Capabilities: []string{"AUTH PLAIN"}, Replies: map[string]string{line[:4]: "421 4.3.2 bye"}})
		k := e.secure()
		k.Do(line, "421 4.3.2 bye")
		k.ExpectClose()
	}
}

// A reply that cannot be read is the end of the session, never taken for one.
func TestANonsenseReplyEndsTheSession(t *testing.T) {
	for _, nonsense := range []string{"what?", "25", "250-a\r\n251 b", "999 x", "100 x"} {
		_, e := one(t, smtptest.Script{Replies: map[string]string{"MAIL": nonsense}})
		c := e.secure()
		c.Do("MAIL FROM:<a@b.test>", "421 4.3.2")
		c.ExpectClose()
	}
}

// An answer that nobody asked for would become the answer to the next question:
// in the end, 250 for a message that was not accepted.
func TestARepeatedReplyNeverBecomesTheReplyToAMessage(t *testing.T) {
	for name, script := range map[string]smtptest.Script{
		"at MAIL": {Replies: map[string]string{"MAIL": "250 ok\r\n250 again", ".": "550 5.7.1 refused"}},
		"at RCPT": {Replies: map[string]string{"RCPT": "250 ok\r\n250 again", ".": "550 5.7.1 refused"}},
		"at DATA": {Replies: map[string]string{"DATA": "354 go\r\n250 early", ".": "550 5.7.1 refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := one(t, script)
			c := e.secure()
			for _, line := range []string{"MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA", "x\r\n."} {
				if err := c.Try(line + "\r\n"); err != nil {
					return
				}
				r, err := c.Reply()
				switch {
				case err != nil || r[0] == '4' || r[0] == '5':
					return
				case line == "DATA" && r[0] != '3', line == "x\r\n.":
					t.Fatalf("%q was answered %q", line, r)
				}
			}
		})
	}
}

// SEM 22, 39: nothing waits for ever.
func TestASilentBackendTimesOutInEveryPhase(t *testing.T) {
	short := 50 * time.Millisecond
	never := make(chan struct{})
	for at, want := range map[string][]string{
		"MAIL": {"421"}, "RCPT": {"250", "421"}, "DATA": {"250", "250", "421"}, ".": {"250", "250", "354", "451 4.4.2"},
	} {
		t.Run(at, func(t *testing.T) {
			_, e := one(t, smtptest.Script{Hold: map[string]<-chan struct{}{at: never}}, func(p *plan) {
				if at == "." {
					p.Timeouts.Final = short
				} else {
					p.Timeouts.Command = short
				}
			})
			k := e.connect()
			k.Send("EHLO client.test\r\n")
			k.Expect("250")
			k.Send(envelope + "\r\n")
			for i, w := range want {
				if i == 3 {
					k.Send("x\r\n.\r\n")
				}
				k.Expect(w)
			}
		})
	}
}
