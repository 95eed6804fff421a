package app

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/config"
)

const privileged = `hostname = "mx.test"
mark = 7
state "memory" {}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  tls = "off"
  backend {
    address = "127.0.0.1:25"
    client_address = "transparent"
  }
}
outbound "egress" {
  listen = ["127.0.0.1:10025"]
  route = "original"
  transparent = true
}
`

func TestWhatTheKernelWouldRefuseIsSaidBeforeAClientComes(t *testing.T) {
	cfg, err := config.Parse([]byte(privileged), "config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	withoutCapabilities(t, func() {
		all := Errors(privileges(cfg))
		if len(all) != 3 {
			t.Fatalf("it says %v", all)
		}
		for i, want := range []string{"mark = 7", `inbound "mx": client_address`, `outbound "egress": transparent`} {
			if text := all[i].Error(); !strings.HasPrefix(text, want) || !strings.Contains(Hint(all[i]), "AmbientCapabilities=CAP_NET_") {
				t.Errorf("it says %q, and %q", text, Hint(all[i]))
			}
		}
	})
}

// Whoever may look at the configuration may probe with it.
func TestAProbeWithoutPermissionHasNoMark(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.hcl")
	must(os.WriteFile(file, []byte(privileged), 0o600))
	withoutCapabilities(t, func() {
		cfg, err := probeConfig(ProbeOptions{Config: file})
		if err != nil || cfg.Mark != 0 {
			t.Errorf("%+v %v", cfg, err)
		}
	})
}

// withoutCapabilities calls f on a thread that may do nothing special.
func withoutCapabilities(t *testing.T, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Errorf("capset: %v", err)
			return
		}
		f()
	}()
	<-done
}
