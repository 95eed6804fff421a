package proxy

import (
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// SEM 1: scanners and failed handshakes cost the backend nothing.
func TestTheBackendIsDialledAtTheFirstCommandThatNeedsIt(t *testing.T) {
	for _, c := range []struct {
		line, want string
		dials      int
	}{
		{"EHLO client.test", "250", 0}, {"HELO client.test", "250", 0}, {"NOOP", "250", 0}, {"RSET", "250", 0}, {"QUIT", "221", 0},
		{"DATA", "503", 0}, {"RCPT TO:<a@b.test>", "503", 0}, {"BDAT 0 LAST", "503", 0}, {"AUTH PLAIN", "503", 0}, {"WHAT", "500", 0},
		{"MAIL FROM <a@b.test", "501", 0}, {"XCLIENT ADDR=192.0.2.1", "550", 0},
		{"MAIL FROM:<a@b.test>", "250", 1}, {"VRFY a", "250", 1}, {"EXPN a", "250", 1}, {"HELP", "250", 1}, {"ETRN b.test", "250", 1},
	} {
		t.Run(c.line, func(t *testing.T) {
			b, e := one(t, smtptest.Script{})
			k := e.connect()
			k.Do(c.line, c.want)
			if n := len(b.Conns()); n != c.dials {
				t.Errorf("dialled %d times, want %d", n, c.dials)
			}
		})
	}
}

// SEM 1.
func TestTheFirstEHLOOrHELOInsideTLSDials(t *testing.T) {
	for _, hello := range []string{"EHLO", "HELO"} {
		b, e := one(t, smtptest.Script{})
		c := e.hello()
		c.StartTLS(e.clientTLS())
		c.Do("NOOP", "250")
		if n := len(b.Conns()); n != 0 {
			t.Errorf("the handshake dialled %d times", n)
		}
		c.Do(hello+" inside.test", "250")
		c.Do("MAIL FROM:<a@b.test>", "250")
		wantCommands(t, b, hello+" inside.test", "MAIL FROM:<a@b.test>")
		if n := len(b.Conns()); n != 1 {
			t.Errorf("dialled %d times", n)
		}
	}
}

// SEM 1.
func TestEHLOInClearDialsUntilABackendHasEverBeenSeen(t *testing.T) {
	unknown := func(p *plan) { p.unknown = true }
	b, e := one(t, smtptest.Script{}, unknown)
	for range 2 {
		if r := e.connect().Do("EHLO client.test", "250"); !offers(r, "DSN") {
			t.Errorf("offered %q", r)
		}
	}
	if n := len(b.Conns()); n != 1 {
		t.Errorf("dialled %d times, want once", n)
	}
	b, e = one(t, smtptest.Script{}, unknown)
	b.Stop()
	c := e.connect()
	c.Do("EHLO client.test", "421 4.3.2")
	c.ExpectClose()
}

// SEM 1: in clear, what all backends can do; inside TLS, what this one can.
func TestEHLOOffersWhatAllBackendsHaveUntilOneIsConnected(t *testing.T) {
	b1 := smtptest.NewBackend(t, smtptest.Script{Capabilities: []string{"SIZE 5000", "DSN", "AUTH PLAIN LOGIN", "SMTPUTF8"}})
	b2 := smtptest.NewBackend(t, smtptest.Script{Capabilities: []string{"size 3000", "8BITMIME", "AUTH LOGIN CRAM-MD5", "SMTPUTF8"}})
	e := newEdge(t, []*smtptest.Backend{b1, b2}, func(p *plan) { p.Networks.AuthPlaintext = p.loopback() })
	c := e.connect()
	want := "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 3000\r\n250-STARTTLS\r\n250-AUTH LOGIN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"
	if got := c.Do("EHLO client.test", "250"); got != want {
		t.Errorf("in clear %q, want %q", got, want)
	}
	c.StartTLS(e.clientTLS())
	want = "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 5000\r\n250-DSN\r\n250-AUTH PLAIN LOGIN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"
	if got := c.Do("EHLO client.test", "250"); got != want {
		t.Errorf("inside TLS %q, want %q", got, want)
	}
}

// SEM 1.
func TestABackendThatClosesWhileTheClientIdlesIsNoticedAtTheNextCommand(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.secure()
	b.Connection(0).Close()
	b.Connection(0).WaitOver()
	c.Do("MAIL FROM:<a@b.test>", "421 4.3.2")
	c.ExpectClose()
}

// SEM 3.
func TestABackendThatCannotBeUsedGivesTheRightReplyPerPhase(t *testing.T) {
	refused := func(greeting string) smtptest.Script {
		return smtptest.Script{Replies: map[string]string{"greeting": greeting}}
	}
	for name, script := range map[string]smtptest.Script{
		"421 greeting":      refused("421 4.3.2 busy"),
		"450 greeting":      refused("450 4.3.2 busy"),
		"an odd greeting":   refused("250 hello"),
		"nonsense":          refused("SSH-2.0-OpenSSH_9"),
		"a 354 greeting":    refused("354 go"),
		"no greeting":       {Die: "greeting"},
		"dies at EHLO":      {Die: "EHLO"},
		"421 at EHLO":       {Replies: map[string]string{"EHLO": "421 4.3.2 no", "HELO": "250 never asked"}},
		"an endless EHLO":   {Replies: map[string]string{"EHLO": strings.Repeat("250-X-MORE 0123456789\r\n", 4000) + "250 X-END"}},
		"an endless line":   {Replies: map[string]string{"greeting": "220 " + strings.Repeat("x", 70000)}},
		"codes that differ": {Replies: map[string]string{"EHLO": "250-one\r\n550 two"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{})
			b.Play(script)
			c := e.hello()
			c.Do("MAIL FROM:<a@b.test>", "451 4.4.1")
			c.Do("RCPT TO:<a@b.test>", "503")
			c.Do("VRFY a", "451 4.4.1")
			c.StartTLS(e.clientTLS())
			c.Do("EHLO client.test", "421 4.3.2")
			c.ExpectClose()
		})
	}
}

