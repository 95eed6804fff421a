package peers

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

const (
	mail  = "mail.example.org"
	other = "other.example.org"
)

// clock is turned by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time         { return c.at }
func (c *clock) passes(d time.Duration) { c.at = c.at.Add(d) }

// story is a memory and the clock that it lives by.
type story struct {
	*testing.T
	*Handshakes
	clock
}

func tell(t *testing.T) *story {
	s := &story{T: t, clock: clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}}
	s.Handshakes = NewHandshakes(s.clock.now)
	return s
}

// failsTwice is what earns a client its four hours without STARTTLS.
func (s *story) failsTwice(address netip.Addr, hello string) {
	s.Failed(address, hello)
	s.passes(time.Minute)
	s.Failed(address, hello)
}

func (s *story) offered(address netip.Addr, hello string) {
	s.Helper()
	if s.Avoid(address, hello) {
		s.Errorf("%s %s is not offered STARTTLS", address, hello)
	}
}

func (s *story) notOffered(address netip.Addr, hello string) {
	s.Helper()
	if !s.Avoid(address, hello) {
		s.Errorf("%s %s is offered STARTTLS", address, hello)
	}
}

func (s *story) usedForwardSecrecy(address netip.Addr, hello string, want bool) {
	s.Helper()
	if got := s.UsedForwardSecrecy(address, hello); got != want {
		s.Errorf("UsedForwardSecrecy(%s, %s) = %v", address, hello, got)
	}
}

func TestAnUnknownClientIsOfferedSTARTTLS(t *testing.T) {
	s := tell(t)
	s.offered(alice, mail)
	s.usedForwardSecrecy(alice, mail, false)
}

func TestOneFailureIsNotEnough(t *testing.T) {
	s := tell(t)
	s.Failed(alice, mail)
	s.offered(alice, mail)
	s.passes(time.Hour)
	s.offered(alice, mail)
}

func TestTwoFailuresAMinuteApartAreEnough(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.notOffered(alice, mail)
}

func TestAnyNumberOfFailuresWithinAMinuteIsOne(t *testing.T) {
	s := tell(t)
	for range 60 {
		s.Failed(alice, mail)
		s.offered(alice, mail)
		s.passes(time.Second - time.Millisecond)
	}
}

func TestTheMinuteIsCountedFromTheFirstFailure(t *testing.T) {
	s := tell(t)
	s.Failed(alice, mail)
	s.passes(40 * time.Second)
	s.Failed(alice, mail)
	s.passes(20 * time.Second)
	s.Failed(alice, mail)
	s.notOffered(alice, mail)
}

func TestASuccessBetweenTwoFailuresMakesTheSecondTheFirst(t *testing.T) {
	s := tell(t)
	s.Failed(alice, mail)
	s.passes(time.Hour)
	s.Succeeded(alice, mail, true)
	s.passes(exemption - time.Minute) // almost the end of the exemption
	s.Failed(alice, mail)
	s.passes(2 * time.Minute)
	s.offered(alice, mail)
	s.Failed(alice, mail)
	s.notOffered(alice, mail)
}

func TestASuccessVoidsAFailureEvenWhenTheExemptionIsForgotten(t *testing.T) {
	s := tell(t)
	s.Failed(alice, mail)
	s.Succeeded(alice, mail, false)
	for i := range clientCapacity {
		s.Succeeded(stranger(i), mail, false)
	}
	s.passes(time.Minute)
	s.Failed(alice, mail)
	s.offered(alice, mail)
}

func TestTheKeyIsAddressAndName(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.notOffered(alice, mail)
	s.offered(alice, other)
	s.offered(bob, mail)
}

func TestFailuresOfDifferentKeysDoNotAddUp(t *testing.T) {
	s := tell(t)
	s.Failed(alice, mail)
	s.passes(time.Hour)
	s.Failed(alice, other)
	s.Failed(bob, mail)
	s.offered(alice, mail)
	s.offered(alice, other)
	s.offered(bob, mail)
}

func TestTheHoldLastsFourHours(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.passes(4 * time.Hour)
	s.notOffered(alice, mail)
	s.passes(time.Nanosecond)
	s.offered(alice, mail)
}

func TestFurtherFailuresDoNotProlongTheHold(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.passes(3 * time.Hour)
	s.Failed(alice, mail) // a session that saw STARTTLS before the hold began
	s.passes(time.Hour + time.Second)
	s.offered(alice, mail)
}

func TestAfterTheHoldItTakesTwoNewFailures(t *testing.T) {
	s := tell(t)
	for range 10 {
		s.failsTwice(alice, mail)
		s.notOffered(alice, mail)
		s.passes(hold + time.Second)
		s.Failed(alice, mail)
		s.offered(alice, mail)
		s.passes(time.Minute)
	}
}

func TestAnAddressThatCompletedAHandshakeIsExemptForThirtyDays(t *testing.T) {
	s := tell(t)
	s.Succeeded(alice, mail, false)
	for range 29 {
		s.passes(day - 2*time.Minute)
		s.failsTwice(alice, mail)
		s.offered(alice, mail)
		s.failsTwice(alice, other) // the exemption is the address's
		s.offered(alice, other)
	}
	s.passes(2 * day)
	s.failsTwice(alice, mail)
	s.notOffered(alice, mail)
}

func TestAnotherAddressIsNotExempt(t *testing.T) {
	s := tell(t)
	s.Succeeded(bob, mail, true)
	s.failsTwice(alice, mail)
	s.notOffered(alice, mail)
}

func TestASuccessEndsTheHold(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.Succeeded(alice, mail, true)
	s.offered(alice, mail)
}

