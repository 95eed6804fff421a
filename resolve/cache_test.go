package resolve

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

func TestAnAnswerLivesAsLongAsItsRecordsSay(t *testing.T) {
	const soa = "example. 700 IN SOA ns. hostmaster. 1 1 1 1 "
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		zone string
		keep time.Duration // 0: not at all
	}{
		"the TTL":                     {"d.example. 300 IN MX 1 mx.example.", 300 * time.Second},
		"the lowest of several":       {"d.example. 300 IN MX 1 mx.example.\nd.example. 200 IN MX 2 mx2.example.", 200 * time.Second},
		"the lowest of a chain":       {"d.example. 50 IN CNAME e.example.\ne.example. 300 IN MX 1 mx.example.", 50 * time.Second},
		"not longer than a day":       {"d.example. 604800 IN MX 1 mx.example.", day},
		"TTL 0":                       {"d.example. 0 IN MX 1 mx.example.", 0},
		"a negative TTL":              {"d.example. 2147483648 IN MX 1 mx.example.", 0},
		"no record, by the minimum":   {soa + "600\nd.example. A 192.0.2.1", 600 * time.Second},
		"no record, by the SOA's TTL": {soa + "900\nd.example. A 192.0.2.1", 700 * time.Second},
		"no such name":                {soa + "90", 90 * time.Second},
		"no such name behind a CNAME": {soa + "90\nd.example. 30 IN CNAME e.example.", 30 * time.Second},
		"no such name, three hours":   {"example. 86400 IN SOA ns. hostmaster. 1 1 1 1 86400", 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			at, s := noon(), dnstest.Start(t, c.zone)
			r := at.in(over(t, s))
			ask := func() int {
				a, err := r.MX(t.Context(), "d.example")
				if err == nil && a.Expires.After(at.Add(c.keep)) {
					t.Errorf("expires at %v", a.Expires)
				}
				return s.Count("", "")
			}
			first := ask()
			if c.keep > 0 {
				at.pass(c.keep - 1)
				if n := ask(); n != first {
					t.Errorf("asked again before the time: %q", s.Asked())
				}
				at.pass(1)
			}
			if n := ask(); n == first {
				t.Error("not asked again when the time was over")
			}
		})
	}
}

func TestWhatIsNotThereAndWhatFailsIsKeptForFiveSeconds(t *testing.T) {
	for name, fault := range map[string]dnstest.Fault{
		"a failure": dnstest.ServFail, "an empty answer without SOA": sends(empty), "an SOA of elsewhere": sends(evilSOA), "a loop": sends(func(m *dns.Msg) {
			m.Answer, m.Ns = records("d.example. CNAME d.example."), nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			at, s := noon(), dnstest.Start(t, "")
			s.Break("", "", fault)
			r := at.in(over(t, s))
			for _, step := range []struct {
				passes time.Duration
				again  bool
			}{{0, true}, {5*time.Second - 1, false}, {1, true}} {
				at.pass(step.passes)
				before := s.Count("", "")
				_, _ = r.MX(t.Context(), "d.example")
				if again := s.Count("", "") > before; again != step.again {
					t.Errorf("%v later: asked again is %v", step.passes, again)
				}
			}
		})
	}
}

func TestAnAnswerFromTheFutureIsNotBelieved(t *testing.T) {
	at, s := noon(), dnstest.Start(t, "d.example. 300 IN MX 1 mx.example.")
	r := at.in(over(t, s))
	for i, passes := range []time.Duration{0, -time.Hour} {
		at.pass(passes)
		if _, err := r.MX(t.Context(), "d.example"); err != nil || s.Count("", "") != i+1 {
			t.Errorf("%v, asked %q", err, s.Asked())
		}
	}
}

func TestNamesAreKeptWhateverTheirCase(t *testing.T) {
	s := dnstest.Start(t, "d.example. 300 IN MX 1 mx.example.")
	r := over(t, s)
	for _, domain := range []string{"d.example", "D.Example", "d.EXAMPLE."} {
		if _, err := r.MX(t.Context(), domain); err != nil || s.Count("", "") != 1 {
			t.Errorf("%s: %v, asked %q", domain, err, s.Asked())
		}
	}
}

func TestTheTypesOfANameAreKeptApart(t *testing.T) {
	s := dnstest.Start(t, "d.example. 300 IN MX 1 mx.example.\nd.example. 300 IN A 192.0.2.1")
	r := over(t, s)
	for range 2 {
		if got := said(r.MX(t.Context(), "d.example")); got != "1 mx.example as d.example" {
			t.Error(got)
		}
		if got := where(r.Addresses(t.Context(), "d.example", IPv4Only)); got != "192.0.2.1 as d.example" {
			t.Error(got)
		}
	}
	if n := s.Count("", ""); n != 2 {
		t.Errorf("asked %q", s.Asked())
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c := newCache(time.Now)
	put := func(name string) question {
		q := question{name: name, kind: dns.TypeA}
		c.put(q, &answer{question: q, since: time.Now(), expires: time.Now().Add(time.Hour)})
		return q
	}
	oldest := put("oldest.example")
	for i := range capacity {
		put(fmt.Sprintf("d%d.example", i))
	}
	if c.get(oldest) != nil || c.answers.all.Len() != capacity {
		t.Errorf("%d answers, the oldest is there: %v", c.answers.all.Len(), c.get(oldest) != nil)
	}
}

func TestOneQuestionIsAskedOnceHoweverManyWantToKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := script("d.example. 0 IN MX 1 mx.example."), make(chan struct{}) // kept by nobody
		s.Break("", "", dnstest.Fault{Hold: release})
		r := piped(s)
		var callers sync.WaitGroup
		for range 200 {
			callers.Go(func() {
				if got := said(r.MX(context.Background(), "d.example")); got != "1 mx.example as d.example" {
					t.Error(got)
				}
			})
		}
		synctest.Wait()
		close(release)
		callers.Wait()
		if n := s.Count("", ""); n != 1 {
			t.Errorf("asked %d times", n)
		}
		settle()
	})
}

func TestADefectCostsOneAnswer(t *testing.T) {
	r := build(Options{Servers: []string{"192.0.2.1"}})
	r.dial = nil // calling it panics
	_, err := r.MX(t.Context(), "d.example")
	if !isTemporary(err) || !strings.HasPrefix(err.Error(), "a defect: ") {
		t.Errorf("got %v", err)
	}
	if len(r.slots) != 0 {
		t.Error("its place was not given back")
	}
}
