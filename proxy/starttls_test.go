package proxy

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/tls/certs"
)

// offers says whether an EHLO reply holds a keyword.
func offers(reply, keyword string) bool {
	for line := range strings.SplitSeq(reply, "\r\n") {
		if len(line) > 4 && strings.EqualFold(strings.Fields(line[4:])[0], keyword) {
			return true
		}
	}
	return false
}

func withoutCertificate(p *plan) { p.tls.Certificates = certs.NewSet() }

// STANDARDS 1, 9.
func TestSTARTTLSIsOfferedExactlyWhereItCanBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*plan)
		want   bool
	}{
		"offer":                       {mode(TLSOffer), true},
		"require":                     {mode(TLSRequire), true},
		"off":                         {mode(TLSOff), false},
		"offer without a certificate": {withoutCertificate, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := one(t, smtptest.Script{Capabilities: []string{"STARTTLS", "SIZE 1"}}, c.change)
			if got := offers(e.connect().Do("EHLO client.test", "250"), "STARTTLS"); got != c.want {
				t.Errorf("offered: %v, want %v", got, c.want)
			}
		})
	}
	_, e := one(t, smtptest.Script{Capabilities: []string{"STARTTLS"}})
	c := e.secure()
	if offers(c.Do("EHLO client.test", "250"), "STARTTLS") {
		t.Error("offered inside TLS")
	}
	c.Do("STARTTLS", "503 5.5.1")
	c.Do("NOOP", "250")
}

// STANDARDS 2, 3.
func TestSTARTTLSIsRefusedInTheRightWordsAndTheSessionGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		change        func(*plan)
		before, words string
		want          string
	}{
		"with an argument":      {mode(TLSOffer), "EHLO client.test", "STARTTLS now", "501 5.5.4"},
		"without EHLO":          {mode(TLSOffer), "NOOP", "STARTTLS", "503 5.5.1"},
		"after HELO":            {mode(TLSOffer), "HELO client.test", "STARTTLS", "503 5.5.1"},
		"without a certificate": {withoutCertificate, "EHLO client.test", "STARTTLS", "454 4.7.0"},
		"where TLS is off":      {mode(TLSOff), "EHLO client.test", "STARTTLS", "502 5.5.1"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{}, c.change)
			k := e.connect()
			k.Do(c.before, "250")
			k.Do(c.words, c.want)
			k.Do("EHLO client.test", "250")
			deliver(k)
			wantMessages(t, b, "Subject: x\r\n\r\nbody\r\n")
		})
	}
}

// STANDARDS 5, SEM 35.
func TestInputBehindSTARTTLSIsRefusedAndNeverExecuted(t *testing.T) {
	for name, injected := range map[string]string{
		"a command":        "RSET\r\n",
		"a transaction":    "EHLO evil\r\nMAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
		"half a command":   "MAIL FR",
		"a single octet":   "\n",
		"QUIT":             "QUIT\r\n",
		"another STARTTLS": "STARTTLS\r\n",
		"many":             strings.Repeat("NOOP\r\n", 3000),
	} {
		for _, m := range []TLSMode{TLSOffer, TLSRequire} {
			t.Run(name, func(t *testing.T) {
				b, e := one(t, smtptest.Script{}, mode(m))
				c := e.hello()
				c.Send("STARTTLS\r\n" + injected)
				c.Expect("503 5.5.1")
				c.ExpectClose()
				c.Close()
				e.wantRefused(CauseInjection)
				e.ended(0)
				if n := len(b.Conns()); n != 0 {
					t.Errorf("the backend was dialled %d times", n)
				}
			})
		}
	}
}

func TestPlaintextThatArrivesAfterThe220IsNoCommand(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.hello()
	c.Do("STARTTLS", "220")
	c.Send("EHLO evil\r\nMAIL FROM:<evil@b.test>\r\n")
	c.Reply() // an alert, if anything
	if s := e.ended(0); s.Cause != CauseNotTLS || s.Secured {
		t.Errorf("ended as %+v", s)
	}
	wantCommands(t, b)
}

// STANDARDS 4: the next octet is the ServerHello's.
func TestThe220IsTheLastPlaintextOctet(t *testing.T) {
	_, e := one(t, smtptest.Script{})
	c := e.hello()
	c.Send("STARTTLS\r\n")
	if got := c.Expect("220"); strings.Count(got, "\r\n") != 1 {
		t.Errorf("got %q", got)
	}
	if err := c.Handshake(e.clientTLS()); err != nil {
		t.Fatal(err) // what is no record would fail it
	}
}

