package proxy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/smtpwire"
)

// framings are the two ways in which chunks go on: as they came, or as DATA.
var framings = map[string][]string{"passed": {"PIPELINING", "CHUNKING"}, "re-framed": {"PIPELINING"}}

// begun is a client with a transaction that waits for its message.
func (e *edge) begun() *smtptest.Client {
	c := e.hello()
	c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "250", "250")
	return c
}

func chunk(data string, last bool) string {
	word := ""
	if last {
		word = " LAST"
	}
	return fmt.Sprintf("BDAT %d%s\r\n%s", len(data), word, data)
}

// STANDARDS 49; SEM 7.
func TestChunksArriveAsOneMessageHoweverTheyAreFramed(t *testing.T) {
	dots := func(s string) string { return string(smtpwire.StuffDots([]byte(s))) }
	for name, chunks := range map[string][]string{
		"one":                  {"Subject: x\r\n\r\nbody\r\n"},
		"two":                  {"Subject: x\r\n", "\r\nbody\r\n"},
		"dots":                 {".\r\n", "..\r\n.x\r\n", ".\r\n"},
		"a border within CRLF": {"a\r", "\n.\r\nb\r\n"},
		"a border at a dot":    {"a\r\n", ".", "\r\n"},
		"an empty last":        {"a\r\n", ""},
		"an empty first":       {"", "a\r\n"},
		"large":                {strings.Repeat("x", 70000) + "\r\n", strings.Repeat(".\r\n", 30000)},
		"commands":             {"QUIT\r\n", "BDAT 0 LAST\r\n"},
	} {
		for framing, capabilities := range framings {
			for _, together := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, in one flight: %v", name, framing, together), func(t *testing.T) {
					b, e := one(t, smtptest.Script{Capabilities: capabilities})
					c := e.begun()
					flight := ""
					for i, data := range chunks {
						flight += chunk(data, i == len(chunks)-1)
						if !together {
							c.Send(flight)
							flight = ""
							c.Expect("250")
						}
					}
					if together {
						c.Send(flight + "QUIT\r\n")
						for range chunks {
							c.Expect("250")
						}
						c.Expect("221")
					}
					want := strings.Join(chunks, "")
					if framing == "re-framed" {
						want = dots(want)
					}
					wantMessages(t, b, want)
				})
			}
		}
	}
}

// SEM 7.
func TestAReframedMessageWithoutAFinalCRLFGetsOne(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: framings["re-framed"]})
	c := e.begun()
	c.Send("BDAT 1 LAST\r\nx")
	c.Expect("250 2.0.0 queued")
	wantMessages(t, b, "x\r\n")
}

// STANDARDS 48: exactly n octets are data whatever the verdict.
func TestTheOctetsOfARefusedChunkAreNeverExecuted(t *testing.T) {
	evil := "RSET\r\nMAIL FROM:<evil@b.test>\r\n"
	for name, c := range map[string]struct {
		script smtptest.Script
		before string
		want   string
	}{
		"no transaction":          {smtptest.Script{}, "", "503 5.5.1"},
		"no recipient":            {smtptest.Script{}, "MAIL FROM:<a@b.test>", "554 5.5.1"},
		"all recipients refused":  {smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 no"}}, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "554 5.5.1"},
		"refused by the backend":  {smtptest.Script{Replies: map[string]string{"BDAT": "452 4.3.1 full"}}, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "452 4.3.1 full"},
		"DATA refused":            {smtptest.Script{Capabilities: []string{"SIZE"}, Replies: map[string]string{"DATA": "452 4.3.1 full"}}, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "452 4.3.1 full"},
		"a bare LF":               {smtptest.Script{}, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "550 5.5.2"},
		"a bare LF, as DATA":      {smtptest.Script{Capabilities: []string{"SIZE"}}, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "550 5.5.2"},
		"over the limit":          {smtptest.Script{}, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "552 5.3.4"},
		"over the limit, as DATA": {smtptest.Script{Capabilities: []string{"SIZE"}}, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "552 5.3.4"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, c.script, func(p *plan) { p.Message.MaxSize = 1000 })
			k := e.hello()
			if c.before != "" {
				k.Send(c.before + "\r\n")
				for range strings.Split(c.before, "\r\n") {
					k.Expect("")
				}
			}
			data := evil
			switch {
			case strings.HasPrefix(name, "a bare"):
				data = "a\n" + evil
			case strings.HasPrefix(name, "over"):
				data = strings.Repeat(evil, 100)
			}
			k.Send(chunk(data, false) + chunk(evil, false) + chunk("", true))
			k.Expect(c.want)
			k.Expect("5")
			k.Expect("5")
			wantMessages(t, b)
			k.Do("RSET", "250")
			b.Play(smtptest.Script{Capabilities: c.script.Capabilities})
			k.Do("NOOP", "250")
			if all := strings.Join(b.Commands(), "\n"); strings.Contains(all, "evil") {
				t.Errorf("executed %q", all)
			}
		})
	}
}

