package app

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/config"
	"postern/internal/sink"
)

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("CET", 3600) // what is shown to people is the same everywhere
	// A server's sweeper goes by itself, within a second of its last session, and so does
	// a question to the DNS that nobody waits for any more, when its time is over.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("postern/proxy.(*sweeper).run"),
		goleak.IgnoreAnyFunction("postern/resolve.(*Resolver).fly"))
}

// patience is for what is certain to happen.
const patience = 20 * time.Second

// journal is a log that can be waited for.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{} // closed and replaced at each write
}

func newJournal() *journal { return &journal{news: make(chan struct{})} }

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.news)
	j.news = make(chan struct{})
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await waits until one line has all of the words.
func (j *journal) await(t *testing.T, words ...string) {
	t.Helper()
	limit := time.After(patience)
	for {
		j.mu.Lock()
		text, news := j.text.String(), j.news
		j.mu.Unlock()
		if lineWith(text, words) {
			return
		}
		select {
		case <-news:
		case <-limit:
			t.Fatalf("no line with %q in the log:\n%s", words, text)
		}
	}
}

func lineWith(text string, words []string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return true
		}
	}
	return false
}

// eventually waits for a state that nothing announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// backend starts a mail server that takes everything.
func backend(t *testing.T) (address string, s *sink.Server) {
	t.Helper()
	l := must1(net.Listen("tcp", "127.0.0.1:0"))
	s = &sink.Server{}
	go s.Serve(l)
	t.Cleanup(s.Close)
	return l.Addr().String(), s
}

// freePort returns a port of loopback that is free now.
func freePort(t *testing.T) string {
	t.Helper()
	l := must1(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// inboundHCL is HCL of an inbound without TLS.
func inboundHCL(name, backend string, listen ...string) string {
	return inboundWith(name, backend, "", listen...)
}

func inboundWith(name, backend, more string, listen ...string) string {
	return fmt.Sprintf("inbound %q {\n  tls = \"off\"\n  listen = [\"%s\"]\n  %s\n  backend {\n    address = %q\n    client_address = \"xclient\"\n  }\n}\n",
		name, strings.Join(listen, `", "`), more, backend)
}

// running is a process of the test, and its log.
type running struct {
	*process
	log  *journal
	file string
	done bool
}

// hostname is what every configuration begins with. Nothing is written to disk.
const hostname = hostnameOnly + inMemory

const hostnameOnly = "hostname = \"mx.test\"\n"

const inMemory = "state \"memory\" {}\n"

// launch starts postern with that configuration.
func launch(t *testing.T, text string) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.hcl")
	must(os.WriteFile(file, []byte(hostname+text), 0o600))
	return launchFile(t, file)
}

// launchFile starts postern with the configuration in a file.
func launchFile(t *testing.T, file string) *running {
	t.Helper()
	r := &running{log: newJournal(), file: file}
	p, err := start(must1(config.Load(r.file)), startOptions{path: r.file, log: r.log})
	if err != nil {
		t.Fatalf("postern does not start: %v", err)
	}
	r.process = p
	t.Cleanup(func() {
		if !r.done {
			r.stop()
		}
	})
	return r
}

func (r *running) write(text string) { must(os.WriteFile(r.file, []byte(text), 0o600)) }

// reloadWith reloads and expects these words in one line of the log.
func (r *running) reloadWith(t *testing.T, text string, words ...string) {
	t.Helper()
	r.write(hostname + text)
	r.reload()
	if !lineWith(r.log.String(), words) {
		t.Fatalf("no line with %q in the log:\n%s", words, r.log)
	}
}

// stop drains it with nobody to hurry it.
func (r *running) stop() error {
	r.done = true
	return r.drain(nil, nil)
}

// at returns the only address of an inbound or outbound.
func (r *running) at(t *testing.T, front string) string {
	t.Helper()
	all := r.addresses(front)
	if len(all) != 1 {
		t.Fatalf("%q listens on %v", front, all)
	}
	return all[0]
}

// client is an SMTP client.
type client struct {
	*textproto.Conn
	t *testing.T
}

// dial connects and reads the greeting.
func dial(t *testing.T, address string) *client {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	must(c.SetDeadline(time.Now().Add(patience)))
	k := &client{textproto.NewConn(c), t}
	k.expect(220)
	return k
}

func (c *client) expect(code int) string {
	c.t.Helper()
	_, text, err := c.ReadResponse(code)
	if err != nil {
		c.t.Fatalf("expected %d: %v", code, err)
	}
	return text
}

func (c *client) do(code int, command string) string {
	c.t.Helper()
	if err := c.PrintfLine("%s", command); err != nil {
		c.t.Fatal(err)
	}
	return c.expect(code)
}

// envelope begins a message, up to the 354.
func (c *client) envelope() {
	c.t.Helper()
	c.do(250, "EHLO client.test")
	c.do(250, "MAIL FROM:<a@b.test>")
	c.do(250, "RCPT TO:<c@d.test>")
	c.do(354, "DATA")
}

const body = "Subject: test\r\n\r\ntext\r\n."

// deliver sends a whole message and leaves.
func (c *client) deliver() {
	c.t.Helper()
	c.envelope()
	c.do(250, body)
	c.do(221, "QUIT")
}

// get fetches a page.
func get(t *testing.T, url string) (status int, text string) {
	t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return r.StatusCode, string(must1(io.ReadAll(r.Body)))
}

func refused(address string) bool {
	c, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		c.Close()
	}
	return err != nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}
