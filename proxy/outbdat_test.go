package proxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/smtpwire"
)

// asChunks is a message as BDAT commands, the last of them with LAST.
func asChunks(chunks ...string) string {
	var b strings.Builder
	for i, c := range chunks {
		last := ""
		if i == len(chunks)-1 {
			last = " LAST"
		}
		fmt.Fprintf(&b, "BDAT %d%s\r\n%s", len(c), last, c)
	}
	return b.String()
}

const toExample = "MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.com>\r\n"

// SEM 5 and 7: what comes with BDAT goes out with DATA.
func TestChunksGoOutAsDATA(t *testing.T) {
	for name, c := range map[string]struct {
		chunks []string
		want   string
	}{
		"one chunk":                     {[]string{"a\r\nb\r\n"}, "a\r\nb\r\n"},
		"many":                          {[]string{"a", "\r\n", "", "b\r", "\nc\r\n", ""}, "a\r\nb\r\nc\r\n"},
		"nothing":                       {[]string{""}, ""},
		"nothing twice":                 {[]string{"", ""}, ""},
		"no end of line":                {[]string{"a\r\nb"}, "a\r\nb\r\n"},
		"no end of line before nothing": {[]string{"a", ""}, "a\r\n"},
		"a dot":                         {[]string{"."}, "..\r\n"},
		"a dot on a line":               {[]string{"a\r\n.\r\nb\r\n"}, "a\r\n..\r\nb\r\n"},
		"a dot behind a border":         {[]string{"a\r\n", ".b\r\n"}, "a\r\n..b\r\n"},
		"a dot before a border":         {[]string{"a\r\n.", "\r\nb\r\n"}, "a\r\n..\r\nb\r\n"},
		"a dot behind a split CRLF":     {[]string{"a\r", "\n.b\r\n"}, "a\r\n..b\r\n"},
		"what looks like the end":       {[]string{"a\r\n.\r\nMAIL FROM:<x@y.test>\r\n"}, "a\r\n..\r\nMAIL FROM:<x@y.test>\r\n"},
		"a bare LF":                     {[]string{"a\nb\r\n"}, "a\r\nb\r\n"},
		"a dot behind a bare LF":        {[]string{"a\n.\nb\r\n"}, "a\r\n..\r\nb\r\n"},
		"a bare CR":                     {[]string{"a\rb\r\n"}, "a b\r\n"},
		"a bare CR at the end":          {[]string{"a\r"}, "a \r\n"},
		"octets that are no text":       {[]string{"\x00\xff\r\n"}, "\x00\xff\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, receivers["good"], func(t *testing.T, _ *world, b *smtptest.Backend, e *egress) {
				k := e.client()
				k.Send(toExample + asChunks(c.chunks...))
				k.Expect("250")
				k.Expect("250")
				for range c.chunks[1:] {
					k.Expect("250 2.0.0")
				}
				k.Expect("250 2.0.0 queued")
				k.Do("QUIT", "221")
				wantMessages(t, b, c.want)
				if all := b.Commands(); !slices.Contains(all, "DATA") || slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, "BDAT") }) {
					t.Errorf("it was sent with %q", all)
				}
			})
		})
	}
}

func TestBareNewlinesInChunksAreRefusedWhereThatIsConfigured(t *testing.T) {
	for _, bad := range []string{"a\nb\r\n", "a\rb\r\n", "a\r"} {
		in(t, receivers["good"], func(t *testing.T, _ *world, b *smtptest.Backend, e *egress) {
			k := e.client()
			k.Send(toExample + asChunks("x\r\n", bad))
			for _, want := range []string{"250", "250", "250", "550 5.5.2"} {
				k.Expect(want)
			}
			k.Send(toExample + asChunks("good\r\n"))
			for _, want := range []string{"250", "250", "250 2.0.0 queued"} {
				k.Expect(want)
			}
			wantMessages(t, b, "good\r\n")
		}, func(p *layout) { p.Message.Newlines = smtpwire.Reject })
	}
}

