package peers

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/store"
)

const domain = "example.com"

var (
	mx1 = Host{"mx1.example.com", 25}
	mx2 = Host{"mx2.example.com", 25}

	valid   = Facts{Version: tls.VersionTLS13, Suite: tls.TLS_AES_128_GCM_SHA256, Group: tls.X25519MLKEM768, ForwardSecret: true, Trust: "Verified", Valid: true}
	invalid = Facts{Version: tls.VersionTLS12, Suite: tls.TLS_RSA_WITH_AES_128_GCM_SHA256, Trust: "Untrusted"}
)

// correspondence is an outbound's memory, the clock that it lives by, and what
// it logs.
type correspondence struct {
	*testing.T
	*Outbound
	clock
	store store.Store
	log   *journal
}

// journal is where the log goes.
type journal struct {
	mu sync.Mutex
	bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.Buffer.Write(p)
}

// take returns what has been logged since the last time.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.Reset()
	return j.String()
}

func begin(t *testing.T) *correspondence {
	c := &correspondence{T: t, clock: clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}, log: &journal{}}
	c.store = store.NewMemory(c.clock.now)
	c.restart()
	return c
}

// restart writes what has changed and begins anew with what is in the store.
func (c *correspondence) restart() {
	c.Helper()
	rules := DefaultRules()
	if c.Outbound != nil {
		rules = c.rules
		if err := c.m.Flush(); err != nil {
			c.Fatal(err)
		}
	}
	c.Outbound = New(Options{Store: c.store, Now: c.clock.now, Log: slog.New(slog.NewTextHandler(c.log, nil))}).Outbound(rules)
}

func (c *correspondence) secured(h Host)  { c.Secured(domain, h, invalid) }
func (c *correspondence) verified(h Host) { c.Secured(domain, h, valid) }
func (c *correspondence) clear(h Host)    { c.WentClear(domain, h) }
func (c *correspondence) rejected(h Host) {
	c.Rejected(domain, h, "expected a certificate for mx1.example.com, saw none")
}

func (c *correspondence) fails(h Host, mayGoClear bool) {
	c.Helper()
	if got := c.TLSFailed(domain, h, "handshake failure"); got != mayGoClear {
		c.Errorf("%s: may go clear: %v", h.Name, got)
	}
}

func (c *correspondence) skipped(h Host, d time.Duration) {
	c.Helper()
	want := Standing{Skip: true, SkipUntil: c.clock.now().Add(d), KnownTLS: c.Standing(h).KnownTLS}
	if got := c.Standing(h); got != want {
		c.Errorf("%s: %+v, want %+v", h.Name, got, want)
	}
}

func (c *correspondence) tried(h Host) {
	c.Helper()
	if s := c.Standing(h); s.Skip || !s.SkipUntil.IsZero() {
		c.Errorf("%s: %+v", h.Name, s)
	}
}

func (c *correspondence) known(h Host, want bool) {
	c.Helper()
	if s := c.Standing(h); s.KnownTLS != want {
		c.Errorf("%s: %+v", h.Name, s)
	}
}

// remembers checks which of a server itself and others of its domain are.
func (c *correspondence) remembers(h Host, host, other bool) {
	c.Helper()
	if r := c.Remembered(domain, h); r.Host != host || r.Domain != other {
		c.Errorf("%s: %+v, want %v, %v", h.Name, r, host, other)
	}
}

// becomesRemembered is what it takes.
func (c *correspondence) becomesRemembered(hosts ...Host) {
	c.Helper()
	for range 3 {
		for _, h := range hosts {
			c.verified(h)
		}
		c.passes(12 * time.Hour)
	}
	for _, h := range hosts {
		c.remembers(h, true, len(hosts) > 1)
	}
}

func (c *correspondence) logs(words ...string) {
	c.Helper()
	got := c.log.take()
	if len(words) == 0 && got != "" {
		c.Errorf("logged: %s", got)
	}
	for _, w := range words {
		if !strings.Contains(got, w) {
			c.Errorf("%q is not in the log: %s", w, got)
		}
	}
}

func TestOfAStrangerNothingIsKnown(t *testing.T) {
	c := begin(t)
	if s := c.Standing(mx1); s != (Standing{}) {
		t.Errorf("%+v", s)
	}
	if r := c.Remembered(domain, mx1); r != (Remembered{}) {
		t.Errorf("%+v", r)
	}
}

func TestTLSIsKnownForThirtyDays(t *testing.T) {
	c := begin(t)
	c.secured(mx1)
	c.known(mx1, true)
	c.known(mx2, false)
	c.known(Host{mx1.Name, 587}, false)
	c.passes(30 * day)
	c.known(mx1, true)
	c.passes(time.Second)
	c.known(mx1, false)
}

func TestAServerHasManySpellings(t *testing.T) {
	c := begin(t)
	c.Secured("Example.COM.", Host{"MX1.Example.com.", 25}, valid)
	c.known(mx1, true)
	c.passes(12 * time.Hour)
	c.verified(mx1)
	c.passes(12 * time.Hour)
	c.verified(mx1)
	if !c.Remembered("EXAMPLE.com", Host{"mx1.EXAMPLE.com", 25}).Host {
		t.Error("not remembered under another spelling")
	}
}

// SEM 29.

func TestAFailureOfAStrangerMayGoClearAtOnce(t *testing.T) {
	c := begin(t)
	c.fails(mx1, true)
	c.passes(time.Minute)
	c.fails(mx1, true)
}

