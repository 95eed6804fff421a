package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"postern/outcomes"
	"postern/peers"
	"postern/store"
)

// keeping opens a keeper with a memory, as a start does, and its log.
func keeping(t *testing.T, path string, succeeds bool) (*keeper, *journal) {
	t.Helper()
	j := newJournal()
	log := slog.New(slog.NewTextHandler(j, nil))
	k := must1(openKeeper(stateAt(path, true), log, succeeds))
	k.memory, k.outcomes = peers.New(peers.Options{Store: k, Log: log}), outcomes.New(outcomes.Options{Store: k, Log: log})
	return k, j
}

// meets has a keeper learn of a domain.
func (k *keeper) meets(domain string) {
	k.memory.Outbound(peers.DefaultRules()).InClear(domain, peers.Host{Name: "mx." + domain, Port: 25})
}

// times is how often a domain was met, as far as is known.
func (k *keeper) times(domain string) int {
	for _, r := range must1(k.memory.Show(domain)) {
		if r.Domain != nil && r.Name == domain {
			return r.Domain.Seen.Count
		}
	}
	return 0
}

func TestASuccessorGetsTheStateWhenItIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	old, _ := keeping(t, path, false)
	old.meets("old.example")
	old.meets("both.example")
	next, log := keeping(t, path, true)
	next.meets("new.example")
	next.meets("both.example")
	next.begin()
	log.await(t, "the state cannot be used yet", "in use", "does not protect")
	old.letGo()
	log.await(t, "the state is there")
	for domain, n := range map[string]int{"old.example": 1, "new.example": 1, "both.example": 2} {
		if got := next.times(domain); got != n {
			t.Errorf("%s: met %d times, not %d", domain, got, n)
		}
	}
	old.finish()
	next.finish()
}

func TestWhatIsLearnedAfterTheStateWasLetGoReachesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	old, log := keeping(t, path, false)
	old.meets("before.example")
	old.letGo()
	if old.times("before.example") != 1 {
		t.Error("without the file it does not know what was in it")
	}
	old.meets("before.example")
	old.meets("late.example")
	next, nextLog := keeping(t, path, true)
	next.begin()
	old.finish() // while the other one has the file
	nextLog.await(t, "was taken up", "records=4")
	if next.times("before.example") != 2 || next.times("late.example") != 1 {
		t.Errorf("before %d, late %d", next.times("before.example"), next.times("late.example"))
	}
	next.finish()
	if left := must1(filepath.Glob(path + "*")); len(left) != 1 {
		t.Errorf("files are left: %q", left)
	}
	if lineWith(log.String(), []string{"lost"}) {
		t.Errorf("it says %s", log)
	}
}

func TestWithoutASuccessorTheStateIsTakenBackAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	old, _ := keeping(t, path, false)
	old.letGo()
	old.meets("late.example")
	old.finish()
	again, _ := keeping(t, path, false)
	if again.times("late.example") != 1 {
		t.Error("what was learned last is lost")
	}
	again.finish()
}

func TestWhatCannotBeLeftIsToldOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "state.db")
	old, log := keeping(t, path, false)
	old.letGo()
	old.meets("late.example")
	must(os.RemoveAll(filepath.Dir(path)))
	must(os.WriteFile(filepath.Dir(path), nil, 0o600))
	old.finish()
	log.await(t, "what was learned last is lost", "records=2")
}

func TestWhatCannotBeTakenUpIsToldOfOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sta[t]e*.db")
	must(os.WriteFile(path+legacy+"1", []byte("{"), 0o600))
	k, log := keeping(t, path, false)
	must(leave(path, []store.Change{{Key: "sts/example.com", Value: []byte("x")}}))
	k.begin()
	log.await(t, "is not taken up", legacy+"1")
	log.await(t, "was taken up", "records=1")
	if _, err := k.Get("sts/example.com"); err != nil {
		t.Error(err)
	}
	k.finish()
}
