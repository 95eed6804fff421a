// Package balancer proves that behind HAProxy and nginx, set up as
// docs/deploy/load-balancers.md says, the backend sees the client, and that the
// balancer's health checks leave no trace that somebody would be woken up by.
package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"postern/test/harness"
)

const page = "deploy/load-balancers.md"

// site is a balancer between the Internet and two posterns, each with its backend.
type site struct {
	internet, balancer *harness.Machine
	nodes              []node
	process            *harness.Process
	ca                 *harness.CA
}

type node struct {
	machine *harness.Machine
	postern *harness.Postern
	backend *harness.Backend
	start   int // of what postern logs after its start
}

// debug has the log tell of all, so that a test sees that a health check was there.
const debug = "\nstate \"memory\" {}\nlog {\n  level = \"debug\"\n}\nresolver {\n  dnssec = \"off\"\n}\n"

// newSite makes a site whose balancer runs a program with a configuration.
func newSite(t *testing.T, config, text string, program ...string) *site {
	t.Helper()
	harness.Tool(t, program[0])
	s := &site{internet: harness.NewMachine(t), balancer: harness.NewMachine(t), ca: harness.NewCA(t)}
	harness.Link(s.balancer.Namespace, "out", []string{"192.0.2.25/24", "2001:db8::25/64"}, s.internet.Namespace, "in", []string{"192.0.2.7/24", "2001:db8::7/64"})
	s.balancer.Run("ip link add inside type bridge; ip addr add 10.0.0.1/24 dev inside; ip link set inside up")
	for i := range 2 {
		s.nodes = append(s.nodes, s.node(t, i))
	}
	s.balancer.Write(config, text)
	s.balancer.Do(func() {
		s.process = harness.StartProcess(t, program[0], program[1:]...)
		harness.Eventually(t, program[0]+" listens", func() bool {
			return s.process.Ended() || harness.Listening("192.0.2.25:25") && harness.Listening("[2001:db8::25]:25")
		})
	})
	if s.process.Ended() {
		t.Fatalf("%s did not start: %s", program[0], s.process.Out.String())
	}
	return s
}

func (s *site) node(t *testing.T, i int) node {
	n := node{machine: harness.NewMachine(t)}
	cable := fmt.Sprintf("node%d", i)
	harness.Link(s.balancer.Namespace, cable, nil, n.machine.Namespace, "eth0", []string{fmt.Sprintf("10.0.0.1%d/24", i+1)})
	s.balancer.Run("ip link set " + cable + " master inside")
	n.machine.Do(func() {
		n.backend = harness.NewBackendAt(t, "127.0.0.1:2525", harness.Script{Capabilities: []string{"PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO"}})
	})
	pair := s.ca.Issue(t, harness.ECDSA, "mail.example.org")
	n.machine.Run("cp " + pair.CertFile + " /etc/postern/fullchain.pem; cp " + pair.KeyFile + " /etc/postern/privkey.pem")
	n.machine.Write("/etc/postern/config.hcl", strings.Replace(harness.Titled(t, page, "/etc/postern/config.hcl"), "127.0.0.1:9025", "0.0.0.0:9025", 1)+debug)
	n.postern = n.machine.Postern(nil, "0.0.0.0:25", "0.0.0.0:9025")
	n.machine.Do(func() {
		harness.Eventually(t, "postern is ready", func() bool { return get(t, "http://127.0.0.1:9025/readyz") != "" })
	})
	n.postern.WaitLog("can be reached from other networks") // the last that it says at its start
	n.start = len(n.postern.Out.String())
	return n
}

// get is what the admin page at an address answers with 200, else empty. The
// connection is made here, not in a goroutine that belongs to another machine.
func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", request.URL.Host, harness.Deadline)
	if err != nil {
		return ""
	}
	defer conn.Close()
	request.Close = true
	if err := request.Write(conn); err != nil {
		return ""
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// often makes the checks of a balancer come soon.
func often(config string) string { return strings.Replace(config, "inter 5s", "inter 200ms", 1) }

// withHAProxy starts a site with HAProxy, whose configuration is that of the page
// with replacements.
func withHAProxy(t *testing.T, replacements ...string) *site {
	t.Helper()
	text := harness.Titled(t, page, "/etc/haproxy/haproxy.cfg")
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("the page has no %q", replacements[i])
		}
		text = strings.Replace(text, replacements[i], replacements[i+1], 1)
	}
	return newSite(t, "/etc/haproxy/haproxy.cfg", often(text), "/usr/sbin/haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg")
}

func withNginx(t *testing.T) *site {
	return newSite(t, "/etc/nginx/nginx.conf", harness.Titled(t, page, "/etc/nginx/nginx.conf"), "/usr/sbin/nginx", "-g", "daemon off; error_log stderr;")
}

const smtpCheck = "  option smtpchk EHLO balancer.example.org\n"

