package harness

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Output collects what a process writes, for reading while it runs.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Process is a program that runs beside the test.
type Process struct {
	Out    Output
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended and Out is complete
	heir   atomic.Int64  // the process that has taken over from it, and has its outputs; 0: none
}

// StartProcess starts a program in a process group of its own.
func StartProcess(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return startProcess(t, nil, name, args...)
}

// startProcess is StartProcess with files that the program gets as its
// descriptors 3 and on.
func startProcess(t testing.TB, files []*os.File, name string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(name, args...), exited: make(chan struct{})}
	p.cmd.ExtraFiles = files
	p.cmd.Stdout, p.cmd.Stderr = &p.Out, &p.Out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, p.cmd.Start())
	go func() {
		defer close(p.exited)
		// The exit status is read from ProcessState.
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// Signal sends sig to the process itself, or to the last of those that have taken
// over from it.
func (p *Process) Signal(sig syscall.Signal) {
	if heir := p.heir.Load(); heir != 0 {
		_ = syscall.Kill(int(heir), sig) // it may have ended
		return
	}
	_ = p.cmd.Process.Signal(sig)
}

// Ended reports whether the process has ended, and all that have its outputs.
func (p *Process) Ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Wait waits for the end of the process, at most limit, and reports whether it
// came.
func (p *Process) Wait(limit time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// ExitCode is the code that the process has ended with, -1 for a signal.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// kill ends what is left of the process group.
func (p *Process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// Run runs a program to its end with the given standard input, and returns
// what it wrote to both outputs and its exit code. It is ended at the Deadline.
func Run(t testing.TB, stdin string, name string, args ...string) (string, int) {
	t.Helper()
	var out Output
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader([]byte(stdin)), &out, &out
	must(t, cmd.Start())
	timer := time.AfterFunc(Deadline, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // the caller judges the exit code
	return out.String(), cmd.ProcessState.ExitCode()
}

var disaster = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE|goroutine \d+ \[).*`)

var build struct {
	sync.Once
	path string
	err  error
	out  []byte
}

// Binary builds postern, once per test process, and returns its path. With
// POSTERN_TEST_BINARY that file is used instead; with POSTERN_TEST_RACE=1 it
// is built with the race detector.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("POSTERN_TEST_BINARY"); path != "" {
		return path
	}
	build.Do(buildPostern)
	if build.err != nil {
		t.Fatalf("go build ./cmd/postern: %v\n%s", build.err, build.out)
	}
	return build.path
}

// buildPostern keeps one binary per source tree in the cache folder, so that
// the test processes of all packages link it once. The lock keeps them from
// replacing it under each other.
func buildPostern() {
	args := []string{"build"}
	name := "postern-" + Sum([]byte(moduleRoot()))[:12]
	if os.Getenv("POSTERN_TEST_RACE") == "1" {
		args, name = append(args, "-race"), name+"-race"
	}
	build.path = filepath.Join(cacheDir(), "bin", name)
	if build.err = os.MkdirAll(filepath.Dir(build.path), 0o755); build.err != nil {
		return
	}
	lock, err := os.OpenFile(build.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		build.err = err
		return
	}
	defer lock.Close()
	if build.err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); build.err != nil {
		return
	}
	cmd := exec.Command("go", append(args, "-o", build.path, "./cmd/postern")...)
	cmd.Dir = moduleRoot()
	build.out, build.err = cmd.CombinedOutput()
}

// Pid is the number of the process, or of the last that has taken over from it.
func (p *Process) Pid() int {
	if heir := p.heir.Load(); heir != 0 {
		return int(heir)
	}
	return p.cmd.Process.Pid
}
