package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// group is one of a client's flights, and the replies to it in order.
type group struct {
	send string
	want []string
}

func run(c *smtptest.Client, groups ...group) {
	for _, g := range groups {
		c.Do(g.send, g.want...)
	}
}

// STANDARDS 43: one write to a backend that pipelines, one command at a time to
// one that does not.
func TestAGroupReachesAPipeliningBackendInOneWriteAndOthersOneByOne(t *testing.T) {
	commands := []string{"MAIL FROM:<a@b.test>", "RCPT TO:<1@d.test>", "RCPT TO:<2@d.test>", "RCPT TO:<3@d.test>", "DATA"}
	whole := strings.Join(commands, "\r\n") + "\r\n"
	for name, c := range map[string]struct {
		capabilities []string
		want         []string
	}{
		"pipelining": {[]string{"PIPELINING"}, []string{"EHLO client.test\r\n", whole}},
		"one by one": {[]string{"SIZE"}, []string{"EHLO client.test\r\n", commands[0] + "\r\n", commands[1] + "\r\n", commands[2] + "\r\n", commands[3] + "\r\n", "DATA\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{Capabilities: c.capabilities})
			k := e.secure()
			k.Do(strings.TrimSuffix(whole, "\r\n"), "250", "250", "250", "250", "354")
			if got := b.Connection(0).Segments(); !slices.Equal(got, c.want) {
				t.Errorf("it came as %q, want %q", got, c.want)
			}
			k.Do("x\r\n.\r\nQUIT", "250 2.0.0 queued", "221")
		})
	}
}

// One write back, too: the client's next read has all of it.
func TestTheRepliesToAGroupComeInOrderAndTogether(t *testing.T) {
	_, e := one(t, smtptest.Script{Answer: func(_ *smtptest.Conn, phase, line string) string {
		if phase == "RCPT" {
			return "250-2.1.5 " + line + "\r\n250 2.1.5 yes"
		}
		return ""
	}})
	c := e.hello()
	c.Send("MAIL FROM:<a@b.test>\r\nRCPT TO:<1@d.test>\r\nBAD\r\nRCPT FROM\r\nRCPT TO:<2@d.test>\r\nRSET\r\nRCPT TO:<3@d.test>\r\n")
	c.Expect("250")
	c.Expect("250")
	c.Expect("554 5.5.1") // BAD may not stand in a group
	c.ExpectClose()
	c = e.hello()
	c.Send("MAIL FROM:<a@b.test>\r\nRCPT TO:<1@d.test>\r\nRCPT FROM\r\nRCPT TO:<2@d.test>\r\n")
	want := "250 2.0.0 ok\r\n250-2.1.5 RCPT TO:<1@d.test>\r\n250 2.1.5 yes\r\n501 5.5.4 Syntax error in arguments\r\n250-2.1.5 RCPT TO:<2@d.test>\r\n250 2.1.5 yes\r\n"
	buf := make([]byte, 4096)
	n, err := c.Conn.Read(buf)
	if got := string(buf[:n]); got != want {
		t.Errorf("one read gave %q (%v), want %q", got, err, want)
	}
}