func TestASuccessUnderOneNameSuspendsTheHoldOfAnother(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.Succeeded(alice, other, true)
	s.offered(alice, mail)
}

func TestALoneFailureIsForgottenAfterFiveDays(t *testing.T) {
	for wait, want := range map[time.Duration]bool{pending: true, pending + time.Second: false} {
		s := tell(t)
		s.Failed(alice, mail)
		s.passes(wait)
		s.Failed(alice, mail)
		if got := s.Avoid(alice, mail); got != want {
			t.Errorf("after %v: Avoid = %v", wait, got)
		}
	}
}

func TestForwardSecrecyIsRememberedForThirtyDaysPerAddressAndName(t *testing.T) {
	s := tell(t)
	s.Succeeded(alice, mail, true)
	s.passes(30 * day)
	s.usedForwardSecrecy(alice, mail, true)
	s.usedForwardSecrecy(alice, other, false)
	s.usedForwardSecrecy(bob, mail, false)
	s.passes(time.Second)
	s.usedForwardSecrecy(alice, mail, false)
}

func TestAHandshakeWithoutForwardSecrecyNeitherAddsNorRemovesIt(t *testing.T) {
	s := tell(t)
	s.Succeeded(alice, mail, false)
	s.usedForwardSecrecy(alice, mail, false)
	s.Succeeded(alice, mail, true)
	s.passes(20 * day)
	s.Succeeded(alice, mail, false)
	s.usedForwardSecrecy(alice, mail, true)
	s.passes(20 * day)
	s.usedForwardSecrecy(alice, mail, false)
}

func TestFailuresEraseForwardSecrecyForTheHoldAlone(t *testing.T) {
	s := tell(t)
	s.Succeeded(alice, mail, true)
	s.failsTwice(alice, mail)
	s.usedForwardSecrecy(alice, mail, false)
	s.passes(hold + time.Second)
	s.usedForwardSecrecy(alice, mail, true)
}

func TestAClientRefusedTwiceForItsKeyExchangeIsHeldToItNoLonger(t *testing.T) {
	s := tell(t)
	s.Succeeded(alice, mail, true)
	s.passes(day)
	s.Failed(alice, mail)
	if !s.UsedForwardSecrecy(alice, mail) {
		t.Error("one refusal is enough to be let off")
	}
	s.passes(time.Minute)
	s.Failed(alice, mail)
	if s.UsedForwardSecrecy(alice, mail) {
		t.Error("still held to it after two refusals")
	}
	s.Succeeded(alice, mail, false)
	if s.UsedForwardSecrecy(alice, mail) {
		t.Error("held to it again after it got through without")
	}
	s.Succeeded(alice, mail, true)
	if !s.UsedForwardSecrecy(alice, mail) {
		t.Error("not held to it after it used it again")
	}
}

func TestOneClientHasManySpellings(t *testing.T) {
	long := strings.Repeat("x", maxName)
	for _, c := range []struct {
		address1, hello1, address2, hello2 string
		same                               bool
	}{
		{"192.0.2.1", "Mail.Example.ORG", "192.0.2.1", "mail.example.org", true},
		{"::ffff:192.0.2.1", "m", "192.0.2.1", "m", true},
		{"fe80::1%eth0", "m", "fe80::1%eth1", "m", true},
		{"2001:db8::1", "m", "2001:db8::1", "M", true},
		{"192.0.2.1", long + "a", "192.0.2.1", long + "b", true},
		{"192.0.2.1", long[1:] + "a", "192.0.2.1", long[1:] + "b", false},
		{"192.0.2.1", "", "192.0.2.1", "m", false},
		{"192.0.2.1", "[m", "192.0.2.1", "{m", false},
		{"192.0.2.1", "Ä", "192.0.2.1", "ä", false},
	} {
		s := tell(t)
		s.failsTwice(netip.MustParseAddr(c.address1), c.hello1)
		if got := s.Avoid(netip.MustParseAddr(c.address2), c.hello2); got != c.same {
			t.Errorf("%s %.20q and %s %.20q: the same client is %v", c.address1, c.hello1, c.address2, c.hello2, got)
		}
	}
}

func TestAClockSetBackMakesThePastNow(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.Succeeded(bob, mail, true)
	s.passes(-365 * day)
	s.notOffered(alice, mail)
	s.usedForwardSecrecy(bob, mail, true)
	s.passes(hold)
	s.notOffered(alice, mail)
	s.passes(time.Second)
	s.offered(alice, mail)
	s.passes(exemption - hold - 2*time.Minute)
	s.failsTwice(bob, mail)
	s.offered(bob, mail) // exempt until now
	s.passes(day)
	s.usedForwardSecrecy(bob, mail, false)
	s.notOfferedAfterTwoNewFailures(bob)
}

func (s *story) notOfferedAfterTwoNewFailures(address netip.Addr) {
	s.Helper()
	s.Failed(address, mail)
	s.offered(address, mail)
	s.passes(time.Minute)
	s.Failed(address, mail)
	s.notOffered(address, mail)
}

func TestTheMinuteIsCountedAnewWhenTheClockWasSetBack(t *testing.T) {
	s := tell(t)
	s.Failed(alice, mail)
	s.passes(-day)
	s.offered(alice, mail)
	s.Failed(alice, mail)
	s.offered(alice, mail)
	s.passes(time.Minute)
	s.Failed(alice, mail)
	s.notOffered(alice, mail)
}

func TestASmallStepBackOfTheClockChangesNothing(t *testing.T) {
	s := tell(t)
	s.failsTwice(alice, mail)
	s.Succeeded(bob, mail, true)
	s.passes(-time.Second)
	s.notOffered(alice, mail)
	s.usedForwardSecrecy(bob, mail, true)
}
