package container

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/test/harness"
)

// override is what a world without registry, and with an authority of its own,
// needs beside the compose file.
const override = `services:
  edge:
    dns: [%[1]s]
  egress:
    dns: [%[1]s]
    volumes:
      - %[2]s:/etc/ssl/certs/ca-certificates.crt:ro
`

// The files of deploy/compose, as they are, carry mail both ways for a Postfix
// that knows nothing of TLS.
func TestTheComposeFileCarriesMailBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.compose()
	c.up(t)
	exchanger := w.server("203.0.113.8:25", smtptest.Script{TLS: w.certificate(t, "mx.destination.test")})

	w.deliver(t, "mx1.example.test", "b@example.test", "in")
	got := c.mailbox(t, "<in@")
	if !strings.Contains(got, "from client.test (client.test [203.0.113.7])") {
		t.Errorf("Postfix does not know who the client is:\n%s", got)
	}

	c.submit("out")
	wantMessage(t, exchanger, "out")
	if exchanger.Connection(0).Secured() == nil {
		t.Error("it went out in clear")
	}
	if out := c.run("exec", "-T", "egress", "postern", "peers", "show", "mx.destination.test"); !strings.Contains(out, "erified") {
		t.Errorf("the certificate was not verified: %s", out)
	}

	// Nothing goes past egress.
	before := len(exchanger.Conns())
	c.run("stop", "egress")
	c.submit("waits")
	harness.Eventually(t, "Postfix keeps the message", func() bool {
		return strings.Contains(c.run("logs", "postfix"), "status=deferred")
	})
	if n := len(exchanger.Conns()); n != before {
		t.Errorf("%d connections past egress", n-before)
	}
	c.run("start", "egress")
	c.run("exec", "-T", "postfix", "postqueue", "-f")
	wantMessage(t, exchanger, "waits")
}

// Nobody on the Internet may use the edge as a relay, nor reach the egress.
func TestTheComposeFileIsNoOpenRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.compose().up(t)
	c := w.dial(t, "mx1.example.test")
	c.Cmd("MAIL FROM:<a@client.test>", 250)
	if reply := c.Cmd("RCPT TO:<b@destination.test>", 5); !strings.Contains(reply, "Relay access denied") {
		t.Errorf("refused with %q", reply)
	}
	for _, port := range []string{"10025", "9025"} {
		if w.listening(machine + ":" + port) {
			t.Errorf("port %s is published", port)
		}
	}
}

// The Prometheus of the profile finds what it is told to ask; its image cannot be
// had here.
func TestTheComposeFileHasMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.compose()
	if services := p.run("--profile", "metrics", "config", "--services"); !strings.Contains(services, "prometheus") {
		t.Errorf("the profile has only %q", services)
	}
	p.up(t)
	targets := regexp.MustCompile(`[\d.]+:\d+`).FindAllString(string(read(t, filepath.Join(p.folder, "prometheus.yml"))), -1)
	if len(targets) != 2 {
		t.Fatalf("it asks %q", targets)
	}
	for _, target := range targets {
		if page := w.get(t, target, "/metrics"); !strings.Contains(page, "\npostern_") {
			t.Errorf("%s has no metrics:\n%s", target, page)
		}
	}
}

// project is the compose file at work.
type project struct {
	w      *world
	folder string
}

// compose copies deploy/compose, and follows the document.
func (w *world) compose() *project {
	w.t.Helper()
	load(w.t, w.Engine)
	w.Docker("import", harness.Cached(w.t, "postfix-rootfs.tar"), "postfix-base")
	p := &project{w, w.folder("mx1.example.test")}
	certs := filepath.Join(p.folder, "certs")
	shell(w.t, `cd "$1" && mkdir certs && mv *.pem certs`, p.folder)
	shell(w.t, `cp -R deploy/compose/. "$1"`, p.folder)
	if _, err := os.Stat(filepath.Join(certs, "privkey.pem")); err != nil {
		w.t.Fatal(err)
	}
	env := strings.ReplaceAll(string(read(w.t, filepath.Join(p.folder, ".env.example"))), "example.org", "example.test")
	write(w.t, filepath.Join(p.folder, ".env"), env+"POSTFIX_BASE=postfix-base\n")
	ca := filepath.Join(p.folder, "ca.pem")
	write(w.t, ca, string(read(w.t, w.ca.File)))
	write(w.t, filepath.Join(p.folder, "override.yml"), fmt.Sprintf(override, internet, ca))
	return p
}

// up starts everything, and waits until mail can be taken.
func (p *project) up(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.run("logs", "--no-color"))
		}
	})
	p.run("up", "-d")
	for _, service := range []string{"edge", "egress"} {
		p.w.WaitHealthy(p.run("ps", "-q", service))
	}
}

func (p *project) run(args ...string) string {
	p.w.t.Helper()
	return p.w.Compose(p.folder, append([]string{"-f", filepath.Join(p.folder, "docker-compose.yml"), "-f", filepath.Join(p.folder, "override.yml")}, args...)...)
}

// mailbox waits for a message that contains text.
func (p *project) mailbox(t *testing.T, text string) (found string) {
	t.Helper()
	harness.Eventually(t, "Postfix has "+text, func() bool {
		found = p.run("exec", "-T", "postfix", "sh", "-c", "cat /var/mail/inbox/new/* 2>/dev/null || true")
		return strings.Contains(found, text)
	})
	return found
}

// submit gives Postfix a message for the Internet.
func (p *project) submit(id string) {
	p.w.t.Helper()
	script := "printf '%s' \"$0\" | sendmail -f a@example.test b@destination.test"
	p.run("exec", "-T", "postfix", "sh", "-ec", script, strings.ReplaceAll(harness.Message(id), "\r\n", "\n"))
}
