package harness

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Edge describes a postern with one inbound in front of one backend. The zero
// value of a field leaves that line out of the configuration, so that the
// default is what is tested.
type Edge struct {
	Backend       string   // address
	Backends      []string // or several
	ClientAddress string   // none when empty: it has no default
	TLS           string   // offer | require | implicit | off
	Grade         string
	Certificates  []Pair   // an ECDSA certificate for mx.test when nil
	IP            string   // to listen on, 127.0.0.1 when empty
	Inbound       string   // further lines of HCL inside inbound
	BackendBlock  string   // further lines of HCL inside backend
	Top           string   // further HCL beside it
	CA            *CA      // made when nil
	Socket        string   // path of the admin socket
	Bolt          string   // path of the state; it is kept in memory when empty
	Activated     string   // path of systemd-socket-activate, which opens the listener
	Under         []string // a command that runs postern
}

// Postern is a running postern process.
type Postern struct {
	*Process
	Addr  string // of its inbound
	Admin string // of its admin listener
	CA    *CA

	t       testing.TB
	edge    Edge
	config  string     // path
	sockets []*os.File // given to it at its start
	env     []string   // beside that of the test
	as      []string   // the command that starts it as another user; nil: it starts by itself
}

// Start writes the configuration, starts postern and waits until it listens.
func (e Edge) Start(t testing.TB) *Postern {
	t.Helper()
	binary := Binary(t)
	if e.IP == "" {
		e.IP = "127.0.0.1"
	}
	if e.CA == nil {
		e.CA = NewCA(t)
	}
	if e.Certificates == nil && e.TLS != "off" {
		e.Certificates = []Pair{e.CA.Issue(t, ECDSA, "mx.test")}
	}
	p := &Postern{
		t: t, edge: e, CA: e.CA, config: filepath.Join(t.TempDir(), "config.hcl"),
		Addr: FreePort(t, e.IP), Admin: FreePort(t, "127.0.0.1"),
	}
	p.Configure(e)
	command := append(e.Under, binary, "run", "--config", p.config)
	if e.Activated != "" {
		command = append([]string{e.Activated, "--listen=" + p.Addr, "--fdname=mx"}, command...)
	}
	p.Process = StartProcess(t, command[0], command[1:]...)
	t.Cleanup(p.finish)
	if e.Activated != "" { // it starts postern when somebody comes
		Eventually(t, "the socket is open", func() bool { return p.Ended() || Listening(p.Addr) })
		Dial(t, p.Addr).Quit()
	}
	if !Poll(Deadline, func() bool { return p.Ended() || Listening(p.Addr) && Listening(p.Admin) }) || p.Ended() {
		t.Fatalf("postern did not start with\n%s\nand said\n%s", e.hcl(p.Addr, p.Admin), p.Out.String())
	}
	return p
}

// Configure writes another configuration; Reload makes postern take it.
func (p *Postern) Configure(e Edge) {
	p.t.Helper()
	write(p.t, p.config, e.hcl(p.Addr, p.Admin), 0o600)
}

// Described is the Edge that the process was started with.
func (p *Postern) Described() Edge { return p.edge }

// WriteConfig writes text as the configuration, good or bad.
func (p *Postern) WriteConfig(text string) {
	p.t.Helper()
	write(p.t, p.config, text, 0o600)
}

// Config writes text as a configuration of its own, and gives its path.
func Config(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.hcl")
	write(t, path, text, 0o600)
	return path
}

// Reload sends SIGHUP and waits until the log tells of a reload.
func (p *Postern) Reload() {
	p.t.Helper()
	before := p.count("reload")
	p.Signal(syscall.SIGHUP)
	Eventually(p.t, "the log tells of a reload", func() bool { return p.count("reload") > before })
}

func (p *Postern) count(word string) int { return strings.Count(strings.ToLower(p.Out.String()), word) }

