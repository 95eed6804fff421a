package proxy

import (
	"slices"
	"testing"

	"postern/internal/smtptest"
)

// served says which of the backends took each of n messages, one per session.
func served(t *testing.T, e *edge, backends []*smtptest.Backend, n int) (which []int) {
	t.Helper()
	for range n {
		before := make([]int, len(backends))
		for i, b := range backends {
			before[i] = len(b.Messages())
		}
		c := e.hello()
		deliver(c)
		c.Do("QUIT", "221")
		for i, b := range backends {
			if len(b.Messages()) > before[i] {
				which = append(which, i)
			}
		}
	}
	return which
}

func pair(t *testing.T, change ...func(*plan)) (*edge, []*smtptest.Backend) {
	both := []*smtptest.Backend{smtptest.NewBackend(t, smtptest.Script{}), smtptest.NewBackend(t, smtptest.Script{})}
	return newEdge(t, both, change...), both
}

func TestFailoverUsesTheFirstThatWorksAndComesBackToIt(t *testing.T) {
	e, both := pair(t)
	if got := served(t, e, both, 3); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("served by %v", got)
	}
	both[0].Stop()
	if got := served(t, e, both, 2); !slices.Equal(got, []int{1, 1}) {
		t.Errorf("with the first down, served by %v", got)
	}
	if !e.b.Ready() {
		t.Error("not ready")
	}
	both[0].Start()
	e.b.probe(t.Context(), e.b.targets[0])
	if got := served(t, e, both, 2); !slices.Equal(got, []int{0, 0}) {
		t.Errorf("with the first back, served by %v", got)
	}
}

func TestRoundRobinTakesTurnsAndSkipsWhatIsDown(t *testing.T) {
	e, both := pair(t, func(p *plan) { p.backends.RoundRobin = true })
	if got := served(t, e, both, 4); !slices.Equal(got, []int{0, 1, 0, 1}) {
		t.Errorf("served by %v", got)
	}
	both[1].Stop()
	if got := served(t, e, both, 4); !slices.Equal(got, []int{0, 0, 0, 0}) {
		t.Errorf("with one down, served by %v", got)
	}
	both[1].Start()
	both[0].Stop()
	if got := served(t, e, both, 2); !slices.Equal(got, []int{1, 1}) {
		t.Errorf("with the other down, served by %v", got)
	}
}

// SEM 3: whatever keeps a backend from taking the session, the next is tried.
func TestTheNextBackendIsTriedWhateverTheFirstSays(t *testing.T) {
	for name, script := range map[string]smtptest.Script{
		"421":      {Replies: map[string]string{"greeting": "421 4.3.2 busy"}},
		"554":      {Replies: map[string]string{"greeting": "554 5.7.1 no"}},
		"EHLO":     {Replies: map[string]string{"EHLO": "421 4.3.2 no"}},
		"silence":  {Die: "greeting"},
		"nonsense": {Replies: map[string]string{"greeting": "?"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, both := pair(t)
			both[0].Play(script)
			if got := served(t, e, both, 1); !slices.Equal(got, []int{1}) {
				t.Errorf("served by %v", got)
			}
		})
	}
}

func TestABackendThatIsDownIsLoggedOnceAndCountedEachTime(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	b.Stop()
	for range 3 {
		e.hello().Do("MAIL FROM:<a@b.test>", "451 4.4.1")
	}
	if e.b.Ready() {
		t.Error("ready")
	}
	b.Start()
	deliver(e.hello())
	e.logged("backend is back")
	e.watch.until(t, "the failures", func() bool { return slices.Equal(e.watch.failed, []Cause{CauseDial, CauseDial, CauseDial}) })
}

// Run learns at start, and finds out that a backend is back.
func TestRunProbesUntilItIsToldToStop(t *testing.T) {
	b, e := one(t, smtptest.Script{}, func(p *plan) { p.unknown = true })
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.b.Run(t.Context())
	}()
	t.Cleanup(func() { <-done })
	b.Connection(0).WaitOver()
	if !e.b.known() || !e.b.Ready() {
		t.Error("nothing was learnt")
	}
}