// STANDARDS 7: HELO name, AUTH, MAIL and RCPT are forgotten.
func TestNothingIsKeptAcrossTheHandshake(t *testing.T) {
	for name, before := range map[string][]string{
		"the EHLO name":      nil,
		"MAIL":               {"MAIL FROM:<a@b.test>"},
		"MAIL and RCPT":      {"MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>"},
		"the authentication": {"AUTH PLAIN dGVzdAB0ZXN0AHRlc3Q="},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{Capabilities: []string{"AUTH PLAIN"}}, func(p *plan) { p.Networks.AuthPlaintext = p.loopback() })
			c := e.hello()
			for _, line := range before {
				c.Do(line, "2")
			}
			c.StartTLS(e.clientTLS())
			c.Do("RCPT TO:<c@d.test>", "503 5.5.1")
			c.Do("DATA", "503 5.5.1")
			c.Do("AUTH PLAIN dGVzdAB0ZXN0AHRlc3Q=", "503 5.5.1 Send EHLO first")
			c.Do("EHLO other.test", "250")
			c.Do("AUTH PLAIN dGVzdAB0ZXN0AHRlc3Q=", "235")
			conns := b.Conns()
			if got := conns[len(conns)-1].Commands(); len(got) != 2 || got[0] != "EHLO other.test" {
				t.Errorf("the leg inside TLS carried %q", got)
			}
			for _, old := range conns[:len(conns)-1] {
				old.WaitOver()
			}
		})
	}
}

// STANDARDS 7: a MAIL without EHLO inside TLS is the backend's to judge.
func TestMAILWithoutEHLOInsideTLSIsPassedOn(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.hello()
	c.StartTLS(e.clientTLS())
	c.Do("MAIL FROM:<a@b.test>", "250")
	wantCommands(t, b, "MAIL FROM:<a@b.test>")
}

// SEM 22: a message that is under way is given up by closing, without a word
// that could become part of it.
func TestSTARTTLSWithinAReframedMessageWritesNothingIntoIt(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: []string{"SIZE 1000000"}})
	c := e.hello()
	c.Do("MAIL FROM:<a@b.test>", "250")
	c.Do("RCPT TO:<c@d.test>", "250")
	c.Send("BDAT 4\r\nab\r\n")
	c.Expect("250")
	c.StartTLS(e.clientTLS())
	k := b.Connection(0)
	k.WaitOver()
	if _, data, _ := strings.Cut(k.Octets(), "DATA\r\n"); data != "ab\r\n" {
		t.Errorf("behind DATA came %q", data)
	}
	wantMessages(t, b)
}

// STANDARDS 10.
func TestAFailedHandshakeClosesTheConnection(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.hello()
	c.Do("STARTTLS", "220")
	if err := c.Handshake(&tls.Config{ServerName: "mx.test"}); err == nil {
		t.Fatal("an unknown authority was accepted")
	}
	if _, err := io.Copy(io.Discard, c.Conn); err != nil {
		t.Errorf("the connection was not closed: %v", err)
	}
	if s := e.ended(0); s.Cause != CauseRejectedByPeer && s.Cause != CauseClosedOnFlight {
		t.Errorf("ended as %+v", s)
	}
	wantCommands(t, b)
}

// STANDARDS 11.
func TestWhereTLSIsRequiredOnlyNOOPEHLOSTARTTLSAndQUITAreServedInClear(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: []string{"AUTH PLAIN"}}, mode(TLSRequire))
	c := e.connect()
	for _, line := range []string{"HELO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA", "RSET", "VRFY a", "EXPN a",
		"HELP", "ETRN d.test", "AUTH PLAIN dGVzdA==", "BDAT 0 LAST", "XCLIENT ADDR=192.0.2.1", "WHATEVER", ""} {
		c.Do(line, "530 5.7.0")
	}
	c.Do("NOOP", "250")
	if r := c.Do("EHLO client.test", "250"); offers(r, "AUTH") || !offers(r, "STARTTLS") {
		t.Errorf("offered %q", r)
	}
	if n := len(b.Conns()); n != 0 {
		t.Errorf("the backend was dialled %d times", n)
	}
	c.StartTLS(e.clientTLS())
	c.Do("EHLO client.test", "250")
	deliver(c)
	q := e.connect()
	q.Do("QUIT", "221")
	q.ExpectClose()
}

// STANDARDS 11: the octets of a chunk are no commands, even where BDAT is
// refused.
func TestARefusedBDATInClearDoesNotExecuteItsChunk(t *testing.T) {
	b, e := one(t, smtptest.Script{}, mode(TLSRequire))
	c := e.hello()
	c.Send("BDAT 10 LAST\r\nSTARTTLS\r\n")
	c.Expect("530 5.7.0")
	c.Do("NOOP", "250")
	if len(b.Conns()) != 0 {
		t.Error("the backend was dialled")
	}
}

// STANDARDS 61.
func TestImplicitTLSSaysNothingInClear(t *testing.T) {
	b, e := one(t, smtptest.Script{}, mode(TLSImplicit))
	c := smtptest.Dial(t, e.addr)
	if err := c.Handshake(e.clientTLS()); err != nil {
		t.Fatal(err)
	}
	c.Expect("220 mx.test ESMTP")
	if r := c.Do("EHLO client.test", "250"); offers(r, "STARTTLS") {
		t.Errorf("offered %q", r)
	}
	deliver(c)
	wantMessages(t, b, "Subject: x\r\n\r\nbody\r\n")
	p := smtptest.Dial(t, e.addr)
	p.Send("EHLO client.test\r\n")
	if r, err := p.Reply(); err == nil {
		t.Errorf("a client in clear got %q", r)
	}
}
