package proxy

import (
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

const short = 60 * time.Millisecond

// STANDARDS 30; SEM 39: a deadline on every command, a last one on every
// connection.
func TestASilentClientTimesOutInEveryPhase(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Timeouts)
		begin  func(*edge) *smtptest.Client
		want   string // "": closed without a word
		cause  Cause
	}{
		"before EHLO":             {func(t *Timeouts) { t.Command = short }, (*edge).connect, "421 4.4.2 Timeout", CauseTimeout},
		"amid a command":          {func(t *Timeouts) { t.Command = short }, sent((*edge).connect, "EHL"), "421 4.4.2 Timeout", CauseTimeout},
		"inside TLS":              {func(t *Timeouts) { t.Command = 2 * time.Second }, (*edge).secure, "421 4.4.2 Timeout", CauseTimeout},
		"in a session too long":   {func(t *Timeouts) { t.Session = short }, (*edge).connect, "421 4.4.2 Session too long", CauseSession},
		"amid a message":          {func(t *Timeouts) { t.Data = short }, sent((*edge).inData, "x\r\n"), "421 4.4.2", CauseSlow},
		"amid a chunk":            {func(t *Timeouts) { t.Data = short }, sent((*edge).begun, "BDAT 9\r\nx"), "421 4.4.2", CauseSlow},
		"amid a refused chunk":    {func(t *Timeouts) { t.Data = short }, sent((*edge).hello, "BDAT 9\r\nx"), "421 4.4.2", CauseSlow},
		"in the handshake":        {func(t *Timeouts) { t.StartTLS = short }, (*edge).asked, "", CauseStalled},
		"before the PROXY header": {func(t *Timeouts) { t.Proxy = short }, (*edge).dialled, "", CauseProxyHeader},
		"amid the PROXY header":   {func(t *Timeouts) { t.Proxy = short }, sent((*edge).dialled, "PROXY TCP4 1"), "", CauseProxyHeader},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{}, func(p *plan) {
				c.change(&p.Timeouts)
				if c.cause == CauseProxyHeader {
					p.Networks.Proxy = p.loopback()
				}
			})
			k := c.begin(e)
			if c.want != "" {
				k.Expect(c.want)
			}
			k.ExpectClose()
			k.Close()
			if s := e.ended(0); s.Cause != c.cause {
				t.Errorf("ended as %+v, want %s", s, c.cause)
			}
			wantMessages(t, b)
		})
	}
}

func sent(begin func(*edge) *smtptest.Client, octets string) func(*edge) *smtptest.Client {
	return func(e *edge) *smtptest.Client {
		c := begin(e)
		c.Send(octets)
		return c
	}
}

func (e *edge) inData() *smtptest.Client {
	c := e.begun()
	c.Do("DATA", "354")
	return c
}

func (e *edge) asked() *smtptest.Client {
	c := e.hello()
	c.Do("STARTTLS", "220")
	return c
}

func (e *edge) dialled() *smtptest.Client { return smtptest.Dial(e.t, e.addr) }

// SEM 39.
func TestAClientThatDoesNotReadIsClosed(t *testing.T) {
	_, e := one(t, smtptest.Script{Replies: map[string]string{"RCPT": strings.Repeat("250-"+strings.Repeat("x", 500)+"\r\n", 100) + "250 ok"}},
		func(p *plan) { p.Timeouts.Command = 2 * time.Second })
	c := e.hello()
	c.Do("MAIL FROM:<a@b.test>", "250")
	go func() {
		for c.Try(strings.Repeat("RCPT TO:<c@d.test>\r\n", 100)) == nil {
		}
	}()
	if s := e.ended(0); s.Cause != CauseSlow {
		t.Errorf("ended as %+v", s)
	}
}
