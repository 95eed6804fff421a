package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// RFC 4422, 3.1: what a server might read as another mechanism is not passed on.
func TestAMechanismThatIsNoneIsA501AndTheBackendDoesNotSeeIt(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: []string{"AUTH PLAIN EXTERNAL SCRAM-SHA-256-PLUS"}})
	c := e.secure()
	for _, args := range []string{"\tEXTERNAL =", "EXTERNAL\t=", "SCRAM-SHA-256-PLUS\tYWJj", "PLAIN\x0bYWJj", "PLAIN,EXTERNAL", "\xa0PLAIN", "=",
		"A23456789012345678901 YWJj"} {
		c.Do("AUTH "+args, "501 5.5.4")
	}
	wantCommands(t, b, "EHLO client.test")
}

func TestFailedPasswordsCountAsErrors(t *testing.T) {
	_, e := one(t, smtptest.Script{Capabilities: []string{"AUTH PLAIN"}, Replies: map[string]string{"AUTH": "535 5.7.8 wrong"}},
		func(p *plan) { p.Limits.Errors = 3 })
	c := e.secure()
	c.Do("AUTH PLAIN "+token, "535")
	c.Do("AUTH PLAIN "+token, "535")
	c.Do("AUTH PLAIN "+token, "535", "421 4.7.0")
	c.ExpectClose()
	e.wantRefused(CauseErrors)
}

// A backend takes all it gets within an exchange for a response.
func TestQUITIsNotSaidIntoAnAUTHExchange(t *testing.T) {
	for name, leave := range map[string]func(*smtptest.Client){
		"without a word":  func(c *smtptest.Client) { c.Close() },
		"amid a response": func(c *smtptest.Client) { c.Send("YWJ"); c.Close() },
		"two at once":     func(c *smtptest.Client) { c.Do(token+"\r\n"+token, "554 5.5.1") },
		"bare LF":         func(c *smtptest.Client) { c.Send(token + "\n"); c.Expect("500") },
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, sasl(token))
			c := e.secure()
			c.Do("AUTH LOGIN", "334")
			leave(c)
			b.Connection(0).WaitOver()
			if got := b.Connection(0).Octets(); !strings.HasSuffix(got, "AUTH LOGIN\r\n") {
				t.Errorf("it said %q", got)
			}
		})
	}
}

// RFC 5321, 4.5.3.1.4: a server may cut a longer line in two.
func TestLinesThatAServerNeedNotReadAsOneAreNotPassedOn(t *testing.T) {
	for verb, want := range map[string]string{"VRFY": "500 5.5.2", "EXPN": "500 5.5.2", "HELP": "500 5.5.2", "ETRN": "500 5.5.2", "NOOP": "250 2.0.0"} {
		b, e := one(t, smtptest.Script{})
		c := e.secure()
		longest := verb + " " + strings.Repeat("x", 510-5)
		c.Do(longest, "250")
		c.Do(longest+"x", want)
		wantCommands(t, b, "EHLO client.test", longest)
	}
}

func TestAServerNameIsMadeFitForALog(t *testing.T) {
	_, e := one(t, smtptest.Script{})
	config := e.clientTLS()
	config.InsecureSkipVerify = true // no certificate has this name
	config.ServerName = "x\x1b[2J\n\u202e sni=forged"
	c := e.hello()
	c.StartTLS(config)
	c.Do("QUIT", "221")
	if log := e.logged("outcome=quit"); !strings.Contains(log, " sni=x?[2J???sni?forged ") {
		t.Errorf("logged %s", log)
	}
}

// A backend that would not be told who the clients are is of no use (SEM 9).
func TestAProbeNoticesThatXCLIENTIsNotOffered(t *testing.T) {
	for _, capabilities := range [][]string{{"SIZE"}, {"XCLIENT NAME"}} {
		b, e := one(t, smtptest.Script{Capabilities: capabilities}, convey(ConveyXCLIENT))
		if e.b.Ready() {
			t.Error("ready")
		}
		e.logged("smtpd_authorized_xclient_hosts")
		b.Play(smtptest.Script{Capabilities: []string{"XCLIENT ADDR"}})
		e.b.probe(t.Context(), e.b.targets[0])
		if !e.b.Ready() {
			t.Error("not ready with XCLIENT")
		}
	}
}

// greets is a watcher that knows when a handshake has ended.
type greets struct {
	*watcher
	ended chan struct{}
}

func (g greets) Handshake(string, Handshake) { close(g.ended) }

// SEM 31: what we end ourselves says nothing of the client.
func TestOnlyWhatTheClientDoesCountsAsAFailedHandshake(t *testing.T) {
	cut := func(e *edge) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.Shutdown(ctx) // one session is cut off
	}
	for name, c := range map[string]struct {
		command time.Duration
		end     func(*edge)
		cause   Cause
	}{
		"it idles":      {2 * time.Second, func(*edge) {}, CauseTimeout},
		"we shut down":  {smtptest.Patience, func(e *edge) { _ = e.Shutdown(context.Background()) }, CauseShutdown},
		"we cut it off": {smtptest.Patience, cut, CauseShutdown},
	} {
		t.Run(name, func(t *testing.T) {
			m, g := &memory{}, greets{ended: make(chan struct{})}
			_, e := one(t, smtptest.Script{}, remembering(m), func(p *plan) {
				g.watcher = p.Observer.(*watcher)
				p.Observer, p.Timeouts.Command = g, c.command
			})
			k := e.hello()
			k.StartTLS(e.clientTLS())
			<-g.ended
			go func() { // the reply, where there is one, is read
				_, _ = k.Reply()
				k.Close()
			}()
			c.end(e)
			if s := e.ended(0); s.Cause != c.cause || len(m.told) != 0 {
				t.Errorf("ended by %s, told %q", s.Cause, m.told)
			}
		})
	}
}

func TestLeavingAfterOurFlightCountsAsAFailedHandshake(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		m := &memory{}
		_, e := one(t, smtptest.Script{}, remembering(m))
		k := e.hello()
		k.Do("STARTTLS", "220")
		config := e.clientTLS()
		config.MinVersion, config.MaxVersion = version, version
		config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			k.Close()
			return errors.New("it goes without a word")
		}
		if k.Handshake(config) == nil {
			t.Error("the handshake was finished")
		}
		if s := e.ended(0); s.Cause != CauseClosedOnFlight || !slices.Equal(m.told, []string{"failed client.test"}) {
			t.Errorf("ended by %s, told %q", s.Cause, m.told)
		}
	}
}

// A time limit that ran out while the backend was thinking was that of the client's
// octets: what the backend says last must still be said.
func TestTheLastReplyIsSaidHoweverLongAgoTheClientSpoke(t *testing.T) {
	hold := make(chan struct{})
	b, e := one(t, smtptest.Script{Hold: map[string]<-chan struct{}{".": hold}, Replies: map[string]string{".": "421 4.3.2 bye"}},
		func(p *plan) { p.Timeouts.Data = short })
	c := e.begun()
	c.Do("DATA", "354")
	c.Send("x\r\n.\r\n")
	b.Connection(0).WaitFor("\r\n.\r\n")
	later := e.inData()
	later.Expect("421 4.4.2") // so the first one's time is up too
	close(hold)
	c.Expect("421 4.3.2 bye")
	c.ExpectClose()
}