// STANDARDS 33, 39, 42.
func TestGroupsAreAnsweredAsIfTheyHadComeOneByOne(t *testing.T) {
	no := map[string]string{"RCPT": "550 5.1.1 no such user"}
	for name, c := range map[string]struct {
		script smtptest.Script
		groups []group
		want   []string // executed behind EHLO
	}{
		"some recipients fail": {smtptest.Script{Answer: func(_ *smtptest.Conn, phase, line string) string {
			if phase == "RCPT" && strings.Contains(line, "bad") {
				return "550 5.1.1 bad"
			}
			return ""
		}}, []group{{"MAIL FROM:<a@b.test>\r\nRCPT TO:<good@d>\r\nRCPT TO:<bad@d>\r\nRCPT TO:<good2@d>\r\nDATA", []string{"250", "250", "550 5.1.1 bad", "250", "354"}},
			{"x\r\n.", []string{"250"}}}, nil},
		"MAIL fails": {smtptest.Script{Replies: map[string]string{"MAIL": "550 5.7.1 no", "RCPT": "503 5.5.1 MAIL first", "DATA": "503 5.5.1 MAIL first"}},
			[]group{{envelope, []string{"550 5.7.1 no", "503 5.5.1", "503 5.5.1"}}, {"NOOP", []string{"250"}}}, nil},
		"all recipients fail and DATA with them": {smtptest.Script{Replies: map[string]string{"RCPT": no["RCPT"], "DATA": "554 5.5.1 none"}},
			[]group{{envelope, []string{"250", "550 5.1.1", "554 5.5.1"}}, {"RSET", []string{"250"}}}, nil},
		"DATA is refused": {smtptest.Script{Replies: map[string]string{"DATA": "451 4.3.0 later"}},
			[]group{{envelope, []string{"250", "250", "451 4.3.0 later"}}, {"RCPT TO:<more@d>", []string{"250"}}}, nil},
		"RSET within": {smtptest.Script{}, []group{{"MAIL FROM:<1@b>\r\nRCPT TO:<c@d>\r\nRSET\r\nMAIL FROM:<2@b>\r\nRCPT TO:<e@f>\r\nDATA", []string{"250", "250", "250", "250", "250", "354"}},
			{"x\r\n.", []string{"250"}}}, []string{"MAIL FROM:<1@b>", "RCPT TO:<c@d>", "RSET", "MAIL FROM:<2@b>", "RCPT TO:<e@f>", "DATA"}},
		"RSET takes the recipients with it": {smtptest.Script{}, []group{{"MAIL FROM:<1@b>\r\nRCPT TO:<c@d>\r\nRSET\r\nRCPT TO:<e@f>\r\nDATA",
			[]string{"250", "250", "250", "503 5.5.1", "503 5.5.1"}}}, []string{"MAIL FROM:<1@b>", "RCPT TO:<c@d>", "RSET"}},
		"a second MAIL": {smtptest.Script{}, []group{{"MAIL FROM:<1@b>\r\nMAIL FROM:<2@b>\r\nRCPT TO:<c@d>", []string{"250", "503 5.5.1", "250"}}},
			[]string{"MAIL FROM:<1@b>", "RCPT TO:<c@d>"}},
		"a second MAIL after a refused one": {smtptest.Script{Answer: func(_ *smtptest.Conn, _, line string) string {
			if line == "MAIL FROM:<1@b>" {
				return "450 4.1.8 no"
			}
			return ""
		}}, []group{{"MAIL FROM:<1@b>\r\nMAIL FROM:<2@b>\r\nRCPT TO:<c@d>", []string{"450 4.1.8", "250", "250"}}},
			[]string{"MAIL FROM:<1@b>", "MAIL FROM:<2@b>", "RCPT TO:<c@d>"}},
		"DATA without recipients": {smtptest.Script{}, []group{{"MAIL FROM:<1@b>\r\nDATA", []string{"250", "554 5.5.1"}}}, []string{"MAIL FROM:<1@b>"}},
		"Postmaster alone":        {smtptest.Script{}, []group{{"MAIL FROM:<>\r\nRCPT TO:<Postmaster>", []string{"250", "250"}}}, []string{"MAIL FROM:<>", "RCPT TO:<Postmaster>"}},
	} {
		for _, capability := range []string{"PIPELINING", "SIZE"} {
			t.Run(name+" "+capability, func(t *testing.T) {
				c.script.Capabilities = []string{capability}
				b, e := one(t, c.script)
				run(e.hello(), c.groups...)
				if c.want != nil {
					wantCommands(t, b, append([]string{"EHLO client.test"}, c.want...)...)
				}
			})
		}
	}
}

// RFC 2920, 3.1.
func TestA354ForAMessageWithoutRecipientsIsTakenBack(t *testing.T) {
	b, e := one(t, smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 no"}})
	c := e.hello()
	c.Do(envelope, "250", "550 5.1.1", "554 5.5.1")
	k := b.Connection(0)
	k.WaitOver()
	if _, data, _ := strings.Cut(k.Octets(), "DATA\r\n"); data != "" {
		t.Errorf("behind DATA came %q", data)
	}
	b.Play(smtptest.Script{})
	deliver(c)
	wantMessages(t, b, "Subject: x\r\n\r\nbody\r\n")
}

// SEM 8, STANDARDS 41.
func TestInputBehindACommandThatMustBeTheLastIsRefused(t *testing.T) {
	for _, line := range []string{"EHLO again.test", "HELO again.test", "DATA", "NOOP", "VRFY a", "EXPN a", "HELP", "ETRN b.test", "AUTH PLAIN dGVzdA==",
		"WHAT", "XCLIENT ADDR=192.0.2.1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2"} {
		for name, c := range map[string]func(*edge) *smtptest.Client{"EHLO": (*edge).hello, "inside TLS": (*edge).secure} {
			t.Run(line+", "+name, func(t *testing.T) {
				b, e := one(t, smtptest.Script{})
				k := c(e)
				b.Forget()
				k.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "250", "250")
				k.Send(line + "\r\nMAIL FROM:<smuggled@b.test>\r\n")
				k.Expect("554 5.5.1")
				k.ExpectClose()
				k.Close()
				e.wantRefused(CausePipelining)
				if all := strings.Join(b.Commands(), "\n"); strings.Contains(all, line) || strings.Contains(all, "smuggled") {
					t.Errorf("executed %q", all)
				}
			})
		}
	}
}