func TestABackendThatIsNotThereIsA451OrA421(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	b.Stop()
	c := e.hello()
	c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA", "451 4.4.1", "503", "503")
	c.Do("NOOP", "250")
	b.Start()
	deliver(c)
	wantMessages(t, b, "Subject: x\r\n\r\nbody\r\n")
}

// SEM 3: without the client's address the backend has judged us, not the client.
func TestA5xxGreetingThatIsNoVerdictOnTheClientIsA421(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	b.Play(smtptest.Script{Replies: map[string]string{"greeting": "554 5.7.1 go away"}})
	c := e.hello()
	c.Do("MAIL FROM:<a@b.test>", "421 4.3.2")
	c.ExpectClose()
}

// SEM 3.
func TestTheBackendsVerdictOnTheClientIsRelayedToMAIL(t *testing.T) {
	verdict := "554-5.7.1 listed\r\n554 5.7.1 see http://dnsbl.test"
	for name, c := range map[string]struct {
		how    Convey
		script smtptest.Script
	}{
		"greeting, PROXY v1": {ConveyProxyV1, smtptest.Script{Proxy: 1, Replies: map[string]string{"greeting": verdict}}},
		"greeting, PROXY v2": {ConveyProxyV2, smtptest.Script{Proxy: 2, Replies: map[string]string{"greeting": verdict}}},
		"EHLO, PROXY v1":     {ConveyProxyV1, smtptest.Script{Proxy: 1, Replies: map[string]string{"EHLO": verdict}}},
		"XCLIENT": {ConveyXCLIENT, smtptest.Script{Capabilities: []string{"XCLIENT ADDR"},
			Replies: map[string]string{"XCLIENT": verdict}}},
	} {
		t.Run(name, func(t *testing.T) {
			good := c.script
			good.Replies = nil
			b, e := one(t, good, convey(c.how))
			b.Play(c.script)
			k := e.hello()
			if r := k.Do("MAIL FROM:<a@b.test>", "554 5.7.1 see"); r != verdict+"\r\n" {
				t.Errorf("got %q, want %q", r, verdict)
			}
			k.Do("RCPT TO:<c@d.test>", "503")
			k.Do("DATA", "503")
			k.Do("QUIT", "221")
			if e.b.targets[0].down.Load() {
				t.Error("the backend counts as down")
			}
		})
	}
}

