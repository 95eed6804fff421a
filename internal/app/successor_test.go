package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheProgramToUpgradeToIsNobodysToChoose(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern")
	must(os.WriteFile(file, nil, 0o755))
	link := file + "-link"
	must(os.Symlink(file, link))
	for name, good := range map[string]bool{"": true, file: true, link: true, filepath.Dir(file): false, "postern": false, file + "-none": false} {
		if _, err := binary(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got, err := binary(link); err != nil || got != must1(filepath.EvalSymlinks(file)) {
		t.Errorf("of a link, which may change, %q is started, %v", got, err)
	}
	open := filepath.Join(t.TempDir(), "open")
	must(os.Mkdir(open, 0o700))
	must(os.Chmod(open, 0o777))
	must(os.WriteFile(filepath.Join(open, "postern"), nil, 0o755))
	if _, err := binary(filepath.Join(open, "postern")); err == nil || !strings.Contains(Hint(err), "/usr/local/bin") {
		t.Errorf("in a folder of everybody: %v", err)
	}
	for _, mode := range []os.FileMode{0o775, 0o757} {
		must(os.Chmod(file, mode))
		if _, err := binary(file); err == nil || !strings.Contains(Hint(err), "chmod 755") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	must(os.Chmod(file, 0o755))
	must(os.Chown(file, 12345, 0))
	if _, err := binary(file); err == nil {
		t.Error("the file of another user is run")
	}
}

func TestASuccessorGetsNothingThatIsMeantForThisProcess(t *testing.T) {
	got := handedOn([]string{"LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=mx", "WATCHDOG_PID=1", "WATCHDOG_USEC=5", "NOTIFY_SOCKET=/x", estateVariable + "=[]", "HOME=/"})
	if want := []string{"WATCHDOG_USEC=5", "NOTIFY_SOCKET=/x", "HOME=/"}; !slices.Equal(got, want) {
		t.Errorf("it gets %q", got)
	}
}

// A program that has started another one, and is no postern, must not keep us from
// going on, nor from ending.
func TestASuccessorWhoseChildHoldsTheLineIsGivenUp(t *testing.T) {
	script := filepath.Join(t.TempDir(), "postern")
	must(os.WriteFile(script, []byte("#!/bin/sh\ncat <&4 &\necho started >&5\nwait\n"), 0o755))
	held, hold, err := os.Pipe()
	must(err)
	defer hold.Close() // and the child ends
	started, tell, err := os.Pipe()
	must(err)
	defer started.Close()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := new(process).succeed(ctx, script, &will{text: "[]", files: []*os.File{held, tell}})
		failed <- err
	}()
	must1(started.Read(make([]byte, 1)))
	cancel()
	select {
	case err := <-failed:
		if !errors.Is(err, errStopping) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it is waited for")
	}
}

// What is handed on shares its mode with what we go on accepting from: were it
// to block, so would we, and nothing could be closed any more.
func TestADuplicateLeavesTheSocketAsItIs(t *testing.T) {
	l := must1(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	f := must1(duplicate(l))
	defer f.Close()
	if flags := must1(unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)); flags&unix.O_NONBLOCK == 0 {
		t.Error("the socket blocks")
	}
	if _, err := duplicate(nobody{l}); err == nil {
		t.Error("what is no socket is handed on")
	}
}

type nobody struct{ net.Listener }

func TestWithoutAPredecessorThereIsNoEstate(t *testing.T) {
	if e, err := inherit(); e != nil || err != nil {
		t.Errorf("%v, %v", e, err)
	}
	t.Setenv(estateVariable, "{")
	if _, err := inherit(); err == nil || !strings.Contains(err.Error(), estateVariable) {
		t.Errorf("damaged: %v", err)
	}
	if _, there := os.LookupEnv(estateVariable); there {
		t.Error("what we start would inherit, too")
	}
	var none *estate
	none.prepared()
	if err := errors.New("x"); none.failed(err) != err || none.take("x") != nil {
		t.Error("no estate is something")
	}
}
