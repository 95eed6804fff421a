// Package redirect proves that mail which a firewall turns over to postern on
// its way goes on to where it was going, with the TLS that postern asks for, and
// that the mail server needs no setting for it: it looks up mail exchangers, is
// told when one is dead, and tries the next, all by itself.
package redirect

import (
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// world is a mail server, postern in its way, and the Internet behind it.
type world struct {
	lab     *harness.Lab
	host    *harness.Namespace // of the mail server
	net     *harness.Namespace // of everybody else
	out     *harness.Postern
	sender  *harness.Sender
	servers map[string]*smtptest.Backend // by name
}

const domains = `
ipv4.test.      0 IN MX 10 ipv4.mx.test.
ipv4.mx.test.   0 IN A  10.77.0.11
ipv6.test.      0 IN MX 10 ipv6.mx.test.
ipv6.mx.test.   0 IN AAAA fd77::12
next.test.      0 IN MX 10 dead.mx.test.
next.test.      0 IN MX 20 alive.mx.test.
dead.mx.test.   0 IN A  10.77.0.13
alive.mx.test.  0 IN A  10.77.0.14
strange.test.   0 IN MX 10 ipv4.mx.test.
relayed.test.   0 IN MX 10 ipv4.mx.test.
other.mx.test.  0 IN A  10.77.0.15
broken.test.    0 IN MX 10 broken.mx.test.
broken.mx.test. 0 IN A  10.77.0.16
`

// blocks are what is asked of the destinations: all but the last are verified.
const blocks = `
  timeouts {
    connect = "5s"
  }
  destination "10.77.0.15" {
    level = "verify"
    match = ["other.mx.test"]
  }
  destination "ipv4.test" {
    level = "verify"
  }
  destination "ipv6.test" {
    level = "verify"
  }
  destination "next.test" {
    level = "verify"
  }
  destination "strange.test" {
    level = "verify"
  }
`

// The mail server sends two domains past their mail exchangers.
const transports = "transport_maps = inline:{{strange.test = smtp:[10.77.0.14]}, {relayed.test = smtp:[10.77.0.15]}}\ninet_protocols = all\nsmtp_connect_timeout = 5s"

// internet starts the servers and the DNS, for everybody who will need it.
func (w *world) internet(t *testing.T) {
	w.servers = map[string]*smtptest.Backend{}
	certificate := func(name string) smtptest.Script {
		return smtptest.Script{TLS: harness.With(w.lab.Certificate(catest.Leaf{Names: []string{name + ".mx.test"}}))}
	}
	w.net.Do(func() {
		for name, ip := range map[string]string{"ipv4": "10.77.0.11", "ipv6": "[fd77::12]", "alive": "10.77.0.14", "other": "10.77.0.15"} {
			w.servers[name] = smtptest.NewBackendAt(t, ip+":25", certificate(name))
		}
		w.servers["broken"] = smtptest.NewBackendAt(t, "10.77.0.16:25", smtptest.Script{TLS: w.lab.Good(), Die: "handshake"})
	})
}

// names answers questions inside a namespace.
func names(t *testing.T, n *harness.Namespace) {
	dns, err := dnstest.New(domains)
	n.Do(func() {
		if err == nil {
			err = dns.Listen("127.0.0.1:53")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Close)
}

var internetAddrs = []string{"10.77.0.2/24", "10.77.0.11/24", "10.77.0.13/24", "10.77.0.14/24", "10.77.0.15/24", "10.77.0.16/24", "fd77::2/64", "fd77::12/64"}

// onOneMachine has postern beside the mail server, whose connections are
// redirected when they leave.
func onOneMachine(t *testing.T) *world {
	w := &world{lab: harness.NewLab(t), host: harness.NewNamespace(t), net: harness.NewNamespace(t)}
	harness.Link(w.host, "out", []string{"10.77.0.1/24", "fd77::1/64"}, w.net, "in", internetAddrs)
	w.internet(t)
	names(t, w.host)
	w.start(t, w.host, harness.Gateway{Addr: "127.0.0.1:10025", Also: "[::1]:10025", User: "nobody"})
	redirected(t, w.host, "Redirect on the machine of the mail server")
	return w
}

// onARouter has postern on the way between the mail server and the Internet.
func onARouter(t *testing.T) *world {
	w, router := routed(t)
	w.start(t, router, harness.Gateway{Addr: "10.78.0.1:10025", Also: "[fd78::1]:10025", Outbound: inside})
	redirected(t, router, "Redirect on a router")
	return w
}

// byTPROXY has it there with transparent sockets.
func byTPROXY(t *testing.T) *world {
	w, router := routed(t)
	w.start(t, router, harness.Gateway{Addr: "0.0.0.0:10025", Also: "[::]:10025", Outbound: inside + "  transparent = true\n", User: "nobody"})
	redirected(t, router, "TPROXY on a router")
	return w
}

// inside is the network of the mail server, and who may use postern.
const inside = "  from = [\"10.78.0.0/24\", \"fd78::/64\"]\n"

// routed has the mail server behind a router.
func routed(t *testing.T) (*world, *harness.Namespace) {
	w := &world{lab: harness.NewLab(t), host: harness.NewNamespace(t), net: harness.NewNamespace(t)}
	router := harness.NewNamespace(t)
	harness.Link(router, "out", []string{"10.77.0.1/24", "fd77::1/64"}, w.net, "in", internetAddrs)
	harness.Link(w.host, "out", []string{"10.78.0.2/24", "fd78::2/64"}, router, "in", []string{"10.78.0.1/24", "fd78::1/64"})
	w.host.Run("ip route add default via 10.78.0.1; ip -6 route add default via fd78::1")
	router.Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	w.internet(t)
	names(t, router)
	names(t, w.host)
	return w, router
}

// start runs postern on one machine, and an unmodified Postfix on the host.
func (w *world) start(t *testing.T, on *harness.Namespace, g harness.Gateway) {
	g.DNS, g.Route, g.Roots = "127.0.0.1:53", "original", w.lab.CA.File
	g.Outbound += blocks
	on.Do(func() { w.out = g.Start(t) })
	w.host.Do(func() { w.sender = harness.NewPostfixSender(t, transports) })
}

// redirected does what the document says.
func redirected(t *testing.T, n *harness.Namespace, heading string) {
	n.Do(func() {
		command := strings.Fields(harness.Snippets(t, "outbound.md", heading)[0])
		if out, code := harness.Run(t, "", harness.Binary(t), command[1:]...); code != 0 {
			t.Fatalf("%q: %d\n%s", command, code, out)
		}
	})
}

// send has the mail server send to each of the domains.
func (w *world) send(domains ...string) {
	w.host.Do(func() {
		for _, d := range domains {
			w.sender.Submit(harness.Message(d), "b@"+d)
		}
	})
}

func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	for name, build := range map[string]func(*testing.T) *world{"on one machine": onOneMachine, "on a router": onARouter, "by TPROXY": byTPROXY} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, build(t))
		})
	}
}

