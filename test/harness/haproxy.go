package harness

import (
	"fmt"
	"path/filepath"
	"testing"
)

// NewHAProxy starts a real HAProxy that passes connections on to server, and
// returns its address. Bind and forward are options of its bind and server
// lines, such as accept-proxy and send-proxy-v2.
func NewHAProxy(t testing.TB, bind, server, forward string) string {
	t.Helper()
	binary := Tool(t, "haproxy")
	addr := FreePort(t, "127.0.0.1")
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, config, fmt.Sprintf(`global
  maxconn 100
defaults
  mode tcp
  timeout connect 30s
  timeout client 60s
  timeout server 60s
frontend front
  bind %s %s
  default_backend back
backend back
  server one %s %s
`, addr, bind, server, forward), 0o600)
	p := StartProcess(t, binary, "-db", "-f", config)
	Eventually(t, "haproxy listens", func() bool { return p.Ended() || Listening(addr) })
	if p.Ended() {
		t.Fatalf("haproxy did not start: %s", p.Out.String())
	}
	return addr
}
