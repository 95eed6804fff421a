// Package start measures how soon postern accepts connections after its start, with much
// to remember, and what it takes while it does nothing. Its figures are in
// docs/performance.md:
//
//	go test -count=1 -v ./test/starts-at-once
package start

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/peers"
	"postern/store"
	"postern/test/harness"
)

// remembered is how many servers are remembered.
const remembered = 100_000

// mostIdle is what a sidecar may take while it does nothing, in KiB.
const mostIdle = 25 << 10

func TestAnIdleSidecarIsSmall(t *testing.T) {
	edge := sidecar(t, filepath.Join(t.TempDir(), "state.db")).Start(t)
	harness.Eventually(t, "it is ready", edge.Ready)
	t.Logf("an inbound and an outbound, nothing to do: %d KiB resident", resident(t, edge.Pid()))
	if kib := resident(t, edge.Pid()); kib > mostIdle {
		t.Errorf("%d KiB are resident, more than %d", kib, mostIdle)
	}
}

func TestMuchIsStillRememberedAfterTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	fill(t, path)
	edge := sidecar(t, path).Start(t)
	harness.Eventually(t, "it is ready", edge.Ready)
	size := int64(0)
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	var took []time.Duration
	for range 9 {
		edge.Stop()
		began := time.Now()
		edge.Launch()
		if !harness.Poll(harness.Deadline, func() bool { return harness.Listening(edge.Addr) }) {
			t.Fatal("it does not listen")
		}
		took = append(took, time.Since(began))
		harness.Dial(t, edge.Addr).Quit()
	}
	slices.Sort(took)
	t.Logf("%d servers remembered, a state of %d MiB: from exec to listening %v (median of %d, %v to %v), %d KiB resident",
		remembered, size>>20, took[len(took)/2], len(took), took[0], took[len(took)-1], resident(t, edge.Pid()))
	text, code := edge.Command("peers", "show", "mx77777.example.com")
	if code != 0 || !strings.Contains(text, "mx77777.example.com") {
		t.Errorf("one of them is not remembered: %s", text)
	}
}

// sidecar has an inbound and an outbound.
func sidecar(t *testing.T, state string) harness.Edge {
	return harness.Edge{
		Backend: harness.NewBackend(t, harness.Script{}).Addr, Socket: harness.SocketIn(t), Bolt: state,
		Top: fmt.Sprintf("outbound \"egress\" {\n  listen = [%q]\n}\n", harness.FreePort(t, "127.0.0.1")),
	}
}

// fill makes a state with that many servers, as peers writes them.
func fill(t *testing.T, path string) {
	t.Helper()
	s, err := store.OpenBolt(store.BoltOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	tally := peers.Tally{Count: 12, First: now.Add(-48 * time.Hour), Last: now}
	record := peers.HostRecord{Seen: tally}
	record.Secured, record.ForwardSecret, record.Valid = tally, tally, tally
	record.Versions = peers.Uses{{Name: "TLS 1.3", Tally: tally}}
	record.Verdicts = peers.Uses{{Name: "Verified", Tally: tally}}
	value, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	var changes []store.Change
	for n := range remembered {
		changes = append(changes, store.Change{Key: fmt.Sprintf("host/mx%d.example.com:25", n), Value: value, Expires: now.Add(90 * 24 * time.Hour)})
	}
	if err := s.Write(changes...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// resident is how much memory a process has, in KiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
