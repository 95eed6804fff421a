package app

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
)

// world is the mail servers of example.com and the DNS that leads to them.
type world struct {
	dns   *dnstest.Server
	mx    *smtptest.Backend
	cert  tls.Certificate // of mx
	port  string          // of all mail servers
	roots string          // a file of the authority that has issued their certificates
	dir   string
}

// newWorld has example.com served by mx.example.com, with a good certificate.
func newWorld(t *testing.T) *world {
	t.Helper()
	ca := catest.New(t)
	w := &world{dir: t.TempDir()}
	w.roots = filepath.Join(w.dir, "roots.pem")
	catest.Write(t, w.roots, ca.PEM())
	w.cert = ca.Issue(t, catest.Leaf{Names: []string{"mx.example.com"}})
	w.mx = smtptest.NewBackendAt(t, "127.0.0.2:0", smtptest.Script{
		TLS: &tls.Config{Certificates: []tls.Certificate{w.cert}},
	})
	_, w.port, _ = net.SplitHostPort(w.mx.Addr)
	w.dns = dnstest.Start(t, `
example.com.    IN MX 10 mx.example.com.
mx.example.com. IN A  127.0.0.2
null.example.   IN MX 0 .
`)
	return w
}

// outbound is HCL of an outbound that finds this world, and of all beside it.
func (w *world) outbound(more string) string {
	return w.outboundAt("egress", "127.0.0.1:0", more)
}

func (w *world) outboundAt(name, listen, more string) string {
	return fmt.Sprintf("outbound %q {\n  listen = [%q]\n  mx_port = %s\n  trusted_roots = %q\n  %s\n}\n", name, listen, w.port, w.roots, more)
}

func (w *world) resolver() string {
	return fmt.Sprintf("resolver {\n  servers = [%q]\n}\n", w.dns.Address)
}

// kept is HCL of a state that survives the process.
func (w *world) kept() string {
	return fmt.Sprintf("state \"bolt\" {\n  path = %q\n}\n", filepath.Join(w.dir, "state", "state.db"))
}

func (w *world) socket() string { return filepath.Join(w.dir, "admin.sock") }

func (w *world) admin() string { return fmt.Sprintf("admin {\n  socket = %q\n}\n", w.socket()) }

// mail hands a message for a domain to the outbound at an address.
func mail(t *testing.T, address, domain string) {
	t.Helper()
	c := dial(t, address)
	c.do(250, "EHLO mta.test")
	c.do(250, "MAIL FROM:<a@b.test>")
	c.do(250, "RCPT TO:<c@"+domain+">")
	c.do(354, "DATA")
	c.do(250, body)
	c.do(221, "QUIT")
}

// written puts a configuration into a file of its own.
func (w *world) written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(w.dir, "config.hcl")
	must(os.WriteFile(file, []byte("hostname = \"gw.test\"\n"+text), 0o600))
	return file
}

// begin starts postern with a configuration in a file that the commands read too.
func (w *world) begin(t *testing.T, text string) *running {
	t.Helper()
	return launchFile(t, w.written(t, text))
}

// command runs one of the commands, and returns what it wrote.
func peersCommand(t *testing.T, do func(PeersOptions) error, file, name string, asJSON bool) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := do(PeersOptions{Name: name, Config: file, JSON: asJSON, Out: &out})
	return out.String(), err
}

func explained(t *testing.T, o ExplainOptions) (text, note string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	o.Out, o.Log = &out, &log
	err = Explain(t.Context(), o)
	return out.String(), log.String(), err
}

func wantWords(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q is not in\n%s", what, w, text)
		}
	}
}
