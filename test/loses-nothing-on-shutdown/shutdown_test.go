// Package shutdown proves that SIGTERM ends postern within its grace and that
// no message is lost or doubled by it.
package shutdown

import (
	"strings"
	"syscall"
	"testing"

	"postern/test/harness"
)

func TestUnderLoad(t *testing.T) {
	t.Parallel()
	for name, secured := range map[string]bool{"clear": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := harness.NewBackend(t, harness.Script{})
			edge := harness.Edge{Backend: backend.Addr, Inbound: "  shutdown_grace = \"20s\""}.Start(t)
			load := &harness.Load{Secured: secured, PerSession: 50}
			load.Start(t, edge)
			harness.Eventually(t, "the load is on", func() bool { return load.Acknowledged() >= 100 })
			edge.Stop()
			load.Stop()
			if code := edge.ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			backend.Idle()
			load.Compare(t, backend.Messages())
		})
	}
}

// A message in flight is finished, an idle session told at its next command,
// and nobody is let in any more.
func TestWhatIsUnderWayIsFinished(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, Inbound: "  shutdown_grace = \"20s\""}.Start(t)
	busy, idle := harness.Dial(t, edge.Addr), harness.Dial(t, edge.Addr)
	busy.StartTLS(edge.Roots("mx.test"))
	idle.Cmd("EHLO client.test", 250)
	busy.Envelope("a@client.test", "b@mx.test")
	busy.Segments("Subject: in flight\r\n")

	edge.Signal(syscall.SIGTERM)
	harness.Eventually(t, "the listener is closed", func() bool { return !harness.Listening(edge.Addr) })
	busy.Send("Message-ID: <flight@client.test>\r\n\r\nbody\r\n.\r\n")
	busy.Expect(250)
	if text := busy.Cmd("MAIL FROM:<a@client.test>", 421); !strings.Contains(text, "4.3.2") {
		t.Errorf("refused with %q", text)
	}
	busy.Closed()
	_ = idle.TrySend("NOOP\r\n") // it may have been told already
	if rest := idle.Rest(); !strings.HasPrefix(rest, "421 4.3.2") {
		t.Errorf("the idle client was told %q", rest)
	}
	edge.WaitStopped()
	if code := edge.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := backend.Messages(); len(got) != 1 || !strings.Contains(string(got[0]), "<flight@") {
		t.Errorf("the backend has %q", got)
	}
}

// Who does not finish within the grace is cut off, without a message.
func TestTheGraceEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grace   string
		signals int
	}{"by time": {"500ms", 1}, "by a second signal": {"10m", 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := harness.NewBackend(t, harness.Script{})
			edge := harness.Edge{Backend: backend.Addr, Inbound: "  shutdown_grace = \"" + c.grace + "\""}.Start(t)
			stuck := harness.Dial(t, edge.Addr)
			stuck.StartTLS(edge.Roots("mx.test"))
			stuck.Envelope("a@client.test", "b@mx.test")
			stuck.Segments("Subject: never finished\r\n")
			edge.Signal(syscall.SIGTERM)
			harness.Eventually(t, "the listener is closed", func() bool { return !harness.Listening(edge.Addr) })
			if c.signals == 2 {
				edge.Signal(syscall.SIGTERM)
			}
			edge.WaitStopped()
			backend.Idle()
			if got := backend.Messages(); len(got) != 0 {
				t.Errorf("the backend took %q", got)
			}
		})
	}
}
