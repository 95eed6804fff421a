// Package harness runs the parties of an end-to-end test: a real postern
// process, real mail servers around it (Postfix, Exim, OpenSMTPD), real clients
// in front of it, and parties that follow a script, for what real ones never do.
//
// # What a test looks like
//
//	backend := harness.NewPostfix(t)
//	edge := harness.Edge{Backend: backend.Addr}.Start(t)
//	c := harness.Dial(t, edge.Addr)
//	c.StartTLS(edge.Roots("mx.test"))
//	c.Deliver("a@client.test", "b@mx.test", message)
//	backend.WaitMessage(id)
//
// For the way out there is a Lab of destinations, a Gateway in place of the Edge,
// and a Sender, a real mail server that sends through it:
//
//	l := harness.NewLab(t)
//	server := l.Serve(smtptest.Script{TLS: l.Good()}, "example.test")
//	out := l.Gateway().Start(t)
//	sender := harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, out.Addr))
//	sender.Submit(message, "b@example.test")
//
// Everything that a test starts is stopped by its cleanup, and a postern that
// panics, races, hangs at its end or exits with an error fails the test that
// started it.
//
// # Ports, time and skipping
//
// Nothing listens on a fixed port. Nothing sleeps: Eventually polls for an
// event until a generous deadline. A tool that is missing skips the test with
// the reason, unless POSTERN_CI=1: then nothing may be missing.
// test/install.sh installs all of them.
//
// The package is for the tests under test/ only.
package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Deadline is how long Eventually and every read of a scripted party wait. It
// is meant for a loaded machine: a passing test never comes near it.
const Deadline = 30 * time.Second

// Skip ends the test as skipped, or as failed when POSTERN_CI=1, where
// everything that a test needs is installed.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("POSTERN_CI") == "1" {
		t.Fatalf("must not be missing with POSTERN_CI=1: "+format, args...)
	}
	t.Skipf(format+" (test/install.sh installs it)", args...)
}

// Tool returns the path of a program, and skips the test when there is none.
// /usr/sbin is searched too.
func Tool(t testing.TB, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	Skip(t, "%s is not installed", name)
	return ""
}

// Root skips the test when it does not run as root, which Postfix and Exim
// need to start at all.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root")
	}
}

// Cached returns the path of a file below the folder that test/install.sh
// unpacks programs into, and skips the test when it is not there.
func Cached(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(cacheDir(), name)
	if _, err := os.Stat(path); err != nil {
		Skip(t, "%s is not there", path)
	}
	return path
}

func cacheDir() string {
	if dir := os.Getenv("POSTERN_TEST_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "postern-test")
}

// Eventually polls until the condition holds, and fails the test with what was
// awaited when it does not within the Deadline.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !Poll(Deadline, condition) {
		t.Fatalf("did not happen within %v: %s", Deadline, what)
	}
}

// Poll asks every few milliseconds whether the condition holds, and reports
// whether it did within the limit.
func Poll(limit time.Duration, condition func() bool) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-ticker.C {
		if condition() {
			return true
		}
	}
	return condition()
}

// FreePort returns an address on ip with a port that nobody listens on. Ports
// below the ephemeral range are used, so that no outgoing connection takes it
// before its listener does.
func FreePort(t testing.TB, ip string) string {
	t.Helper()
	for range 200 {
		addr := net.JoinHostPort(ip, fmt.Sprint(10000+rand.IntN(22000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	Skip(t, "no free port on %s", ip)
	return ""
}

// Sum is the SHA-256 of data in hexadecimal.
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// CRLF gives every line of text, written with LF, the line end of SMTP.
func CRLF(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// Message is a small message, in CRLF lines, whose Message-ID holds id.
func Message(id string) string {
	return CRLF("From: <a@client.test>\nTo: <b@mx.test>\nDate: Mon, 02 Nov 2026 10:00:00 +0000\n" +
		"Message-ID: <" + id + "@client.test>\nSubject: " + id + "\n\nhello from " + id + "\n")
}

// moduleRoot is the folder of go.mod.
func moduleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
