package app

import (
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
)

func TestMemoryIsReleasedInTheFirstQuietSecondAfterManyHandshakes(t *testing.T) {
	for name, c := range map[string]struct {
		counts   []int64 // at each tick
		releases string  // the ticks at which memory is released
	}{
		"none at all":              {[]int64{0, 0, 0}, ""},
		"too few":                  {[]int64{255, 255, 255}, ""},
		"just enough":              {[]int64{256, 256, 256}, "[1]"},
		"not while they come in":   {[]int64{300, 600, 900, 901, 901}, "[4]"},
		"few are added up":         {[]int64{100, 100, 200, 200, 256, 256}, "[5]"},
		"and again after the next": {[]int64{256, 256, 511, 511, 512, 512}, "[1 5]"},
		"an inbound is gone":       {[]int64{1000, 1000, 100, 100, 355, 355, 356, 356}, "[1 7]"},
		"gone before the release":  {[]int64{1000, 300, 300}, "[2]"},
	} {
		t.Run(name, func(t *testing.T) {
			var ticks []int
			tick := 0
			var n int64
			j := &janitor{count: func() int64 { return n }, release: func() { ticks = append(ticks, tick) }}
			for tick, n = range c.counts {
				j.tick()
			}
			got := ""
			if ticks != nil {
				got = fmt.Sprint(ticks)
			}
			if got != c.releases {
				t.Errorf("released at %s, not %s", got, c.releases)
			}
		})
	}
}

func TestGOGCIsTheOperators(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "77")
	tuneMemory()
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC was overridden with %d", got)
	}
	must(os.Unsetenv("GOGC"))
	tuneMemory()
	if got := debug.SetGCPercent(77); got != gcPercent {
		t.Errorf("without GOGC it is %d, not %d", got, gcPercent)
	}
}

// The runtime raises the soft limit before main; fileWarnings relies on it.
func TestTheLimitOfOpenFilesIsTheHardOne(t *testing.T) {
	if os.Getenv("POSTERN_TEST_LIMIT") != "" {
		limit, known := openFiles()
		fmt.Printf("limit %d %v\n", limit, known)
		return
	}
	cmd := exec.Command("sh", "-c", "ulimit -Sn 64; exec \"$0\" -test.run='^TestTheLimitOfOpenFilesIsTheHardOne$'", os.Args[0])
	cmd.Env = append(os.Environ(), "POSTERN_TEST_LIMIT=1")
	out, err := cmd.CombinedOutput()
	hard, known := openFiles()
	if !known {
		t.Skip("the limit is not known on this system")
	}
	var limit uint64
	if _, bad := fmt.Sscanf(string(out), "limit %d true", &limit); err != nil || bad != nil || limit < hard-1 { // the runtime stays one below
		t.Errorf("%d files with a hard limit of %d: %v\n%s", limit, hard, err, out)
	}
}