// RFC 3030, 2: what a backend refused a part of is no message any more.
func TestAMessageWithARefusedChunkIsNeverCompleted(t *testing.T) {
	b, e := one(t, smtptest.Script{Answer: func(_ *smtptest.Conn, _, line string) string {
		if line == "BDAT 3" {
			return "452 4.3.1 full"
		}
		return ""
	}})
	c := e.begun()
	c.Send("BDAT 2\r\na\r" + "BDAT 3\r\n\nb\r" + "BDAT 1 LAST\r\n\n")
	c.Expect("250")
	c.Expect("452 4.3.1 full")
	c.Expect("503 5.5.1")
	c.Send("BDAT 3 LAST\r\nc\r\n")
	c.Expect("5")
	wantMessages(t, b)
	c.Do("RSET", "250")
	deliver(c)
	wantMessages(t, b, "Subject: x\r\n\r\nbody\r\n")
}

// STANDARDS 50, and what else has no place between chunks.
func TestBetweenChunksOnlyBDATRSETNOOPAndQUITAreServed(t *testing.T) {
	for framing, capabilities := range framings {
		for _, line := range []string{"DATA", "RCPT TO:<e@f.test>", "MAIL FROM:<e@f.test>", "VRFY a", "EXPN a", "HELP", "ETRN b.test", "AUTH PLAIN dGVzdA=="} {
			t.Run(line+", "+framing, func(t *testing.T) {
				b, e := one(t, smtptest.Script{Capabilities: capabilities})
				c := e.begun()
				c.Send(chunk("one\r\n", false))
				c.Expect("250")
				c.Do(line, "503 5.5.1")
				c.Do("NOOP", "250")
				c.Send(chunk("two\r\n", true))
				c.Expect("250 2.0.0 queued")
				wantMessages(t, b, "one\r\ntwo\r\n")
			})
		}
	}
}

func TestRSETEHLOAndQUITAmidChunksDropTheMessage(t *testing.T) {
	for framing, capabilities := range framings {
		for _, line := range []string{"RSET", "EHLO client.test", "HELO client.test", "QUIT"} {
			t.Run(line+", "+framing, func(t *testing.T) {
				b, e := one(t, smtptest.Script{Capabilities: capabilities})
				c := e.begun()
				c.Send(chunk("one\r\n", false))
				c.Expect("250")
				c.Do(line, "2")
				if line == "EHLO client.test" || line == "RSET" {
					c.Send(chunk("late\r\n", true))
					c.Expect("503 5.5.1")
					deliver(c)
				}
				for _, m := range b.Messages() {
					if m != "Subject: x\r\n\r\nbody\r\n" {
						t.Errorf("the backend got %q", m)
					}
				}
				e.stop()
				b.Connection(0).WaitOver()
				if first := b.Connection(0).Octets(); framing == "re-framed" && !strings.HasSuffix(first, "DATA\r\none\r\n") {
					t.Errorf("the message went on as %q", first)
				}
				e.watch.until(t, "the end of every step", func() bool { return e.watch.open == 0 })
			})
		}
	}
}

// STANDARDS 48: nobody knows where the next command would begin.
func TestABDATThatCannotBeReadClosesTheConnection(t *testing.T) {
	for _, line := range []string{"BDAT", "BDAT x", "BDAT -1", "BDAT 5 FIRST", "BDAT 999999999999999999999", "BDAT 5 LAST LAST", "BDAT 5\x00",
		"BDAT 5" + strings.Repeat(" ", 5000)} {
		for _, m := range []TLSMode{TLSOffer, TLSRequire} {
			b, e := one(t, smtptest.Script{}, mode(m))
			c := e.hello()
			c.Send(line + "\r\n")
			c.Expect("50")
			c.ExpectClose()
			wantCommands(t, b)
		}
	}
}

func TestABackendThatLeavesAmidChunksIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name   string
		script smtptest.Script
		want   string
	}{
		{"421 to a chunk", smtptest.Script{Replies: map[string]string{"BDAT": "421 4.3.2 bye"}}, "421 4.3.2 bye"},
		{"death at a chunk", smtptest.Script{Die: "BDAT"}, "421 4.3.2"},
		{"421 to DATA", smtptest.Script{Capabilities: []string{"SIZE"}, Replies: map[string]string{"DATA": "421 4.3.2 bye"}}, "421 4.3.2 bye"},
		{"death at DATA", smtptest.Script{Capabilities: []string{"SIZE"}, Die: "DATA"}, "421 4.3.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, e := one(t, c.script)
			k := e.begun()
			k.Send(chunk("one\r\n", false))
			k.Expect(c.want)
			k.ExpectClose()
		})
	}
}
