package outcomes_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/outcomes"
	"postern/store"
	"postern/tls/report"
)

// clock is one that tests turn.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock(text string) *clock {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return &clock{at: at}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// desk is a Counter with its store and clock.
type desk struct {
	*outcomes.Counter
	t     testing.TB
	store *moody
	clock *clock
	log   *strings.Builder
}

// moody is a Store that can be told to fail.
type moody struct {
	store.Store
	mu    sync.Mutex
	fault error
	wrote int
}

func (m *moody) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

func (m *moody) Write(all ...store.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return m.fault
	}
	m.wrote += len(all)
	return m.Store.Write(all...)
}

func newDesk(t testing.TB) *desk {
	c := newClock("2026-11-23T12:00:00Z")
	return deskOn(t, c, store.NewMemory(c.now))
}

func deskOn(t testing.TB, c *clock, s store.Store) *desk {
	d := &desk{t: t, store: &moody{Store: s}, clock: c, log: &strings.Builder{}}
	d.Counter = outcomes.New(outcomes.Options{Store: d.store, Now: c.now, Log: slog.New(slog.NewTextHandler(d.log, nil))})
	return d
}

// want compares the lines of a day, as in "example.com no-policy-found example.com 2/1 certificate-expired:1".
func (d *desk) want(day time.Time, want ...string) {
	d.t.Helper()
	all, err := d.Day(day)
	if err != nil {
		d.t.Fatal(err)
	}
	var got []string
	for _, c := range all {
		text := fmt.Sprintf("%s %s %s %d/%d", c.Domain, c.Policy.Type, c.Policy.Domain, c.Successes, c.Failures)
		for _, one := range c.Details {
			text += fmt.Sprintf(" %s:%d", one.Result, one.Sessions)
		}
		got = append(got, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.t.Error(diff)
	}
}

func success(domain string) report.Outcome {
	return report.Outcome{Domain: domain, Policy: report.Policy{Type: report.NoPolicy, Domain: domain}}
}

func failure(domain string, r report.Result) report.Outcome {
	o := success(domain)
	o.Result = r
	return o
}

func TestEachAttemptIsOneSuccessOrOneFailureOfItsPolicy(t *testing.T) {
	d := newDesk(t)
	sts := success("example.com")
	sts.Policy = report.Policy{Type: report.STS, Domain: "example.com", Strings: []string{"version: STSv1", "mode: enforce"}}
	changed := sts
	changed.Policy.Strings = []string{"version: STSv1", "mode: testing"}
	tlsa := success("example.com")
	tlsa.Policy = report.Policy{Type: report.TLSA, Domain: "mx.example.net", Strings: []string{"3 1 1 00"}}
	for _, o := range []report.Outcome{success("example.com"), success("example.com"), failure("example.com", report.CertificateExpired),
		failure("example.com", report.STARTTLSNotSupported), failure("example.com", report.CertificateExpired), success("example.org"), sts, sts, changed, tlsa} {
		d.Add(o)
	}
	d.want(d.clock.now(),
		"example.com tlsa mx.example.net 1/0",
		"example.com sts example.com 2/0",
		"example.com sts example.com 1/0",
		"example.com no-policy-found example.com 2/3 certificate-expired:2 starttls-not-supported:1",
		"example.org no-policy-found example.org 1/0")
}

func TestFailuresAreToldApartByWhatAReportTells(t *testing.T) {
	d := newDesk(t)
	base := failure("example.com", report.ValidationFailure)
	for range 2 {
		for _, change := range []func(*report.Outcome){
			func(*report.Outcome) {},
			func(o *report.Outcome) { o.Reason = "handshake-failed" },
			func(o *report.Outcome) { o.Host = "mx.example.com" },
			func(o *report.Outcome) { o.Address = netip.MustParseAddr("192.0.2.1") },
			func(o *report.Outcome) { o.Sender = netip.MustParseAddr("2001:db8::1") },
			func(o *report.Outcome) { o.Hello = "mx" },
		} {
			o := base
			change(&o)
			d.Add(o)
		}
	}
	const one = " validation-failure:2"
	d.want(d.clock.now(), "example.com no-policy-found example.com 0/12"+strings.Repeat(one, 6))
}

// RFC 8460, 4.1: a report is about a day of UTC.
func TestADayEndsAtMidnightUTC(t *testing.T) {
	c := newClock("2026-11-23T19:59:59.999999999-04:00")
	d := deskOn(t, c, store.NewMemory(c.now))
	d.Add(success("example.com"))
	d.clock.turn(1)
	d.Add(success("example.com"))
	d.Add(success("example.com"))
	d.clock.turn(24*time.Hour - 1)
	d.Add(failure("example.com", report.CertificateExpired))
	at := func(text string) time.Time { return newClock(text).now() }
	d.want(at("2026-11-23T00:00:00Z"), "example.com no-policy-found example.com 1/0")
	d.want(at("2026-11-24T23:59:59Z"), "example.com no-policy-found example.com 2/1 certificate-expired:1")
	d.want(at("2026-11-24T21:00:00-04:00")) // the 25th
}

func TestAClockThatIsSetBackAndForthLosesNothing(t *testing.T) {
	d := newDesk(t)
	today := d.clock.now()
	for range 5 {
		d.Add(success("example.com"))
		d.clock.turn(-24 * time.Hour)
		d.Add(success("example.com"))
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
		d.Add(success("example.com"))
		d.clock.turn(24 * time.Hour)
	}
	d.want(today, "example.com no-policy-found example.com 5/0")
	d.want(today.Add(-24*time.Hour), "example.com no-policy-found example.com 10/0")
}

func TestTheCountsOfSeveralProcessesAddUp(t *testing.T) {
	d := newDesk(t)
	others := []*desk{d, deskOn(t, d.clock, d.store), deskOn(t, d.clock, d.store)}
	for i, other := range others {
		for range i + 1 {
			other.Add(success("example.com"))
			other.Add(failure("example.com", report.CertificateNotTrusted))
			if err := other.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		other.Add(success(fmt.Sprintf("only%d.example.com", i)))
		if err := other.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	d.want(d.clock.now(), "example.com no-policy-found example.com 6/6 certificate-not-trusted:6",
		"only0.example.com no-policy-found only0.example.com 1/0", "only1.example.com no-policy-found only1.example.com 1/0",
		"only2.example.com no-policy-found only2.example.com 1/0")
}

// A process that is killed leaves the file as the last Write has left it: nothing is asked of its end.
func TestWhatWasWrittenSurvivesAProcessThatIsKilled(t *testing.T) {
	c := newClock("2026-11-23T12:00:00Z")
	path := filepath.Join(t.TempDir(), "state.db")
	for round := range 3 {
		s, err := store.OpenBolt(store.BoltOptions{Path: path, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		d := deskOn(t, c, s)
		for range 10 {
			d.Add(success("example.com"))
		}
		d.want(c.now(), fmt.Sprintf("example.com no-policy-found example.com %d/0", 10*(round+1)))
		d.Add(success("example.com")) // which is lost
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatTheStoreDoesNotTakeIsWrittenLater(t *testing.T) {
	d := newDesk(t)
	full := errors.New("disk full")
	d.Add(success("example.com"))
	d.store.fail(full)
	for range 2 {
		d.Add(success("example.com"))
		if err := d.Flush(); !errors.Is(err, full) {
			t.Fatalf("Flush: %v", err)
		}
	}
	if _, err := d.Day(d.clock.now()); !errors.Is(err, full) {
		t.Errorf("Day: %v", err)
	}
	d.store.fail(nil)
	d.want(d.clock.now(), "example.com no-policy-found example.com 3/0")
	if log := d.log.String(); strings.Count(log, "level=ERROR") != 1 || strings.Count(log, "are written again\" lines_lost=0") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

func TestDaysForWhichTheStoreTakesNothingAreGivenUp(t *testing.T) {
	d := newDesk(t)
	first := d.clock.now()
	d.store.fail(errors.New("disk full"))
	for day := range 4 {
		d.Add(success("example.com"))
		d.Add(success("example.org"))
		if day < 3 {
			d.clock.turn(24 * time.Hour)
		}
		_ = d.Flush()
	}
	d.store.fail(nil)
	d.want(first)
	for day := 1; day <= 3; day++ {
		d.want(first.Add(time.Duration(day)*24*time.Hour), "example.com no-policy-found example.com 1/0", "example.org no-policy-found example.org 1/0")
	}
	if log := d.log.String(); !strings.Contains(log, "lines_lost=2") {
		t.Errorf("log:\n%s", log)
	}
}

func TestCountsAreKeptForThreeDaysAfterTheirs(t *testing.T) {
	d := newDesk(t)
	day := d.clock.now()
	d.Add(success("example.com"))
	line := "example.com no-policy-found example.com 1/0"
	d.want(day, line)
	d.clock.turn(3*24*time.Hour + 12*time.Hour - time.Second)
	d.want(day, line)
	d.clock.turn(time.Second)
	d.want(day)
	if n, err := d.store.Sweep(); n != 1 || err != nil {
		t.Errorf("Sweep: %d %v", n, err)
	}
}

func TestOnlyWhatHasChangedIsWritten(t *testing.T) {
	d := newDesk(t)
	for i := range 1000 { // more than one transaction
		d.Add(success(fmt.Sprintf("%d.example.com", i)))
	}
	for _, want := range []int{1000, 1000, 1001} {
		if want > 1000 {
			d.Add(success("7.example.com"))
			d.Add(success("7.example.com"))
		}
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
		if d.store.wrote != want {
			t.Errorf("%d lines were written, want %d", d.store.wrote, want)
		}
	}
}

func TestADamagedLineIsLeftOut(t *testing.T) {
	d := newDesk(t)
	d.Add(success("example.com"))
	if err := d.store.Write(store.Change{Key: "outcomes/2026-11-23/x/1", Value: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	d.want(d.clock.now(), "example.com no-policy-found example.com 1/0")
	if !strings.Contains(d.log.String(), "key=outcomes/2026-11-23/x/1") {
		t.Errorf("log:\n%s", d.log)
	}
}

func TestRunWritesUntilTheEnd(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	d.Add(success("example.com"))
	cancel()
	<-done
	deskOn(t, d.clock, d.store).want(d.clock.now(), "example.com no-policy-found example.com 1/0")
}

func TestNoAttemptIsLostOrCountedTwice(t *testing.T) {
	d := newDesk(t)
	var group sync.WaitGroup
	const each = 500
	for i := range 8 {
		group.Go(func() {
			for n := range each {
				d.Add(success("example.com"))
				d.Add(failure(fmt.Sprintf("%d.example.com", n%7), report.CertificateExpired))
				if n%50 == i {
					_ = d.Flush()
				}
				if n%100 == i {
					d.store.fail(errors.New("not now"))
					_ = d.Flush()
					d.store.fail(nil)
				}
			}
		})
	}
	group.Wait()
	all, err := d.Day(d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	var successes, failures int64
	for _, c := range all {
		successes += c.Successes
		failures += c.Failures
	}
	if successes != 8*each || failures != 8*each || len(all) != 8 {
		t.Errorf("%d successes, %d failures, %d lines", successes, failures, len(all))
	}
}
