package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a peer that runs.
type process struct {
	cmd  *exec.Cmd
	dead chan struct{} // closed when it has ended and been waited for
}

// launch writes the peer's files, starts it, and waits until it listens.
func (p *peer) launch(dir string, v vars, kind string) error {
	if p.start == "" { // direct: the sink itself
		p.v = v
		return nil
	}
	v.Name, v.Dir = p.name, filepath.Join(dir, p.name)
	p.v = v
	start, err := expand(p.start, v)
	if err != nil {
		return fmt.Errorf("%s: start: %w", p.name, err)
	}
	if err := p.writeFiles(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return p.run(start, kind)
}

// installed says whether the peer's program is there.
func (p *peer) installed(v vars) bool {
	start, err := expand(p.start, v)
	if err != nil {
		return true // launch will say what is wrong
	}
	program, _, _ := strings.Cut(start, " ")
	_, err = exec.LookPath(program)
	return p.start == "" || err == nil
}

func (p *peer) writeFiles() error {
	if err := os.RemoveAll(p.v.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(p.v.Dir, 0o755); err != nil {
		return err
	}
	for name, text := range p.files {
		name = filepath.Join(p.v.Dir, name)
		text, err := expand(text, p.v)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// run starts the program with its output in the file log of its folder.
func (p *peer) run(start, kind string) error {
	name := filepath.Join(p.v.Dir, "log")
	lf, err := os.Create(name)
	if err != nil {
		return err
	}
	defer lf.Close()
	if p.before != "" {
		before, err := expand(p.before, p.v)
		if err != nil {
			return fmt.Errorf("%s: before: %w", p.name, err)
		}
		c := exec.Command("sh", "-c", before)
		c.Stdout, c.Stderr, c.Dir = lf, lf, p.v.Dir
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: before: %w%s", p.name, err, tail(name))
		}
	}
	c := exec.Command("sh", "-c", "exec "+start)
	c.Stdout, c.Stderr, c.Dir = lf, lf, p.v.Dir
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.proc = &process{cmd: c, dead: make(chan struct{})}
	go func(r *process) {
		_ = r.cmd.Wait() // how it ended does not matter, that it ended does
		close(r.dead)
	}(p.proc)
	if err := waitPort(p.port(kind), p.proc.dead); err != nil {
		p.stop()
		return fmt.Errorf("%s: %w%s", p.name, err, tail(name))
	}
	return nil
}

// tail is the end of a log file, on lines of its own.
func tail(name string) string {
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		return ""
	}
	return "\n" + string(b[max(0, len(b)-2000):])
}

// pid is the root of the peer's process tree, 0 for direct.
func (p *peer) pid() int {
	if p.proc == nil {
		return 0
	}
	return p.proc.cmd.Process.Pid
}

// stop ends the processes of the peer's tree, each by its id.
func (p *peer) stop() {
	if p.proc == nil {
		return
	}
	pids := tree(p.pid())
	sendAll(pids[:1], syscall.SIGTERM)
	select {
	case <-p.proc.dead:
	case <-time.After(3 * time.Second):
	}
	for range 2 {
		if !sendAll(pids, syscall.SIGTERM) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	sendAll(pids, syscall.SIGKILL)
	<-p.proc.dead
	for _, pid := range pids[1:] {
		reap(pid)
	}
	p.proc = nil
}

// signalTree sends sig to all that descend from pid, not to pid itself.
func signalTree(pid int, sig syscall.Signal) { sendAll(tree(pid)[1:], sig) }

// sendAll sends sig to those that are alive, and says whether there were any.
func sendAll(pids []int, sig syscall.Signal) (any bool) {
	for _, pid := range pids {
		if alive(pid) {
			any = true
			_ = syscall.Kill(pid, sig) // it may have ended meanwhile
		}
	}
	return any
}

// reap waits for a grandchild. This process is their subreaper: no zombie is
// left to init.
func reap(pid int) {
	for range 50 {
		if w, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); w == pid || err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// waitPort waits up to 10 s until something listens on the port, or dead is
// closed.
func waitPort(port int, dead <-chan struct{}) error {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for range 200 {
		select {
		case <-dead:
			return fmt.Errorf("ended before it listened on %d", port)
		default:
		}
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			c.Close()
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("nothing listens on %d", port)
}