// RFC 3030, 2: the octets of a chunk are data, whatever becomes of it.
func TestRefusedChunksAreReadAndNotExecuted(t *testing.T) {
	const smuggled = "NOOP\r\nMAIL FROM:<x@y.test>\r\n"
	refusing := says("DATA", "554 5.7.1 not from you")
	for name, c := range map[string]struct {
		of   receiver
		send string
		want []string
	}{
		"without MAIL":   {receivers["good"], asChunks(smuggled), []string{"503"}},
		"without RCPT":   {receivers["good"], "MAIL FROM:<a@sender.test>\r\n" + asChunks(smuggled), []string{"250", "554"}},
		"DATA refused":   {refusing, toExample + asChunks(smuggled), []string{"250", "250", "554 5.7.1 not from you"}},
		"in two":         {refusing, toExample + asChunks(smuggled, smuggled), []string{"250", "250", "554 5.7.1", "554 5.7.1"}},
		"too big":        {receivers["good"], toExample + asChunks(strings.Repeat("x", 2000), smuggled), []string{"250", "250", "552 5.3.4", "552 5.3.4"}},
		"too big at end": {receivers["good"], toExample + asChunks(smuggled, strings.Repeat("x", 2000)), []string{"250", "250", "250", "552 5.3.4"}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, c.of, func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
				k := e.client()
				k.Send(c.send)
				for _, want := range c.want {
					k.Expect(want)
				}
				k.Do("RSET", "250")
				receivers["good"].replace(w, b)
				e.g.Close() // what is kept of the former is of no use here
				k.Send(toExample + asChunks("good\r\n"))
				for _, want := range []string{"250", "250"} {
					k.Expect(want)
				}
				k.Expect("250 2.0.0 queued")
				k.Do("QUIT", "221")
				wantMessages(t, b, "good\r\n")
			}, func(p *layout) { p.Message.MaxSize = 1000 })
		})
	}
}

func TestAMalformedBDATEndsTheSession(t *testing.T) {
	for _, args := range []string{"", " ", " x", " -1", " 1 2", " 1 LAST LAST", " 99999999999999999999"} {
		in(t, receivers["good"], func(_ *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
			k := e.client()
			k.Send(toExample + "BDAT" + args + "\r\n")
			k.Expect("250")
			k.Expect("250")
			k.Expect("5")
			k.ExpectClose()
		})
	}
}

func TestWhileAMessageComesInChunksNothingElseBegins(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, _ *world, b *smtptest.Backend, e *egress) {
		k := e.client()
		k.Do(toExample+"BDAT 3\r\na", "250", "250", "250")
		k.Do("DATA", "503")
		k.Do("MAIL FROM:<x@sender.test>", "503")
		k.Do("RCPT TO:<c@example.com>", "503")
		k.Do("NOOP", "250")
		k.Send("BDAT 3 LAST\r\nb\r\n")
		k.Expect("250 2.0.0 queued")
		wantMessages(t, b, "a\r\nb\r\n")
	})
}

// DATA knows no RSET: what was begun is taken back by closing (SEM 22).
func TestRSETWithinChunksTakesTheMessageBack(t *testing.T) {
	for _, word := range []string{"RSET", "EHLO again.test"} {
		in(t, receivers["good"], func(t *testing.T, _ *world, b *smtptest.Backend, e *egress) {
			k := e.client()
			k.Do(toExample+"BDAT 3\r\na", "250", "250", "250")
			k.Do(word, "250")
			b.Connection(0).WaitOver()
			k.Do("BDAT 3 LAST\r\nb", "503")
			k.Send(toExample + asChunks("c\r\n"))
			for _, want := range []string{"250", "250", "250 2.0.0 queued"} {
				k.Expect(want)
			}
			wantMessages(t, b, "c\r\n")
		})
	}
}

func TestAClientThatLeavesWithinChunksHasSentNothing(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, _ *world, b *smtptest.Backend, e *egress) {
		for _, last := range []string{"BDAT 3\r\na\r\n", "BDAT 3 LAST\r\na\r", "BDAT 3\r\na\r\nBDAT 0 LAST"} {
			k := e.client()
			k.Send(toExample + last)
			k.Expect("250")
			k.Expect("250")
			k.Close()
		}
		e.watch.until(t, "the end of the sessions", func() bool { return len(e.watch.sessions) == 3 })
		wantMessages(t, b)
	})
}

// RFC 2033, 4.2: only the last chunk is answered for each recipient.
func TestLMTPAnswersTheLastChunkForEachRecipient(t *testing.T) {
	fanned(t, 3, func(t *testing.T, x *fanOut) {
		x.to[1].Play(smtptest.Script{Replies: map[string]string{".": "550 5.7.1 spam"}})
		x.to[2].Play(smtptest.Script{Die: "message"})
		k := x.client()
		k.Do("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@d0.test>\r\nRCPT TO:<b@d1.test>\r\nRCPT TO:<b@d2.test>\r\nRCPT TO:<c@d0.test>", "250", "250", "250", "250", "250")
		k.Send(asChunks("Subject: x\r\n", "\r\nhello\r\n"))
		for _, want := range []string{"250", "250 2.0.0 queued", "550 5.7.1 spam", "451 4.4.2 mx2.test", "250 2.0.0 queued"} {
			k.Expect(want)
		}
		k.Do("NOOP", "250")
		wantMessages(t, x.to[0], letter)
	})
}

