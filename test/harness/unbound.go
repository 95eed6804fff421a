package harness

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/dnstest"
)

// unboundConfiguration makes Unbound a validator of what other servers say. Like
// postern it allows no skew of the clock, and believes nothing but what it is told.
const unboundConfiguration = `
server:
	interface: %s@%s
	do-daemonize: no
	username: ""
	chroot: ""
	directory: %q
	pidfile: ""
	use-syslog: no
	do-ip6: no
	do-not-query-localhost: no
	module-config: "validator iterator"
	trust-anchor-file: anchors
	val-sig-skew-min: 0
	val-sig-skew-max: 0
	val-log-level: 2
	harden-below-nxdomain: no
	aggressive-nsec: no
	qname-minimisation: no
	infra-cache-min-rtt: 1000
	outbound-msg-retry: 1
	num-queries-per-thread: 256
	local-zone: "test." nodefault
remote-control:
	control-enable: no
`

// StartUnbound starts Debian's Unbound on an address, with the trust anchors of s. It
// asks s for everything.
func StartUnbound(t testing.TB, addr string, s *dnstest.Server) {
	t.Helper()
	dir := t.TempDir()
	host, port, _ := net.SplitHostPort(addr)
	theirHost, theirPort, _ := net.SplitHostPort(s.Address)
	var text strings.Builder
	fmt.Fprintf(&text, unboundConfiguration, host, port, dir)
	fmt.Fprintf(&text, "forward-zone:\n\tname: \".\"\n\tforward-addr: %s@%s\n", theirHost, theirPort)
	write(t, filepath.Join(dir, "anchors"), s.Anchors, 0o644)
	write(t, filepath.Join(dir, "unbound.conf"), text.String(), 0o644)
	p := StartProcess(t, Tool(t, "unbound"), "-d", "-c", filepath.Join(dir, "unbound.conf"))
	Eventually(t, "unbound answers", func() bool {
		_, err := dnstest.Ask(addr, ".", "NS", true)
		return err == nil || p.Ended()
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("unbound:\n%.20000s", p.Out.String())
		}
	})
}
