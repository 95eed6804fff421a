package peers

import (
	"path/filepath"
	"testing"
	"time"

	"postern/store"
)

// TestTheLifeOfTheMemory follows one destination through a year and a half, in
// the order in which such things happen. The process is restarted every day,
// so that all that is remembered is in the store. Each chapter begins where
// the one before ended.
func TestTheLifeOfTheMemory(t *testing.T) {
	c := begin(t)
	for _, chapter := range []struct {
		name string
		tell func(*correspondence)
	}{
		{"a server that cannot do TLS well", brokenAtFirst},
		{"it is mended, with a certificate of its own making", mended},
		{"it gets a valid certificate, which is remembered", certified},
		{"somebody on the path strips STARTTLS for two days", stripped},
		{"a second server is added", secondServer},
		{"a certificate expires, and is renewed after a week", expiredForAWeek},
		{"the clock is set back by a month, and forward again", clockSetBack},
		{"a quiet month in which nothing is sent, and a day more", quietMonth},
		{"the destination moves to servers without TLS", moved},
		{"a year later nothing of it is left", over},
	} {
		t.Run(chapter.name, func(t *testing.T) {
			c.T = t
			c.log.take()
			chapter.tell(c)
		})
	}
}

// days has something happen every so many hours of so many days.
func (c *correspondence) days(n int, every time.Duration, f func()) {
	c.Helper()
	for range n {
		for passed := time.Duration(0); passed < day; passed += every {
			f()
			c.passes(every)
		}
		if _, err := c.store.Sweep(); err != nil {
			c.Error(err)
		}
		c.restart()
	}
}

// deliver is what an outbound does at level may with a server whose TLS is
// broken. It says whether the message left.
func (c *correspondence) deliverToBroken(h Host) bool {
	if !c.Standing(h).Skip && !c.TLSFailed(domain, h, "handshake failure") {
		return false
	}
	c.clear(h)
	return true
}

func brokenAtFirst(c *correspondence) {
	handshakes, messages := 0, 0
	c.days(30, time.Hour/2, func() {
		if !c.Standing(mx1).Skip {
			handshakes++
		}
		messages++
		if !c.deliverToBroken(mx1) {
			c.Error("a message was held up")
		}
	})
	// 1 + 2 + 4 + 8 + 16 hours, then once a day.
	if handshakes < 30 || handshakes > 35 {
		c.Errorf("%d of %d sessions tried TLS", handshakes, messages)
	}
	c.logs("starttls is skipped")
}

func mended(c *correspondence) {
	c.passes(day)
	c.tried(mx1)
	c.days(7, time.Hour, func() { c.tried(mx1); c.secured(mx1) })
	c.known(mx1, true)
	c.remembers(mx1, false, false)
	c.logs()
}

func certified(c *correspondence) {
	c.days(1, 8*time.Hour, func() { c.verified(mx1); c.remembers(mx1, false, false) })
	c.days(60, 8*time.Hour, func() { c.verified(mx1); c.remembers(mx1, true, false) })
	c.logs("often enough to be remembered")
}

func stripped(c *correspondence) {
	held := 0
	c.days(2, time.Hour, func() {
		if r := c.Remembered(domain, mx1); !r.Host {
			c.Error("not remembered")
		}
		c.rejected(mx1)
		held++
	})
	c.verified(mx1) // the attacker has given up
	c.remembers(mx1, true, false)
	c.logs()
	if held != 48 {
		c.Errorf("%d attempts were held up", held)
	}
}

func secondServer(c *correspondence) {
	c.remembers(mx2, false, true) // encrypt for it meanwhile
	c.days(2, 12*time.Hour, func() { c.verified(mx1); c.verified(mx2) })
	c.remembers(mx1, true, true)
	c.remembers(mx2, true, true)
}

// The grace of the decision lets the message out, as long as the certificate
// has merely expired; it is no success, nor a failure.
func expiredForAWeek(c *correspondence) {
	before := c.Remembered(domain, mx1)
	c.days(7, 6*time.Hour, func() { c.secured(mx1); c.verified(mx2) })
	if after := c.Remembered(domain, mx1); after != before {
		c.Errorf("%+v, before %+v", after, before)
	}
	c.verified(mx1)
	if after := c.Remembered(domain, mx1); after.Sessions != before.Sessions+1 || !after.Host {
		c.Errorf("%+v, before %+v", after, before)
	}
}

