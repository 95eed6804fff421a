package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/smtpwire"
)

// connect makes one connection, up to and with the reply to the last EHLO. Errors
// are a *failure, a *tlsFailure, or one of the network.
func (a *attempt) connect(ctx context.Context, how manner) (leg *outLeg, err error) {
	type result struct {
		leg *outLeg
		err error
	}
	ch := make(chan result, 1)
	a.g.deepStack.do(func() {
		r := result{err: errPanic}
		defer func() { ch <- r }()
		defer a.g.caught()
		r.leg, r.err = a.dialogue(ctx, how)
	})
	r := <-ch
	return r.leg, r.err
}

// dialogue is connect, done by a worker.
func (a *attempt) dialogue(ctx context.Context, how manner) (*outLeg, error) {
	l, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	c := l.conn.Conn
	end, loop := a.g.o.Loops.open(c.LocalAddr(), a.addr)
	defer end()
	if loop {
		l.shut(false)
		return nil, a.redirectedBack()
	}
	settled := false
	defer func() {
		if !settled { // a defect of ours
			c.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(aLongTimeAgo) })
	defer stop()
	err = a.speak(l, how)
	settled = true
	l.conn.untilRead(false)
	if err != nil {
		l.shut(inStep(err))
		return nil, err
	}
	l.conn.over(a.g.sweeper)
	return l, nil
}

// open makes the connection; nothing is said on it.
func (a *attempt) open(ctx context.Context) (*outLeg, error) {
	start := time.Now()
	dialCtx, cancel := context.WithDeadline(ctx, a.who.until)
	defer cancel()
	c, err := a.g.dialTCP(dialCtx, a.addr)
	a.took.connect += time.Since(start)
	if err != nil {
		a.unroutable = unroutable(err)
		return nil, err
	}
	a.connected = true
	a.local = localAddr(c)
	l := &outLeg{upstream: upstream{leg: leg{conn: newConn(c)}, address: a.addr.String()}, g: a.g, host: a.host, decision: a.host.decision,
		domain: a.dest.domain, key: a.g.poolKey(a.host, a.who), born: time.Now()}
	l.over(l.conn)
	return l, nil
}

// hintLoop says what to do about connections that are redirected back to us.
const hintLoop = "the firewall redirects postern's own connections: exempt the user that postern runs as (postern redirect install --exempt-uid), or its mark"

// redirectedBack is a connection to a server that has come back to one of our listeners.
func (a *attempt) redirectedBack() *failure {
	a.g.o.Log.Error("a connection came back to this gateway: "+hintLoop, "outbound", a.g.o.Outbound, "address", a.addr.String())
	return failing(CauseLoop, 451, "4.4.6", a.where()+": the connection was redirected back to this gateway", nil)
}

// inStep says whether the server still waits for a command after err.
func inStep(err error) bool {
	if t := asTLSFailure(err); t != nil {
		return t.inStep
	}
	var f *failure
	return errors.As(err, &f) && (f.cause == CauseUpstreamGreeting || f.cause == CauseNoSTARTTLS)
}

// speak is everything between the connection and the reply to the last EHLO.
func (a *attempt) speak(l *outLeg, how manner) error {
	if how != inClear && a.host.implicit {
		if err := a.handshake(l, how); err != nil {
			return err
		}
	}
	if err := a.hello(l, true); err != nil {
		return err
	}
	if how == inClear || l.sec.active() {
		return nil
	}
	if !l.caps.Has("STARTTLS") {
		if !a.host.mandatory() {
			return nil
		}
		a.g.o.Peers.Rejected(a.dest.domain, a.host.peer(), "STARTTLS is not offered")
		return a.notMet(errNoSTARTTLS)
	}
	if err := a.startTLS(l); err != nil {
		return err
	}
	if err := a.handshake(l, how); err != nil {
		return err
	}
	if err := a.hello(l, false); err != nil {
		if f := (*failure)(nil); errors.As(err, &f) && f.said/100 == 4 {
			return f // it is busy, and says so: TLS works
		}
		return &tlsFailure{why: "EHLO inside TLS failed", failure: failedEHLO, inStep: inStep(err), err: err} // SEM 28
	}
	return nil
}

var errNoSTARTTLS = errors.New("it does not offer STARTTLS")

// hello reads the greeting, where there is one to come, and says EHLO, or HELO to a
// server that knows no other (RFC 5321, 3.2; STANDARDS 15 and 16).
func (a *attempt) hello(l *outLeg, greeting bool) error {
	start := time.Now()
	defer func() { a.took.smtp += time.Since(start) }()
	if greeting {
		l.conn.within(greetingTimeout, a.who.until)
		r, err := l.reply()
		if err != nil {
			return fmt.Errorf("no greeting: %w", err)
		}
		a.greeted = true
		a.helo = helloOf(r)
		if r.Code != 220 {
			return a.unwelcome("greeting", r)
		}
	}
	until := a.who.until
	if !greeting { // a server may hang only inside TLS: something else is to be tried then
		until = time.Now().Add(time.Until(until) / 2)
	}
	l.conn.within(a.g.o.Timeouts.Command, until)
	r, err := l.ask("EHLO " + a.who.hello)
	switch {
	case err != nil:
		return fmt.Errorf("no reply to EHLO: %w", err)
	case r.Code == 250:
		l.caps = smtpwire.ParseCapabilities(r)
		return nil
	case !refusesEHLO(r) || l.sec.active():
		return a.unwelcome("EHLO", r)
	}
	if r, err = l.ask("HELO " + a.who.hello); err != nil {
		return fmt.Errorf("no reply to HELO: %w", err)
	}
	if l.caps = nil; r.Code != 250 {
		return a.unwelcome("HELO", r)
	}
	return nil
}

// unwelcome is a server that will not have us, for now: what it says is about us, not
// about the message, so it is no reason to send that back (Postfix's
// smtp_skip_5xx_greeting).
func (a *attempt) unwelcome(to string, r smtpwire.Reply) *failure {
	f := failing(CauseUpstreamGreeting, 451, "4.4.1", fmt.Sprintf("%s said in reply to %s: %s", a.where(), ourWord(to), r.Quote()), nil)
	f.said = r.Code
	return f
}

func ourWord(to string) string {
	if to == "greeting" {
		return "our connection"
	}
	return to
}

// startTLS asks for TLS. What comes with the 220 came in clear, from anybody
// (STANDARDS 6).
func (a *attempt) startTLS(l *outLeg) error {
	a.secured = time.Now()
	l.conn.within(a.g.o.Timeouts.StartTLS, a.who.until)
	r, err := l.ask("STARTTLS")
	switch {
	case err != nil:
		return &tlsFailure{why: "no reply to STARTTLS", failure: failedNoReply, err: err}
	case r.Code != 220:
		return &tlsFailure{why: "STARTTLS refused", failure: failedRefused, inStep: true, said: r.Code, err: fmt.Errorf("it said %q", r.Quote())}
	case l.r.Buffered() > 0 || l.conn.unread():
		return &tlsFailure{why: "injection", failure: failedInjection, attack: true, err: errors.New("octets behind the reply to STARTTLS")}
	}
	return nil
}
