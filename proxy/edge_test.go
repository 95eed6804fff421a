package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/tls/certs"
	"postern/tls/grade"
)

// TestMain wants every goroutine to have ended after the tests. Sweepers end with
// their next tick, so it asks again for a while.
func TestMain(m *testing.M) {
	code := m.Run()
	for until := time.Now().Add(smtptest.Patience); code == 0; {
		err := goleak.Find()
		if err == nil {
			break
		}
		if time.Now().After(until) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// plan is what an edge is made of. Tests change it before it is built.
type plan struct {
	Inbound
	backends BackendOptions
	tls      TerminationOptions
	unknown  bool // the backends have not been probed yet
}

// edge is a server under test, in front of backends.
type edge struct {
	*Server
	t      testing.TB
	addr   string
	l      net.Listener
	served chan struct{}
	in     *Inbound
	b      *Backends
	ca     *catest.CA
	watch  *watcher
	log    *journal
}

var patient = Timeouts{Proxy: smtptest.Patience, StartTLS: smtptest.Patience, Command: smtptest.Patience, Data: smtptest.Patience,
	Final: smtptest.Patience, Session: time.Hour, Connect: smtptest.Patience}

// newEdge starts a server on loopback that offers STARTTLS in front of backends.
func newEdge(t testing.TB, backends []*smtptest.Backend, change ...func(*plan)) *edge {
	t.Helper()
	e := &edge{t: t, ca: catest.New(t), watch: newWatcher(), served: make(chan struct{})}
	e.log = &journal{watch: e.watch}
	src, err := certs.Static("mx", e.ca.Issue(t, catest.Leaf{Names: []string{"mx.test"}}))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := &plan{Inbound: Inbound{Front: Front{Name: "mx", Hostname: "mx.test", Timeouts: patient, Observer: e.watch, Log: log}, Mode: TLSOffer},
		tls: TerminationOptions{Certificates: certs.NewSet(src), Grade: grade.Mail, Roots: e.ca.Pool()}}
	for _, b := range backends {
		p.backends.Addresses = append(p.backends.Addresses, b.Addr)
	}
	for _, f := range change {
		f(p)
	}
	e.start(p, backends)
	return e
}

func (e *edge) start(p *plan, backends []*smtptest.Backend) {
	p.backends.Inbound, p.backends.Hostname, p.backends.Timeouts = p.Name, p.Hostname, p.Timeouts
	p.backends.Observer, p.backends.Log = p.Observer, p.Log
	e.b = NewBackends(p.backends)
	for _, t := range e.b.targets {
		if !p.unknown {
			e.b.probe(e.t.Context(), t)
		}
	}
	for _, b := range backends {
		b.Forget()
	}
	p.TLS, p.Backends = NewTermination(p.tls), e.b
	e.in = &p.Inbound
	e.Server = NewServer(e.in)
	var err error
	if e.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		e.t.Fatal(err)
	}
	e.addr = e.l.Addr().String()
	go func() {
		defer close(e.served)
		e.Serve(e.l)
	}()
	e.t.Cleanup(e.stop)
}

// stop cuts off whatever the test left open, and waits for the end.
func (e *edge) stop() {
	e.l.Close()
	<-e.served
	if !e.stopping() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.Shutdown(ctx) // sessions that a test left open are cut off
	}
	e.watch.update(func() {
		if log := e.log.b.String(); strings.Contains(log, "internal error") {
			e.t.Error(log)
		}
	})
}

// one is a single backend with a script, and an edge in front of it.
func one(t testing.TB, s smtptest.Script, change ...func(*plan)) (*smtptest.Backend, *edge) {
	t.Helper()
	b := smtptest.NewBackend(t, s)
	return b, newEdge(t, []*smtptest.Backend{b}, change...)
}

// connect is a client that has read the 220.
func (e *edge) connect() *smtptest.Client {
	e.t.Helper()
	c := smtptest.Dial(e.t, e.addr)
	c.Expect("220 mx.test ESMTP")
	return c
}

// hello is a client that has said EHLO in clear.
func (e *edge) hello() *smtptest.Client {
	e.t.Helper()
	c := e.connect()
	c.Do("EHLO client.test", "250")
	return c
}

// secure is a client that has said EHLO inside TLS.
func (e *edge) secure() *smtptest.Client {
	e.t.Helper()
	c := e.hello()
	c.StartTLS(e.clientTLS())
	c.Do("EHLO client.test", "250")
	return c
}