func TestLMTPAnswersARefusedMessageForEachRecipient(t *testing.T) {
	fanned(t, 2, func(_ *testing.T, x *fanOut) {
		x.to[0].Play(smtptest.Script{Replies: map[string]string{"DATA": "554 5.7.1 no"}})
		k := x.client()
		k.Send("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@d0.test>\r\nRCPT TO:<c@d0.test>\r\n" + asChunks("x\r\n"))
		for _, want := range []string{"250", "250", "250", "554 5.7.1 no", "554 5.7.1 no"} {
			k.Expect(want)
		}
		k.Do("NOOP", "250")
		k.Send("MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@d1.test>\r\nRCPT TO:<c@d1.test>\r\n" + asChunks("x\r\n", strings.Repeat("y", 2000)))
		for _, want := range []string{"250", "250", "250", "250", "552 5.3.4", "552 5.3.4"} {
			k.Expect(want)
		}
		k.Do("NOOP", "250")
		x.wantGot()
	}, func(p *layout) { p.Message.MaxSize = 1000 })
}

// randomMessage is one of the messages that are hard to carry: dots, line ends and
// octets that are no text, in lines that all end in CRLF.
func randomMessage(r *rand.Rand) string {
	var b strings.Builder
	words := []string{".", "..", ".\x00", "\x00", "\xff", "text", "From ", "QUIT", "BDAT 3 LAST", ".\tx", strings.Repeat("x", 70), strings.Repeat(".", 900)}
	for range r.IntN(40) {
		for range r.IntN(4) {
			b.WriteString(words[r.IntN(len(words))])
		}
		b.WriteString("\r\n")
	}
	if r.IntN(8) == 0 {
		b.WriteString(strings.Repeat(strings.Repeat("z", r.IntN(100))+"\r\n", r.IntN(3000)))
	}
	return b.String()
}

// stuffed is a message as DATA carries it.
func stuffed(m string) string { return string(smtpwire.StuffDots([]byte(m))) }

func unstuffed(m string) string {
	return strings.ReplaceAll("\r\n"+m, "\r\n.", "\r\n")[2:]
}

// pieces cuts a text anywhere.
func pieces(r *rand.Rand, s string) (all []string) {
	for len(s) > 0 {
		n := min(len(s), 1+r.IntN(1+r.IntN(1+r.IntN(20000))))
		all, s = append(all, s[:n]), s[n:]
	}
	return all
}

// Promise 5: what the next hop gets is what was sent, however it came.
func TestTheNextHopGetsWhatWasSent(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 321))
	for _, front := range []string{"SMTP", "LMTP"} {
		fanned(t, 3, func(t *testing.T, x *fanOut) {
			x.to[1].Play(smtptest.Script{})
			k := x.client()
			for i := range 150 {
				m := randomMessage(r)
				to := upTo(3)
				if front == "SMTP" {
					to = to[:1]
				}
				x.sendAnyhow(r, k, m, to)
				for _, n := range to {
					all := x.to[n].Messages()
					if len(all) != i+1 || unstuffed(all[i]) != m {
						t.Fatalf("%s, message %d: destination %d got %q, want %q", front, i, n, unstuffed(all[len(all)-1]), m)
					}
				}
			}
		}, func(p *layout) { p.LMTP = front == "LMTP" })
	}
}

// sendAnyhow sends a message with DATA or BDAT, in segments as they fall.
func (x *fanOut) sendAnyhow(r *rand.Rand, k *smtptest.Client, m string, to []int) {
	x.t.Helper()
	lines := "MAIL FROM:<a@sender.test>\r\n"
	for _, n := range to {
		lines += fmt.Sprintf("RCPT TO:<b@d%d.test>\r\n", n)
	}
	k.Send(lines)
	for range len(to) + 1 {
		k.Expect("250")
	}
	if r.IntN(2) == 0 {
		k.Do("DATA", "354")
		for _, p := range pieces(r, stuffed(m)+".\r\n") {
			k.Send(p)
		}
	} else {
		chunks := pieces(r, m)
		if len(chunks) == 0 || r.IntN(2) == 0 {
			chunks = append(chunks, "")
		}
		k.Send(asChunks(chunks...))
		for range chunks[1:] {
			k.Expect("250")
		}
	}
	for range to {
		k.Expect("250 2.0.0 queued")
	}
}
