package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// freePort is a port that nothing listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestAPeerThatDoesNotStartIsReportedWithItsLog(t *testing.T) {
	v := vars{PortSTARTTLS: freePort(t), Workers: 3}
	for _, c := range []struct {
		name string
		p    peer
		want string
	}{
		{"it ends", peer{start: "sh {{.Dir}}/say", files: map[string]string{"say": "echo no {{.Workers}}; exit 1"}}, "ended before it listened"},
		{"before fails", peer{start: "true", before: "echo no {{.Workers}}; false"}, "before: exit status 1"},
		{"a bad file", peer{start: "true", files: map[string]string{"f": "{{.Nothing}}"}}, "can't evaluate field Nothing"},
		{"a bad start", peer{start: "{{.Nothing}}"}, "can't evaluate field Nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.p.name = "x"
			err := c.p.launch(t.TempDir(), v, "starttls")
			if err == nil || !strings.HasPrefix(err.Error(), "x: ") || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if !strings.Contains(c.want, "Nothing") && !strings.HasSuffix(err.Error(), "\nno 3\n") {
				t.Errorf("the log is not in it: %v", err)
			}
			if c.p.proc != nil {
				t.Error("it is taken to be running")
			}
		})
	}
}

func TestAPeerIsStartedInItsFolderAndStoppedWithItsChildren(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // in the peer's place
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fifo := "mkfifo ready"
	p := &peer{name: "x", before: fifo, start: "sh sub/run", files: map[string]string{"sub/run": "sleep 600 & echo > ready; wait"}}
	dir := t.TempDir()
	if err := p.launch(dir, vars{PortTLS: l.Addr().(*net.TCPAddr).Port}, "tls"); err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if _, err := os.ReadFile(filepath.Join(dir, "x", "ready")); err != nil { // blocks until it is written
		t.Fatal(err)
	}
	pids := tree(p.pid())
	if len(pids) != 2 {
		t.Fatalf("the tree is %v, want the shell and its sleep", pids)
	}
	p.stop()
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
	if p.pid() != 0 {
		t.Error("it is taken to be running")
	}
	p.stop() // again: nothing to do
}
