package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Process trees, CPU and memory, from the kernel's process files: see
// proc_pid_stat(5) and proc_pid_smaps(5).

// ticksPerSecond is the unit of CPU times in /proc: USER_HZ, 100 on every
// Linux that Go runs on.
const ticksPerSecond = 100

// stat is what is needed of /proc/PID/stat.
type stat struct {
	ppid  int
	ticks int64 // of the process and of its waited-for children
	state byte
}

func readStat(pid int) (s stat, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, false
	}
	return parseStat(b)
}

func parseStat(b []byte) (s stat, ok bool) {
	// The name, in parentheses, may hold anything, parentheses too.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 15 {
		return s, false
	}
	s.state = f[0][0]
	s.ppid, _ = strconv.Atoi(f[1])
	for _, v := range f[11:15] { // utime stime cutime cstime
		n, _ := strconv.ParseInt(v, 10, 64)
		s.ticks += n
	}
	return s, true
}

func alive(pid int) bool {
	s, ok := readStat(pid)
	return ok && s.state != 'Z'
}

// tree is root and all that descend from it, root first.
func tree(root int) []int {
	kids := map[int][]int{}
	es, _ := os.ReadDir("/proc")
	for _, e := range es {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if s, ok := readStat(pid); ok {
				kids[s.ppid] = append(kids[s.ppid], pid)
			}
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, kids[all[i]]...)
	}
	return all
}

// cpu is the CPU seconds used so far by the tree under pid.
func cpu(pid int) float64 {
	var ticks int64
	for _, p := range tree(pid) {
		s, _ := readStat(p)
		ticks += s.ticks
	}
	return float64(ticks) / ticksPerSecond
}

// memory is in KiB.
type memory struct{ PSS, RSS, Private int64 }

// mem is the memory of the tree under pid. Shared pages count once in PSS.
func mem(pid int) (m memory) {
	for _, p := range tree(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err == nil { // it may have ended meanwhile
			m.add(string(b))
		}
	}
	return m
}

func (m *memory) add(rollup string) {
	for l := range strings.Lines(rollup) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "Pss:":
			m.PSS += n
		case "Rss:":
			m.RSS += n
		case "Private_Dirty:", "Private_Clean:":
			m.Private += n
		}
	}
}

// machine is the kernel's total and stolen CPU ticks.
func machine() (total, steal int64) {
	b, _ := os.ReadFile("/proc/stat")
	first, _, _ := strings.Cut(string(b), "\n")
	for i, s := range strings.Fields(first) {
		n, _ := strconv.ParseInt(s, 10, 64) // 0 for the word "cpu" itself
		if i <= 8 {
			total += n
		}
		if i == 8 {
			steal = n
		}
	}
	return total, steal
}

// cpuModel is the name of the machine's processor.
func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}