func TestTheBackendSeesTheClient(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *site{
		"HAProxy, version 2": func(t *testing.T) *site { return withHAProxy(t) },
		"HAProxy, version 1": func(t *testing.T) *site { return withHAProxy(t, "send-proxy-v2", "send-proxy") },
		"nginx":              withNginx,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			for to, told := range map[string]string{"192.0.2.25:25": "ADDR=192.0.2.7", "[2001:db8::25]:25": "ADDR=IPV6:2001:db8::7"} {
				s.internet.Do(func() {
					c := harness.Dial(t, to)
					c.StartTLS(harness.Trusting(s.ca, "mail.example.org"))
					c.Deliver(harness.Message("through"))
					c.Quit()
				})
				if got := s.told(); !strings.Contains(got, told) {
					t.Errorf("no backend was told %s:\n%s", told, got)
				}
			}
			s.wantQuiet(t)
		})
	}
}

// told are the commands that the backends got.
func (s *site) told() string {
	var all []string
	for _, n := range s.nodes {
		all = append(all, n.backend.Commands()...)
	}
	return strings.Join(all, "\n")
}

func TestAHealthCheckWorriesNobody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replacements []string
		ends         string // how its sessions end
	}{
		"smtpchk, version 2":     {nil, "quit"},
		"smtpchk, version 1":     {[]string{"send-proxy-v2", "send-proxy"}, "quit"},
		"connect, LOCAL, close":  {[]string{smtpCheck, ""}, "client_gone"},
		"smtpchk, on a port too": {[]string{"check ", "check port 25 check-send-proxy "}, "quit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := withHAProxy(t, c.replacements...)
			for _, n := range s.nodes {
				harness.Eventually(t, "health checks come and go", func() bool {
					return strings.Count(n.postern.Out.String(), "outcome="+c.ends) >= 3
				})
			}
			s.wantQuiet(t)
		})
	}
}

// HAProxy takes back a connection, by a reset, before it is one that is accepted.
func TestAConnectionAloneWorriesNobody(t *testing.T) {
	t.Parallel()
	s := withHAProxy(t, smtpCheck, "", "check ", "check port 25 ")
	s.balancer.Do(func() {
		for range 3 {
			harness.Connect(t, "10.0.0.11:25").Close()
		}
	})
	harness.Eventually(t, "they are noticed", func() bool {
		return strings.Count(s.nodes[0].postern.Out.String(), "outcome=client_gone") >= 3
	})
	s.wantQuiet(t)
}

// What the page says of a check without the header that is due.
func TestACheckThatWaitsWithoutAHeaderFails(t *testing.T) {
	t.Parallel()
	s := withHAProxy(t, "check ", "check port 25 ")
	harness.Eventually(t, "HAProxy takes it for down", func() bool { return strings.Contains(s.process.Out.String(), "is DOWN") })
}

func TestReadyzKnowsMore(t *testing.T) {
	t.Parallel()
	text := harness.Titled(t, page, "/etc/haproxy/haproxy.cfg")
	head, _, _ := strings.Cut(text, "\nbackend postern")
	backend := harness.Titled(t, page, "/etc/haproxy/haproxy.cfg, with readyz")
	s := withHAProxy(t, text, head+"\n"+backend)
	s.wantQuiet(t)
	s.nodes[0].backend.Stop()
	s.balancer.Do(func() { // it is noticed by the next that has mail
		c := harness.Connect(t, "10.0.0.11:25")
		c.Send("PROXY UNKNOWN\r\n")
		c.Expect(220)
		c.Cmd("EHLO client.test", 250)
		c.Cmd("MAIL FROM:<a@client.test>", 4)
	})
	harness.Eventually(t, "HAProxy leaves out the one whose backend is down", func() bool {
		return strings.Contains(s.process.Out.String(), "Server postern/one is DOWN")
	})
	if strings.Contains(s.process.Out.String(), "Server postern/two is DOWN") {
		t.Errorf("HAProxy says %s", s.process.Out.String())
	}
}

// wantQuiet fails the test when a postern has told of something that would wake
// somebody up, or the balancer takes one for down.
func (s *site) wantQuiet(t *testing.T) {
	t.Helper()
	if said := s.process.Out.String(); strings.Contains(said, "is DOWN") || strings.Contains(said, "[error]") {
		t.Errorf("the balancer says %s", said)
	}
	for _, n := range s.nodes {
		for line := range strings.Lines(n.postern.Out.String()[n.start:]) {
			if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=INFO msg=session") && !strings.Contains(line, "messages=1") {
				t.Errorf("postern says %s", line)
			}
		}
		var metrics string
		n.machine.Do(func() { metrics = get(t, "http://127.0.0.1:9025/metrics") })
		if !strings.Contains(metrics, "postern_build_info") {
			t.Fatalf("no metrics: %q", metrics)
		}
		for line := range strings.Lines(metrics) {
			ended := strings.HasPrefix(line, "postern_sessions_ended_total{")
			good := strings.Contains(line, `cause="quit"`) || strings.Contains(line, `cause="client_gone"`)
			if strings.HasPrefix(line, "postern_refusals_total{") || ended && !good {
				t.Errorf("postern counts %s", line)
			}
		}
	}
}
