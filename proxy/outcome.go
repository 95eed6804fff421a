package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"postern/resolve"
	"postern/smtpwire"
	"postern/tls/level"
	"postern/tls/policy"
	"postern/tls/report"
)

// Attempt is how TLS came out in one session attempt with a server, as RFC 8460 counts: a
// connection that is used again is none, all connections of one fallback are one. Where TLS
// was not tried, or the server was not there at all, there is nothing to tell.
type Attempt struct {
	policy.Outcome
	Host    string     // as the MX record has it; empty: the MX records themselves do not validate
	Address netip.Addr // of the host; invalid, as are the next two, where policy forbids it
	Sender  netip.Addr // ours
	Hello   string     // what the host calls itself; a stranger's word
}

// What can fail where no certificate is to blame (RFC 8460, 4.3.1). A server that offers STARTTLS and
// then refuses it does not support it either.
var (
	failedNotOffered = report.Failure{Result: report.STARTTLSNotSupported}
	failedRefused    = report.Failure{Result: report.STARTTLSNotSupported, Reason: "starttls-refused"}
	failedNoReply    = report.Failure{Result: report.ValidationFailure, Reason: "starttls-no-reply"}
	failedInjection  = report.Failure{Result: report.ValidationFailure, Reason: "starttls-injection"}
	failedHandshake  = report.Failure{Result: report.ValidationFailure, Reason: "handshake-failed"}
	failedStalled    = report.Failure{Result: report.ValidationFailure, Reason: "handshake-stalled"}
	failedCutOff     = report.Failure{Result: report.ValidationFailure, Reason: "handshake-cut-off"}
	failedEHLO       = report.Failure{Result: report.ValidationFailure, Reason: "ehlo-inside-tls-failed"}
)

// tell tells the Observer of the attempt. It is called once at most.
func (a *attempt) tell(failure, tested report.Failure) {
	a.g.o.Observer.Attempt(a.g.o.Outbound, Attempt{
		Outcome: policy.Outcome{Decision: a.host.decision, Failure: failure, Tested: tested},
		Host:    a.host.name, Address: a.addr.Addr(), Sender: a.local, Hello: a.helo,
	})
}

// found tells of a leg that can be used. One that went in clear from the beginning, because nobody
// wants TLS or it has failed before, says nothing about the server.
func (a *attempt) found(leg *outLeg, clear string) {
	switch {
	case leg.sec.active():
		a.tell(report.Failure{}, leg.verdict.Tested)
	case clear == "" && a.host.decision.Level != level.None:
		a.tell(failedNotOffered, report.Failure{})
	}
}

// gaveUp tells of an attempt that failed, if TLS had come so far that something is known of it.
func (a *attempt) gaveUp(f *failure) {
	v := (*policy.Violation)(nil)
	switch {
	case errors.As(f, &v):
		a.tell(v.Verdict.Failure, report.Failure{})
	case f.cause == CauseNoSTARTTLS:
		a.tell(failedNotOffered, report.Failure{})
	case f.said != 0 && a.judged != nil: // it is busy, and said so inside TLS
		a.tell(report.Failure{}, a.judged.Tested)
	}
}

// unrouted tells of a domain whose MX records do not validate.
func (g *Gateway) unrouted(domain string, f *failure) {
	if t, ok := errors.AsType[*resolve.TemporaryError](f.err); ok && t.Type == "MX" && t.Security == resolve.Bogus {
		g.o.Observer.Attempt(g.o.Outbound, Attempt{Outcome: policy.Bogus(domain, f).Refused()})
	}
}

// resolved tells what DNSSEC says of an answer, or of why there is none.
func (g *Gateway) resolved(s resolve.Security, err error) {
	if t, ok := errors.AsType[*resolve.TemporaryError](err); ok {
		s = t.Security
	} else if p, ok := errors.AsType[*resolve.PermanentError](err); ok {
		s = p.Security
	} else if errors.Is(err, context.Canceled) {
		return
	}
	g.o.Observer.Resolved(g.o.Outbound, s.String())
}

func localAddr(c net.Conn) netip.Addr {
	if tcp, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// helloOf is what a server calls itself in its greeting (RFC 5321, 4.2), where that can be a name.
func helloOf(greeting smtpwire.Reply) string {
	word, _, _ := strings.Cut(greeting.Text(), " ")
	if len(word) > 255 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return word
}
