package harness

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// Balancer is an HAProxy in front of several posterns, which it asks whether they are
// ready.
type Balancer struct {
	Addr  string
	stats string // path of its socket for orders
	t     testing.TB
}

// NewBalancer starts one that speaks PROXY protocol version 2 to them.
func NewBalancer(t testing.TB, to ...*Postern) *Balancer {
	t.Helper()
	dir := ShortDir(t)
	b := &Balancer{Addr: FreePort(t, "127.0.0.1"), stats: filepath.Join(dir, "s"), t: t}
	var servers strings.Builder
	for i, p := range to {
		_, port, err := net.SplitHostPort(p.Admin)
		must(t, err)
		fmt.Fprintf(&servers, "  server s%d %s send-proxy-v2 check port %s inter 100ms rise 1 fall 1\n", i, p.Addr, port)
	}
	config := filepath.Join(dir, "haproxy.cfg")
	write(t, config, fmt.Sprintf(`global
  maxconn 1000
  stats socket %s level admin
defaults
  mode tcp
  timeout connect 30s
  timeout client 60s
  timeout server 60s
listen smtp
  bind %s
  option httpchk GET /readyz
  http-check expect status 200
%s`, b.stats, b.Addr, servers.String()), 0o600)
	p := StartProcess(t, Tool(t, "haproxy"), "-db", "-f", config)
	Eventually(t, "haproxy listens", func() bool { return p.Ended() || Listening(b.Addr) })
	if p.Ended() {
		t.Fatalf("haproxy did not start: %s", p.Out.String())
	}
	b.Await(len(to))
	return b
}

// Order gives it a command of its runtime API, and returns the answer.
func (b *Balancer) Order(command string) string {
	b.t.Helper()
	c, err := net.DialTimeout("unix", b.stats, Deadline)
	must(b.t, err)
	defer c.Close()
	must(b.t, c.SetDeadline(time.Now().Add(Deadline)))
	_, err = io.WriteString(c, command+"\n")
	must(b.t, err)
	answer, err := io.ReadAll(c)
	must(b.t, err)
	return string(answer)
}

// Await waits until so many of them are up.
func (b *Balancer) Await(up int) {
	b.t.Helper()
	Eventually(b.t, fmt.Sprintf("haproxy takes %d for up", up), func() bool {
		n := 0
		for line := range strings.SplitSeq(b.Order("show stat"), "\n") {
			fields := strings.Split(line, ",")
			if len(fields) > 17 && strings.HasPrefix(fields[1], "s") && strings.HasPrefix(fields[17], "UP") {
				n++
			}
		}
		return n == up
	})
}
