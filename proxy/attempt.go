package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/peers"
	"postern/smtpwire"
	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/policy"
)

// outLeg is the leg to a mail server of a destination.
type outLeg struct {
	upstream
	g        *Gateway
	host     *host
	decision *policy.Decision
	sec      secured
	verdict  policy.Verdict
	clear    string // why there is no TLS although it was to be tried: "skip", or what failed
	domain   string // that it was opened for
	key      poolKey
	reused   int
	took     phases
	release  func()      // gives its place back
	leave    func() bool // ends what cut began
	keptAt   time.Time
	dirty    bool   // has a transaction that must be reset
	session  string // of the client that used it last
}

// shut closes the leg. Where it is in step with the server, leave is taken first.
func (l *outLeg) shut(inStep bool) {
	l.safe()
	if inStep {
		l.quit()
	} else {
		l.close()
	}
	if l.release != nil {
		l.release()
		l.release = nil
	}
}

// cut has the leg closed when ctx ends: who uses it waits for the server, perhaps for
// long. safe is the end of that.
func (l *outLeg) cut(ctx context.Context) {
	l.leave = context.AfterFunc(ctx, func() { l.conn.Conn.Close() })
}

func (l *outLeg) safe() {
	if l.leave != nil {
		l.leave()
		l.leave = nil
	}
}

// attempt is everything that is tried with one address of a host: at most three
// connections (SEM 19).
type attempt struct {
	g    *Gateway
	dest *destination
	host *host
	addr netip.AddrPort
	who  sender

	took       phases
	connected  bool
	greeted    bool // it said something
	plain      bool // TLS was tried with a small ClientHello in the end
	unroutable bool
}

// manner is how a connection is made.
type manner uint8

const (
	inTLS   manner = iota
	inPlain        // TLS with a small ClientHello, for servers that do not stand a large one
	inClear
)

// tlsFailure is TLS that was tried and did not come about.
type tlsFailure struct {
	why   string // one of the causes, for the memory
	early bool   // before the server's certificate came: it may be our ClientHello
	// attack: octets stood behind the 220 to STARTTLS. There is no innocent
	// explanation, so nothing is tried after it (SEM 29).
	attack bool
	inStep bool // the server waits for a command
	err    error
}

func (f *tlsFailure) Error() string { return f.why + ": " + f.err.Error() }

func (f *tlsFailure) Unwrap() error { return f.err }

// run tries until the decision is met, or cannot be.
func (a *attempt) run(ctx context.Context) (*outLeg, *failure) {
	how, clear := a.manner()
	leg, err := a.connect(ctx, how)
	if t := asTLSFailure(err); t != nil && t.early && !t.attack && !a.host.mandatory() { // SEM 28
		a.plain = true
		leg, err = a.connect(ctx, inPlain)
		if err != nil && asTLSFailure(err) == nil {
			err = t // it had no second connection for us, and TLS is what failed
		}
	}
	if t := asTLSFailure(err); t != nil {
		return a.withoutTLS(ctx, t)
	}
	if err != nil {
		return nil, a.failure(err)
	}
	return a.use(leg, clear)
}

// manner is how the first connection is made, and why that is in clear. Where TLS comes
// first nothing goes in clear, whatever is asked.
func (a *attempt) manner() (how manner, clear string) {
	switch standing := a.g.o.Peers.Standing(a.host.peer()); {
	case a.host.implicit, a.host.mandatory():
	case a.host.decision.Level == level.None:
		return inClear, ""
	case a.g.o.Fallback == FallbackNever:
	case standing.Skip:
		return inClear, clearSkip
	case a.g.failed.nextIsClear(a.host):
		return inClear, clearFallback
	}
	return inTLS, ""
}

func asTLSFailure(err error) *tlsFailure {
	var t *tlsFailure
	errors.As(err, &t)
	return t
}

// use notes what a leg turned out to be. clear is why there is no TLS on it, where
// that is known.
func (a *attempt) use(leg *outLeg, clear string) (*outLeg, *failure) {
	o, peer := a.g.o.Peers, a.host.peer()
	switch leg.clear = clear; {
	case leg.sec.active():
		a.g.failed.settled(a.host)
		o.Secured(a.dest.domain, peer, a.facts(leg))
		return leg, nil
	case a.host.decision.Level == level.None:
		return leg, nil
	case clear == "":
		leg.clear = clearNotOffered
		o.InClear(a.dest.domain, peer)
	case clear == clearSkip:
		o.InClear(a.dest.domain, peer)
	default:
		a.g.failed.settled(a.host)
		o.WentClear(a.dest.domain, peer)
	}
	if d := leg.decision.Observed; d != nil { // SEM 32
		leg.verdict.Would = d.Level.String() + ": expected TLS, saw none (" + leg.clear + ")"
	}
	return leg, nil
}

