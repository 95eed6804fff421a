package container

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// The addresses at the two ends of the cable: the machine with the engine, and
// the Internet.
const (
	machine  = "203.0.113.1"
	internet = "203.0.113.7"
)

// world is a machine with a container engine, and an Internet with the names of
// clients and destinations, and an authority for their certificates.
type world struct {
	*harness.Engine
	t        *testing.T
	ca       *harness.CA
	internet *harness.Namespace
}

const names = `
client.test. 60 IN A 203.0.113.7
7.113.0.203.in-addr.arpa. 60 IN PTR client.test.
destination.test. 60 IN MX 10 mx.destination.test.
mx.destination.test. 60 IN A 203.0.113.8
`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ca: harness.NewCA(t), internet: harness.NewNamespace(t), Engine: harness.NewEngine(t)}
	harness.Link(w.internet, "postern0", []string{internet + "/24", "203.0.113.8/24", "203.0.113.9/24"}, w.Namespace, "postern1", []string{machine + "/24"})
	dns, err := dnstest.New(names)
	if err != nil {
		t.Fatal(err)
	}
	w.internet.Do(func() { err = dns.Listen(internet + ":53") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Close)
	return w
}

// folder is one with a certificate in the files that the documents name, for user
// 10025 to read.
func (w *world) folder(name string) string {
	w.t.Helper()
	folder, err := os.MkdirTemp("", "postern-container-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(folder) })
	pair := w.ca.Issue(w.t, harness.ECDSA, name)
	for path, mode := range map[string]os.FileMode{pair.CertFile: 0o644, pair.KeyFile: 0o640} {
		to := filepath.Join(folder, "fullchain.pem")
		if mode == 0o640 {
			to = filepath.Join(folder, "privkey.pem")
		}
		write(w.t, to, string(read(w.t, path)))
		if err := os.Chown(to, 0, 10025); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Chmod(to, mode); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return folder
}

// certificate is the TLS of a server of the Internet.
func (w *world) certificate(t *testing.T, name string) *tls.Config {
	t.Helper()
	pair := w.ca.Issue(t, harness.ECDSA, name)
	c, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}}
}

// server starts a mail server in the Internet.
func (w *world) server(addr string, s smtptest.Script) (b *smtptest.Backend) {
	w.t.Helper()
	w.internet.Do(func() { b = smtptest.NewBackendAt(w.t, addr, s) })
	return b
}

// dial connects to the edge from the Internet, and makes it do TLS with a
// certificate for the name.
func (w *world) dial(t *testing.T, name string) (c *harness.Client) {
	t.Helper()
	w.internet.Do(func() { c = harness.Dial(t, machine+":25") })
	c.StartTLS(&tls.Config{RootCAs: w.ca.Pool, ServerName: name})
	return c
}

// deliver sends a message to a recipient through the edge, which has a certificate
// for the name.
func (w *world) deliver(t *testing.T, name, to, id string) {
	t.Helper()
	c := w.dial(t, name)
	c.Envelope("a@client.test", to)
	c.Send(harness.Message(id) + ".\r\n")
	c.Expect(250)
	c.Quit()
}

// send sends a message through the egress, for the destination in the Internet.
func (w *world) send(t *testing.T, id string) {
	t.Helper()
	var c *harness.Client
	w.internet.Do(func() { c = harness.Dial(t, machine+":10025") })
	c.Cmd("EHLO mta.test", 250)
	c.Envelope("a@mx.test", "b@destination.test")
	c.Send(harness.Message(id) + ".\r\n")
	c.Expect(250)
	c.Quit()
}

// listening tells whether an address answers in the Internet.
func (w *world) listening(addr string) (answers bool) {
	w.internet.Do(func() {
		c, err := net.DialTimeout("tcp", addr, harness.Deadline)
		if answers = err == nil; answers {
			c.Close()
		}
	})
	return answers
}

// get gets a page from the machine, to which all networks of containers are open.
func (w *world) get(t *testing.T, addr, page string) string {
	t.Helper()
	var conn net.Conn
	var err error
	w.Do(func() { conn, err = net.DialTimeout("tcp", addr, harness.Deadline) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Deadline))
	if _, err = fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", page); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
