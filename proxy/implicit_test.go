package proxy

import (
	"testing"

	"postern/internal/smtptest"
)

// SEM 13; RFC 8314, 3: whoever is turned away is turned away without a word.
func TestALimitOnAnImplicitListenerClosesWithoutAWordInClear(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		cause  Cause
	}{
		"connections":               {Limits{Connections: 1}, CauseConnections},
		"connections of one client": {Limits{PerClient: 1}, CausePerClient},
		"handshakes":                {Limits{Handshakes: 0.001}, CauseHandshakeRate},
		"handshakes of one client":  {Limits{HandshakesPerClient: 0.001}, CauseHandshakeRate},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := one(t, smtptest.Script{}, mode(TLSImplicit), func(p *plan) { p.Limits = c.limits })
			first := e.dialled()
			if err := first.Handshake(e.clientTLS()); err != nil {
				t.Fatal(err)
			}
			first.Expect("220")
			for range 3 {
				e.dialled().ExpectClose()
			}
			e.wantRefused(c.cause)
			first.Do("NOOP", "250")
		})
	}
}

// Before the header nobody knows who is there, so nothing may be said.
func TestOverTheTotalLimitNothingIsSaidBeforeAPROXYHeader(t *testing.T) {
	_, e := one(t, smtptest.Script{}, fromBalancers, func(p *plan) { p.Limits.Connections = 1 })
	first := e.dialled()
	e.dialled().ExpectClose()
	e.wantRefused(CauseConnections)
	first.Send("PROXY UNKNOWN\r\n")
	first.Expect("220")
}