// withoutTLS is what comes after TLS failed (SEM 29).
func (a *attempt) withoutTLS(ctx context.Context, t *tlsFailure) (*outLeg, *failure) {
	o := a.g.o
	peer := a.host.peer()
	if a.host.mandatory() {
		o.Peers.Rejected(a.dest.domain, peer, t.why)
		return nil, a.notMet(t)
	}
	if t.attack { // it says nothing about what the server can do: no skip comes of it
		return nil, failing(CauseInjection, 451, "4.7.5", fmt.Sprintf("%s: there were octets behind the reply to STARTTLS: somebody may be tampering with the connection", a.where()), t)
	}
	may := o.Peers.TLSFailed(a.dest.domain, peer, t.why)
	text := fmt.Sprintf("%s: TLS failed (%v)", a.where(), t)
	switch {
	case a.host.implicit || o.Fallback == FallbackNever:
		return nil, failing(CauseTLS, 451, "4.7.5", text, t)
	case !may:
		return nil, failing(CauseTLS, 451, "4.7.5", text+"; it has worked before, so it is tried again before mail goes in clear", t)
	case o.Fallback == FallbackNextSession:
		a.g.failed.clearNext(a.host)
		return nil, failing(CauseTLS, 451, "4.7.5", text+"; the next attempt goes in clear", t)
	}
	leg, err := a.connect(ctx, inClear)
	if err != nil {
		return nil, a.failure(fmt.Errorf("%w; TLS had failed before (%v)", err, t))
	}
	return a.use(leg, t.why)
}

// where names the server in a reply.
func (a *attempt) where() string { return a.host.name + " [" + a.addr.Addr().String() + "]" }

// notMet is the failure of a server that does not do what the decision asks (SEM
// 29).
func (a *attempt) notMet(err error) *failure {
	d := a.host.decision
	what := err.Error()
	cause := CauseTLS
	if v := (*policy.Violation)(nil); errors.As(err, &v) {
		what, cause = fmt.Sprintf("expected %s, saw %s", v.Verdict.Expected, v.Verdict.Seen), CauseCertificate
	} else if t := asTLSFailure(err); t != nil && t.attack {
		cause = CauseInjection
	} else if err == errNoSTARTTLS {
		cause = CauseNoSTARTTLS
	}
	text := fmt.Sprintf("%s: level %s asked by %s: %s", a.where(), d.Level, asker(d), what)
	if a.host.block != "" {
		text += "; if this is a relay, write " + a.host.block
	}
	return failing(cause, 451, "4.7.5", text, err)
}

// asker is who asked for the level of a decision, in words.
func asker(d *policy.Decision) string {
	if d.Place != "" && d.Source == policy.SourceOperator {
		return string(d.Source) + " (" + d.Place + ")"
	}
	return string(d.Source)
}

// failure puts an error of the connection in words.
func (a *attempt) failure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	cause := CauseDial
	if a.connected {
		cause = CauseUpstreamGone
	}
	return failing(cause, 451, "4.4.1", a.where()+": "+plainly(err), err)
}

// connect makes one connection, up to and with the reply to the last EHLO. Errors
// are a *failure, a *tlsFailure, or one of the network.
func (a *attempt) connect(ctx context.Context, how manner) (leg *outLeg, err error) {
	type result struct {
		leg *outLeg
		err error
	}
	ch := make(chan result, 1)
	deepStack.do(func() {
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
	settled := false
	defer func() {
		if !settled { // a defect of ours
			c.Close()
		}
	}()
	l := &outLeg{upstream: upstream{leg: leg{conn: newConn(c)}, address: a.addr.String()}, g: a.g, host: a.host, decision: a.host.decision,
		domain: a.dest.domain, key: a.g.poolKey(a.host, a.who)}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(aLongTimeAgo) })
	defer stop()
	l.over(l.conn)
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
		return &tlsFailure{why: "EHLO inside TLS failed", inStep: inStep(err), err: err} // SEM 28
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
	return failing(CauseUpstreamGreeting, 451, "4.4.1", fmt.Sprintf("%s said in reply to %s: %s", a.where(), ourWord(to), r.String()), nil)
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
	l.conn.within(a.g.o.Timeouts.StartTLS, a.who.until)
	r, err := l.ask("STARTTLS")
	switch {
	case err != nil:
		return &tlsFailure{why: "no reply to STARTTLS", err: err}
	case r.Code != 220:
		return &tlsFailure{why: "STARTTLS refused", inStep: true, err: fmt.Errorf("it said %q", r.String())}
	case l.r.Buffered() > 0 || l.conn.unread():
		return &tlsFailure{why: "injection", attack: true, err: errors.New("octets behind the reply to STARTTLS")}
	}
	return nil
}

// facts is what the memory keeps of a leg. A certificate that came only because SNI was
// left out is no promise: at a level that asks for one SNI is always there (SEM 28), and
// so nothing would be delivered.
func (a *attempt) facts(l *outLeg) peers.Facts {
	return peers.Facts{Version: l.sec.version, Suite: l.sec.suite, Group: l.sec.group, ForwardSecret: grade.ForwardSecret(l.sec.version, l.sec.suite),
		Resumed: l.sec.resumed, Trust: l.verdict.Trust.String(), Valid: l.verdict.Valid && !a.plain}
}
