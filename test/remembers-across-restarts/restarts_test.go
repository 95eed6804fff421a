// Package restarts proves that what postern knows of other servers survives its
// end, the ordered one and the sudden: a destination that was valid must stay
// valid, and a server whose TLS is broken is not tried again at once.
package restarts

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/store"
	"postern/test/harness"
)

// soon makes one session enough to be remembered.
const soon = `
  reuse_idle = "0s"
  remember_after {
    sessions = 1
    age = "0s"
  }`

// ends are the ways in which postern ends. After each, it is started again.
var ends = map[string]func(*testing.T, *harness.Postern){
	"SIGTERM": func(_ *testing.T, p *harness.Postern) { p.Stop() },
	"SIGKILL": func(_ *testing.T, p *harness.Postern) { p.Kill() },
}

func TestWhatIsKnownSurvives(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, out, state := start(t, soon)
			good := l.Serve(smtptest.Script{TLS: l.Good()}, "good.test")
			broken := l.Serve(smtptest.Script{TLS: l.Good(), Die: "handshake"}, "broken.test")
			deliver(t, out, "first", "good.test", "broken.test")
			written(t, state, "domain/good.test", "host/mx.broken.test")
			end(t, out)
			out.StartAgain()

			// Somebody stands in the way of the one, and the other is well again.
			good.Play(smtptest.Script{TLS: harness.With(catest.New(t).Issue(t, catest.Leaf{Names: []string{"mx.good.test"}}))})
			broken.Play(smtptest.Script{TLS: l.Good()})
			c := harness.Dial(t, out.Addr)
			c.Cmd("EHLO client.test", 250)
			c.Cmd("MAIL FROM:<a@client.test>", 250)
			if text := c.Cmd("RCPT TO:<b@good.test>", 451); !strings.Contains(text, "4.7.5") || !strings.Contains(text, "remembered") {
				t.Errorf("refused with %q", text)
			}
			c.Quit()
			deliver(t, out, "second", "broken.test")
			if asked := broken.Commands(); slices.Contains(asked[slices.Index(asked, "DATA")+1:], "STARTTLS") {
				t.Errorf("it was not skipped: %q", asked)
			}
		})
	}
}

// Sudden ends at random moments of a stream of deliveries leave a state that
// can be opened, and in which nothing that was written is missing.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	l, out, state := start(t, soon)
	server := l.Serve(smtptest.Script{TLS: l.Good()}, "mx.test")
	before := known{}
	for range 6 {
		server.Forget()
		load := &harness.Load{}
		load.Start(t, out)
		want := 1 + rand.IntN(60)
		harness.Eventually(t, "the load goes on", func() bool { return load.Acknowledged() >= want })
		written(t, state, "domain/mx.test")
		out.Kill()
		load.Stop()
		if lost := load.Lost(server.Messages()); len(lost) > 0 {
			t.Errorf("acknowledged, and not there: %q", lost)
		}
		out.StartAgain()
		now := show(t, out)
		if now.Domain.Hosts[0].Valid.Count < before.count() || !now.Domain.Hosts[0].Valid.First.Equal(before.first()) && before.count() > 0 {
			t.Errorf("before it was killed it knew %+v, and now %+v", before, now)
		}
		before = now
	}
	text, code := out.Command("explain", "mx.test")
	if code != 0 || !strings.Contains(text, "remembered") {
		t.Errorf("explain: exit code %d:\n%s", code, text)
	}
}

// A state that is damaged or somebody else's is left as it is, and postern says
// so instead of starting without its memory.
func TestADamagedStateIsNotOverwritten(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"cut off":   func(b []byte) []byte { return b[:len(b)/3] },
		"not bolt":  func([]byte) []byte { return []byte(strings.Repeat("these are my memoirs\n", 500)) },
		"scribbled": func(b []byte) []byte { return append(bytes.Repeat([]byte{0xa5}, 8192), b[8192:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, out, state := start(t, "")
			l.Serve(smtptest.Script{TLS: l.Good()}, "good.test")
			deliver(t, out, "first", "good.test")
			out.Stop()
			whole, err := os.ReadFile(state)
			if err != nil {
				t.Fatal(err)
			}
			damaged := damage(whole)
			if err := os.WriteFile(state, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			text, code := out.Command("run")
			if code != 1 || !strings.Contains(text, state) {
				t.Errorf("exit code %d: %s", code, text)
			}
			if after, err := os.ReadFile(state); err != nil || !bytes.Equal(after, damaged) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

// The first postern has the state; a second must not spoil it.
func TestTwoDoNotShareAState(t *testing.T) {
	t.Parallel()
	_, out, state := start(t, "")
	text, code := out.Command("run")
	if code != 1 || !strings.Contains(text, state) {
		t.Errorf("exit code %d: %s", code, text)
	}
	if out.Ended() {
		t.Error("the first has ended")
	}
	out.Signal(syscall.SIGTERM)
	out.WaitStopped()
}

func start(t *testing.T, outbound string) (*harness.Lab, *harness.Postern, string) {
	l := harness.NewLab(t)
	g := l.Gateway()
	g.Bolt, g.Outbound = filepath.Join(t.TempDir(), "state.db"), outbound
	return l, g.Start(t), g.Bolt
}

func deliver(t *testing.T, out *harness.Postern, id string, domains ...string) {
	t.Helper()
	c := harness.Dial(t, out.Addr)
	c.Cmd("EHLO client.test", 250)
	for _, d := range domains {
		c.Envelope("a@client.test", "b@"+d)
		c.Send(harness.Message(id) + ".\r\n")
		c.Expect(250)
	}
	c.Quit()
}

// written waits until the file has the records: that is done behind deliveries,
// and what a sudden end can take away is only what happened since. A copy of the
// file is looked at, since postern holds the file itself.
func written(t *testing.T, state string, keys ...string) {
	t.Helper()
	harness.Eventually(t, "the file has "+strings.Join(keys, " and "), func() bool {
		data, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "copy.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		copied, err := store.OpenBolt(store.BoltOptions{Path: path})
		if err != nil {
			return false // copied in the middle of a write
		}
		defer copied.Close()
		return !slices.ContainsFunc(keys, func(k string) bool { return !has(copied, k) })
	})
}

// has says whether the state has a key that begins so.
func has(state store.Store, prefix string) (found bool) {
	err := state.Scan(prefix, func(string, []byte) error { found = true; return nil })
	return found && err == nil
}

// known is what "postern peers show" has of a destination.
type known struct {
	Kind, Name string
	Domain     struct {
		Hosts []struct {
			Valid struct {
				Count int
				First time.Time
			}
		}
	}
}

func (k known) count() int {
	if len(k.Domain.Hosts) == 0 {
		return 0
	}
	return k.Domain.Hosts[0].Valid.Count
}

func (k known) first() time.Time {
	if len(k.Domain.Hosts) == 0 {
		return time.Time{}
	}
	return k.Domain.Hosts[0].Valid.First
}

func show(t *testing.T, out *harness.Postern) known {
	t.Helper()
	text, code := out.Command("peers", "show", "mx.test", "--json")
	var all []known
	err := json.Unmarshal([]byte(text), &all)
	i := slices.IndexFunc(all, func(k known) bool { return k.Kind == "domain" && k.Name == "mx.test" && k.count() > 0 })
	if code != 0 || err != nil || i < 0 {
		t.Fatalf("peers show: exit code %d, %v:\n%s", code, err, text)
	}
	return all[i]
}
