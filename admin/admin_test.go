package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "postern_sessions_total 7\n")
})

func ready() (bool, []string) { return true, nil }

func notReady(reasons ...string) func() (bool, []string) {
	return func() (bool, []string) { return false, reasons }
}

func ask(options Options, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	New(options).http.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestEachPageAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		path    string
		code    int
		body    string
	}{
		"alive":                      {Options{}, "/livez", 200, "ok\n"},
		"alive although not ready":   {Options{Ready: notReady("x")}, "/livez", 200, "ok\n"},
		"ready":                      {Options{Ready: ready}, "/readyz", 200, "ok\n"},
		"ready when nobody is asked": {Options{}, "/readyz", 200, "ok\n"},
		"not ready for reasons": {
			Options{Ready: notReady("inbound mx: no certificate", "inbound mx: no backend answers")}, "/readyz",
			503, "inbound mx: no certificate\ninbound mx: no backend answers\n",
		},
		"not ready for no reason":       {Options{Ready: notReady()}, "/readyz", 503, "not ready\n"},
		"a reason stays on its line":    {Options{Ready: notReady("a\r\nb\x00c\u2028d")}, "/readyz", 503, "a  b c d\n"},
		"metrics":                       {Options{Metrics: metrics}, "/metrics", 200, "postern_sessions_total 7\n"},
		"no metrics":                    {Options{}, "/metrics", 404, "404 page not found\n"},
		"an unknown page":               {Options{}, "/admin", 404, "404 page not found\n"},
		"a page below a page":           {Options{}, "/livez/x", 404, "404 page not found\n"},
		"a query makes no other page":   {Options{}, "/livez?verbose", 200, "ok\n"},
		"the index without the metrics": {Options{}, "/", 200, "postern\n\n/livez    is the process alive\n/readyz   can mail be taken, and if not, why\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(c.options, http.MethodGet, c.path)
			if w.Code != c.code || w.Body.String() != c.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.code, c.body)
			}
		})
	}
}

func TestTheIndexNamesEveryPage(t *testing.T) {
	options := Options{Metrics: metrics, Memory: &fake{}, Explain: explainNothing, Control: true}
	for line := range strings.Lines(ask(options, http.MethodGet, "/").Body.String()) {
		if path, _, ok := strings.Cut(line, " "); ok && ask(options, http.MethodGet, path+"?domain=x").Code != http.StatusOK {
			t.Errorf("%s is listed and does not answer", path)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/peers", "/explain"} {
		if !strings.Contains(ask(options, http.MethodGet, "/").Body.String(), path+" ") {
			t.Errorf("%s is not listed", path)
		}
	}
}

func TestOnlyReadingIsServed(t *testing.T) {
	for _, path := range []string{"/", "/livez", "/readyz", "/metrics", "/peers", "/peers/mx.example.com", "/explain", "/unknown"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
			memory := &fake{}
			w := ask(Options{Metrics: metrics, Memory: memory, Explain: explainNothing}, method, path)
			if memory.forgotten != "" {
				t.Errorf("%s %s has changed something", method, path)
			}
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

func TestNoAnswerIsCachedOrGuessedAt(t *testing.T) {
	for _, path := range []string{"/", "/livez", "/readyz", "/metrics", "/unknown"} {
		header := ask(Options{Metrics: metrics}, http.MethodGet, path).Header()
		if header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, header)
		}
	}
}

func TestEveryPhaseHasALimit(t *testing.T) {
	s := New(Options{})
	for name, limit := range map[string]int64{
		"header": int64(s.http.ReadHeaderTimeout), "read": int64(s.http.ReadTimeout),
		"write": int64(s.http.WriteTimeout), "idle": int64(s.http.IdleTimeout), "size": int64(s.http.MaxHeaderBytes),
	} {
		if limit <= 0 {
			t.Errorf("%s has no limit", name)
		}
	}
}

// running is a server on a loopback port.
type running struct {
	*Server
	address string
	ended   chan error
}

func serve(t *testing.T, options Options) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{New(options), l.Addr().String(), make(chan error, 1)}
	go func() { r.ended <- r.Serve(l) }()
	return r
}

// stop ends the server in good order.
func (r *running) stop(t *testing.T) {
	t.Helper()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error("Shutdown:", err)
	}
	if err := <-r.ended; err != nil {
		t.Error("Serve:", err)
	}
}

// say sends raw octets on a connection of its own and returns the answer.
func (r *running) say(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	conn := r.send(t, request)
	defer conn.Close()
	return receive(t, conn, strings.Fields(request)[0])
}

func (r *running) send(t *testing.T, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// receive reads the answer to a request with that method to its end.
func receive(t *testing.T, conn net.Conn, method string) (*http.Response, string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestItServesOverTheNetworkUntilItIsShutDown(t *testing.T) {
	r := serve(t, Options{Ready: ready})
	response, body := r.say(t, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	if response.StatusCode != http.StatusOK || body != "ok\n" {
		t.Errorf("got %d %q", response.StatusCode, body)
	}
	response, body = r.say(t, "HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	if response.StatusCode != http.StatusOK || body != "" || response.ContentLength != 3 {
		t.Errorf("HEAD: got %d %q, length %d", response.StatusCode, body, response.ContentLength)
	}
	r.stop(t)
	if conn, err := net.Dial("tcp", r.address); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

func TestAnOverlongHeaderIsRefused(t *testing.T) {
	r := serve(t, Options{})
	defer r.stop(t)
	response, _ := r.say(t, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", maxHeaderBytes+4096)+"\r\n\r\n")
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestShutdownLetsARequestEnd(t *testing.T) {
	asked, answer := make(chan bool), make(chan bool)
	r := serve(t, Options{Ready: func() (bool, []string) {
		close(asked)
		return <-answer, nil
	}})
	conn := r.send(t, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	defer conn.Close()
	<-asked
	stopped := make(chan error)
	go func() { stopped <- r.Shutdown(context.Background()) }()
	if err := <-r.ended; err != nil { // Serve returns once Shutdown has begun
		t.Error(err)
	}
	answer <- true
	if _, body := receive(t, conn, http.MethodGet); body != "ok\n" {
		t.Errorf("got %q", body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsARequestThatDoesNotEnd(t *testing.T) {
	asked := make(chan bool)
	r := serve(t, Options{Metrics: http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		close(asked)
		<-request.Context().Done()
	})})
	conn := r.send(t, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	defer conn.Close()
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_, _ = io.Copy(io.Discard, conn) // ends when the server has closed it
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

func TestServeAfterShutdownReturnsAndClosesTheListener(t *testing.T) {
	s := New(Options{})
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("the listener is still open:", err)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := New(Options{}).Serve(l); err == nil {
		t.Error("no error")
	}
}
