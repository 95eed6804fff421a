package proxy

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/smtpwire"
)

// poison is what a smuggled end of data is followed by.
const poison = "\r\nMAIL FROM:<smuggled@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nsmuggled"

// endings are octets that must not end a message (STANDARDS 176), by name.
var endings = map[string]string{
	"LF.LF": "\n.\n", "LF.CRLF": "\n.\r\n", "CRLF.LF": "\r\n.\n", "CRLF.CR": "\r\n.\r", "LF.CR": "\n.\r", "CR.LF": "\r.\n", "CR.CR": "\r.\r",
	"CR.CRLF": "\r.\r\n", "CRLF.CR CRLF": "\r\n.\r\r\n", "CRCRLF.CRCRLF": "\r\r\n.\r\r\n",
	"a bare LF": "\n", "a bare CR": "\r", "LFCR": "\n\r",
}

// SEM 36, STANDARDS 22, 177: read to the real end, upstream closed without the
// dot.
func TestABareNewlineInAMessageRefusesItWholeInEveryVariant(t *testing.T) {
	for name, ending := range endings {
		for where, body := range map[string]string{"in the middle": "a" + ending + poison, "at the start": strings.TrimPrefix(ending, "\r\n") + poison,
			"at a buffer's border": strings.Repeat("x", 32<<10-len(ending)) + ending + poison} {
			for how, split := range map[string]bool{"whole": false, "split": true} {
				if where == "at the start" && !strings.ContainsAny(strings.ReplaceAll(body[:len(body)-len(poison)], "\r\n", ""), "\r\n") {
					continue // its CRLF was a line end
				}
				t.Run(name+" "+where+" "+how, func(t *testing.T) {
					b, e := one(t, smtptest.Script{})
					c := e.secure()
					c.Do(envelope, "250", "250", "354")
					sendInParts(c, body, split)
					c.Send("\r\n.\r\n")
					c.Expect("550 5.5.2")
					wantMessages(t, b)
					deliver(c)
					wantMessages(t, b, "Subject: x\r\n\r\nbody\r\n")
					if all := strings.Join(b.Commands(), "\n"); strings.Contains(all, "smuggled") {
						t.Errorf("executed %q", all)
					}
				})
			}
		}
	}
}

func sendInParts(c *smtptest.Client, octets string, split bool) {
	if !split {
		c.Send(octets)
		return
	}
	at := max(0, len(octets)-len(poison)-8)
	c.Send(octets[:at])
	for i := at; i < len(octets); i++ {
		c.Send(octets[i : i+1])
	}
}

// SEM 36: normalize makes one message of it, whatever it holds.
func TestNormalizeMakesOneMessageOfEveryVariant(t *testing.T) {
	for name, ending := range endings {
		for how, change := range map[string]func(*plan){
			"policy":  func(p *plan) { p.Message.Newlines = smtpwire.Normalize },
			"network": func(p *plan) { p.Networks.Normalize = p.loopback() },
		} {
			for _, split := range []bool{false, true} {
				t.Run(name+" "+how, func(t *testing.T) {
					b, e := one(t, smtptest.Script{}, change)
					c := e.hello()
					c.Do(envelope, "250", "250", "354")
					sendInParts(c, "a"+ending+poison, split)
					c.Send("\r\n.\r\n")
					c.Expect("250 2.0.0 queued")
					got := b.Messages()
					if len(got) != 1 || !strings.HasSuffix(got[0], poison+"\r\n") || strings.ContainsAny(strings.ReplaceAll(got[0], "\r\n", ""), "\r\n") {
						t.Errorf("the backend got %q", got)
					}
					wantCommands(t, b, "EHLO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA")
				})
			}
		}
	}
}

// SEM 36: in chunks, whether they are passed on or not.
func TestABareNewlineInAChunkRefusesTheMessage(t *testing.T) {
	for name, ending := range endings {
		for framing, capabilities := range framings {
			t.Run(name+" "+framing, func(t *testing.T) {
				b, e := one(t, smtptest.Script{Capabilities: capabilities})
				c := e.begun()
				data := "a" + ending + poison + "\r\n"
				c.Send(chunk(data[:4], false) + chunk(data[4:], true))
				first, _ := c.Reply()
				second := c.Expect("5")
				if !strings.HasPrefix(first, "550 5.5.2") && !strings.HasPrefix(second, "550 5.5.2") {
					t.Errorf("got %q and %q", first, second)
				}
				wantMessages(t, b)
			})
		}
	}
}

