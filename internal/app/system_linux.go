package app

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openFiles returns how many files this process may have open. Package os has
// raised the soft limit to the hard one before main began.
func openFiles() (limit uint64, known bool) {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0, false
	}
	return r.Cur, true
}

// mayWrite says whether this process may make files in a folder.
func mayWrite(folder string) bool {
	return unix.Access(folder, unix.W_OK|unix.X_OK) == nil
}

// mayOpen says whether this process may listen on a port. What cannot be
// found out is taken for allowed.
func mayOpen(port int) bool {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return true
	}
	first, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || port >= first {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // 64 capabilities, 32 in each
	if unix.Capget(&header, &data[0]) != nil {
		return true
	}
	return data[0].Effective&(1<<unix.CAP_NET_BIND_SERVICE) != 0
}
