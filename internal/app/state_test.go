package app

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/config"
	"postern/peers"
	"postern/store"
)

// opened opens a state with a log that can be looked at.
func opened(t *testing.T, c config.State) (s store.Store, log string, err error) {
	t.Helper()
	var text bytes.Buffer
	s, err = openState(c, slog.New(slog.NewTextHandler(&text, nil)), false)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, text.String(), err
}

// stateAt is the state in a file, written in the configuration or the default.
func stateAt(path string, written bool) config.State {
	return config.State{Kind: "bolt", Path: path, Written: written}
}

// unusable are files that no state can be kept in, by why.
func unusable(t *testing.T) map[string]string {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(os.WriteFile(file, []byte("x"), 0o600))
	inUse := filepath.Join(dir, "used.db")
	s := must1(store.OpenBolt(store.BoltOptions{Path: inUse}))
	t.Cleanup(func() { s.Close() })
	return map[string]string{"its folder cannot be made": filepath.Join(file, "state.db"), "in use": inUse}
}

func TestTheFolderOfTheStateIsMadeForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "state.db")
	s, log, err := opened(t, stateAt(path, true))
	if must(err); log != "" {
		t.Errorf("it says %q", log)
	}
	if _, ok := s.(*store.Bolt); !ok {
		t.Errorf("it is a %T", s)
	}
	if mode := must1(os.Stat(filepath.Dir(path))).Mode().Perm(); mode != 0o700 {
		t.Errorf("the folder has mode %o", mode)
	}
}

func TestAStateThatWasWrittenMustBeUsable(t *testing.T) {
	for why, path := range unusable(t) {
		if _, _, err := opened(t, stateAt(path, true)); err == nil || !strings.Contains(Hint(err), `state "bolt"`) {
			t.Errorf("%s: %v, hint %q", why, err, Hint(err))
		}
	}
}

func TestWithoutAUsableDefaultTheStateIsInMemory(t *testing.T) {
	for why, path := range unusable(t) {
		s, log, err := opened(t, stateAt(path, false))
		if _, ok := s.(*store.Memory); !ok || err != nil {
			t.Errorf("%s: %T, %v", why, s, err)
		}
		for _, word := range []string{"level=WARN", "memory alone", `state \"bolt\" { path =`, `state \"memory\" {}`} {
			if !strings.Contains(log, word) {
				t.Errorf("%s: %q is not in %q", why, word, log)
			}
		}
		if strings.Count(log, "\n") != 1 {
			t.Errorf("%s: more than one warning:\n%s", why, log)
		}
	}
}

func TestAForeignFileIsAnErrorEvenInTheUsualPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	must(os.WriteFile(path, []byte(strings.Repeat("not a state ", 1000)), 0o600))
	for _, written := range []bool{true, false} {
		if _, _, err := opened(t, stateAt(path, written)); !errors.Is(err, store.ErrForeign) {
			t.Errorf("written %v: %v", written, err)
		}
	}
	_, wrong := checkState(stateAt(path, false))
	if !errors.Is(wrong, store.ErrForeign) {
		t.Errorf("check: %v", wrong)
	}
}

func TestStateMemoryTouchesNoFile(t *testing.T) {
	s, log, err := opened(t, config.State{Kind: "memory", Path: "/no/such/folder/state.db", Written: true})
	if _, ok := s.(*store.Memory); !ok || err != nil || log != "" {
		t.Errorf("%T, %v, %q", s, err, log)
	}
}

func TestCheckMakesNoState(t *testing.T) {
	dir := t.TempDir()
	warnings, wrong := checkState(stateAt(filepath.Join(dir, "a", "state.db"), true))
	if wrong != nil || len(warnings) > 0 {
		t.Errorf("%v, %q", wrong, warnings)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	if got := existing(filepath.Join(dir, "a", "b")); got != dir {
		t.Errorf("the folder that is there: %q", got)
	}
	for why, path := range unusable(t) {
		if _, wrong := checkState(stateAt(path, true)); wrong != nil {
			t.Errorf("%s: %v", why, wrong)
		}
	}
}

func TestWhatWasLearnedLastIsWrittenAtTheEnd(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, w.kept()+w.resolver()+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	must(p.stop())
	s := must1(store.OpenBolt(store.BoltOptions{Path: filepath.Join(w.dir, "state", "state.db")}))
	defer s.Close()
	if records := must1(peers.New(peers.Options{Store: s}).Show("example.com")); len(records) != 1 {
		t.Errorf("%d records of example.com", len(records))
	}
}

func TestWhatIsLearnedIsWrittenSoon(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, w.kept()+w.resolver()+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	eventually(t, "it is in the store", func() bool {
		n := 0
		must(p.state.Scan("host/", func(string, []byte) error { n++; return nil }))
		return n == 1
	})
}

// Sessions may still learn something when all beside them has ended: a second
// signal ends that first.
func TestWhatSessionsLearnAtTheVeryEndIsWritten(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, w.kept()+w.resolver()+w.outbound(""))
	shutAll(p.listeners)
	p.cancel()
	p.beside.Wait()
	p.memory.Outbound(peers.DefaultRules()).WentClear("late.example", peers.Host{Name: "mx.late.example", Port: 25})
	must(p.stop())
	text := must1(peersCommand(t, ListPeers, p.file, "", false))
	wantWords(t, "peers list", text, "mx.late.example:25", "late.example")
}

func TestAChangeOfTheStateNeedsARestartAndThatItIsWrittenDoesNot(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, w.kept()+w.resolver()+w.outbound(""))
	p.cfg.State.Written = false // as if the path were the default
	p.reload()
	if text := p.log.String(); strings.Contains(text, "needs a restart") || !strings.Contains(text, "configuration reloaded") {
		t.Errorf("the same state: %s", text)
	}
	p.write("hostname = \"gw.test\"\n" + inMemory + w.resolver() + w.outbound(""))
	p.reload()
	p.log.await(t, "a change of state needs a restart")
}

func TestAStartThatFailsLetsGoOfTheState(t *testing.T) {
	w := newWorld(t)
	text := w.kept() + w.resolver() + w.outboundAt("egress", w.mx.Addr, "")
	_, err := start(must1(config.Parse([]byte(hostnameOnly+text), "config.hcl")), startOptions{log: newJournal()})
	if err == nil || !strings.Contains(err.Error(), `outbound "egress": cannot listen`) {
		t.Fatalf("it starts where it cannot listen: %v", err)
	}
	s, err := openBolt(store.BoltOptions{Path: filepath.Join(w.dir, "state", "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
