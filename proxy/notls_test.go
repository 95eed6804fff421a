package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/smtptest"
	"postern/peers"
	"postern/tls/level"
	"postern/tls/policy"
)

// in runs a test in a synctest bubble, with one receiver for example.com and a gateway.
func in(t *testing.T, of receiver, f func(t *testing.T, w *world, b *smtptest.Backend, e *egress), change ...func(*layout)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newPipedWorld(t)
		b, _ := of.at(t, w)
		f(t, w, b, newPipedEgress(t, w, change...))
	})
}

// want delivers one message after the other and compares the outcomes.
func (e *egress) want(b *smtptest.Backend, outcomes ...string) {
	e.t.Helper()
	for i, want := range outcomes {
		if got := e.outcome(b); got != want {
			e.t.Errorf("message %d: %q, want %q", i, got, want)
		}
	}
}

// SEM 28.
func TestSNIIsTheNameOfTheMXAtEachLevelButNotInTheRetry(t *testing.T) {
	for _, lvl := range asked[1:] {
		var seen []string
		note := behaves(func(s *smtptest.Script) {
			s.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				seen = append(seen, fmt.Sprintf("%s %v", h.ServerName, isHybrid(h)))
				return nil, errors.New("no")
			}
		})
		want := "mx.example.com true"
		if lvl == "may" || lvl == "auto" {
			want += ", false"
			want = "mx.example.com true| false"
		}
		in(t, note, func(t *testing.T, _ *world, _ *smtptest.Backend, e *egress) {
			e.deliver("b@example.com")
			if got := strings.Join(seen, "|"); got != want {
				t.Errorf("%s: it saw %q, want %q", lvl, got, want)
			}
		}, func(p *layout) {
			if p.own.Auto = lvl == "auto"; !p.own.Auto {
				p.own.Level, _ = level.Parse(lvl)
			}
		})
	}
}

// The retry may find nobody. It was TLS that failed all the same, and clear text is next.
func TestAServerThatTakesNoSecondConnectionAtOnceStillGetsTheMailInClear(t *testing.T) {
	n := 0
	shy := behaves(func(s *smtptest.Script) {
		s.Die = "handshake"
		s.Answer = func(_ *smtptest.Conn, phase, _ string) string {
			if phase != "greeting" {
				return ""
			}
			if n++; n == 2 {
				return "421 4.7.0 slowly"
			}
			return ""
		}
	})
	in(t, shy, func(_ *testing.T, _ *world, b *smtptest.Backend, e *egress) {
		e.want(b, "clear, 3; failing 1; skip 1h0m0s")
	})
}

func TestNextSessionGoesInClearTheNextTime(t *testing.T) {
	in(t, receivers["handshake broken"], func(_ *testing.T, _ *world, b *smtptest.Backend, e *egress) {
		e.want(b, "451 4.7.5, 2; failing 1", "clear, 1; failing 1; skip 1h0m0s", "clear, 1; failing 1; skip 1h0m0s")
		e.logged("clear=fallback")
		e.logged("clear=skip")
		e.clock.turn(61 * time.Minute)
		e.want(b, "451 4.7.5, 2; failing 2", "clear, 1; failing 2; skip 2h0m0s")
	}, func(p *layout) { p.gateway.Fallback = FallbackNextSession })
}

// What the client was told for the next time holds at level may alone.
func TestNextSessionIsNotHonouredAboveMay(t *testing.T) {
	in(t, receivers["handshake broken"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.want(b, "451 4.7.5, 2; failing 1")
		e.g.o.Policy = policy.New(policy.Options{Default: policy.Rule{Level: level.Encrypt}})
		e.want(b, "451 4.7.5, 1; failing 1")
		b.Play(smtptest.Script{TLS: w.cert("mx.example.com")})
		e.want(b, "tls, 1")
	}, func(p *layout) { p.gateway.Fallback = FallbackNextSession })
}

// SEM 30: the hold doubles up to a day, and a success clears it.
func TestASkipIsTwiceAsLongEachTime(t *testing.T) {
	in(t, receivers["closed at ClientHello"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		for i, hold := range []time.Duration{1, 2, 4, 8, 16, 24, 24} {
			skip := fmt.Sprintf("; failing %d; skip %v", i+1, hold*time.Hour)
			e.want(b, "clear, 3"+skip)
			e.clock.turn(hold*time.Hour - time.Second)
			e.want(b, "clear, 1"+skip)
			e.clock.turn(2 * time.Second)
		}
		b.Play(smtptest.Script{TLS: w.cert("mx.example.com")})
		e.want(b, "tls, 1")
		b.Play(smtptest.Script{TLS: w.cert("mx.example.com"), Die: "handshake"})
		e.want(b, "451 4.7.5, 2; failing 1")
	})
}

