package peers

import (
	"fmt"
	"testing"
	"time"
)

// The tests of SEM 32.

func TestRememberedTakesThreeValidSessionsOverADay(t *testing.T) {
	c := begin(t)
	start := c.clock.now()
	for range 5 {
		c.verified(mx1)
	}
	c.remembers(mx1, false, false) // enough sessions, no time
	c.passes(24*time.Hour - time.Second)
	c.verified(mx1)
	c.remembers(mx1, false, false)
	c.logs()
	c.passes(time.Second)
	c.verified(mx1)
	c.remembers(mx1, true, false)
	c.remembers(mx2, false, true)
	c.logs("level=INFO", "often enough to be remembered", domain, mx1.Name)
	want := Remembered{true, false, start.Add(day), start.Add(day), start.Add(31 * day), 7}
	if got := c.Remembered(domain, mx1); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	want.Host, want.Domain = false, true
	if got := c.Remembered(domain, mx2); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTwoValidSessionsAreNotThreeHoweverFarApart(t *testing.T) {
	c := begin(t)
	c.verified(mx1)
	c.passes(2 * day)
	c.verified(mx1)
	c.remembers(mx1, false, false)
}

func TestRememberedIsPerDomainAndServer(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	for _, other := range []string{"example.org", "sub.example.com"} {
		if r := c.Remembered(other, mx1); r != (Remembered{}) {
			t.Errorf("%s: %+v", other, r)
		}
	}
	c.remembers(Host{mx1.Name, 587}, false, true)
	c.becomesRemembered(mx1, mx2)
}

func TestAnInvalidCertificateStartsTheCountAnew(t *testing.T) {
	c := begin(t)
	for range 5 {
		c.verified(mx1)
		c.passes(12 * time.Hour)
		c.verified(mx1)
		c.passes(12 * time.Hour)
		c.secured(mx1) // the other machine behind the name
	}
	c.remembers(mx1, false, false)
	c.becomesRemembered(mx1)
	c.secured(mx1)
	c.remembers(mx1, true, false) // and once remembered, it is
}

func TestRememberedExpiresThirtyDaysAfterTheLastSuccess(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	c.passes(10 * day)
	c.verified(mx1)
	c.passes(30 * day)
	c.remembers(mx1, true, false)
	c.secured(mx1) // is no success
	c.passes(time.Second)
	c.remembers(mx1, false, false)
	c.remembers(mx2, false, false)
	c.verified(mx1) // counts as the first
	c.passes(day)
	c.verified(mx1)
	c.remembers(mx1, false, false)
	c.verified(mx1)
	c.remembers(mx1, true, false)
}

func TestTheRulesOfRememberingAreTheOperators(t *testing.T) {
	c := begin(t)
	c.rules.Remember = RememberRules{Sessions: 1, Expire: time.Hour}
	c.verified(mx1)
	c.remembers(mx1, true, false)
	c.passes(time.Hour + time.Second)
	c.remembers(mx1, false, false)
}

// failFor has attempts fail, the last one so long after the first.
func (c *correspondence) failFor(d time.Duration, attempts int, hosts ...Host) {
	for i := range attempts {
		for _, h := range hosts {
			c.rejected(h)
		}
		if i < attempts-1 {
			c.passes(d / time.Duration(attempts-1))
		}
	}
}

func TestFiveFailuresOverSeventyTwoHoursReleaseTheMemory(t *testing.T) {
	for _, x := range []struct {
		over     time.Duration
		attempts int
		released bool
	}{
		{72 * time.Hour, 5, true},
		{72*time.Hour - 4*time.Second, 5, false},
		{72 * time.Hour, 4, false},
		{time.Hour, 50, false},
		{20 * day, 4, false},
	} {
		c := begin(t)
		c.becomesRemembered(mx1)
		c.log.take()
		c.failFor(x.over, x.attempts, mx1)
		c.remembers(mx1, !x.released, false)
		if x.released {
			c.logs("level=ERROR", "released", domain, mx1.Name, "expected a certificate")
		}
		c.logs()
	}
}

func TestMessagesThatFailTogetherAreOneAttempt(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	for range 20 {
		c.rejected(mx1)
	}
	c.passes(73 * time.Hour)
	c.rejected(mx1)
	c.remembers(mx1, true, false)
}

func TestASuccessBetweenStartsTheSeventyTwoHoursAnew(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	c.failFor(71*time.Hour, 10, mx1)
	c.verified(mx1)
	c.failFor(71*time.Hour, 10, mx1)
	c.remembers(mx1, true, false)
}

func TestAllRememberedNamesMustFail(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1, mx2)
	for range 20 {
		c.rejected(mx1)
		c.verified(mx2)
		c.passes(12 * time.Hour)
	}
	c.remembers(mx1, true, true)
	c.failFor(72*time.Hour, 5, mx1, mx2)
	c.remembers(mx1, false, false)
	c.remembers(mx2, false, false)
}

func TestANameThatIsNotTriedHoldsTheReleaseUpForADay(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1, mx2)
	c.failFor(95*time.Hour, 20, mx1) // mx2 is no MX any more, or never reached
	c.remembers(mx1, true, true)
	c.passes(time.Hour)
	c.rejected(mx1)
	c.remembers(mx1, false, false)
	c.remembers(mx2, false, false)
}

func TestANewNameThatFailsReleasesTheMemoryOfTheOld(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	c.failFor(96*time.Hour, 5, mx2) // the domain has moved, to a server without STARTTLS
	c.remembers(mx2, false, false)
}

func TestABrokenHandshakeIsAFailureToo(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	for range 4 {
		c.TLSFailed(domain, mx1, "stalled")
		c.passes(18 * time.Hour)
	}
	c.remembers(mx1, true, false)
	c.TLSFailed(domain, mx1, "stalled")
	c.remembers(mx1, false, false)
}

func TestAfterAReleaseItTakesThreeValidSessionsAgain(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	c.failFor(72*time.Hour, 5, mx1)
	c.verified(mx1)
	c.remembers(mx1, false, false)
	c.becomesRemembered(mx1)
}

func TestFailuresOfADomainOfWhichNothingIsRememberedReleaseNothing(t *testing.T) {
	c := begin(t)
	c.failFor(100*time.Hour, 20, mx1)
	c.logs()
	c.becomesRemembered(mx1)
	c.rejected(mx1) // the earlier ones do not count
	c.remembers(mx1, true, false)
}

func TestADestinationWithManyServersKeepsTheRememberedOnes(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1, mx2)
	for i := range 3 * maxDomainHosts {
		c.passes(time.Minute)
		c.verified(Host{fmt.Sprintf("mx%d.flood.example", i), 25})
	}
	c.remembers(mx1, true, true)
	c.remembers(mx2, true, true)
	records, err := c.m.Show(domain)
	if err != nil || len(records) != 1 || len(records[0].Domain.Hosts) != maxDomainHosts {
		t.Errorf("%+v, %v", records, err)
	}
}
