package installs

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

// service is ExecStart of the unit under a manager that listens on NOTIFY_SOCKET.
type service struct {
	cmd    *exec.Cmd
	out    harness.Output
	notify *net.UnixConn
	ended  chan error
}

// start runs the service and returns when it is ready, as Type=notify has it.
func (m *machine) start(t *testing.T) *service {
	t.Helper()
	if kind := m.unit(t, "postern.service", "Type")[0]; kind != "notify" {
		t.Fatalf("Type=%s", kind)
	}
	const inside = "/run/notify"
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path(inside), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	if err := os.Chmod(m.path(inside), 0o777); err != nil {
		t.Fatal(err)
	}
	s := &service{cmd: m.as(t, m.unit(t, "postern.service", "AmbientCapabilities")[0]), notify: notify, ended: make(chan error, 1)}
	s.cmd.Env = append(s.cmd.Env, "NOTIFY_SOCKET="+inside, "WATCHDOG_USEC="+strconv.FormatInt(time.Second.Microseconds(), 10))
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	s.told(t, "READY=1")
	s.told(t, "WATCHDOG=1")
	return s
}

// told waits until the service has told its manager something.
func (s *service) told(t *testing.T, what string) {
	t.Helper()
	if err := s.notify.SetReadDeadline(time.Now().Add(harness.Deadline)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); ; {
		n, err := s.notify.Read(buf)
		if err != nil {
			t.Fatalf("%s does not come: %v\n%s", what, err, s.out.String())
		}
		if strings.Contains("\n"+string(buf[:n])+"\n", "\n"+what+"\n") {
			return
		}
	}
}

// reload does what ExecReload does.
func (s *service) reload(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGHUP)
	s.told(t, "RELOADING=1")
	s.told(t, "READY=1")
}

// stop does what systemd does, and wants a clean end.
func (s *service) stop(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.told(t, "STOPPING=1")
	if err := <-s.ended; err != nil {
		t.Errorf("it ends with %v:\n%s", err, s.out.String())
	}
}

// The unit's capability is what port 25 needs, and all that it needs.
func TestTheServiceMayListenOnPort25(t *testing.T) {
	ns := harness.NewNamespace(t)
	m := newMachine(t)
	m.must(t, "dpkg", "-i", m.put(t, built(t)))
	m.write(t, config, egress("127.0.0.1:25"))
	ns.Do(func() {
		s := m.start(t)
		c := harness.Dial(t, "127.0.0.1:25")
		c.Quit()
		s.stop(t)
	})
}

// What a service may not do ends in a line that names the remedy.
func TestAServiceWithoutItsRightsSaysWhatIsMissing(t *testing.T) {
	ns := harness.NewNamespace(t)
	m := newMachine(t)
	m.must(t, "dpkg", "-i", m.put(t, built(t)))
	if err := os.MkdirAll(m.path("/srv/state"), 0o755); err != nil { // of root
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config, capabilities string
		says                 []string
	}{
		"port 25":                    {egress("127.0.0.1:25"), "", []string{"cannot listen on 127.0.0.1:25: no permission", "AmbientCapabilities=CAP_NET_BIND_SERVICE"}},
		"a folder of another user's": {"state \"bolt\" {\n  path = \"/srv/state/state.db\"\n}\n" + egress("127.0.0.1:25"), bindService, []string{"state: ", "permission denied", "StateDirectory=postern"}},
		"a socket in such a folder":  {strings.Replace(egress("127.0.0.1:25"), "/run/postern/", "/srv/state/", 1), bindService, []string{"cannot listen on /srv/state/admin.sock", "RuntimeDirectory=postern"}},
	} {
		m.write(t, config, c.config)
		ns.Do(func() {
			cmd := m.as(t, c.capabilities)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("%s: it ends with %v:\n%s", name, err, out)
			}
			for _, text := range c.says {
				if !strings.Contains(string(out), text) {
					t.Errorf("%s: it does not say %q:\n%s", name, text, out)
				}
			}
		})
	}
}
