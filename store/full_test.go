//go:build linux

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is what there is for the store.
const disk = 1 << 20

// childTmpfs has the other process mount a small file system first.
const childTmpfs = "POSTERN_STORE_TMPFS"

// fillUp writes until there is no room, and expects what Bolt.Write promises.
func fillUp(path string) error {
	if os.Getenv(childTmpfs) != "" {
		if err := unix.Mount("tmpfs", filepath.Dir(path), "tmpfs", 0, fmt.Sprint("size=", disk)); err != nil {
			return err
		}
	} else if err := limitFiles(disk); err != nil {
		return err
	}
	b, err := OpenBolt(BoltOptions{Path: path})
	if err != nil {
		return err
	}
	n, err := fill(b)
	fmt.Println("full:", n, err)
	if n < 20 || n > 200 {
		return fmt.Errorf("full after %d writes", n)
	}
	if err := has(b, n); err != nil {
		return err
	}
	if err := makeRoom(path); err != nil {
		return err
	}
	if err := b.Write(batchNumber(n)...); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := errors.Join(has(b, n+1), b.Close()); err != nil {
		return err
	}
	if b, err = OpenBolt(BoltOptions{Path: path}); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return errors.Join(has(b, n+1), b.Close())
}

func limitFiles(octets uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur = octets
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &limit)
}

func makeRoom(path string) error {
	if os.Getenv(childTmpfs) != "" {
		return unix.Mount("tmpfs", filepath.Dir(path), "tmpfs", unix.MS_REMOUNT, fmt.Sprint("size=", 8*disk))
	}
	return limitFiles(8 * disk)
}

func batchNumber(n int) (changes []Change) {
	for i := range 10 {
		changes = append(changes, Change{Key: fmt.Sprintf("%d/%d", n, i), Value: []byte(strings.Repeat("v", 2000))})
	}
	return changes
}

// fill writes until that fails twice, and returns how often it did not.
func fill(b *Bolt) (n int, err error) {
	for err = b.Write(batchNumber(n)...); err == nil; err = b.Write(batchNumber(n)...) {
		n++
	}
	if again := b.Write(batchNumber(n)...); again == nil {
		return n, errors.New("failed only once")
	}
	return n, err
}

// has says that exactly n batches are there.
func has(b *Bolt, n int) error {
	found := 0
	err := b.Scan("", func(string, []byte) error { found++; return nil })
	if err == nil && found != 10*n {
		err = fmt.Errorf("%d entries after %d writes of 10", found, n)
	}
	return err
}

func TestAFullDiskCostsNothingThatWasWritten(t *testing.T) {
	t.Run("a limit of the process", func(t *testing.T) {
		output := runChild(t, child("fill", filepath.Join(t.TempDir(), "state.db")))
		if !strings.Contains(output, "file too large") {
			t.Errorf("the error was: %s", output)
		}
	})
	t.Run("a small file system", func(t *testing.T) {
		if os.Geteuid() != 0 {
			skip(t, "only root may mount")
		}
		cmd := child("fill", filepath.Join(t.TempDir(), "state.db"))
		cmd.Env = append(cmd.Env, childTmpfs+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		output := runChild(t, cmd)
		if !strings.Contains(output, "no space left on device: make room") {
			t.Errorf("the error was: %s", output)
		}
	})
}

func runChild(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if errors.Is(err, fs.ErrPermission) {
		skip(t, "this sandbox forbids it: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s%s", err, output, stderr.String())
	}
	return string(output)
}

// skip ends the test, as a failure when POSTERN_CI=1, where nothing may be
// missing.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("POSTERN_CI") == "1" {
		t.Fatalf("must not be missing with POSTERN_CI=1: "+format, args...)
	}
	t.Skipf(format, args...)
}

// asNobody runs f as a user without rights, in a thread that ends with it.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		const nobody = 65534
		_, _ = unix.SetfsgidRetGid(nobody)
		_, _ = unix.SetfsuidRetUid(nobody)
		f()
	}()
	<-done
}

func TestAFileOfAnotherUserIsLeftAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "only root may become another user")
	}
	path := full(t)
	check(t, os.Chmod(filepath.Dir(path), 0o755), nil)
	before := fingerprint(t, path)
	for _, name := range []string{"state.db", "new.db"} {
		asNobody(func() {
			_, err := OpenBolt(BoltOptions{Path: filepath.Join(filepath.Dir(path), name)})
			check(t, err, fs.ErrPermission)
			if !strings.Contains(err.Error(), "let the user that postern runs as") {
				t.Error(err)
			}
		})
	}
	if fingerprint(t, path) != before {
		t.Error("it was changed")
	}
}
