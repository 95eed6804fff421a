package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/policy"
)

// resumptions says of each connection of a backend whether its TLS session was resumed.
func resumptions(b *smtptest.Backend) (all []bool) {
	for _, c := range b.Conns() {
		if s := c.Secured(); s != nil {
			all = append(all, s.DidResume)
		}
	}
	return all
}

func wantResumed(t *testing.T, b *smtptest.Backend, want ...bool) {
	t.Helper()
	got := resumptions(b)
	if len(got) != len(want) {
		t.Errorf("%d TLS sessions, want %d", len(got), len(want))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("session %d: resumed is %v", i, got[i])
		}
	}
}

// asking is an engine that asks for one level of everyone.
func asking(w *world, lvl level.Level, g grade.Grade) *policy.Engine {
	return policy.New(policy.Options{Default: policy.Rule{Level: lvl, Grade: g, Roots: &policy.Roots{Name: "test", Pool: w.ca.Pool()}}})
}

func TestTheNextConnectionResumesTheSession(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, _ *world, b *smtptest.Backend, e *egress) {
		e.want(b, "tls, 1", "tls, 1", "tls, 1")
		wantResumed(t, b, false, true, true)
		if log := e.logged("resumed=true"); strings.Count(log, "peer=Verified") != 3 {
			t.Error("a resumed session is not judged like another")
		}
	})
}

// What was made under one decision is no good under another, even where the certificate
// would be.
func TestASessionIsNotResumedUnderAnotherDecision(t *testing.T) {
	for name, then := range map[string]struct {
		lvl  level.Level
		g    grade.Grade
		want string
	}{
		"a higher level": {level.Secure, grade.Mail, "tls, 1"},
		"encrypt":        {level.Encrypt, grade.Mail, "tls, 1"},
		"another grade":  {level.May, grade.Modern, "tls, 1"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
				e.g.o.Policy = asking(w, level.May, grade.Mail)
				e.want(b, "tls, 1")
				e.g.o.Policy = asking(w, then.lvl, then.g)
				e.want(b, then.want, "tls, 1")
				wantResumed(t, b, false, false, true)
			})
		})
	}
}

func TestASessionThatWasMadeAtMayDoesNotPassAtSecure(t *testing.T) {
	in(t, receivers["wrong name"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.g.o.Policy = asking(w, level.May, grade.Mail)
		e.want(b, "tls, 1", "tls, 1")
		e.g.o.Policy = asking(w, level.Secure, grade.Mail)
		e.want(b, "451 4.7.5, 1")
	})
}

// The certificate that stands behind a resumed session is judged anew.
func TestAResumedSessionEndsWithItsCertificate(t *testing.T) {
	soon := presents(catest.Leaf{Names: []string{"mx.example.com"}, NotAfter: long(0).Add(time.Hour)})
	in(t, soon, func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.g.o.Policy = asking(w, level.Secure, grade.Mail)
		e.want(b, "tls, 1", "tls, 1")
		wantResumed(t, b, false, true)
		<-time.After(2 * time.Hour)
		r := e.deliver("b@example.com")
		if !strings.HasPrefix(r, "451 4.7.5") || !strings.Contains(r, "expired on 2000-01-01") {
			t.Errorf("got %q", r)
		}
	})
}

// The cache is keyed like Postfix's: destination, MX and address.
func TestSessionsOfDifferentDestinationsAndAddressesAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipedWorld(t)
		s, _ := receivers["good"](w)
		one, two := w.server("mx.example.com", s), w.server("mx.example.com", s) // one set of ticket keys
		w.domain("example.com", "mx.example.com")
		w.domain("example.org", "mx.example.com")
		e := newPipedEgress(t, w)
		for _, to := range []string{"b@example.com", "b@example.org", "b@example.com", "b@example.org"} {
			e.deliver(to)
		}
		w.mu.Lock()
		a := w.addrs["mx.example.com"]
		w.addrs["mx.example.com"] = a[1:]
		w.mu.Unlock()
		e.deliver("b@example.com")
		wantResumed(t, one, false, false, true, true)
		wantResumed(t, two, false)
	})
}

