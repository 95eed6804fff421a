package app

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager that listens.
type manager struct {
	t *testing.T
	*net.UnixConn
}

func newManager(t *testing.T) manager {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c := must1(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"}))
	t.Cleanup(func() { c.Close() })
	must(c.SetReadDeadline(time.Now().Add(patience)))
	t.Setenv("NOTIFY_SOCKET", name)
	return manager{t, c}
}

// expect reads one datagram that begins with a state and has the words.
func (m manager) expect(state string, words ...string) {
	m.t.Helper()
	buffer := make([]byte, 4096)
	n, err := m.Read(buffer)
	if err != nil {
		m.t.Fatalf("the manager was not told %s: %v", state, err)
	}
	text := string(buffer[:n])
	if !strings.HasPrefix(text, state) {
		m.t.Fatalf("the manager was told %q, not %s", text, state)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			m.t.Errorf("%q is not in %q", w, text)
		}
	}
}

func TestTheServiceManagerIsTold(t *testing.T) {
	m := newManager(t)
	behind, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	m.expect("READY=1", "STATUS=listening on "+p.at(t, "mx"))
	signals, ended := p.signalled()
	signals <- syscall.SIGHUP
	m.expect("RELOADING=1", "MONOTONIC_USEC=")
	m.expect("READY=1", "STATUS=listening on")
	p.write("}")
	signals <- syscall.SIGHUP
	m.expect("RELOADING=1")
	m.expect("READY=1", "STATUS=reload failed, the old configuration stays in use")
	signals <- syscall.SIGTERM
	m.expect("STOPPING=1")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheWatchdogIsServedAlsoWhileDraining(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	behind, _ := backend(t)
	p := launch(t, inboundWith("mx", behind, `shutdown_grace = "1h"`, "127.0.0.1:0"))
	m.expect("READY=1")
	dial(t, p.at(t, "mx")).envelope()
	signals, ended := p.signalled()
	m.expect("WATCHDOG=1")
	m.expect("WATCHDOG=1")
	// From here on, nobody takes anything but from the loop of the drain.
	signals <- syscall.SIGTERM
	stopping, after := false, false
	for buffer := make([]byte, 4096); !after; {
		n, err := m.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		text := string(buffer[:n])
		after = stopping && text == "WATCHDOG=1"
		stopping = stopping || strings.HasPrefix(text, "STOPPING=1")
	}
	signals <- syscall.SIGTERM
	<-ended
}

func TestAManagerThatIsGoneDoesNotStopTheService(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	t.Setenv("WATCHDOG_USEC", "a while")
	behind, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	p.log.await(t, "service manager cannot be told", "READY=1")
	signals, ended := p.signalled()
	p.log.await(t, "the watchdog of the service manager is not served")
	dial(t, p.at(t, "mx")).deliver()
	signals <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
