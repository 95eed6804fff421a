package app

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// health is what the command says of the postern that r is, in one line.
func (r *running) health(live bool) (string, error) {
	var out bytes.Buffer
	err := Healthcheck(context.Background(), HealthOptions{Config: r.file, Live: live, Out: &out})
	return strings.TrimSuffix(out.String(), "\n"), err
}

// fixed is HCL of an admin page, whose port is known, of a socket, or of neither.
func fixed(t *testing.T, page, socket bool) (text string) {
	if !page && !socket {
		return ""
	}
	if page {
		text += "listen = \"0.0.0.0:" + freePort(t) + "\"\n"
	}
	if socket {
		text += "socket = \"" + filepath.Join(t.TempDir(), "s") + "\"\n"
	}
	return "admin {\n" + text + "}\n"
}

func TestTheHealthCheckAsksWhatThereIs(t *testing.T) {
	for name, c := range map[string]struct {
		page, socket bool
		ready, live  string
	}{
		"a page":            {true, false, "ready", "live"},
		"a socket":          {false, true, "ready", "live"},
		"both":              {true, true, "ready", "live"},
		"the listener only": {false, false, "listening", "listening"},
	} {
		t.Run(name, func(t *testing.T) {
			behind, _ := backend(t)
			p := launch(t, fixed(t, c.page, c.socket)+inboundHCL("mx", behind, ":"+freePort(t)))
			eventually(t, "it is ready", func() bool { ok, _ := p.ready(); return ok })
			for live, want := range map[bool]string{false: c.ready, true: c.live} {
				if got, err := p.health(live); got != want || err != nil {
					t.Errorf("live %t: %q, %v", live, got, err)
				}
			}
		})
	}
}

// What is not ready is still live: a restart would mend no backend.
func TestAPosternWithoutABackendIsLiveAndNotReady(t *testing.T) {
	for name, page := range map[string]bool{"page": true, "socket": false} {
		t.Run(name, func(t *testing.T) {
			nobody := "127.0.0.1:" + freePort(t)
			p := launch(t, fixed(t, page, !page)+inboundHCL("mx", nobody, "127.0.0.1:0")+inboundHCL("in", nobody, "127.0.0.1:0"))
			out, err := p.health(false)
			if err == nil || out != "" || strings.Contains(err.Error(), "\n") ||
				!strings.Contains(err.Error(), `"mx": no backend answers; inbound "in"`) && !strings.Contains(err.Error(), `"in": no backend answers; inbound "mx"`) {
				t.Errorf("%q, %v", out, err)
			}
			if out, err := p.health(true); out != "live" || err != nil {
				t.Errorf("live: %q, %v", out, err)
			}
		})
	}
}

func TestADrainingPosternIsLiveAndNotReady(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, fixed(t, true, false)+inboundHCL("mx", behind, "127.0.0.1:0"))
	eventually(t, "it is ready", func() bool { ok, _ := p.ready(); return ok })
	busy := dial(t, p.at(t, "mx"))
	busy.envelope()
	signals, ended := p.signalled()
	signals <- syscall.SIGTERM
	signals <- syscall.SIGHUP // taken only when the drain has begun
	if _, err := p.health(false); err == nil || !strings.Contains(err.Error(), "postern is stopping") {
		t.Errorf("ready: %v", err)
	}
	if out, err := p.health(true); out != "live" || err != nil {
		t.Errorf("live: %q, %v", out, err)
	}
	busy.do(250, body)
	busy.Close()
	<-ended
}

func TestAPosternThatDoesNotRunIsNotHealthy(t *testing.T) {
	for name, c := range map[string]struct {
		page, socket bool
		says         string
	}{
		"a page":            {true, false, "no answer of a postern at 127.0.0.1:"},
		"a socket":          {false, true, "no answer of a postern at /"},
		"the listener only": {false, false, "nobody listens on [::1]:"},
	} {
		t.Run(name, func(t *testing.T) {
			w := t.TempDir()
			r := &running{file: filepath.Join(w, "config.hcl")}
			r.write(hostname + fixed(t, c.page, c.socket) + inboundHCL("mx", "127.0.0.1:1", "[::1]:"+freePort(t)))
			for _, live := range []bool{false, true} {
				if out, err := r.health(live); err == nil || out != "" || !strings.Contains(err.Error(), c.says) {
					t.Errorf("live %t: %q, %v", live, out, err)
				}
			}
		})
	}
}

// One of several listeners is not enough.
func TestEveryListenerMustAnswer(t *testing.T) {
	l := must1(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	r := &running{file: filepath.Join(t.TempDir(), "config.hcl")}
	r.write(hostname + inboundHCL("mx", "127.0.0.1:1", l.Addr().String()) + "outbound \"out\" {\n  listen = [\"127.0.0.1:" + freePort(t) + "\"]\n}\n")
	if _, err := r.health(false); err == nil {
		t.Error("the outbound is missed by nobody")
	}
}

// Who answers in postern's place, and does not know the page, is not postern.
func TestAnotherServerIsNotHealthy(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"404":          http.NotFound,
		"an empty 500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"never an end": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			w.Write(bytes.Repeat([]byte("x"), 1<<20))
		},
		"an escape":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); w.Write([]byte("\x1b[2J")) },
		"hangs up":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a lone 503 \n": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); w.Write([]byte("\n")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(answer)
			defer s.Close()
			r := &running{file: filepath.Join(t.TempDir(), "config.hcl")}
			r.write(hostname + "admin {\n  listen = \"" + s.Listener.Addr().String() + "\"\n}\n" + inboundHCL("mx", "127.0.0.1:1", "127.0.0.1:0"))
			out, err := r.health(false)
			if err == nil || out != "" || len(err.Error()) > 5000 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

func TestWhereAListenerIsConnectedTo(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:25":       "127.0.0.1:25",
		"[::]:25":          "[::1]:25",
		":25":              "127.0.0.1:25",
		"192.0.2.1:25":     "192.0.2.1:25",
		"[2001:db8::1]:25": "[2001:db8::1]:25",
		"nonsense":         "nonsense",
	} {
		if got := near(listen); got != want {
			t.Errorf("%s: %s, not %s", listen, got, want)
		}
	}
}