func clockSetBack(c *correspondence) {
	c.fails(mx2, false)
	c.restart()
	c.passes(-30 * day)
	c.remembers(mx1, true, true)
	c.known(mx1, true)
	c.fails(mx2, false) // the five minutes begin anew, and no later
	c.passes(5 * time.Minute)
	c.fails(mx2, true)
	c.passes(30*day - 5*time.Minute)
	c.remembers(mx1, true, true) // expires now: not a month later
	c.passes(5*time.Minute + time.Second)
	c.restart()
	c.remembers(mx1, false, false)
	c.days(3, 6*time.Hour, func() { c.verified(mx1); c.verified(mx2) })
	c.remembers(mx1, true, true)
}

func quietMonth(c *correspondence) {
	c.days(29, day, func() {})
	c.remembers(mx1, true, true)
	c.days(2, day, func() {})
	c.remembers(mx1, false, false)
	c.known(mx1, false)
	c.becomesRemembered(mx1, mx2)
}

func moved(c *correspondence) {
	next := Host{"mail.elsewhere.example", 25}
	attempts := 0
	for r := c.Remembered(domain, next); r.Domain; r = c.Remembered(domain, next) {
		attempts++
		c.rejected(next) // encrypt is asked for, and there is no STARTTLS
		c.passes(4 * time.Hour)
		c.restart()
	}
	if attempts != 25 { // 96 hours
		c.Errorf("released after %d attempts", attempts)
	}
	c.logs("level=ERROR", mx1.Name, mx2.Name)
	c.clear(next)
}

func over(c *correspondence) {
	lines, err := c.m.List()
	if err != nil || len(lines) != 4 {
		c.Errorf("%+v, %v", lines, err)
	}
	c.days(91, day, func() {})
	if lines, err = c.m.List(); err != nil || len(lines) != 0 {
		c.Errorf("%+v, %v", lines, err)
	}
	if n, err := c.store.Sweep(); n != 0 || err != nil {
		c.Errorf("%d records were left, %v", n, err)
	}
}

// TestAClockThatRunsAwayForAMomentCostsNothing is about a machine that starts
// with a wrong clock, and has it set right.
func TestAClockThatRunsAwayForAMomentCostsNothing(t *testing.T) {
	c := begin(t)
	c.becomesRemembered(mx1)
	c.restart()
	c.passes(5 * 365 * day)
	c.remembers(mx1, false, false)
	c.tried(mx1)
	c.passes(-5 * 365 * day)
	c.remembers(mx1, true, false)
	c.known(mx1, true)
}

func TestWhatWasNotedByAClockThatRanAwayDoesNotLastForYears(t *testing.T) {
	c := begin(t)
	c.passes(5 * 365 * day)
	c.becomesRemembered(mx1)
	c.fails(mx2, true)
	c.clear(mx2)
	c.restart()
	c.passes(-5 * 365 * day)
	c.remembers(mx1, true, false)
	c.skipped(mx2, time.Hour)
	c.passes(time.Hour)
	c.tried(mx2)
	c.restart()
	c.passes(30*day - time.Hour)
	c.remembers(mx1, true, false)
	c.passes(time.Second)
	c.remembers(mx1, false, false)
}

func TestTheMemoryOfClientsSurvivesARestart(t *testing.T) {
	c := begin(t)
	h := c.m.Handshakes()
	h.Secured(bob, mail, valid)
	h.Failed(alice, mail)
	c.passes(time.Minute)
	c.restart()
	h = c.m.Handshakes()
	h.Failed(alice, mail)
	c.restart()
	h = c.m.Handshakes()
	if !h.Avoid(alice, mail) || h.Avoid(alice, other) || h.Avoid(bob, mail) {
		t.Error("alice is not avoided, or others are")
	}
	if !h.UsedForwardSecrecy(bob, mail) || h.UsedForwardSecrecy(bob, other) || h.UsedForwardSecrecy(alice, mail) {
		t.Error("not bob used forward secrecy, or others did")
	}
	c.passes(hold + time.Second)
	if h.Avoid(alice, mail) {
		t.Error("alice is still avoided")
	}
}

func TestTheMemoryLivesInAFile(t *testing.T) {
	c := begin(t)
	path := filepath.Join(t.TempDir(), "state.db")
	reopen := func() *store.Bolt {
		b, err := store.OpenBolt(store.BoltOptions{Path: path, Now: c.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := reopen()
	c.store = b
	c.restart()
	c.becomesRemembered(mx1)
	c.restart()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = reopen()
	defer b.Close()
	c.Outbound = New(Options{Store: b, Now: c.clock.now}).Outbound(DefaultRules())
	c.remembers(mx1, true, false)
	c.known(mx1, true)
	if lines := c.lists(); len(lines) != 2 {
		t.Errorf("%+v", lines)
	}
}
