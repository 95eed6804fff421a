package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace is a machine of its own, as far as the network and /etc/resolv.conf
// go: it has the loopback interface, and asks 127.0.0.1 for names.
type Namespace struct {
	t          testing.TB
	net, mount int // file descriptors
}

// NewNamespace makes one, or skips the test where that is not allowed.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	Root(t)
	Tool(t, "ip")
	resolv := filepath.Join(openDir(t), "resolv.conf")
	write(t, resolv, "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n", 0o644)
	n := &Namespace{t: t}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- n.unshare(resolv)
	}()
	if err := <-done; err != nil {
		Skip(t, "no network namespace: %v", err)
	}
	t.Cleanup(func() { unix.Close(n.net); unix.Close(n.mount) })
	n.Run("ip link set lo up")
	return n
}

// unshare moves the calling thread, which is of no use afterwards.
func (n *Namespace) unshare(resolv string) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount(resolv, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if n.net, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	n.mount, err = unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return err
}

// Do calls f inside the namespace: sockets that it opens and programs that it
// starts belong there, also after it has returned.
func (n *Namespace) Do(f func()) {
	n.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // see NewNamespace
		defer close(done)      // also when f ends the test
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(n.net, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = unix.Setns(n.mount, unix.CLONE_NEWNS)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	err, returned := <-done
	must(n.t, err)
	switch {
	case returned:
	case n.t.Skipped():
		n.t.SkipNow()
	default:
		n.t.FailNow()
	}
}

// Run runs shell commands inside the namespace, and fails the test when one of
// them fails.
func (n *Namespace) Run(script string) {
	n.t.Helper()
	n.Do(func() {
		if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
			n.t.Fatalf("%s: %v\n%s", script, err, out)
		}
	})
}

// T is the test that the namespace was made for.
func (n *Namespace) T() testing.TB { return n.t }

// Link connects two namespaces by a cable. Each end is a name of an interface
// and the addresses that it gets, as "ip addr add" takes them.
func Link(a *Namespace, aName string, aAddrs []string, b *Namespace, bName string, bAddrs []string) {
	a.t.Helper()
	b.t.Helper()
	a.Do(func() {
		// The other end is born where the descriptor leads.
		f := os.NewFile(uintptr(dup(a.t, b.net)), "netns")
		defer f.Close()
		cmd := exec.Command("ip", "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", "/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{f}
		if out, err := cmd.CombinedOutput(); err != nil {
			Skip(a.t, "no veth interfaces: %v: %s", err, out)
		}
	})
	for _, end := range []struct {
		n     *Namespace
		name  string
		addrs []string
	}{{a, aName, aAddrs}, {b, bName, bAddrs}} {
		for _, addr := range end.addrs {
			// Duplicate address detection would keep an IPv6 address waiting.
			end.n.Run("ip addr add " + addr + " dev " + end.name + " $(case " + addr + " in *:*) echo nodad;; esac)")
		}
		end.n.Run("ip link set " + end.name + " up")
	}
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	return copied
}
