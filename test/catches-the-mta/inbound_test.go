package catches

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"postern/test/harness"
)

// inbound is an edge in front of the mail server, which redirected connections come to.
func inbound(how string, backends ...string) string {
	return fmt.Sprintf(`certificate "mx" {
  self_signed = ["client.test"]
}
inbound "mx" {
  listen = ["0.0.0.0:2500", "[::]:2500"]
  backend {
    addresses      = ["%s"]
    client_address = %q
  }
}
`, strings.Join(backends, `", "`), how)
}

// clients are the two families.
var clients = []struct{ name, ip, server string }{
	{"IPv4", worldIPv4, podIPv4 + ":25"},
	{"IPv6", worldIPv6, "[" + podIPv6 + "]:25"},
}

// deliver sends a message over STARTTLS from the Internet, and tries to relay through the
// mail server first, which lets its own machine do that.
func (p *pod) deliver(id, from, server string) {
	p.t.Helper()
	p.world.Do(func() {
		c := harness.ConnectFrom(p.t, from, server)
		c.Expect(220)
		c.StartTLS(&tls.Config{InsecureSkipVerify: true}) // nobody has signed it: who it is does not matter here
		c.Cmd("MAIL FROM:<a@world.test>", 250)
		if reply := c.Cmd("RCPT TO:<b@elsewhere.test>", 454); !strings.Contains(reply, "Relay access denied") {
			p.t.Errorf("relaying got %q", reply)
		}
		c.Cmd("RSET", 250)
		c.Envelope("a@world.test", "b@client.test")
		c.Send(harness.Stuff(harness.Message(id)) + ".\r\n")
		c.Expect(250)
		c.Quit()
	})
}

func TestMailArrivesBySTARTTLSAndTheMailServerSeesTheClient(t *testing.T) {
	t.Parallel()
	for how, backends := range map[string][]string{
		"transparent": {"127.0.0.1:25", "[::1]:25"},
		"xclient":     {"127.0.0.1:25"},
		"proxy-v1":    {"PROXY"},
		"proxy-v2":    {"PROXY"},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, inbound(how, backends...))
			arguments := []string{"redirect", "install", "--outbound", "10025", "--inbound", "2500"}
			if how == "transparent" {
				arguments = append(arguments, "--transparent", strings.Join(backends, ","))
			}
			p.must(arguments...)
			for _, client := range clients {
				id := "in-" + client.name
				p.deliver(id, client.ip, client.server)
				p.received(id, client.ip)
			}
			if n := counter(t, p.inside, "postern", `tcp dport 25 counter packets (\d+) bytes \d+ redirect to :2500`); n != 2 {
				t.Errorf("%d connections were counted, not 2", n)
			}
		})
	}
}

// received says that the mail server has taken the message from that client.
func (p *pod) received(id, ip string) {
	p.t.Helper()
	literal := ip
	if strings.Contains(ip, ":") {
		literal = "IPv6:" + ip
	}
	text := strings.Join(strings.Fields(string(p.mta.Wait("<"+id+"@"))), " ")
	if want := "from client.test (unknown [" + literal + "])"; !strings.Contains(text, want) {
		p.t.Errorf("no %q in\n%s", want, text)
	}
	p.mta.WaitLog("client=unknown[" + ip + "]")
}

// probed waits until postern knows what the mail server offers: until then a client's EHLO
// would have it connect (SEM 1).
func (p *pod) probed() {
	p.t.Helper()
	p.mta.WaitLog("disconnect from unknown[127.0.0.1]", "ehlo=1 quit=1")
}

// SEM 9: a client whose address cannot be shown is turned away, and nothing of it reaches
// the mail server in postern's own name.
func TestAClientThatCannotBeShownIsTurnedAway(t *testing.T) {
	t.Parallel()
	p := newPod(t, inbound("transparent", "127.0.0.1:25"))
	p.must("redirect", "install", "--inbound", "2500", "--transparent", "127.0.0.1:25")
	p.probed()
	p.world.Do(func() {
		c := harness.Dial(t, "["+podIPv6+"]:25")
		c.Cmd("EHLO client.test", 250)
		if reply := c.Cmd("MAIL FROM:<a@world.test>", 421); !strings.Contains(reply, "4.3.2") {
			t.Errorf("it is told %q", reply)
		}
		c.Closed()
	})
	p.postern.WaitLog("no backend has an address of the client's family")
	p.deliver("other-family", worldIPv4, podIPv4+":25")
	p.received("other-family", worldIPv4)
	if log := p.mta.Log(); strings.Contains(log, worldIPv6) {
		t.Errorf("the mail server has heard of it:\n%s", log)
	}
}

// A backend on another machine, whose way out leads through postern's.
func TestABackendElsewhereSeesTheClientToo(t *testing.T) {
	t.Parallel()
	p := newPod(t, inbound("transparent", "10.80.0.2:25", "[fd80::2]:25"))
	old := harness.NewNamespace(t)
	harness.Link(p.inside, "eth1", []string{"10.80.0.1/24", "fd80::1/64"}, old, "eth0", []string{"10.80.0.2/24", "fd80::2/64"})
	old.Run("ip route add default via 10.80.0.1; ip -6 route add default via fd80::1")
	here := p.mta
	old.Do(func() { p.mta = harness.NewPostfixSenderAt(t, "0.0.0.0:25", mailServer) })
	p.must("redirect", "install", "--inbound", "2500", "--transparent", "10.80.0.2:25,[fd80::2]:25")
	for _, client := range clients {
		id := "far-" + client.name
		p.deliver(id, client.ip, client.server)
		p.received(id, client.ip)
	}
	if log := here.Log(); strings.Contains(log, "client=unknown") {
		t.Errorf("the mail server beside postern had it:\n%s", log)
	}
}

// Without the routes nothing comes back from the backend: the client is told to try later,
// and the log says what is missing.
func TestWithoutTheRoutesTheClientTriesLater(t *testing.T) {
	t.Parallel()
	p := newPod(t, strings.Replace(inbound("transparent", "127.0.0.1:25"), "  backend {", "  timeouts {\n    connect = \"1s\"\n  }\n  backend {", 1))
	p.must("redirect", "install", "--inbound", "2500")
	p.probed()
	p.world.Do(func() {
		c := harness.Dial(t, podIPv4+":25")
		c.Cmd("EHLO client.test", 250)
		c.Cmd("MAIL FROM:<a@world.test>", 451)
	})
	p.postern.WaitLog("postern redirect install --transparent")
}
