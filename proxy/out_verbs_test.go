package proxy

import (
	"slices"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// SEM 17.
func TestWhoIsNotInFromIsTurnedAway(t *testing.T) {
	_, e := theDomain(t, smtptest.Script{}, func(p *layout) { p.From = p.From[:0] })
	c := e.connect()
	c.Expect("421 4.7.1 127.0.0.1 may not send through this gateway")
	c.ExpectClose()
	e.watch.until(t, "the refusal", func() bool { return slices.Contains(e.watch.refused, CauseFrom) })
	e.logged("client refused: its address is not in from")
	e.w.wantWent()
}

func TestVerbsWithoutADestinationAreAnsweredByUs(t *testing.T) {
	_, e := theDomain(t, smtptest.Script{})
	c := e.client()
	for verb, want := range map[string]string{
		"VRFY b@example.com": "252 2.0.0", "EXPN list": "502 5.5.1", "HELP": "502 5.5.1", "ETRN example.com": "502 5.5.1", "AUTH PLAIN AGEAYg==": "502 5.5.1",
		"STARTTLS": "502 5.5.1", "NOOP": "250 2.0.0", "NOOP x": "250 2.0.0", "XCLIENT ADDR=192.0.2.9": "550 5.7.0", "XFORWARD ADDR=192.0.2.9": "550 5.7.0",
		"BLAH": "500 5.5.1", "EHLO": "501 5.5.4", "HELO": "501 5.5.4", "RSET": "250 2.0.0", "RSET x": "501 5.5.4", "DATA": "503 5.5.1", "DATA x": "501 5.5.4",
		"RCPT TO:<b@example.com>": "503 5.5.1", "MAIL TO:<b@example.com>": "501 5.5.4", "MAIL FROM:<b@example.com> FOO=1": "555 5.5.4", "MAIL FROM:<b@example.com> RET=FULL": "555 5.5.4",
		"MAIL FROM:<b@example.com> SIZE=x": "501 5.5.4", "MAIL FROM:<b\xc3\xa4@example.com>": "550 5.6.7",
	} {
		c.Do(verb, want)
	}
	e.w.wantWent()
	c.Do("QUIT", "221 2.0.0")
}

// RFC 5321, 4.1.1.1: no ESMTP is offered, none may be used, and it is told one thing at a
// time.
func TestAClientThatSaysHELOIsServed(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	c := e.connect()
	c.Expect("220 gateway.test ESMTP")
	if r := c.Do("HELO old.test", "250"); r != "250 gateway.test\r\n" {
		t.Errorf("HELO got %q", r)
	}
	c.Do(fromA, "250")
	c.Do(rcpts("b@example.com"), "250")
	c.Do("DATA", "354")
	c.Do("x\r\n.", "250 2.0.0 queued")
	c.Do("QUIT", "221")
	wantMessages(t, b, "x\r\n")
	k := e.connect()
	k.Expect("220")
	k.Do("HELO old.test", "250")
	k.Do(fromA+"\r\n"+rcpts("b@example.com"), "554 5.5.1")
	k.ExpectClose()
}

func TestAClientThatSaysNoHelloIsServed(t *testing.T) {
	for name, change := range map[string]func(*layout){"mx": func(*layout) {}, "smarthost": smarthosts("mx.example.com")} {
		t.Run(name, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{}, change)
			c := e.connect()
			c.Expect("220")
			wantReply(t, offerMessage(c, "b@example.com"), "250 2.0.0 queued")
			if got := b.Commands()[0]; got != "EHLO gateway.test" {
				t.Errorf("it said %q", got)
			}
		})
	}
}

func TestASecondEHLOEndsTheTransaction(t *testing.T) {
	b, e := theDomain(t, smtptest.Script{})
	c := e.client()
	c.Do(fromA+"\r\n"+rcpts("b@example.com"), "250", "250")
	c.Do("EHLO mta.test", "250")
	c.Do("DATA", "503 5.5.1")
	c.Do(fromA+"\r\n"+rcpts("c@example.com")+"\r\nDATA", "250", "250", "354")
	c.Do("x\r\n.", "250 2.0.0 queued")
	wantCommands(t, b, "EHLO gateway.test", fromA, "RCPT TO:<b@example.com>", "RSET", fromA, "RCPT TO:<c@example.com>", "DATA")
}

func TestWhatIsOfferedIsWhatCanBeKept(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*layout)
		want   string
	}{
		"mx":        {func(p *layout) { p.Message.MaxSize = 1000 }, "250-gateway.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250-LIMITS RCPTDOMAINMAX=1\r\n250 CHUNKING\r\n"},
		"smarthost": {smarthosts("mx.example.com"), "250-gateway.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"},
		"DSN":       {func(p *layout) { p.DSN = true }, "250-gateway.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250-DSN\r\n250-LIMITS RCPTDOMAINMAX=1\r\n250 CHUNKING\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := theDomain(t, smtptest.Script{}, c.change)
			k := e.connect()
			k.Expect("220")
			if r := k.Do("EHLO mta.test", "250"); r != c.want {
				t.Errorf("EHLO got %q", r)
			}
		})
	}
}

