package mtasts

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// same is a resolver for which every domain has the same record, or none.
type same struct{ texts []string }

func (s same) TXT(context.Context, string) ([]string, time.Time, error) {
	return s.texts, time.Now().Add(time.Hour), nil
}

// holds is a cache in which every domain has the same policy.
type holds struct {
	noCache
	entry Entry
}

func (h holds) Get(string) (Entry, bool, error) {
	e := h.entry
	e.Policy = strings.Clone(e.Policy) // as read from a file
	return e, true, nil
}

func policyWith(hosts int) string {
	text := "version: STSv1\nmode: enforce\n"
	for i := range hosts {
		text += fmt.Sprintf("mx: mx%d.mail.example.com\n", i)
	}
	return text + "max_age: 604800\n"
}

// heap says how much memory n domains take, each asked for once.
func heap(t *testing.T, n int, o Options) (used int, l *Lookup) {
	t.Helper()
	measure := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := measure()
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
	l = New(o)
	t.Cleanup(l.Close)
	for i := range n {
		f := l.Find(t.Context(), fmt.Sprintf("customer%d.example.com", i))
		if (f.Policy != nil) != (o.Cache != nil) {
			t.Fatal(f.Why)
		}
	}
	l.Close()
	return measure() - before, l
}

func TestTenThousandDomainsStayUnder64MiB(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		n    int
		o    Options
		keep int // of 10,000
	}{
		"without a policy":         {10000, Options{Resolver: same{}}, 10000},
		"with a policy of 3 lines": {10000, Options{Resolver: same{[]string{"v=STSv1; id=1"}}, Cache: holds{entry: Entry{ID: "1", Policy: policyWith(3), Fetched: now}}}, 10000},
		"with the longest policy":  {5000, Options{Resolver: same{[]string{"v=STSv1; id=1"}}, Cache: holds{entry: Entry{ID: "1", Policy: policyWith(150), Fetched: now}}}, 900},
	} {
		t.Run(name, func(t *testing.T) {
			used, l := heap(t, tt.n, tt.o)
			kept := len(l.memory.which(func(*item) bool { return true }))
			t.Logf("%d domains take %d KiB, %d of them are kept, estimated at %d KiB", tt.n, used>>10, kept, (l.memory.policies.size+l.memory.others.size)>>10)
			if used > 32<<20 || l.memory.policies.size > policySize || l.memory.others.size > otherSize || kept < tt.keep {
				t.Errorf("%d octets for %d of %d domains", used, kept, tt.n)
			}
			runtime.KeepAlive(l)
		})
	}
}

func TestTheMemoryForgetsWhatWasUsedLeast(t *testing.T) {
	m := newMemory(0, 3*512)
	now := time.Now()
	for i, domain := range []string{"a", "b", "c", "a", "d"} {
		if m.get(domain, now) == nil {
			m.put(domain, &known{}, now.Add(time.Duration(i)))
		}
	}
	if got := m.which(func(*item) bool { return true }); fmt.Sprint(got) != "[d a c]" || m.others.size != 3*512 {
		t.Errorf("kept %v, of size %d", got, m.others.size)
	}
	m.put("a", &known{why: strings.Repeat("x", 512)}, time.Time{})
	if got := m.which(func(*item) bool { return true }); fmt.Sprint(got) != "[a d]" || m.others.size != 3*512 {
		t.Errorf("kept %v, of size %d", got, m.others.size)
	}
	if used, ok := m.lastUse("a"); !ok || !used.Equal(now) {
		t.Errorf("used at %v", used)
	}
	if _, ok := m.lastUse("b"); ok || m.get("b", now) != nil {
		t.Error("b was not forgotten")
	}
	first := m.get("a", now)
	if m.add("a", &known{}, now) != first || m.add("e", first, now) != first {
		t.Error("add does not keep what is there")
	}
}

// Nobody pushes out what protects by having mail sent to domains without a policy, or with one
// that asks for nothing.
func TestDomainsThatAskForNothingDisplaceNoPolicy(t *testing.T) {
	m := newMemory(2*512, 3*512)
	enforce := &known{policy: &Policy{Mode: Enforce}}
	m.put("victim", enforce, time.Time{})
	for i := range 10 {
		m.put(fmt.Sprint("none", i), &known{}, time.Time{})
		m.put(fmt.Sprint("testing", i), &known{policy: &Policy{Mode: Testing}}, time.Time{})
	}
	if got := m.which(func(*item) bool { return true }); fmt.Sprint(got) != "[victim testing9 none9]" {
		t.Errorf("kept %v", got)
	}
	m.put("victim", &known{}, time.Time{}) // takes it back, and is one of the others
	if got := m.which(func(*item) bool { return true }); fmt.Sprint(got) != "[victim testing9]" || m.policies.size != 0 || m.others.size != 3*512 {
		t.Errorf("kept %v, of sizes %d and %d", got, m.policies.size, m.others.size)
	}
	m.put("a", enforce, time.Time{})
	m.put("b", enforce, time.Time{})
	if got := m.which((func(i *item) bool { return i.known == enforce })); fmt.Sprint(got) != "[b]" || m.policies.size != 2*512 {
		t.Errorf("kept %v, of size %d", got, m.policies.size)
	}
}

func TestWhatIsTooLargeForTheMemoryIsKeptAlone(t *testing.T) {
	m := newMemory(0, 100)
	m.put("a", &known{}, time.Time{})
	m.put("b", &known{}, time.Time{})
	if m.get("b", time.Time{}) == nil || len(m.items) != 1 {
		t.Errorf("kept %d", len(m.items))
	}
}

// never is a resolver without an answer.
type never struct{}

func (never) TXT(ctx context.Context, _ string) ([]string, time.Time, error) {
	<-ctx.Done()
	return nil, time.Time{}, ctx.Err()
}

func TestASlotIsGivenBackByWhoJoinsAFlight(t *testing.T) {
	l := New(Options{Resolver: never{}})
	var first *flight
	for range 2 {
		l.background <- struct{}{}
		f := l.start("example.com", l.background)
		if first == nil {
			first = f
		}
		if f != first || len(l.background) != 1 {
			t.Errorf("%d slots for one flight", len(l.background))
		}
	}
	l.Close()
	l.background <- struct{}{}
	<-l.start("example.com", l.background).done
	if len(l.background) != 0 {
		t.Errorf("%d slots are taken after the end", len(l.background))
	}
}

// fresh is a cache full of policies that were fetched a moment ago.
type fresh struct {
	noCache
	entries []Entry
}

func (f fresh) Each(each func(string, Entry)) error {
	for i := range f.entries {
		each("example.com", f.entries[i])
	}
	return nil
}

func TestTheHourlyLookIntoTheCacheDoesNotReadPoliciesThatAreFresh(t *testing.T) {
	c := fresh{entries: make([]Entry, 1000)}
	for i := range c.entries {
		c.entries[i] = Entry{ID: "1", Policy: policyWith(100), Fetched: time.Now(), Used: time.Now()}
	}
	l := New(Options{Resolver: same{}, Cache: c})
	defer l.Close()
	now := time.Now()
	if n := testing.AllocsPerRun(5, func() { l.agingInCache(now) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
	if got := l.agingInCache(now.Add(day)); len(got) != 1000 {
		t.Errorf("after a day %d are fetched again", len(got))
	}
}