// SEM 8.
func TestAHELOClientMayNotPipelineAtAll(t *testing.T) {
	for _, flight := range []string{"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "RSET\r\nMAIL FROM:<a@b.test>", "NOOP\r\nNOOP", "HELO again.test\r\nNOOP"} {
		_, e := one(t, smtptest.Script{})
		for _, hello := range []string{"HELO client.test", "NOOP"} {
			c := e.connect()
			c.Do(hello, "250")
			c.Do(flight, "554 5.5.1")
			c.ExpectClose()
		}
	}
	b, e := one(t, smtptest.Script{})
	c := e.connect()
	c.Do("HELO client.test", "250 mx.test")
	run(c, group{"MAIL FROM:<a@b.test>", []string{"250"}}, group{"RCPT TO:<c@d.test>", []string{"250"}}, group{"DATA", []string{"354"}}, group{"x\r\n.", []string{"250"}}, group{"QUIT", []string{"221"}})
	wantMessages(t, b, "x\r\n")
}

// SEM 8.
func TestWhatMayStandBehindAMessageInOneSegment(t *testing.T) {
	for behind, want := range map[string][]string{
		"QUIT": {"250", "221"}, "RSET": {"250", "250"}, "MAIL FROM:<n@b.test>": {"250", "250"}, "BDAT 0": {"250", "503"},
		"MAIL FROM:<n@b.test>\r\nRCPT TO:<c@d.test>": {"250", "250", "250"}, "QUIT\r\nMAIL FROM:<n@b.test>": {"250", "221"},
		"RCPT TO:<c@d.test>": {"250", "554 5.5.1"}, "NOOP": {"250", "554 5.5.1"}, "EHLO x": {"250", "554 5.5.1"}, "DATA": {"250", "554 5.5.1"},
		"STARTTLS": {"250", "503 5.5.1"}, "AUTH PLAIN x": {"250", "554 5.5.1"}, "VRFY x": {"250", "554 5.5.1"}, "": {"250", "554 5.5.1"},
	} {
		for kind, end := range map[string]string{"dot": "x\r\n.\r\n", "chunk": "BDAT 3 LAST\r\nx\r\n"} {
			t.Run(fmt.Sprintf("%q behind a %s", behind, kind), func(t *testing.T) {
				b, e := one(t, smtptest.Script{})
				c := e.hello()
				c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "250", "250")
				if kind == "dot" {
					c.Do("DATA", "354")
				}
				c.Do(end+behind, want...)
				wantMessages(t, b, "x\r\n")
			})
		}
	}
	b, e := one(t, smtptest.Script{})
	c := e.connect()
	c.Do("HELO client.test", "250")
	run(c, group{"MAIL FROM:<a@b.test>", []string{"250"}}, group{"RCPT TO:<c@d.test>", []string{"250"}}, group{"DATA", []string{"354"}})
	c.Do("x\r\n.\r\nMAIL FROM:<n@b.test>", "250", "554 5.5.1")
	wantMessages(t, b, "x\r\n")
}

// SEM 8: early talkers.
func TestAClientThatTalksBeforeThe220IsRefused(t *testing.T) {
	b, e := one(t, smtptest.Script{}, func(p *plan) { p.Networks.Proxy = p.loopback() })
	c := smtptest.Dial(t, e.addr)
	c.Send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nEHLO early.test\r\n")
	c.Expect("554 5.5.1")
	c.ExpectClose()
	e.wantRefused(CauseEarlyTalker)
	if len(b.Conns()) != 0 {
		t.Error("the backend was dialled")
	}
}

// STANDARDS 43: long groups are cut by buffers, never by a lost command.
func TestALongGroupIsAnsweredCommandByCommand(t *testing.T) {
	const n = 2000
	for _, capability := range []string{"PIPELINING", "SIZE"} {
		b, e := one(t, smtptest.Script{Capabilities: []string{capability}, Answer: func(_ *smtptest.Conn, phase, line string) string {
			if phase == "RCPT" {
				return "250 2.1.5 " + line
			}
			return ""
		}})
		c := e.secure()
		c.Do("MAIL FROM:<a@b.test>", "250")
		var flight strings.Builder
		for i := range n {
			fmt.Fprintf(&flight, "RCPT TO:<%d@d.test>\r\n", i)
		}
		go c.Try(flight.String())
		for i := range n {
			c.Expect(fmt.Sprintf("250 2.1.5 RCPT TO:<%d@d.test>", i))
		}
		if got := len(b.Commands()); got != n+2 {
			t.Errorf("the backend executed %d commands, want %d", got, n+2)
		}
	}
}
