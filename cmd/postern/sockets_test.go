package main

import (
	"bufio"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const activated = `hostname = "mx.test"
state "memory" {}
inbound "mx" {
  listen = ["127.0.0.1:1"]
  tls = "off"
  backend {
    address = "127.0.0.1:2"
    client_address = "xclient"
  }
}
`

const activatedOutbound = `hostname = "mx.test"
state "memory" {}
outbound "egress" {
  listen = ["127.0.0.1:1"]
}
`

// activate runs postern the way systemd does it, with sockets of these names.
func activate(t *testing.T, text, names string, sockets ...*os.File) (cmd *exec.Cmd, stderr io.Reader) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// The number of the process is known only to the process: the shell sets
	// it and becomes postern.
	cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run --config "$1"`, os.Args[0], file)
	cmd.Env = append(os.Environ(), asPostern+"=1", "LISTEN_FDS=1", "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = sockets
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return cmd, stderr
}

// socket opens a listening socket and hands out its file.
func socket(t *testing.T) (address string, f *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if f, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return l.Addr().String(), f
}

// greeted connects and wants the 220.
func greeted(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, _, err := textproto.NewConn(c).ReadResponse(220); err != nil {
		t.Fatal(err)
	}
}

func TestASocketOfSystemdTakesThePlaceOfListen(t *testing.T) {
	for name, text := range map[string]string{"mx": activated, "egress": activatedOutbound} {
		t.Run(name, func(t *testing.T) { servesTheSocket(t, text, name) })
	}
}

// servesTheSocket says that mail is taken on a socket of that name, before and after
// a reload.
func servesTheSocket(t *testing.T, text, name string) {
	address, f := socket(t)
	cmd, stderr := activate(t, text, name, f)
	f.Close()
	greeted(t, address) // the connection waits in the socket until postern is there
	reloaded := make(chan bool, 1)
	go func() {
		defer close(reloaded)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "configuration reloaded") {
				reloaded <- true
			}
		}
	}()
	cmd.Process.Signal(syscall.SIGHUP)
	if !<-reloaded {
		t.Fatal("it does not reload")
	}
	greeted(t, address)
	cmd.Process.Signal(syscall.SIGTERM)
	for range reloaded {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestASocketThatIsForNobodyIsRefused(t *testing.T) {
	for name, shown := range map[string]string{"postern.socket": `"postern.socket"`, "": `"LISTEN_FD_3"`} {
		_, f := socket(t)
		cmd, stderr := activate(t, activated, name, f)
		text, _ := io.ReadAll(stderr)
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitWanting {
			t.Errorf("%q: %v", name, err)
		}
		if s := string(text); !strings.Contains(s, shown) || !strings.Contains(s, "FileDescriptorName=") || !strings.Contains(s, "one of: mx") {
			t.Errorf("%q: it says %q", name, s)
		}
	}
}

func TestASocketThatIsNotTCPIsRefused(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd, stderr := activate(t, activated, "mx", f)
	text, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitWanting || !strings.Contains(string(text), "ListenStream=") {
		t.Errorf("%v: it says %q", err, text)
	}
}
