package app

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"postern/config"
)

// signalled runs the loop in the background.
func (r *running) signalled() (signals chan os.Signal, ended chan error) {
	signals, ended = make(chan os.Signal), make(chan error, 1)
	r.done = true
	go func() { ended <- r.loop(context.Background(), signals) }()
	return signals, ended
}

const adminPage = "admin {\n  listen = \"127.0.0.1:0\"\n}\n"

func TestASignalDrains(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			behind, sink := backend(t)
			p := launch(t, adminPage+inboundHCL("mx", behind, "127.0.0.1:0"))
			address, page := p.at(t, "mx"), "http://"+p.admin.page.Addr().String()
			busy, idle := dial(t, address), dial(t, address)
			busy.envelope()
			signals, ended := p.signalled()
			signals <- sig
			idle.expect(421)
			idle.Close()
			eventually(t, "the listener is closed", func() bool { return refused(address) })
			if status, text := get(t, page+"/readyz"); status != 503 || !strings.Contains(text, "postern is stopping") {
				t.Errorf("/readyz while draining: %d %q", status, text)
			}
			if status, _ := get(t, page+"/livez"); status != 200 {
				t.Errorf("/livez while draining: %d", status)
			}
			busy.do(250, body)
			busy.expect(421)
			busy.Close()
			if err := <-ended; err != nil {
				t.Errorf("a clean drain ends with %v", err)
			}
			if sink.Stats().Messages != 1 {
				t.Error("the message under way is lost")
			}
			if !refused(p.admin.page.Addr().String()) {
				t.Error("the admin page is still served")
			}
		})
	}
}

func TestTheEndOfTheContextDrains(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.done = true
	if err := p.loop(ctx, nil); err != nil {
		t.Error(err)
	}
}

func TestASecondSignalLeavesAtOnce(t *testing.T) {
	behind, sink := backend(t)
	p := launch(t, inboundWith("mx", behind, `shutdown_grace = "1h"`, "127.0.0.1:0"))
	busy := dial(t, p.at(t, "mx"))
	busy.envelope()
	signals, ended := p.signalled()
	signals <- syscall.SIGTERM
	signals <- syscall.SIGHUP // comes too late to mean anything
	signals <- syscall.SIGTERM
	if err := <-ended; !errors.Is(err, errImpatient) {
		t.Errorf("ended with %v", err)
	}
	if sink.Stats().Messages != 0 {
		t.Error("half a message was delivered")
	}
}

func TestASecondSignalDoesNotWaitForInboundsThatAreGone(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, inboundHCL("a", behind, "127.0.0.1:0")+inboundWith("b", behind, `shutdown_grace = "1h"`, "127.0.0.1:0"))
	dial(t, p.at(t, "b")).envelope()
	p.reloadWith(t, inboundHCL("a", behind, "127.0.0.1:0"), "configuration reloaded")
	signals, ended := p.signalled()
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM
	if err := <-ended; !errors.Is(err, errImpatient) {
		t.Errorf("ended with %v", err)
	}
}

func TestAfterTheGraceSessionsAreCutOff(t *testing.T) {
	behind, sink := backend(t)
	p := launch(t, inboundWith("mx", behind, `shutdown_grace = "10ms"`, "127.0.0.1:0"))
	dial(t, p.at(t, "mx")).envelope()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	p.log.await(t, "cut off", "1 sessions")
	if sink.Stats().Messages != 0 {
		t.Error("half a message was delivered")
	}
}

func TestReloadBySignal(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	signals, ended := p.signalled()
	signals <- syscall.SIGHUP
	p.log.await(t, "configuration reloaded")
	signals <- syscall.SIGTERM
	<-ended
}

func TestReadinessNamesTheInboundWithoutABackend(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, adminPage+inboundHCL("good", behind, "127.0.0.1:0")+inboundHCL("bad", "127.0.0.1:"+freePort(t), "127.0.0.1:0"))
	page := "http://" + p.admin.page.Addr().String()
	eventually(t, "the good one is ready", func() bool { return p.plan.inbound("good").backends.Ready() })
	if status, text := get(t, page+"/readyz"); status != 503 || text != "inbound \"bad\": no backend answers\n" {
		t.Errorf("/readyz: %d %q", status, text)
	}
	p.reloadWith(t, adminPage+inboundHCL("good", behind, "127.0.0.1:0"), "configuration reloaded")
	if status, text := get(t, page+"/readyz"); status != 200 {
		t.Errorf("/readyz with a good backend alone: %d %q", status, text)
	}
	if status, text := get(t, page+"/metrics"); status != 200 || !strings.Contains(text, "postern_build_info") {
		t.Errorf("/metrics: %d", status)
	}
}

func TestAStartThatFailsLeavesNothingOpen(t *testing.T) {
	behind, _ := backend(t)
	taken := must1(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	free := "127.0.0.1:" + freePort(t)
	adminAt := func(address string) string { return "admin {\n  listen = \"" + address + "\"\n}\n" }
	for name, text := range map[string]string{
		"inbound": adminAt("127.0.0.1:0") + inboundHCL("mx", behind, free, taken.Addr().String()),
		"admin":   adminAt(taken.Addr().String()) + inboundHCL("mx", behind, free),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := start(must1(config.Parse([]byte(hostname+text), "config.hcl")), startOptions{log: newJournal()})
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(Hint(err), "ss -ltnp") || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v, hint %q", err, Hint(err))
			}
			if !refused(free) {
				t.Error("a listener was left open")
			}
		})
	}
}
