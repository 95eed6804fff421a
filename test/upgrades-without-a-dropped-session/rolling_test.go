package upgrade

import (
	"fmt"
	"strings"
	"testing"

	"postern/test/harness"
)

// Two posterns behind a balancer are replaced one after the other: the balancer is
// told to send nobody new, the postern drains and ends, and the next one takes its place.
// That is what must be done where a process cannot hand on its sockets.
func TestARollingUpdateBehindABalancer(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	described := harness.Edge{Backend: backend.Addr, Inbound: unlimited + "  proxy_protocol {\n    from = [\"127.0.0.0/8\"]\n  }\n  shutdown_grace = \"20s\"\n"}
	one := described.Start(t)
	described.CA, described.Certificates = one.CA, one.Described().Certificates
	both := []*harness.Postern{one, described.Start(t)}
	balancer := harness.NewBalancer(t, both...)
	load := &harness.Load{PerSession: 1, Rate: 100, Secured: true, Through: balancer.Addr}
	load.Start(t, one)
	for i, p := range both {
		goesOn(t, load, 50)
		balancer.Order(fmt.Sprintf("set server smtp/s%d state drain", i))
		harness.Eventually(t, "its sessions have ended", func() bool { return current(balancer, i) == "0" })
		p.Stop()
		quiet(t, p)
		p.StartAgain()
		balancer.Order(fmt.Sprintf("set server smtp/s%d state ready", i))
		balancer.Await(2)
	}
	goesOn(t, load, 50)
	load.Stop()
	if cut := load.Cut(); len(cut) != 0 {
		t.Errorf("sessions were refused or cut short: %q", cut)
	}
	backend.Idle()
	load.Compare(t, backend.Messages())
	for _, p := range both {
		quiet(t, p)
	}
}

// quiet fails the test for errors and warnings in the log, the questions of the balancer's
// health checks among them, but for those that are about the test.
func quiet(t *testing.T, p *harness.Postern) {
	t.Helper()
	for _, line := range p.Log() {
		msg := fmt.Sprint(line["msg"])
		ours := strings.Contains(msg, "limits.connections") || strings.Contains(msg, "client_address")
		if level := line["level"]; level == "ERROR" || level == "WARN" && !ours {
			t.Errorf("the log has %v", line)
		}
	}
}

// current is how many sessions the balancer has with a server of its own.
func current(b *harness.Balancer, server int) string {
	for line := range strings.SplitSeq(b.Order("show stat"), "\n") {
		if fields := strings.Split(line, ","); len(fields) > 4 && fields[1] == fmt.Sprint("s", server) {
			return fields[4]
		}
	}
	return ""
}
