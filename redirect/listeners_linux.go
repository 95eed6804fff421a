package redirect

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// listening is the state of a listening socket in /proc/net/tcp
// (include/net/tcp_states.h).
const listening = "0A"

// Listeners are the users whose programs listen on a port of this machine, of either
// family: postern's, where it runs already. What cannot be read is taken for nobody.
func Listeners(port uint16) (uids []uint32) {
	for _, file := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if uid, ok := listener(line, port); ok && !slices.Contains(uids, uid) {
				uids = append(uids, uid)
			}
		}
	}
	return uids
}

// listener reads a line: number, local address, remote address, state, queues, timer,
// retransmits, user, and more.
func listener(line string, port uint16) (uid uint32, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[3] != listening {
		return 0, false
	}
	_, digits, _ := strings.Cut(fields[1], ":")
	if at, err := strconv.ParseUint(digits, 16, 16); err != nil || uint16(at) != port {
		return 0, false
	}
	n, err := strconv.ParseUint(fields[7], 10, 32)
	return uint32(n), err == nil
}
