// Package upgrade proves that a new process takes over from an old one under load
// without a connection being refused, a session being cut, a message being lost or
// doubled, or anything that was remembered being forgotten.
package upgrade

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// rate is in sessions a second.
const rate = 200

// unlimited lets them all come from one address.
const unlimited = `
  limits {
    exempt = ["127.0.0.0/8"]
  }
`

func TestTenInARow(t *testing.T) {
	for name, secured := range map[string]bool{"clear": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{})
			dir := harness.ShortDir(t)
			edge := harness.Edge{
				Backend: backend.Addr, Inbound: unlimited + "  shutdown_grace = \"20s\"\n",
				Socket: filepath.Join(dir, "admin.sock"), Bolt: filepath.Join(dir, "state.db"),
			}.Start(t)
			load := &harness.Load{Secured: secured, PerSession: 1, Rate: rate}
			began := time.Now()
			load.Start(t, edge)
			for n := range 10 {
				goesOn(t, load, rate/4)
				before := edge.Pid()
				edge.Upgrade()
				if edge.Pid() == before {
					t.Fatalf("upgrade %d: still process %d", n, before)
				}
			}
			goesOn(t, load, rate/4)
			load.Stop()
			took := time.Since(began)
			if cut := load.Cut(); len(cut) != 0 {
				t.Errorf("%d sessions were refused or cut short: %q", len(cut), cut[:min(5, len(cut))])
			}
			backend.Idle()
			load.Compare(t, backend.Messages())
			harness.Eventually(t, "the old ones have ended", func() bool { return strings.Count(edge.Out.String(), `"msg":"stopped"`) == 10 })
			t.Logf("%d messages, %.0f a second", load.Acknowledged(), float64(load.Acknowledged())/took.Seconds())
			if !edge.Ready() {
				t.Error("the last one is not ready")
			}
			edge.Stop()
		})
	}
}

// goesOn waits until so many messages more were taken.
func goesOn(t *testing.T, load *harness.Load, more int) {
	t.Helper()
	want := load.Acknowledged() + more
	harness.Eventually(t, "the load goes on", func() bool { return load.Acknowledged() >= want })
}