// Promise 5: byte for byte.
func TestMessagesOfRandomContentArriveUnchanged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for kind, begin := range map[string]func(*edge) *smtptest.Client{"TLS": (*edge).secure, "clear": (*edge).hello} {
		b, e := one(t, smtptest.Script{})
		c := begin(e)
		for i := range 60 {
			body := randomBody(random, i)
			c.Do(envelope, "250", "250", "354")
			stuffed := string(smtpwire.StuffDots([]byte(body)))
			for rest := stuffed + ".\r\n"; len(rest) > 0; {
				n := min(len(rest), 1+random.IntN(50000))
				c.Send(rest[:n])
				rest = rest[n:]
			}
			c.Expect("250 2.0.0 queued")
			if got := b.Messages(); len(got) != i+1 || sha256.Sum256([]byte(got[i])) != sha256.Sum256([]byte(stuffed)) {
				t.Fatalf("%s: message %d of %d octets did not arrive as it was", kind, i, len(body))
			}
		}
	}
}

func randomBody(r *rand.Rand, i int) string {
	var b strings.Builder
	for range r.IntN(200) {
		switch r.IntN(5) {
		case 0:
			b.WriteString(strings.Repeat(".", r.IntN(4)))
		case 1:
			b.WriteString(strings.Repeat("long", r.IntN(100)*i))
		default:
			for range r.IntN(80) {
				if c := byte(r.IntN(256)); c != '\r' && c != '\n' {
					b.WriteByte(c)
				}
			}
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

// STANDARDS 22, 23.
func TestTheEndOfAMessageIsFoundHoweverItComes(t *testing.T) {
	for _, body := range []string{"", "..\r\n", "..x\r\n...\r\n", "\r\n", "a\r\n..\r\nb\r\n", "\x00.\x00\r\n", "8bit \xff\xfe\r\n"} {
		for _, split := range []bool{false, true} {
			b, e := one(t, smtptest.Script{})
			c := e.hello()
			c.Do(envelope, "250", "250", "354")
			if split {
				for _, octet := range []byte(body + ".\r\n") {
					c.Send(string([]byte{octet}))
				}
			} else {
				c.Send(body + ".\r\n")
			}
			c.Expect("250")
			wantMessages(t, b, body)
		}
	}
}

// STANDARDS 24.
func TestAMessageOverTheLimitIsReadToItsEndAndRefused(t *testing.T) {
	b, e := one(t, smtptest.Script{}, func(p *plan) { p.Message.MaxSize = 1000 })
	c := e.secure()
	c.Do(envelope, "250", "250", "354")
	c.Send(strings.Repeat("MAIL FROM:<evil@b.test>\r\n", 10000) + ".\r\n")
	c.Expect("552 5.3.4")
	wantMessages(t, b)
	deliver(c)
	e.watch.until(t, "the message's report", func() bool { return len(e.watch.messages) == 2 })
	if m := e.watch.messages[0]; m.Code != 552 || m.Cause != CauseMessageTooBig || m.Bytes != 250000 {
		t.Errorf("reported as %+v", m)
	}
}

// SEM 22.
func TestAClientThatLeavesAmidItsMessageLeavesNoMessage(t *testing.T) {
	for name, send := range map[string]func(*smtptest.Client){
		"DATA":             func(c *smtptest.Client) { c.Do("DATA", "354"); c.Send("one\r\n") },
		"DATA, at the dot": func(c *smtptest.Client) { c.Do("DATA", "354"); c.Send("one\r\n.") },
		"DATA, at the CR":  func(c *smtptest.Client) { c.Do("DATA", "354"); c.Send("one\r\n.\r") },
		"a chunk":          func(c *smtptest.Client) { c.Send("BDAT 10 LAST\r\none\r\n") },
		"between chunks":   func(c *smtptest.Client) { c.Send("BDAT 5\r\none\r\n"); c.Expect("250") },
	} {
		for framing, capabilities := range framings {
			t.Run(name+" "+framing, func(t *testing.T) {
				b, e := one(t, smtptest.Script{Capabilities: capabilities})
				c := e.begun()
				send(c)
				c.Close()
				k := b.Connection(0)
				k.WaitOver()
				wantMessages(t, b)
				if _, data, _ := strings.Cut(k.Octets(), "DATA\r\n"); strings.Contains(data, "QUIT") {
					t.Errorf("it went on as %q", data)
				}
				if s := e.ended(0); s.Messages != 0 || s.Cause != CauseClientGone {
					t.Errorf("ended as %+v", s)
				}
			})
		}
	}
}

// Issue of the trace header: one, directly above the message.
func TestTheTraceHeaderSaysHowTheMessageCame(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(*edge) *smtptest.Client
		want  string
	}{
		"HELO": {func(e *edge) *smtptest.Client { c := e.connect(); c.Do("HELO client.test", "250"); return c },
			"Received: from client.test ([127.0.0.1])\r\n\tby mx.test (postern) with SMTP id "},
		"EHLO": {(*edge).hello, "Received: from client.test ([127.0.0.1])\r\n\tby mx.test (postern) with ESMTP id "},
		"TLS":  {(*edge).secure, "Received: from client.test ([127.0.0.1])\r\n\tby mx.test (postern) with ESMTPS id "},
		"AUTH": {func(e *edge) *smtptest.Client { c := e.secure(); c.Do("AUTH PLAIN "+token, "235"); return c }, "Received: from client.test ([127.0.0.1])\r\n\tby mx.test (postern) with ESMTPSA id "},
		"a forged name": {func(e *edge) *smtptest.Client {
			c := e.connect()
			c.Do("EHLO x) by evil (y;\tz", "501")
			c.Do("EHLO x) by evil;\xff(", "250")
			return c
		},
			"Received: from x??by?evil??? ([127.0.0.1])\r\n"},
	} {
		for framing, capabilities := range framings {
			t.Run(name+" "+framing, func(t *testing.T) {
				b, e := one(t, smtptest.Script{Capabilities: append([]string{"AUTH PLAIN"}, capabilities...)}, trace)
				k := c.begin(e)
				for _, line := range []string{"MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>"} {
					k.Do(line, "250")
				}
				k.Send(chunk(".one\r\n", false))
				k.Expect("250")
				k.Send(chunk("", true))
				k.Expect("250")
				checkTrace(t, b, c.want, name == "TLS" || name == "AUTH", ".one\r\n", framing == "re-framed" || name == "HELO")
				for _, line := range []string{"MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>"} {
					k.Do(line, "250")
				}
				k.Do("DATA", "354")
				k.Do("..one\r\n.", "250")
				if got := b.Messages(); len(got) != 2 || strings.Count(got[1], "Received:") != 1 {
					t.Errorf("the backend got %q", got)
				}
			})
		}
	}
}

func checkTrace(t *testing.T, b *smtptest.Backend, want string, secured bool, body string, stuffed bool) {
	t.Helper()
	if stuffed {
		body = "." + body
	}
	got := b.Messages()[0]
	header, ok := strings.CutSuffix(got, body)
	if !ok || !strings.HasPrefix(header, want) || strings.Count(header, "Received:") != 1 {
		t.Fatalf("the backend got %q, want %q", got, want)
	}
	if tls := "\r\n\t(TLSv1.3 TLS_AES_128_GCM_SHA256 X25519MLKEM768, client certificate not given);\r\n\t"; secured != strings.Contains(header, tls) {
		t.Errorf("TLS in %q: want %v", header, secured)
	}
	for i, line := range strings.Split(strings.TrimSuffix(header, "\r\n"), "\r\n") {
		if i > 0 && line[0] != '\t' || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %q breaks the header", line)
		}
	}
}

// The header is at the start of the octets, so an empty message has it too.
func TestAnEmptyMessageHasATraceHeaderToo(t *testing.T) {
	for _, framing := range []string{"DATA", "BDAT"} {
		b, e := one(t, smtptest.Script{}, trace)
		c := e.begun()
		if framing == "DATA" {
			c.Do("DATA", "354")
			c.Do(".", "250")
		} else {
			c.Do("BDAT 0 LAST", "250")
		}
		if got := b.Messages(); len(got) != 1 || !strings.HasPrefix(got[0], "Received: ") || strings.Count(got[0], "Received:") != 1 {
			t.Errorf("%s: the backend got %q", framing, got)
		}
	}
}

// Every message has its line in the log, with the backend's reply.
func TestAMessageIsReportedOnceWithItsFacts(t *testing.T) {
	_, e := one(t, smtptest.Script{})
	c := e.secure()
	deliver(c)
	c.Do("QUIT", "221")
	log := e.logged("outcome=quit")
	for want, times := range map[string]int{"size=20 recipients=1": 1, `reply="250 2.0.0 queued"`: 1, "messages=1": 1,
		"tls=TLSv1.3": 2, "peer=Anonymous": 2, "hello=client.test": 2} {
		if n := strings.Count(log, want); n != times {
			t.Errorf("%d times %s in %s", n, want, log)
		}
	}
	if m := e.watch.messages; len(m) != 1 || fmt.Sprint(m[0].Code, m[0].Bytes, m[0].Recipients, m[0].Secured) != "250 20 1 true" {
		t.Errorf("reported as %+v", m)
	}
}
