package upgrade

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/test/harness"
)

// A session that is open stays with the old process until its client has done what it
// came for; one that never ends is told to come back.
func TestOpenSessionsGoOn(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, Socket: harness.SocketIn(t), Inbound: "  shutdown_grace = \"3s\"\n"}.Start(t)
	idle, busy, stays := harness.Dial(t, edge.Addr), harness.Dial(t, edge.Addr), harness.Dial(t, edge.Addr)
	idle.StartTLS(edge.Roots("mx.test"))
	busy.StartTLS(edge.Roots("mx.test"))
	stays.StartTLS(edge.Roots("mx.test"))
	busy.Envelope("a@client.test", "b@mx.test")
	busy.Segments("Subject: half\r\n")
	edge.Upgrade()
	busy.Send("Message-ID: <half@client.test>\r\n\r\nbody\r\n.\r\n")
	busy.Expect(250)
	busy.Deliver(harness.Message("another"))
	busy.Quit()
	idle.Deliver(harness.Message("late"))
	idle.Quit()
	if rest := stays.Rest(); !strings.HasPrefix(rest, "421 4.3.2") {
		t.Errorf("who stays is told %q", rest)
	}
	if got := len(backend.Messages()); got != 3 {
		t.Errorf("the backend has %d messages", got)
	}
	edge.WaitLog(`"msg":"stopped"`)
}

// soon makes one session enough to be remembered.
const soon = `
  reuse_idle = "0s"
  remember_after {
    sessions = 1
    age = "0s"
  }`

// What the old process knew, what it learns until its end, and what the new ones learn:
// all of it is there in the end, also when an old one outlives its successor.
func TestNothingRememberedIsLost(t *testing.T) {
	t.Parallel()
	l := harness.NewLab(t)
	l.Serve(smtptest.Script{TLS: l.Good()}, "before.test", "meanwhile.test", "after.test", "last.test")
	g := l.Gateway()
	g.Bolt, g.Outbound = filepath.Join(t.TempDir(), "state.db"), soon
	out := g.Start(t)
	message(t, session(t, out), "before.test").Quit()
	first := session(t, out)
	out.Upgrade()
	second := session(t, out)
	message(t, session(t, out), "after.test").Quit()
	out.Upgrade()
	message(t, first, "meanwhile.test", "before.test").Quit()
	message(t, session(t, out), "before.test").Quit()
	message(t, second, "last.test", "before.test").Quit()
	harness.Eventually(t, "the last process knows all that any has learned", func() bool {
		// Of what was counted at the same time by two, as much counts as by the one that had more.
		return sessions(t, out, "before.test") >= 2 && sessions(t, out, "meanwhile.test") == 1 &&
			sessions(t, out, "after.test") == 1 && sessions(t, out, "last.test") == 1
	})
	if left, _ := filepath.Glob(g.Bolt + ".learned-*"); len(left) > 0 {
		t.Errorf("files were left: %q", left)
	}
}

func session(t *testing.T, out *harness.Postern) *harness.Client {
	t.Helper()
	c := harness.Dial(t, out.Addr)
	c.Cmd("EHLO client.test", 250)
	return c
}

func message(t *testing.T, c *harness.Client, domains ...string) *harness.Client {
	t.Helper()
	for _, d := range domains {
		c.Envelope("a@client.test", "b@"+d)
		c.Send(harness.Message("to "+d) + ".\r\n")
		c.Expect(250)
	}
	return c
}

// sessions is how many sessions with a domain are remembered in which its server was
// valid; 0 unless the server is remembered for it.
func sessions(t *testing.T, out *harness.Postern, domain string) int {
	t.Helper()
	text, _ := out.Command("peers", "show", domain, "--json")
	var all []struct {
		Kind, Name string
		Domain     struct {
			Hosts []struct {
				Valid struct{ Count int }
				Since time.Time `json:"remembered_since"`
			}
		}
	}
	_ = json.Unmarshal([]byte(text), &all) // what is not known is no JSON
	for _, k := range all {
		if k.Kind == "domain" && k.Name == domain && len(k.Domain.Hosts) == 1 && !k.Domain.Hosts[0].Since.IsZero() {
			return k.Domain.Hosts[0].Valid.Count
		}
	}
	return 0
}

// The service manager follows: it is told of the new main process by the old one, and
// from then on by the new one alone.
func TestTheServiceManagerFollows(t *testing.T) {
	path := filepath.Join(harness.ShortDir(t), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr, Socket: harness.SocketIn(t)}.Start(t)
	next := func() string {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(harness.Deadline)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(string(b[:n]), "\n")
		return text
	}
	if said := next(); said != "READY=1" {
		t.Errorf("at the start: %q", said)
	}
	edge.Upgrade()
	if said := next(); said != "MAINPID="+strconv.Itoa(edge.Pid()) {
		t.Errorf("at the upgrade: %q, and the process is %d", said, edge.Pid())
	}
	if said := next(); said != "READY=1" {
		t.Errorf("after it: %q", said)
	}
	edge.WaitLog(`"msg":"stopped"`) // the old one, who has said nothing of it
	edge.Stop()
	if said := next(); said != "STOPPING=1" {
		t.Errorf("at the end: %q", said)
	}
}
