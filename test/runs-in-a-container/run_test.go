package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/test/harness"
)

// The document's own line and configuration, and no rights: mail in, mail out, and
// a stop that loses nothing of it.
func TestItNeedsNoRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	load(t, w.Engine)
	mailServer := w.server("203.0.113.9:25", smtptest.Script{
		Capabilities: append([]string{"XCLIENT NAME ADDR PORT PROTO HELO"}, smtptest.Default...),
		Replies:      map[string]string{"XCLIENT": "220 mx.test"},
	})
	folder := w.folder("mx.test")
	write(t, filepath.Join(folder, "config.hcl"), documented(t, "192.0.2.10", "203.0.113.9")+fmt.Sprintf("resolver {\n  servers = [%q]\n}\n", internet))
	line := strings.NewReplacer("-v /etc/postern:", "-v "+folder+":", "\\\n", " ").Replace(harness.Snippets(t, "deploy/container.md", "Run it")[0])
	for _, want := range []string{"docker run", "--read-only", "--cap-drop ALL"} {
		if !strings.Contains(line, want) {
			t.Fatalf("the document says %q", line)
		}
	}
	w.Docker(strings.Fields(line)[1:]...)
	w.WaitHealthy("postern")
	if uids := strings.Fields(w.Docker("top", "postern", "-eo", "pid,uid")); len(uids) != 4 || uids[3] != "10025" {
		t.Errorf("it runs as %q", uids)
	}
	if out := w.Docker("exec", "postern", "postern", "healthcheck"); out != "ready" {
		t.Errorf("it says that it is %q", out)
	}

	w.deliver(t, "mx.test", "b@mx.test", "in")
	wantMessage(t, mailServer, "in")
	exchanger := w.server("203.0.113.8:25", smtptest.Script{TLS: w.certificate(t, "mx.destination.test")})
	w.send(t, "out")
	wantMessage(t, exchanger, "out")
	if exchanger.Connection(0).Secured() == nil {
		t.Error("it went out in clear")
	}
	if out := w.Docker("exec", "postern", "postern", "peers", "list"); !strings.Contains(out, "mx.destination.test") {
		t.Errorf("remembered: %s", out)
	}
	w.stopLosesNothing(t, mailServer)
	w.Docker("start", "postern")
	w.WaitHealthy("postern")
	if out := w.Docker("exec", "postern", "postern", "peers", "list"); !strings.Contains(out, "mx.destination.test") {
		t.Errorf("remembered after a restart: %s", out)
	}
}

// documented is the configuration of the document, with another address of the mail
// server.
func documented(t *testing.T, was, is string) string {
	t.Helper()
	text := harness.Snippets(t, "deploy/container.md", "One container")[1]
	if !strings.Contains(text, was) {
		t.Fatalf("the document has no %s in\n%s", was, text)
	}
	text = strings.ReplaceAll(text, was, is)
	// The client of the egress is this machine.
	return strings.ReplaceAll(text, `from   = ["`+is+`"]`, `from   = ["`+is+`", "`+internet+`"]`)
}

// stopLosesNothing stops a container while a message is under way.
func (w *world) stopLosesNothing(t *testing.T, mailServer *smtptest.Backend) {
	t.Helper()
	c := w.dial(t, "mx.test")
	c.Envelope("a@client.test", "b@mx.test")
	stopped := make(chan string, 1)
	go func() {
		out, _ := w.TryDocker("stop", "postern")
		stopped <- out
	}()
	harness.Eventually(t, "nobody is let in any more", func() bool { return !w.listening(machine + ":25") })
	c.Send(harness.Message("under-way") + ".\r\n")
	c.Expect(250)
	c.Close()
	if out := <-stopped; out != "postern" {
		t.Errorf("docker stop: %s", out)
	}
	if code := w.Docker("inspect", "--format", "{{.State.ExitCode}}", "postern"); code != "0" {
		t.Errorf("exit code %s", code)
	}
	wantMessage(t, mailServer, "under-way")
}

// wantMessage waits for one message, and no more, with an id.
func wantMessage(t *testing.T, b *smtptest.Backend, id string) {
	t.Helper()
	count := func() (n int) {
		for _, m := range b.Messages() {
			n += strings.Count(m, "Message-ID: <"+id+"@")
		}
		return n
	}
	b.Wait("the message "+id, func() bool { return count() > 0 })
	if count() != 1 {
		t.Errorf("%d messages %s", count(), id)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