// SEM 5.
func TestWhatAServerLacksIsMendedOrRefused(t *testing.T) {
	dsn := func(p *layout) { p.DSN = true }
	refuse := func(p *layout) { p.gateway.RefuseBits = true }
	none := func(*layout) {}
	for name, c := range map[string]struct {
		capabilities []string
		change       func(*layout)
		mail, rcpt   string // parameters
		want         string // to RCPT
		seen         string // MAIL and RCPT at the server
	}{
		"8BITMIME":              {[]string{"SIZE"}, none, " BODY=8BITMIME", "", "250", fromA + "\r\nRCPT TO:<b@example.com>"},
		"8BITMIME refused":      {[]string{"SIZE"}, refuse, " BODY=8BITMIME", "", "554 5.6.3 mx.example.com", ""},
		"8BITMIME not needed":   {[]string{"SIZE"}, refuse, " BODY=7BIT", "", "250", fromA + "\r\nRCPT TO:<b@example.com>"},
		"8BITMIME there":        {[]string{"8BITMIME"}, refuse, " BODY=8BITMIME", "", "250", fromA + " BODY=8BITMIME\r\nRCPT TO:<b@example.com>"},
		"SMTPUTF8":              {[]string{"8BITMIME"}, none, " SMTPUTF8 BODY=8BITMIME", "", "553 5.6.7 mx.example.com", ""},
		"SMTPUTF8 there":        {[]string{"8BITMIME", "SMTPUTF8"}, none, " SMTPUTF8 BODY=8BITMIME", "", "250", fromA + " SMTPUTF8 BODY=8BITMIME\r\nRCPT TO:<b@example.com>"},
		"SIZE":                  {[]string{"8BITMIME"}, none, " SIZE=100", "", "250", fromA + "\r\nRCPT TO:<b@example.com>"},
		"SIZE exceeded":         {[]string{"SIZE 99"}, none, " SIZE=100", "", "554 5.3.4 mx.example.com", ""},
		"SIZE without limit":    {[]string{"SIZE"}, none, " SIZE=100", "", "250", fromA + " SIZE=100\r\nRCPT TO:<b@example.com>"},
		"SIZE kept":             {[]string{"SIZE 100"}, none, " SIZE=100", "", "250", fromA + " SIZE=100\r\nRCPT TO:<b@example.com>"},
		"DSN":                   {[]string{"SIZE"}, dsn, " RET=HDRS ENVID=x", " NOTIFY=NEVER ORCPT=rfc822;b@example.com", "250", fromA + "\r\nRCPT TO:<b@example.com>"},
		"DSN there":             {[]string{"DSN"}, dsn, " RET=HDRS ENVID=x", " NOTIFY=NEVER", "250", fromA + " RET=HDRS ENVID=x\r\nRCPT TO:<b@example.com> NOTIFY=NEVER"},
		"DSN that is not ours":  {[]string{"DSN"}, none, "", " NOTIFY=NEVER", "555 5.5.4", ""},
		"some go and some stay": {[]string{"SIZE 1000"}, dsn, " RET=HDRS SIZE=5 BODY=8BITMIME ENVID=x", "", "250", fromA + " SIZE=5\r\nRCPT TO:<b@example.com>"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := theDomain(t, smtptest.Script{Capabilities: c.capabilities}, c.change)
			k := e.client()
			k.Do(fromA+c.mail, "250")
			k.Do("RCPT TO:<b@example.com>"+c.rcpt, c.want)
			k.Do("QUIT", "221")
			var got []string
			for _, line := range b.Commands() {
				if line != "EHLO gateway.test" {
					got = append(got, line)
				}
			}
			if strings.Join(got, "\r\n") != c.seen {
				t.Errorf("the server executed %q", got)
			}
			if name == "DSN" {
				for _, p := range []string{"RET", "ENVID", "NOTIFY", "ORCPT"} {
					e.logged("parameter=" + p)
				}
			}
			e.wantNothingLeft()
		})
	}
}

// What the server lacks may be refused there and not at the next one; what a message is
// too big for is said once.
func TestARefusalThatIsOursIsReported(t *testing.T) {
	_, e := theDomain(t, smtptest.Script{Capabilities: []string{"SIZE 99"}})
	c := e.client()
	c.Do(fromA+" SIZE=100", "250")
	c.Do(rcpts("b@example.com", "c@example.com"), "554 5.3.4", "554 5.3.4")
	c.Do(rcpts("d@example.com"), "554 5.3.4")
	c.Do("QUIT", "221")
	if d := e.delivery(0); d.Cause != CauseNotCarried || d.DSN != "5.3.4" || d.Host != "mx.example.com" {
		t.Errorf("delivery: %+v", d)
	}
	e.w.wantWent("192.0.2.1")
}