func TestOfAServerThatCompletedTLSOnlyASecondFailureFiveMinutesLaterMayGoClear(t *testing.T) {
	c := begin(t)
	c.secured(mx1)
	c.passes(29 * day)
	c.fails(mx1, false)
	c.fails(mx1, false)
	c.passes(5*time.Minute - time.Second)
	c.fails(mx1, false)
	c.passes(time.Second)
	c.fails(mx1, true)
	c.fails(mx1, true)
}

func TestASuccessMakesTheNextFailureTheFirst(t *testing.T) {
	c := begin(t)
	c.secured(mx1)
	c.fails(mx1, false)
	c.passes(time.Hour)
	c.secured(mx1)
	c.fails(mx1, false)
	c.passes(time.Hour)
	c.fails(mx1, true)
}

func TestThirtyDaysAfterTLSAServerIsAStrangerAgain(t *testing.T) {
	c := begin(t)
	c.secured(mx1)
	c.passes(30*day + time.Second)
	c.fails(mx1, true)
}

func TestALoneFailureOfAServerIsForgottenAfterFiveDays(t *testing.T) {
	for wait, mayGoClear := range map[time.Duration]bool{pending: true, pending + time.Second: false} {
		c := begin(t)
		c.secured(mx1)
		c.fails(mx1, false)
		c.passes(wait)
		c.fails(mx1, mayGoClear)
	}
}

// SEM 30.

func TestSkipIsSetWhenTLSFailedAndTheHostAnsweredInClear(t *testing.T) {
	c := begin(t)
	c.clear(mx1) // without STARTTLS
	c.tried(mx1)
	c.fails(mx1, true)
	c.tried(mx1)
	c.clear(mx2) // another one
	c.tried(mx1)
	c.logs()
	c.clear(mx1)
	c.skipped(mx1, time.Hour)
	c.tried(mx2)
	c.logs("level=INFO", "starttls is skipped", mx1.Name, "handshake failure")
}

func TestASessionInTheClearForAnotherReasonSetsNoSkip(t *testing.T) {
	c := begin(t)
	c.fails(mx1, true)
	c.InClear(domain, mx1)
	c.tried(mx1)
	if l := c.lists(); l[0].Clear != 1 || l[1].Name != domain {
		t.Errorf("%+v", l)
	}
}

func TestTheHoldDoublesUpToADay(t *testing.T) {
	c := begin(t)
	for _, hours := range []time.Duration{1, 2, 4, 8, 16, 24, 24} {
		c.fails(mx1, true)
		c.clear(mx1)
		c.skipped(mx1, hours*time.Hour)
		c.passes(hours * time.Hour)
		c.tried(mx1)
	}
}

func TestSessionsAtTheSameTimeAreOneRepeat(t *testing.T) {
	c := begin(t)
	for range 10 {
		c.fails(mx1, true)
	}
	for range 10 {
		c.clear(mx1)
	}
	c.skipped(mx1, time.Hour)
	c.passes(time.Hour)
	for range 10 {
		c.fails(mx1, true)
		c.clear(mx1)
	}
	c.skipped(mx1, 2*time.Hour)
}

func TestASuccessClearsSkipAndDoubling(t *testing.T) {
	c := begin(t)
	c.fails(mx1, true)
	c.clear(mx1)
	c.passes(time.Hour)
	c.secured(mx1)
	c.tried(mx1)
	c.clear(mx1) // nothing has failed since
	c.tried(mx1)
	c.passes(31 * day)
	c.fails(mx1, true)
	c.clear(mx1)
	c.skipped(mx1, time.Hour)
}

func TestASuccessDuringTheHoldEndsIt(t *testing.T) {
	c := begin(t)
	c.fails(mx1, true)
	c.clear(mx1)
	c.secured(mx1) // for a destination with a level above may
	c.tried(mx1)
}

func TestAServerThatAskedForTLSIsTriedAgain(t *testing.T) {
	c := begin(t)
	c.fails(mx1, true)
	c.clear(mx1)
	c.AskedForTLS(mx1)
	c.tried(mx1)
	c.fails(mx1, true)
	c.clear(mx1)
	c.skipped(mx1, time.Hour)
}

func TestForAServerThatCompletedTLSSkipTakesThreeFailuresOverHalfAnHour(t *testing.T) {
	c := begin(t)
	c.secured(mx1)
	attempt := func(mayGoClear bool) {
		t.Helper()
		c.fails(mx1, mayGoClear)
		if mayGoClear {
			c.clear(mx1)
		}
	}
	attempt(false)
	c.passes(6 * time.Minute)
	attempt(true)
	c.passes(6 * time.Minute)
	attempt(true)
	c.tried(mx1) // three, but in 12 minutes
	c.passes(18*time.Minute - time.Second)
	attempt(true)
	c.tried(mx1)
	c.passes(time.Second)
	attempt(true)
	c.skipped(mx1, time.Hour)
	c.passes(time.Hour)
	attempt(true)
	c.skipped(mx1, 2*time.Hour)
}

func TestTwoFailuresAreNotThreeHoweverFarApart(t *testing.T) {
	c := begin(t)
	c.secured(mx1)
	c.fails(mx1, false)
	c.passes(4 * day)
	c.fails(mx1, true)
	c.clear(mx1)
	c.tried(mx1)
}

func TestTheHoldIsTheOperators(t *testing.T) {
	c := begin(t)
	c.rules.Skip = SkipRules{Hold: 10 * time.Minute, Max: 15 * time.Minute}
	for _, minutes := range []time.Duration{10, 15, 15} {
		c.fails(mx1, true)
		c.clear(mx1)
		c.skipped(mx1, minutes*time.Minute)
		c.passes(minutes * time.Minute)
	}
}