// over delivers messages, so long one after the other, and wants TLS for each.
func (e *egress) over(b *smtptest.Backend, apart ...time.Duration) {
	e.t.Helper()
	e.want(b, "tls, 1")
	for _, d := range apart {
		e.clock.turn(d)
		e.want(b, "tls, 1")
	}
}

// replace has the server do something else from now on.
func (r receiver) replace(w *world, b *smtptest.Backend) {
	s, _ := r(w)
	b.Play(s)
}

func remembers(r policy.Remember) func(*layout) { return func(p *layout) { p.remember = r } }

const halfADay = 12 * time.Hour

// SEM 32, in mail.
func TestACertificateThatValidatedThreeTimesInADayMustValidateInFuture(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.over(b, halfADay, halfADay)
		e.logged("often enough to be remembered")
		receivers["wrong name"].replace(w, b)
		r := e.deliver("b@example.com")
		for _, part := range []string{"451 4.7.5", "secure asked by remembered", "expected a certificate for mx.example.com", "saw certificate for mx.other.test"} {
			if !strings.Contains(r, part) {
				t.Errorf("%q does not say %q", r, part)
			}
		}
		e.logged("cause=certificate")
		receivers["no STARTTLS"].replace(w, b)
		e.want(b, "451 4.7.5, 1")
		e.logged("cause=no_starttls")
		receivers["handshake broken"].replace(w, b)
		e.want(b, "451 4.7.5, 1")
		receivers["good"].replace(w, b)
		e.want(b, "tls, 1")
	})
}

func TestLessThanThreeSessionsInADayPromiseNothing(t *testing.T) {
	for name, apart := range map[string][]time.Duration{"two sessions": {24 * time.Hour}, "three in 23 hours": {halfADay, 11 * time.Hour}} {
		t.Run(name, func(t *testing.T) {
			in(t, receivers["good"], func(_ *testing.T, w *world, b *smtptest.Backend, e *egress) {
				e.over(b, apart...)
				receivers["wrong name"].replace(w, b)
				e.want(b, "tls, 1")
				receivers["no STARTTLS"].replace(w, b)
				e.want(b, "clear, 1")
			})
		})
	}
}

// A message that is handed on over a kept connection is no session of its own.
func TestMessagesOfOneSessionCountOnce(t *testing.T) {
	in(t, receivers["good"], func(_ *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.want(b, "tls, 1")
		c := e.client()
		for range 5 {
			offerMessage(c, "b@example.com")
		}
		c.Close()
		e.clock.turn(24 * time.Hour)
		receivers["wrong name"].replace(w, b)
		e.want(b, "tls, 1")
	})
}

// After 72 hours and 5 attempts a change at the destination is likelier than an attack.
func TestAPromiseThatIsBrokenForThreeDaysIsReleased(t *testing.T) {
	for name, server := range map[string]receiver{"stripped": receivers["no STARTTLS"], "another certificate": receivers["self-signed"], "broken": receivers["handshake broken"]} {
		t.Run(name, func(t *testing.T) {
			in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
				e.over(b, halfADay, halfADay)
				server.replace(w, b)
				for range 4 {
					e.want(b, "451 4.7.5, 1")
					e.clock.turn(18 * time.Hour)
				}
				if strings.Contains(e.logged("delivery"), "level=ERROR") {
					t.Error("released too early")
				}
				e.want(b, "451 4.7.5, 1") // the fifth, after 72 hours
				if log := e.logged("is released"); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "mx=[mx.example.com] failing_since=2000-01-02T00:00:00") {
					t.Errorf("the log says %s", log)
				}
				if r := e.deliver("b@example.com"); name != "broken" && !strings.HasPrefix(r, "250") {
					t.Errorf("then it got %q", r)
				}
			})
		})
	}
}