// STANDARDS 15.
func TestABackendThatKnowsNoEHLOIsServedWithHELO(t *testing.T) {
	for _, code := range []string{"500", "501", "502", "504", "550"} {
		b, e := one(t, smtptest.Script{Replies: map[string]string{"EHLO": code + " what?"}})
		c := e.secure()
		deliver(c)
		c.Do("MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME", "555")
		wantCommands(t, b, "EHLO client.test", "HELO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA")
	}
}

// SEM 4: connect is TCP only; a greet delay is not.
func TestAGreetDelayIsWaitedFor(t *testing.T) {
	greet := make(chan struct{})
	b, e := one(t, smtptest.Script{}, func(p *plan) { p.Timeouts.Connect = 50 * time.Millisecond })
	b.Play(smtptest.Script{Hold: map[string]<-chan struct{}{"greeting": greet}})
	c := e.hello()
	c.Send("MAIL FROM:<a@b.test>\r\n")
	b.Connection(0)
	other := newEdge(t, []*smtptest.Backend{smtptest.NewBackend(t, smtptest.Script{})}).hello()
	deliver(other) // takes longer than connect on no machine, but lets it pass on some
	close(greet)
	c.Expect("250")
}

// SEM 2, 11: probes come with no client behind them, and end with QUIT.
func TestAProbePresentsItselfAsNobodyAndQuits(t *testing.T) {
	for how, want := range map[Convey]string{
		ConveyNone: "", ConveyXCLIENT: "", ConveyProxyV1: "PROXY UNKNOWN\r\n",
		ConveyProxyV2: "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		b := smtptest.NewBackend(t, smtptest.Script{Proxy: map[Convey]int{ConveyProxyV1: 1, ConveyProxyV2: 2}[how]})
		e := newEdge(t, []*smtptest.Backend{b}, convey(how))
		e.b.probe(t.Context(), e.b.targets[0])
		k := b.Connection(0)
		k.WaitOver()
		if k.Header() != want {
			t.Errorf("%d: header %q, want %q", how, k.Header(), want)
		}
		if got := k.Commands(); len(got) != 2 || got[0] != "EHLO mx.test" || got[1] != "QUIT" {
			t.Errorf("%d: it said %q", how, got)
		}
	}
}

// SEM 14: and a second EHLO resets the transaction there too.
func TestTheClientsOwnNameReachesTheBackend(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.connect()
	c.Do("HELO [192.0.2.7]", "250")
	c.Do("MAIL FROM:<a@b.test>", "250")
	c.Do("EHLO second.test", "250")
	c.Do("RCPT TO:<c@d.test>", "503")
	wantCommands(t, b, "HELO [192.0.2.7]", "MAIL FROM:<a@b.test>", "EHLO second.test")
}

func TestABackendsRefusalOfASecondEHLOIsRelayed(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	b.Play(smtptest.Script{Answer: func(_ *smtptest.Conn, _, line string) string {
		switch line {
		case "EHLO bad.test", "HELO bad.test":
			return "550 5.7.1 not you"
		case "EHLO busy.test":
			return "421 4.3.2 closing"
		}
		return ""
	}})
	c := e.secure()
	c.Do("EHLO bad.test", "550 5.7.1 not you")
	c.Do("AUTH PLAIN dGVzdA==", "503 5.5.1")
	c.Do("EHLO client.test", "250")
	deliver(c)
	c.Do("EHLO busy.test", "421 4.3.2 closing")
	c.ExpectClose()
}

// STANDARDS 34.
func TestQUITIsSaidToTheBackendTooHoweverTheClientLeaves(t *testing.T) {
	for name, leave := range map[string]func(*smtptest.Client){
		"QUIT":            func(c *smtptest.Client) { c.Do("QUIT", "221 2.0.0") },
		"without a word":  func(c *smtptest.Client) { c.Close() },
		"with a web page": func(c *smtptest.Client) { c.Do("GET / HTTP/1.1", "554 5.5.1"); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{})
			c := e.hello()
			c.Do("MAIL FROM:<a@b.test>", "250")
			leave(c)
			k := b.Connection(0)
			k.WaitOver()
			if got := k.Commands(); got[len(got)-1] != "QUIT" {
				t.Errorf("it said %q", got)
			}
		})
	}
}

func TestAHalfClosedClientStillGetsItsReplies(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.hello()
	c.Send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n")
	c.Conn.(*net.TCPConn).CloseWrite()
	c.Expect("250")
	c.Expect("250")
	c.ExpectClose()
	b.Connection(0).WaitOver()
}
