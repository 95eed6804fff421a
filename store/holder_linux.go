package store

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// holder names the process that holds the lock of a file, as far as it can be
// known: " by process 123", or nothing. It is for a message alone.
func holder(path string) string {
	var st unix.Stat_t
	locks, err := os.Open("/proc/locks")
	if err != nil || unix.Stat(path, &st) != nil {
		return ""
	}
	defer locks.Close()
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// "7: FLOCK  ADVISORY  WRITE 123 08:01:4711 0 EOF" (proc(5))
		f := strings.Fields(lines.Text())
		if len(f) >= 6 && f[1] == "FLOCK" && f[5] == file && f[4] != "0" {
			return " by process " + f[4]
		}
	}
	return ""
}

// abandon closes a file that bbolt gave up in the middle of opening it. The
// lock must be let go of by itself: it would last as long as the mapping, of
// which nobody knows any more.
func abandon(file *os.File) {
	_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
	file.Close()
}
