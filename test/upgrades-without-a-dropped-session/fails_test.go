package upgrade

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/test/harness"
)

// An upgrade that fails says why, and leaves the old process, its state and the load
// alone.
func TestAFailingUpgradeChangesNothing(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	dir := harness.ShortDir(t)
	described := harness.Edge{Backend: backend.Addr, Inbound: unlimited, Socket: filepath.Join(dir, "admin.sock"), Bolt: filepath.Join(dir, "state.db")}
	edge := described.Start(t)
	anybodys := filepath.Join(dir, "postern")
	if err := os.WriteFile(anybodys, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(anybodys, 0o777); err != nil {
		t.Fatal(err)
	}
	described.CA, described.Certificates = edge.CA, edge.Described().Certificates
	taken := described
	somebody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer somebody.Close()
	taken.Top = fmt.Sprintf("outbound \"egress\" {\n  listen = [%q]\n}\n", somebody.Addr())

	load := &harness.Load{PerSession: 2, Rate: 50}
	load.Start(t, edge)
	for name, c := range map[string]struct {
		config harness.Edge
		args   []string
		says   []string
	}{
		"a program that ends at once":   {described, []string{"--binary", "/bin/false"}, []string{"ended before it could take over", "exit status 1", "/bin/false version"}},
		"no program":                    {described, []string{"--binary", "/no/such/postern"}, []string{"/no/such/postern", "no such file"}},
		"a relative path":               {described, []string{"--binary", "postern"}, []string{"must be absolute"}},
		"a program that anybody writes": {described, []string{"--binary", anybodys}, []string{"nobody else may write to", "chown root"}},
		"a port that is taken":          {taken, nil, []string{"does not start", `outbound "egress"`, "the port is in use", "ss -ltnp"}},
	} {
		t.Run(name, func(t *testing.T) {
			edge.Configure(c.config)
			text, code := edge.Command(append([]string{"upgrade"}, c.args...)...)
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			for _, words := range c.says {
				if !strings.Contains(text, words) {
					t.Errorf("%q is not in %q", words, text)
				}
			}
			goesOn(t, load, 25)
		})
	}
	edge.Configure(described)
	edge.Upgrade() // which shows that none of it was left in the way
	goesOn(t, load, 25)
	load.Stop()
	if cut := load.Cut(); len(cut) != 0 {
		t.Errorf("sessions were refused or cut short: %q", cut)
	}
	backend.Idle()
	load.Compare(t, backend.Messages())
}

// The signal does what the command does, and the log tells.
func TestTheSignalUpgradesToo(t *testing.T) {
	t.Parallel()
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr}.Start(t)
	edge.WriteConfig("hostname = \"mx.test\"\nnonsense {\n}\n")
	edge.Signal(syscall.SIGUSR2)
	edge.WaitLog("no other process has taken over", "nonsense")
	edge.Configure(edge.Described())
	edge.UpgradeBySignal()
	edge.WaitLog(`"msg":"stopped"`)
	c := harness.Dial(t, edge.Addr)
	c.StartTLS(edge.Roots("mx.test"))
	c.Deliver(harness.Message("after"))
	c.Quit()
	edge.Stop()
}

// Process 1 of a container is the container.
func TestTheFirstProcessOfAContainerRefuses(t *testing.T) {
	t.Parallel()
	harness.Root(t)
	unshare := harness.Tool(t, "unshare")
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr, Socket: harness.SocketIn(t),
		Under: []string{unshare, "--pid", "--fork", "--kill-child", "--mount-proc"}}.Start(t)
	text, code := edge.Command("upgrade")
	if code != 1 || !strings.Contains(text, "process 1 of its container") || !strings.Contains(text, "rolling update") {
		t.Errorf("exit code %d: %s", code, text)
	}
	c := harness.Dial(t, edge.Addr)
	c.StartTLS(edge.Roots("mx.test"))
	c.Deliver(harness.Message("still there"))
	c.Quit()
	edge.Kill()
}
