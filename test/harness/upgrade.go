package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ShortDir is a folder of the test whose path is short enough for a socket in it,
// whose own may have 107 octets.
func ShortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// SocketIn is a path for an admin socket in a folder of the test.
func SocketIn(t testing.TB) string {
	t.Helper()
	return filepath.Join(ShortDir(t), "admin.sock")
}

// Upgrade has a new process take over, as the command does it, and fails the test
// when none does.
func (p *Postern) Upgrade(args ...string) {
	p.t.Helper()
	text, code := p.Command(append([]string{"upgrade", "--json"}, args...)...)
	var answer struct{ Process int64 }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || code != 0 || answer.Process == 0 {
		p.t.Fatalf("postern upgrade: exit code %d, %s\nThe log:\n%s", code, text, p.Out.String())
	}
	p.heir.Store(answer.Process)
}

// UpgradeBySignal does it with SIGUSR2, and waits until the log tells of it.
func (p *Postern) UpgradeBySignal() {
	p.t.Helper()
	p.Signal(syscall.SIGUSR2)
	Eventually(p.t, "the log tells of the process that has taken over", func() bool {
		for _, line := range p.Log() {
			if number, _ := line["process"].(float64); strings.Contains(fmt.Sprint(line["msg"]), "another process serves now") {
				p.heir.Store(int64(number))
				return true
			}
		}
		return false
	})
}
