//go:build linux

package store

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The test binary runs itself as another process, which does what childTask
// says with the store at childPath.
const (
	childTask = "POSTERN_STORE_CHILD"
	childPath = "POSTERN_STORE_PATH"
)

func TestMain(m *testing.M) {
	task := map[string]func(path string) error{"write": writeForEver, "fill": fillUp}[os.Getenv(childTask)]
	if task == nil {
		os.Exit(m.Run())
	}
	if err := task(os.Getenv(childPath)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(task, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// window is how many of the numbered entries are there at a time.
const window = 40

// writeForEver writes batches with consecutive numbers, and prints each number
// once the batch is acknowledged. A batch replaces some entries, adds one and
// removes another.
func writeForEver(path string) error {
	b, err := OpenBolt(BoltOptions{Path: path})
	if err != nil {
		return err
	}
	last, err := b.Get("same/0")
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	n, _ := strconv.Atoi(string(last))
	for {
		n++
		value := []byte(strconv.Itoa(n))
		changes := []Change{{Key: numbered(n), Value: append(value, strings.Repeat("v", n%3000)...)}, {Key: numbered(n - window)}}
		for i := range 5 {
			changes = append(changes, Change{Key: fmt.Sprint("same/", i), Value: value, Expires: time.Now().Add(time.Duration(n) * time.Hour)})
		}
		if err := b.Write(changes...); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func numbered(n int) string { return fmt.Sprintf("n/%09d", n) }

func TestAProcessThatIsKilledLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	acknowledged := 0
	for range 40 {
		acknowledged = max(acknowledged, writeUntilKilled(t, path, rand.N(25)))
		acknowledged = verifyNumbers(t, path, acknowledged)
	}
	if acknowledged < 40 {
		t.Errorf("only %d writes in all", acknowledged)
	}
}

// writeUntilKilled kills a writing process some time after it has acknowledged
// so many batches, and returns the number of the last one.
func writeUntilKilled(t *testing.T, path string, after int) (last int) {
	t.Helper()
	cmd := child("write", path)
	out, err := cmd.StdoutPipe()
	check(t, err, nil)
	check(t, cmd.Start(), nil)
	lines := bufio.NewScanner(out)
	for i := 0; i < after && lines.Scan(); i++ {
		last = number(t, lines.Text(), last)
	}
	for until := time.Now().Add(rand.N(3 * time.Millisecond)); time.Now().Before(until); {
		// some moment or other of the next write
	}
	check(t, cmd.Process.Kill(), nil)
	for lines.Scan() { // what it had said already
		last = number(t, lines.Text(), last)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v", err)
	}
	return last
}

func number(t *testing.T, line string, last int) int {
	t.Helper()
	n, err := strconv.Atoi(line)
	if err != nil || last != 0 && n != last+1 {
		t.Fatalf("the process said %q after %d", line, last)
	}
	return n
}

// verifyNumbers checks that exactly the acknowledged batches are there, and at
// most the one that was being written, and returns the number of the last.
func verifyNumbers(t *testing.T, path string, acknowledged int) int {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && acknowledged == 0 {
		return 0 // killed before it came to anything
	}
	b, err := OpenBolt(BoltOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	consistent(t, b)
	last := 0
	for i := range 5 {
		value, _ := b.Get(fmt.Sprint("same/", i))
		n, _ := strconv.Atoi(string(value))
		if i > 0 && n != last {
			t.Fatalf("a part of a batch: %d and %d", n, last)
		}
		last = n
	}
	if last != acknowledged && last != acknowledged+1 {
		t.Fatalf("%d is there, %d was acknowledged", last, acknowledged)
	}
	next := max(1, last-window+1)
	check(t, b.Scan("n/", func(key string, _ []byte) error {
		if key != numbered(next) {
			t.Errorf("%s, want %s", key, numbered(next))
		}
		next++
		return nil
	}), nil)
	if next != last+1 {
		t.Errorf("the entries end at %d of %d", next-1, last)
	}
	return last
}