func (e *edge) clientTLS() *tls.Config {
	return &tls.Config{RootCAs: e.ca.Pool(), ServerName: "mx.test"}
}

// envelope is the start of a transaction up to the 354.
const envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA"

// deliver sends one message and expects 250.
func deliver(c *smtptest.Client) {
	c.Do(envelope, "250", "250", "354")
	c.Send("Subject: x\r\n\r\nbody\r\n.\r\n")
	c.Expect("250 2.0.0 queued")
}

func mode(m TLSMode) func(*plan) { return func(p *plan) { p.Mode = m } }

func trace(p *plan) { p.Message.TraceHeader = true }

func convey(how Convey) func(*plan) { return func(p *plan) { p.backends.Convey = how } }

// journal is a log that can be read while it is written.
type journal struct {
	watch *watcher
	b     bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.watch.update(func() { j.b.Write(p) })
	return len(p), nil
}

// logged is the whole log once it holds text.
func (e *edge) logged(text string) (log string) {
	e.t.Helper()
	return e.log.once(e.t, text)
}

func (j *journal) once(t testing.TB, text string) (log string) {
	t.Helper()
	j.watch.until(t, text+" in the log", func() bool {
		log = j.b.String()
		return strings.Contains(log, text)
	})
	return log
}

// watcher is an Observer that keeps what it is told.
type watcher struct {
	NoObserver
	mu       sync.Mutex
	changed  *sync.Cond
	refused  []Cause
	failed   []Cause
	messages []Message
	sessions []Summary
	tried    []Delivery
	attempts []Attempt
	resolved []string
	open     int // steps that were opened and not closed
}

func newWatcher() *watcher {
	w := &watcher{}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *watcher) update(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.changed.Broadcast()
}

func (w *watcher) Step(ctx context.Context, _, _ string) (context.Context, func(error)) {
	w.update(func() { w.open++ })
	return ctx, func(error) { w.update(func() { w.open-- }) }
}

func (w *watcher) Refused(_ string, c Cause) { w.update(func() { w.refused = append(w.refused, c) }) }

func (w *watcher) BackendFailed(_, _ string, c Cause) {
	w.update(func() { w.failed = append(w.failed, c) })
}

func (w *watcher) Message(_ string, m Message) {
	w.update(func() { w.messages = append(w.messages, m) })
}

func (w *watcher) Delivery(_ string, d Delivery) {
	w.update(func() { w.tried = append(w.tried, d) })
}

func (w *watcher) Attempt(_ string, a Attempt) {
	w.update(func() { w.attempts = append(w.attempts, a) })
}

func (w *watcher) Resolved(_, security string) {
	w.update(func() { w.resolved = append(w.resolved, security) })
}

func (w *watcher) Disconnected(_ string, s Summary) {
	w.update(func() { w.sessions = append(w.sessions, s) })
}

// until waits for ok, which is asked whenever something was told.
func (w *watcher) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := false
	defer time.AfterFunc(smtptest.Patience, func() { w.update(func() { late = true }) }).Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !ok() {
		if late {
			t.Fatalf("%s did not happen", what)
		}
		w.changed.Wait()
	}
}

// ended waits for the n-th session that ended, counted from 0.
func (e *edge) ended(n int) Summary {
	e.t.Helper()
	var s Summary
	e.watch.until(e.t, "the end of a session", func() bool {
		if len(e.watch.sessions) <= n {
			return false
		}
		s = e.watch.sessions[n]
		return true
	})
	return s
}

// wantRefused waits until cause was counted.
func (e *edge) wantRefused(cause Cause) {
	e.t.Helper()
	e.watch.until(e.t, "the refusal "+string(cause), func() bool { return slices.Contains(e.watch.refused, cause) })
}

// wantCommands compares what the backends executed, QUIT apart.
func wantCommands(t testing.TB, b *smtptest.Backend, want ...string) {
	t.Helper()
	if got := b.Commands(); !slices.Equal(got, want) {
		t.Errorf("the backend executed\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantMessages compares the messages that the backend got.
func wantMessages(t testing.TB, b *smtptest.Backend, want ...string) {
	t.Helper()
	if got := b.Messages(); !slices.Equal(got, want) {
		t.Errorf("the backend got %.200q, want %.200q", got, want)
	}
}

// loopback is where the clients of these tests come from.
func (*plan) loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}