func TestMailGoesOnVerified(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.send("ipv4.test", "ipv6.test", "relayed.test")
		for domain, name := range map[string]string{"ipv4.test": "ipv4", "ipv6.test": "ipv6", "relayed.test": "other"} {
			w.arrives(t, domain, name)
		}
		for _, d := range w.out.WaitDeliveries(3) {
			if d.TLS != "verify" || d.Peer != "Verified" || d.Reply != "250 2.0.0 queued" {
				t.Errorf("delivered as %+v", d)
			}
		}
	})
}

// SEM 20: the mail server chooses the next mail exchanger, not postern.
func TestADeadHostIsTheMailServersToReplace(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.send("next.test")
		w.arrives(t, "next.test", "alive")
		w.sender.WaitLog("10.77.0.13", "421 4.4.1")
	})
}

// SEM 16 c: a server that is none of the domain's must be as safe as they are,
// and the reply tells what to write if it is meant.
func TestAStrangerMustMeetThePolicy(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.send("strange.test")
		harness.Eventually(t, "it waits", func() bool { return w.sender.Deferred()["b@strange.test"] != "" })
		if reason := w.sender.Deferred()["b@strange.test"]; !strings.Contains(reason, "4.7.5") || !strings.Contains(reason, `destination "10.77.0.14"`) {
			t.Errorf("it waits because of %q", reason)
		}
		if got := w.servers["alive"].Messages(); len(got) != 0 {
			t.Errorf("the stranger got %q", got)
		}
	})
}

// What may go in clear does, when the TLS of the server is broken.
func TestBrokenTLSDoesNotStopMail(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.send("broken.test")
		harness.Eventually(t, "broken.test has its message", func() bool { return len(w.servers["broken"].Messages()) == 1 })
	})
}

// Fail closed: what was redirected is refused, and nothing passes by.
func TestNothingPassesAPosternThatIsDead(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.out.Kill()
		w.send("ipv4.test", "ipv6.test")
		for _, domain := range []string{"ipv4.test", "ipv6.test"} {
			harness.Eventually(t, "it waits", func() bool { return w.sender.Deferred()["b@"+domain] != "" })
			if reason := w.sender.Deferred()["b@"+domain]; !strings.Contains(reason, "Connection refused") {
				t.Errorf("%s waits because of %q", domain, reason)
			}
		}
		for name, s := range w.servers {
			if n := len(s.Conns()); n != 0 {
				t.Errorf("%s has got %d connections", name, n)
			}
		}
	})
}

func TestWhoWasNotRedirectedIsTurnedAway(t *testing.T) {
	t.Parallel()
	w := onOneMachine(t)
	w.host.Do(func() {
		for _, addr := range []string{"127.0.0.1:10025", "[::1]:10025"} {
			c := harness.Connect(t, addr)
			c.Expect(421)
			c.Closed()
		}
	})
}

func (w *world) arrives(t *testing.T, domain, server string) {
	t.Helper()
	s := w.servers[server]
	if !harness.Poll(harness.Deadline, func() bool { return strings.Contains(strings.Join(s.Messages(), "\n"), "<"+domain+"@") }) {
		t.Fatalf("%s did not get its message:\n%s", domain, w.sender.Log())
	}
	for _, c := range s.Conns() {
		if len(c.Messages()) > 0 && c.Secured() == nil {
			t.Errorf("%s got its message in clear", domain)
		}
	}
}
