package upgrade

import (
	"net"
	"os"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/test/harness"
)

// A socket of systemd's is handed on like any other.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	activate := harness.Tool(t, "systemd-socket-activate")
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, Inbound: unlimited, Socket: harness.SocketIn(t), Activated: activate}.Start(t)
	load := &harness.Load{PerSession: 1, Rate: 100}
	load.Start(t, edge)
	for range 3 {
		goesOn(t, load, 50)
		edge.Upgrade()
	}
	goesOn(t, load, 50)
	load.Stop()
	if cut := load.Cut(); len(cut) != 0 {
		t.Errorf("sessions were refused or cut short: %q", cut)
	}
	backend.Idle()
	load.Compare(t, backend.Messages())
}

// While the service restarts, systemd keeps the socket, and connections wait in it.
func TestARestartWithASocketOfSystemd(t *testing.T) {
	t.Parallel()
	l := harness.NewLab(t)
	server := l.Serve(smtptest.Script{TLS: l.Good()}, "mx.test")
	g := l.Gateway()
	held, err := net.Listen("tcp", harness.FreePort(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	f, err := held.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g.Outbound = unlimited
	g.Addr, g.Sockets = held.Addr().String(), []*os.File{f}
	out := g.Start(t)
	load := &harness.Load{PerSession: 1, Rate: 50}
	load.Start(t, out)
	for range 3 {
		goesOn(t, load, 25)
		out.Stop()
		out.StartAgain()
	}
	goesOn(t, load, 25)
	load.Stop()
	for _, cut := range load.Cut() {
		if !strings.Contains(cut, "421 4.3.2") { // who was in the middle of a session
			t.Errorf("a connection was lost: %s", cut)
		}
	}
	if lost := load.Lost(server.Messages()); len(lost) > 0 {
		t.Errorf("acknowledged, and not there: %q", lost)
	}
}
