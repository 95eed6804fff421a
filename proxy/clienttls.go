package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"time"

	"postern/tls/policy"
)

// handshake is the TLS handshake with a server. A *failure comes back where the
// decision is not met, a *tlsFailure where TLS does not come about.
func (a *attempt) handshake(l *outLeg, how manner) error {
	d := l.decision
	saw := false
	c := d.Config(policy.ConfigOptions{Plain: how == inPlain, Verdict: &l.verdict, SawCertificate: &saw,
		Sessions: a.g.sessions.For(d.Domain + " " + a.addr.String() + " " + d.Key())})
	l.conn.begin(nil)
	l.r.Release()
	l.conn.within(a.g.o.Timeouts.StartTLS, a.who.until)
	start := time.Now()
	a.secured = start
	t := tls.Client(l.conn, c)
	l.conn.untilRead(true)
	err := t.Handshake()
	a.took.tls += time.Since(start)
	if err != nil {
		return a.noTLS(err, !saw)
	}
	l.tls = t
	l.over(t)
	state := t.ConnectionState()
	a.judged = &l.verdict
	l.sec = secured{version: state.Version, suite: state.CipherSuite, cipher: suiteName(state.CipherSuite), group: state.CurveID,
		resumed: state.DidResume, sni: c.ServerName, verdict: l.verdict.Trust.String()}
	return nil
}

// noTLS says what became of a handshake.
func (a *attempt) noTLS(err error, early bool) error {
	if v := (*policy.Violation)(nil); errors.As(err, &v) {
		a.g.o.Peers.Rejected(a.dest.domain, a.host.peer(), v.Error())
		return a.notMet(err)
	}
	f := &tlsFailure{why: "handshake failed", failure: failedHandshake, early: early, err: err}
	switch {
	case isTimeout(err):
		f.why, f.failure = "handshake stalled", failedStalled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.why, f.failure, f.err = "handshake cut off", failedCutOff, errors.New("it closed the connection")
	}
	return f
}
