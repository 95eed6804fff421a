package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Engine is a Docker engine with a network, processes and data of its own: its
// containers, bridges and firewall rules are in its Namespace, and nothing of it
// is left after the test.
type Engine struct {
	*Namespace

	t      testing.TB
	dir    string
	docker string
}

// engineLimit is for one command of the engine: building an image, for example.
const engineLimit = 5 * time.Minute

// NewEngine starts an engine, or skips the test where there is none.
func NewEngine(t testing.TB) *Engine {
	t.Helper()
	// Debian's, which is of the same version as the engine.
	e := &Engine{t: t, docker: Tool(t, "/usr/bin/docker"), Namespace: NewNamespace(t)}
	dockerd, unshare := Tool(t, "dockerd"), Tool(t, "unshare")
	dir, err := os.MkdirTemp("", "postern-engine-") // short: the path of a socket may have 107 octets
	must(t, err)
	e.dir = dir
	group := fmt.Sprintf("postern-test-%d", rand.IntN(1e9))
	t.Cleanup(func() { e.clear(group) })
	var process *Process
	e.Do(func() {
		// Whatever the engine has started ends with the first process of its own
		// process namespace.
		process = StartProcess(t, unshare, "--pid", "--fork", "--kill-child", "--mount-proc", dockerd,
			"--host", e.host(), "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
			"--pidfile", filepath.Join(dir, "pid"), "--cgroup-parent", "/"+group)
	})
	t.Cleanup(func() { e.stop(process) })
	started := Poll(Deadline, func() bool {
		_, code := e.run(e.docker, "version")
		return code == 0 || process.Ended()
	})
	if !started || process.Ended() {
		Skip(t, "dockerd does not start: %s", process.Out.String())
	}
	return e
}

func (e *Engine) host() string { return "unix://" + filepath.Join(e.dir, "socket") }

// stop ends the containers, so that their mounts and control groups go with them,
// and then the engine: what is left when it does not obey is killed by the cleanup
// of its process.
func (e *Engine) stop(process *Process) {
	if all, _ := e.run(e.docker, "ps", "-aq"); all != "" {
		e.run(e.docker, append([]string{"rm", "-f"}, strings.Fields(all)...)...)
	}
	// unshare passes no signal on.
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", process.Pid()))
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	process.Wait(Deadline)
}

// clear removes what the engine leaves behind.
func (e *Engine) clear(group string) {
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Errorf("remove %s: %v", e.dir, err)
	}
	// In version 1 of control groups there is one for each controller.
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		folders, _ := filepath.Glob(pattern + group) // the pattern is good
		for _, folder := range folders {
			removeGroup(folder)
		}
	}
}

// removeGroup removes a control group with those in it. The kernel removes none
// that is in use.
func removeGroup(folder string) {
	inner, _ := os.ReadDir(folder)
	for _, entry := range inner {
		if entry.IsDir() {
			removeGroup(filepath.Join(folder, entry.Name()))
		}
	}
	_ = os.Remove(folder)
}

// Docker runs a command of the docker program, fails the test when it fails, and
// returns what it wrote, without the last line end.
func (e *Engine) Docker(args ...string) string {
	e.t.Helper()
	return e.must(e.docker, args...)
}

// TryDocker is Docker for a command that may fail: it returns the exit code too.
func (e *Engine) TryDocker(args ...string) (string, int) {
	return e.run(e.docker, args...)
}

// Compose runs a command of docker-compose in a folder.
func (e *Engine) Compose(folder string, args ...string) string {
	e.t.Helper()
	return e.must(Tool(e.t, "/usr/bin/docker-compose"), append([]string{"--project-directory", folder}, args...)...)
}

// WaitHealthy waits until a container says that it is.
func (e *Engine) WaitHealthy(container string) {
	e.t.Helper()
	healthy := Poll(Deadline, func() bool {
		return e.Docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"
	})
	if !healthy {
		e.t.Fatalf("%s is not healthy within %v: %s\n%s", container, Deadline,
			e.Docker("inspect", "--format", "{{json .State}}", container), e.Docker("logs", container))
	}
}

func (e *Engine) must(program string, args ...string) string {
	e.t.Helper()
	out, code := e.run(program, args...)
	if code != 0 {
		e.t.Fatalf("%s %s: exit code %d\n%s", filepath.Base(program), strings.Join(args, " "), code, out)
	}
	return out
}

// run runs a program that talks to the engine. BuildKit is what Docker has by
// default since version 23.
func (e *Engine) run(program string, args ...string) (string, int) {
	ctx, cancel := context.WithTimeout(context.Background(), engineLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "PATH=/usr/bin:"+os.Getenv("PATH"),
		"DOCKER_HOST="+e.host(), "DOCKER_CONFIG="+e.dir, "DOCKER_BUILDKIT=1", "BUILDKIT_PROGRESS=plain")
	out, _ := cmd.CombinedOutput() // the caller judges the exit code
	return strings.TrimSuffix(string(out), "\n"), cmd.ProcessState.ExitCode()
}
