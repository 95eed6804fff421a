package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/smtpwire"
	"postern/tls/policy"
)

// VisitTo says whom a Visit is paid to.
type VisitTo struct {
	Host     string // its name; an address where it has none
	Addr     netip.AddrPort
	Implicit bool             // TLS from the first octet (RFC 8314, 3.3)
	Decision *policy.Decision // that the handshake is made by
	Until    time.Time        // when all of it must be over
}

// Visit is one connection to a mail server that brings no mail: what is found out about a
// server is found out with the steps by which a Gateway delivers, and one at a time. It is
// not safe for concurrent use.
type Visit struct {
	a *attempt
	l *outLeg
}

// VisitError is a step that failed.
type VisitError struct {
	Step string // "connect", "greeting", "STARTTLS", "handshake", …
	Code int    // of the reply that turned us away; 0: there was none
	Err  error
}

// Error says what happened, in words for people.
func (e *VisitError) Error() string {
	text := plainly(e.Err)
	if strings.HasPrefix(text, e.Step) { // "handshake stalled"
		return text
	}
	return e.Step + ": " + text
}

// Unwrap returns Err.
func (e *VisitError) Unwrap() error { return e.Err }

// Busy says whether the server asked to come again later (RFC 5321, 4.2.1).
func (e *VisitError) Busy() bool { return e.Code/100 == 4 }

// Unroutable says whether this machine has no way to the address: that says nothing about the server.
func (e *VisitError) Unroutable() bool { return e.Step == "connect" && unroutable(e.Err) }

// Visit connects. Nothing that is seen is remembered, no place is taken and nothing is
// tried twice. When ctx ends the connection is closed. The errors of a Visit are *VisitError.
func (g *Gateway) Visit(ctx context.Context, to VisitTo) (*Visit, error) {
	h := &host{name: to.Host, port: to.Addr.Port(), implicit: to.Implicit, decision: to.Decision}
	a := &attempt{g: g, dest: &destination{domain: to.Host}, host: h, addr: to.Addr, who: sender{hello: g.helloFor(""), until: to.Until}}
	l, err := a.open(ctx)
	if err != nil {
		return nil, &VisitError{Step: "connect", Err: err}
	}
	l.cut(ctx)
	return &Visit{a, l}, nil
}

// Greet reads the greeting and says EHLO, or HELO to a server that knows no other.
func (v *Visit) Greet() error { return v.said("greeting", v.a.hello(v.l, true)) }

// Hello says EHLO once more, inside TLS.
func (v *Visit) Hello() error { return v.said("EHLO", v.a.hello(v.l, false)) }

func (v *Visit) said(step string, err error) error {
	if err == nil {
		return nil
	}
	var f *failure
	if errors.As(err, &f) {
		return &VisitError{step, f.said, errors.New(f.text)}
	}
	return &VisitError{Step: step, Err: err}
}

// Capabilities are those of the last reply to EHLO; nil for a server that knows HELO only.
func (v *Visit) Capabilities() *smtpwire.Capabilities { return v.l.caps }

// Ask sends one command and reads its reply, which is valid until the next.
func (v *Visit) Ask(command string) (smtpwire.Reply, error) {
	v.l.conn.within(v.a.g.o.Timeouts.Command, v.a.who.until)
	r, err := v.l.ask(command)
	if err != nil {
		return r, &VisitError{Step: command, Err: err}
	}
	return r, nil
}

// StartTLS asks for TLS, up to the 220. Octets behind that are an error: somebody may be
// tampering with the connection.
func (v *Visit) StartTLS() error {
	err := v.a.startTLS(v.l)
	if t := asTLSFailure(err); t != nil {
		return &VisitError{"STARTTLS", t.said, fmt.Errorf("%s: %w", t.why, t.err)}
	}
	return err
}

// StartTLSWith is StartTLS with a command in clear behind it, in the same segment: what a
// server must not execute inside TLS (RFC 3207, 4.2).
func (v *Visit) StartTLSWith(behind string) error {
	v.l.w.Line([]byte("STARTTLS"))
	r, err := v.Ask(behind)
	if err == nil && r.Code != 220 {
		err = &VisitError{"STARTTLS", r.Code, errors.New(r.Quote())}
	}
	return err
}

// Secure is the handshake. Plain makes it with the small ClientHello that SEM 28 keeps for a
// second try. The session is kept: the next Visit to the same address resumes it where
// the server lets it.
func (v *Visit) Secure(plain bool) error {
	how := inTLS
	if plain {
		how = inPlain
	}
	err := v.a.handshake(v.l, how)
	v.l.conn.untilRead(false) // the end of the handshake leaves now: nobody knows what comes next
	if t := asTLSFailure(err); t != nil {
		return &VisitError{Step: "handshake", Err: fmt.Errorf("%s: %w", t.why, t.err)}
	}
	return v.said("handshake", err)
}

// State is that of TLS, once Secure has succeeded.
func (v *Visit) State() tls.ConnectionState { return v.l.tls.ConnectionState() }

// Verdict is what the decision of VisitTo came to.
func (v *Visit) Verdict() policy.Verdict { return v.l.verdict }

// Conn gives the socket away, behind StartTLS or at once where TLS is implicit, to whoever
// has a ClientHello of his own. Close the Visit after it all the same.
func (v *Visit) Conn() net.Conn {
	v.l.r.Release()
	v.l.conn.Conn.SetDeadline(v.a.who.until)
	return v.l.conn.Conn
}

// Leave says QUIT and closes the connection.
func (v *Visit) Leave() { v.l.shut(true) }

// Close closes the connection without a word.
func (v *Visit) Close() { v.l.shut(false) }
