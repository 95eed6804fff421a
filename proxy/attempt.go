package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"postern/peers"
	"postern/tls/level"
	"postern/tls/policy"
	"postern/tls/report"
)

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
	secured    time.Time // when TLS was begun

	local  netip.Addr      // ours
	helo   string          // what the server calls itself
	judged *policy.Verdict // of the last handshake; nil: there was none
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
	why     string         // one of the causes, for the memory
	failure report.Failure // likewise, for reports
	early   bool           // before the server's certificate came: it may be our ClientHello
	// attack: octets stood behind the 220 to STARTTLS. There is no innocent
	// explanation, so nothing is tried after it (SEM 29).
	attack bool
	inStep bool // the server waits for a command
	said   int  // the code that STARTTLS was refused with; 0: it was not
	err    error
}

func (f *tlsFailure) Error() string { return f.why + ": " + plainly(f.err) }

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
		} else if err == nil && !leg.sec.active() { // STARTTLS is not even offered any more
			leg.shut(true)
			leg, err = nil, t
		}
	}
	if t := asTLSFailure(err); t != nil {
		if a.interrupted(ctx, t) {
			return nil, failing(CauseRoute, 451, "4.4.1", a.where()+": TLS could not be finished in time", t)
		}
		return a.withoutTLS(ctx, t)
	}
	if err != nil {
		f := a.failure(err)
		a.gaveUp(f)
		return nil, f
	}
	a.found(leg, clear)
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

// interrupted says whether TLS did not come about because of us: we stop, or there was
// hardly any time left for it. That says nothing about the server.
func (a *attempt) interrupted(ctx context.Context, t *tlsFailure) bool {
	return ctx.Err() != nil || isTimeout(t) && a.who.until.Sub(a.secured) < enoughForTLS && !time.Now().Before(a.who.until.Add(-time.Second))
}

// enoughForTLS is the time in which a server should be able to do TLS.
const enoughForTLS = 10 * time.Second

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
		leg.missed = o.Standing(peer).KnownTLS
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
	a.tell(t.failure, report.Failure{})
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
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) { // it says nothing about the host
		return failing(CauseConcurrency, 451, "4.3.1", "too many open files here", err)
	}
	if errors.Is(err, syscall.EADDRNOTAVAIL) && len(a.g.o.Source) > 0 {
		return failing(CauseDial, 451, "4.4.1", a.where()+": cannot send from source_address: this machine does not have it", err)
	}
	cause := CauseDial
	if a.connected {
		cause = CauseUpstreamGone
	}
	return failing(cause, 451, "4.4.1", a.where()+": "+plainly(err), err)
}

// facts is what the memory keeps of a leg. A certificate that came only because SNI was
// left out is no promise: at a level that asks for one SNI is always there (SEM 28), and
// so nothing would be delivered.
func (a *attempt) facts(l *outLeg) peers.Facts {
	f := l.sec.facts()
	f.Valid = l.verdict.Valid && !a.plain
	return f
}