// Ready reports whether /readyz answers 200.
func (p *Postern) Ready() bool {
	client := http.Client{Timeout: Deadline, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.Admin + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Roots is a client's TLS configuration that trusts the edge's authority.
func (p *Postern) Roots(name string) *tls.Config {
	return &tls.Config{RootCAs: p.CA.Pool, ServerName: name}
}

// Log returns the lines of its log, decoded. What is not JSON is left out.
func (p *Postern) Log() []map[string]any {
	var lines []map[string]any
	for scan := bufio.NewScanner(strings.NewReader(p.Out.String())); scan.Scan(); {
		var line map[string]any
		if json.Unmarshal(scan.Bytes(), &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines
}

// WaitLog waits for a log line that contains every one of the words.
func (p *Postern) WaitLog(words ...string) {
	p.t.Helper()
	Eventually(p.t, fmt.Sprintf("a log line with %q", words), func() bool {
		for line := range strings.SplitSeq(p.Out.String(), "\n") {
			if containsAll(line, words) {
				return true
			}
		}
		return false
	})
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// Stop sends SIGTERM, waits for the end and fails the test when it is not a
// clean one.
func (p *Postern) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	p.WaitStopped()
}

// WaitStopped waits for the end of a postern that was told to stop. One that
// hangs is made to dump its goroutines into the test's output.
func (p *Postern) WaitStopped() {
	p.t.Helper()
	if !p.Wait(Deadline) {
		p.Signal(syscall.SIGQUIT)
		p.Wait(5 * time.Second)
		p.t.Errorf("postern did not stop:\n%s", p.Out.String())
	}
}

// finish judges the process at the end of the test. Sessions that the test
// left open need not be waited for: the second signal leaves at once.
func (p *Postern) finish() {
	if !p.Ended() {
		p.Signal(syscall.SIGTERM)
		if !p.Wait(500 * time.Millisecond) {
			p.Signal(syscall.SIGTERM)
		}
		p.WaitStopped()
	}
	out := p.Out.String()
	if found := disaster.FindString(out); found != "" {
		p.t.Errorf("postern came to grief (%s):\n%s", found, out)
	} else if p.t.Failed() {
		p.t.Logf("postern said:\n%s", out)
	}
}

// hcl is the configuration as text.
func (e Edge) hcl(listen, admin string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "hostname = \"mx.test\"\n%sadmin {\n  listen = %q\n", stateBlock(e.Bolt), admin)
	attribute(&b, "socket", e.Socket)
	b.WriteString("}\nlog {\n  format = \"json\"\n}\n")
	names := make([]string, len(e.Certificates))
	for i, pair := range e.Certificates {
		names[i] = fmt.Sprintf("%q", fmt.Sprintf("c%d", i))
		fmt.Fprintf(&b, "certificate %s {\n  cert_file = %q\n  key_file = %q\n}\n", names[i], pair.CertFile, pair.KeyFile)
	}
	fmt.Fprintf(&b, "inbound \"mx\" {\n  listen = [%q]\n", listen)
	attribute(&b, "tls", e.TLS)
	attribute(&b, "grade", e.Grade)
	if len(names) > 0 {
		fmt.Fprintf(&b, "  certificates = [%s]\n", strings.Join(names, ", "))
	}
	fmt.Fprintf(&b, "%s\n  backend {\n", e.Inbound)
	if len(e.Backends) > 0 {
		fmt.Fprintf(&b, "  addresses = [\"%s\"]\n", strings.Join(e.Backends, `", "`))
	} else {
		attribute(&b, "address", e.Backend)
	}
	if e.ClientAddress == "" {
		e.ClientAddress = "none"
	}
	attribute(&b, "client_address", e.ClientAddress)
	fmt.Fprintf(&b, "%s\n  }\n}\n%s\n", e.BackendBlock, e.Top)
	return b.String()
}

// stateBlock keeps the state in a file, or in memory for "".
func stateBlock(path string) string {
	if path == "" {
		return "state \"memory\" {}\n"
	}
	return fmt.Sprintf("state \"bolt\" {\n  path = %q\n}\n", path)
}

func attribute(b *strings.Builder, name, value string) {
	if value != "" {
		fmt.Fprintf(b, "  %s = %q\n", name, value)
	}
}