// SEM 29: a demand for TLS, in a session that is in clear because TLS failed.
func TestAServerThatInsistsOnTLSIsNotAReasonToBounce(t *testing.T) {
	for name, c := range map[string]struct{ phase, reply, want string }{
		"530":                   {"MAIL", "530 5.7.0 Must issue a STARTTLS command first", "451 4.7.5"},
		"530 alone":             {"MAIL", "530 no", "451 4.7.5"},
		"5.7.10":                {"MAIL", "550 5.7.10 Encryption needed", "451 4.7.5"},
		"the word":              {"MAIL", "554 5.7.1 please say StartTLS", "451 4.7.5"},
		"the word further down": {"MAIL", "554-5.7.1 please\r\n554 5.7.1 use STARTTLS", "451 4.7.5"},
		"at RCPT":               {"RCPT", "530 5.7.0 TLS first", "451 4.7.5"},
		"something else":        {"MAIL", "550 5.7.105 go away", "550 5.7.105"},
		"a user unknown":        {"RCPT", "550 5.1.1 no such user", "550 5.1.1"},
		"a 4xx":                 {"RCPT", "450 4.7.10 later", "450 4.7.10"},
	} {
		for _, past := range []string{"failed", "skipped"} {
			t.Run(name+"/"+past, func(t *testing.T) {
				of := behaves(func(s *smtptest.Script) { s.Die, s.Replies = "handshake", map[string]string{c.phase: c.reply} })
				in(t, of, func(_ *testing.T, _ *world, b *smtptest.Backend, e *egress) {
					dials, kept, again := 3, "", "; skip 1h0m0s"
					if past == "skipped" {
						skipped(0)(e, e.memory.Outbound(peers.DefaultRules()))
						dials = 1
					}
					if kept = again; c.want == "451 4.7.5" {
						kept = ""
					}
					e.want(b, fmt.Sprintf("%s, %d; failing 1%s", c.want, dials, kept))
					if c.want == "451 4.7.5" {
						e.logged("it wants TLS")
						e.want(b, "451 4.7.5, 3; failing 2")
					}
				})
			})
		}
	}
}

// Where it was not tried to begin with, the demand is the server's own business: what it
// wants it does not offer.
func TestAServerThatInsistsOnTLSAndDoesNotOfferItIsBelieved(t *testing.T) {
	of := func(w *world) (smtptest.Script, *x509.Certificate) {
		return smtptest.Script{Replies: map[string]string{"MAIL": "530 5.7.0 STARTTLS first"}}, w.ca.Cert
	}
	in(t, of, func(_ *testing.T, _ *world, b *smtptest.Backend, e *egress) { e.want(b, "530 5.7.0, 1") })
}

func TestInjectionIsToldApartFromAFailureInTheLog(t *testing.T) {
	for _, lvl := range asked[1:] {
		t.Run(lvl, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipedWorld(t)
				b, leaf := receivers["injection"].at(t, w)
				e := newPipedEgress(t, w, levelled(lvl, leaf))
				e.want(b, "451 4.7.5, 1", "451 4.7.5, 1")
				e.logged("cause=injection")
			})
		})
	}
}

// A smarthost with TLS from the first octet is never spoken to in clear.
func TestImplicitTLSNeverFallsBack(t *testing.T) {
	smarthost := func(lvl level.Level) func(*layout) {
		return func(p *layout) {
			p.own.Auto, p.own.Level = false, lvl
			p.gateway.Route = RouteSmarthost
			p.gateway.Smarthosts = []Smarthost{{Host: "mx.example.com", Port: 25, Implicit: true}}
		}
	}
	for _, lvl := range []level.Level{level.None, level.May, level.Encrypt, level.Secure} {
		for name, want := range map[string]string{"good": "tls, 1", "handshake broken": "451 4.7.5, 2", "handshake stalled": "451 4.7.5, 2"} {
			t.Run(lvl.String()+"/"+name, func(t *testing.T) {
				of := func(w *world) (smtptest.Script, *x509.Certificate) {
					s, leaf := receivers[name](w)
					s.Implicit = true
					return s, leaf
				}
				in(t, of, func(_ *testing.T, _ *world, b *smtptest.Backend, e *egress) {
					skipped(0)(e, e.memory.Outbound(peers.DefaultRules()))
					e.g.failed.clearNext(&host{name: "mx.example.com", port: 25})
					got, _, _ := strings.Cut(e.outcome(b), ";")
					if lvl.Mandatory() {
						want = strings.Replace(want, "451 4.7.5, 2", "451 4.7.5, 1", 1)
					}
					if got != want {
						t.Errorf("%q, want %q", got, want)
					}
					for _, c := range b.Conns() {
						if c.Secured() == nil && strings.Contains(c.Octets(), "EHLO") {
							t.Errorf("it got %q in clear", c.Octets())
						}
					}
				}, smarthost(lvl))
			})
		}
	}
}

// A host that can do TLS only without SNI, or only with a small ClientHello, must not be
// remembered: it could not be met.
func TestWhatTakesTheRetryIsNotExpectedInFuture(t *testing.T) {
	for _, name := range []string{"dislikes SNI", "dislikes a large hello"} {
		in(t, receivers[name], func(_ *testing.T, _ *world, b *smtptest.Backend, e *egress) {
			for range 6 {
				e.want(b, "tls, 2")
				e.clock.turn(12 * time.Hour)
			}
		})
	}
}

// The bound is that of one address; each has its own.
func TestEachAddressIsTriedInEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipedWorld(t)
		receivers["handshake broken"].at(t, w)
		b, _ := receivers["handshake broken"].at(t, w)
		newPipedEgress(t, w, func(p *layout) { p.gateway.Fallback = FallbackNever }).want(b, "451 4.7.5, 4; failing 2")
	})
}
