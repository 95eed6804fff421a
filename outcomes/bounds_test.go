package outcomes_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/outcomes"
	"postern/store"
	"postern/tls/report"
)

// sums are all sessions of a day, and how many of its lines are about one destination.
func (d *desk) sums() (successes, failures int64, own int, size int) {
	d.t.Helper()
	all, err := d.Day(d.clock.now())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, c := range all {
		successes += c.Successes
		failures += c.Failures
		if c.Domain != "" {
			own++
		}
	}
	err = d.store.Scan("", func(key string, value []byte) error {
		size += len(key) + len(value)
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return successes, failures, own, size
}

func TestDestinationsBeyondTheBoundAreCountedTogether(t *testing.T) {
	d := newDesk(t)
	for i := range 5000 {
		d.Add(success(fmt.Sprintf("%d.example.com", i)))
		d.Add(failure(fmt.Sprintf("%d.example.com", i), report.CertificateExpired))
	}
	if s, f, own, _ := d.sums(); s != 5000 || f != 5000 || own != 4096 {
		t.Errorf("%d successes, %d failures, %d destinations", s, f, own)
	}
	all, err := d.Day(d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	others := all[0]
	if others.Domain != "" || others.Successes != 5000-4096 || len(others.Details) != 1 || others.Details[0].Kind != (outcomes.Kind{Result: report.CertificateExpired}) {
		t.Errorf("others: %+v", others)
	}
	d.clock.turn(24 * time.Hour)
	d.Add(success("another.example.com"))
	d.want(d.clock.now(), "another.example.com no-policy-found another.example.com 1/0")
}

func TestWaysToFailBeyondTheBoundAreCountedByTheirTypeAlone(t *testing.T) {
	d := newDesk(t)
	for i := range 1000 {
		o := failure("example.com", []report.Result{report.CertificateExpired, report.ValidationFailure}[i%2])
		o.Hello = fmt.Sprintf("mx%d.example.com", i)
		d.Add(o)
	}
	all, err := d.Day(d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	whole := map[report.Result]int64{}
	for _, one := range all[0].Details {
		if sum += one.Sessions; one.Hello == "" {
			whole[one.Result] = one.Sessions
		}
	}
	if len(all[0].Details) != 34 || sum != 1000 || whole[report.CertificateExpired] != 484 || whole[report.ValidationFailure] != 484 {
		t.Errorf("%d ways, sum %d, by type alone %v", len(all[0].Details), sum, whole)
	}
}

// TestADayIsBoundedWhateverStrangersPublish gives each of many destinations as much as a stranger can, and a few of
// them as many ways to fail.
func TestADayIsBoundedWhateverStrangersPublish(t *testing.T) {
	long := strings.Repeat("x", 4<<10)
	for name, c := range map[string]struct{ destinations, attempts int }{"many destinations": {5000, 5000}, "many ways to fail": {400, 16000}} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			for i := range c.attempts {
				to := i % c.destinations
				o := failure(fmt.Sprintf("%d.%s", to, long), report.ValidationFailure)
				o.Policy = report.Policy{Type: report.STS, Domain: o.Domain, Strings: []string{fmt.Sprintf("mx: %d", to), strings.Repeat("y", 2000), long}, MX: []string{long}}
				o.Hello, o.Host, o.Reason = fmt.Sprintf("%d.%s", i, long), long, long
				d.Add(o)
			}
			if _, failures, _, size := d.sums(); failures != int64(c.attempts) || size > 8<<20 || size < 4<<20 {
				t.Errorf("%d failures, %d octets in the store", failures, size)
			}
		})
	}
}

func TestLongNamesAreCut(t *testing.T) {
	d := newDesk(t)
	long := strings.Repeat("x", 300)
	o := failure(long, report.ValidationFailure)
	o.Policy.Domain, o.Hello, o.Host, o.Reason = long, long, long, long
	d.Add(o)
	all, err := d.Day(d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	cut := long[:255]
	if c := all[0]; c.Domain != cut || c.Policy.Domain != cut || c.Details[0].Kind != (outcomes.Kind{Result: o.Result, Reason: cut, Host: cut, Hello: cut}) {
		t.Errorf("got %+v", c)
	}
}

func TestOfALongPolicyTheFrontIsKept(t *testing.T) {
	d := newDesk(t)
	o := success("example.com")
	o.Policy.Strings = []string{"version: STSv1", strings.Repeat("x", 2000), strings.Repeat("y", 100), "never: reached"}
	d.Add(o)
	all, err := d.Day(d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	if got := all[0].Policy.Strings; len(got) != 2 || got[0] != "version: STSv1" || len(got[1]) != 2000 {
		t.Errorf("%d texts are kept", len(got))
	}
}

func BenchmarkAdd(b *testing.B) {
	for name, o := range map[string]report.Outcome{
		"success": success("example.com"),
		"sts": {Domain: "example.com", Policy: report.Policy{Type: report.STS, Domain: "example.com",
			Strings: []string{"version: STSv1", "mode: enforce", "mx: *.example.com", "max_age: 604800"}}},
		"failure": {Domain: "example.com", Policy: report.Policy{Type: report.NoPolicy, Domain: "example.com"},
			Failure: report.Failure{Result: report.CertificateExpired}, Host: "mx.example.com", Hello: "mx.example.com"},
	} {
		b.Run(name, func(b *testing.B) {
			c := outcomes.New(outcomes.Options{Store: store.NewMemory(nil)})
			b.ReportAllocs()
			for b.Loop() {
				c.Add(o)
			}
		})
	}
}