func TestAPromiseIsNotReleasedBefore(t *testing.T) {
	for name, c := range map[string]struct {
		attempts int
		apart    time.Duration
	}{"four attempts in 90 hours": {4, 30 * time.Hour}, "twenty in 70 hours": {20, 70 * time.Hour / 19}} {
		t.Run(name, func(t *testing.T) {
			in(t, receivers["good"], func(_ *testing.T, w *world, b *smtptest.Backend, e *egress) {
				e.over(b, halfADay, halfADay)
				receivers["no STARTTLS"].replace(w, b)
				e.want(b, "451 4.7.5, 1")
				for range c.attempts - 1 {
					e.clock.turn(c.apart)
					e.want(b, "451 4.7.5, 1")
				}
				e.want(b, "451 4.7.5, 1") // in the same minute: no attempt of its own
			})
		})
	}
}

func TestForgettingReleasesAtOnce(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.over(b, halfADay, halfADay)
		receivers["self-signed"].replace(w, b)
		e.want(b, "451 4.7.5, 1")
		if n, err := e.memory.Forget("example.com"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		e.want(b, "tls, 1")
	})
}

// observe says what enforce would have done, and delivers.
func TestObserveLogsWhatItWouldHaveRefused(t *testing.T) {
	for name, c := range map[string]struct {
		want, would string
	}{
		"wrong name":  {"tls, 1", "expected a certificate for mx.example.com, saw certificate for mx.other.test"},
		"self-signed": {"tls, 1", "saw self-signed certificate for mx.example.com"},
		"no STARTTLS": {"clear, 1", "expected TLS, saw none (not offered)"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
				e.over(b, halfADay, halfADay)
				if strings.Contains(e.logged("delivery"), "would_refuse") {
					t.Error("it would have refused a good certificate")
				}
				receivers[name].replace(w, b)
				e.want(b, c.want)
				if log := e.logged("would_refuse"); !strings.Contains(log, c.would) {
					t.Errorf("the log does not say %q", c.would)
				}
			}, remembers(policy.Observe))
		})
	}
}

// SEM 29 holds in observe as everywhere at level may: then it goes in clear, and that is
// what enforce would not have done.
func TestObserveTellsOfClearTextAfterAFailure(t *testing.T) {
	in(t, receivers["good"], func(_ *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.over(b, halfADay, halfADay)
		receivers["handshake broken"].replace(w, b)
		e.want(b, "451 4.7.5, 2; failing 1")
		e.clock.turn(5 * time.Minute)
		e.want(b, "clear, 3; failing 2")
		e.logged(`would_refuse="secure: expected TLS, saw none (handshake failed)"`)
	}, remembers(policy.Observe))
}

func TestOffRemembersNothing(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.over(b, halfADay, halfADay)
		receivers["self-signed"].replace(w, b)
		e.want(b, "tls, 1")
		receivers["no STARTTLS"].replace(w, b)
		e.want(b, "clear, 1")
		if strings.Contains(e.logged("clear"), "would_refuse") {
			t.Error("it says what it would have done")
		}
	}, remembers(policy.Off))
}

func TestACertificateThatMerelyExpiredPassesForAWhileWithAWarning(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.over(b, halfADay, halfADay)
		expiredFor(13).replace(w, b)
		e.want(b, "tls, 1")
		if log := e.logged("the certificate has expired; it passes for a while"); !strings.Contains(log, "level=WARN") {
			t.Error("that is no warning")
		}
		expiredFor(15).replace(w, b)
		if r := e.deliver("b@example.com"); !strings.Contains(r, "that expired on 1999-12-17") {
			t.Errorf("got %q", r)
		}
	})
}

// A forged MX record must not be the way around: a name of which nothing is known gets TLS
// at least.
func TestANewMXOfARememberedDomainMustHaveTLS(t *testing.T) {
	in(t, receivers["good"], func(t *testing.T, w *world, b *smtptest.Backend, e *egress) {
		e.over(b, halfADay, halfADay)
		w.server("evil.test", smtptest.Script{})
		w.domain("example.com", "evil.test")
		if r := e.deliver("b@example.com"); !strings.HasPrefix(r, "451 4.7.5 evil.test") {
			t.Errorf("got %q", r)
		}
		w.server("worse.test", smtptest.Script{})
		w.domain("example.com", "worse.test", "mx.example.com")
		e.want(b, "tls, 2")
	})
}
