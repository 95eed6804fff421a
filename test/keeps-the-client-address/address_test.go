// Package address proves that the backend learns who the client is, or that
// nothing is sent to it.
package address

import (
	"fmt"
	"net"
	"strings"
	"testing"

	armon "github.com/armon/go-proxyproto"

	"postern/test/harness"
)

// trusting makes an edge take the client's address from PROXY headers that
// come from loopback, so that a test can be any client.
const trusting = `
  trace_header = false
  proxy_protocol {
    from = ["127.0.0.0/8"]
  }`

// clients are the two families.
var clients = []struct{ name, ip, header string }{
	{"IPv4", "192.0.2.7", "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n"},
	{"IPv6", "2001:db8::7", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n"},
}

// send delivers a message as the client that the header names.
func send(t *testing.T, edge *harness.Postern, header, id string) {
	t.Helper()
	c := harness.Connect(t, edge.Addr)
	c.Send(header)
	c.Expect(220)
	c.StartTLS(edge.Roots("mx.test"))
	c.Deliver(harness.Message(id))
	c.Quit()
}

func TestPostfixLearnsItByPROXY(t *testing.T) {
	t.Parallel()
	postfix := harness.NewPostfix(t)
	for _, version := range []string{"proxy-v1", "proxy-v2"} {
		for _, client := range clients {
			t.Run(version+" "+client.name, func(t *testing.T) {
				edge := harness.Edge{Backend: postfix.ProxyAddr, ClientAddress: version, Inbound: trusting}.Start(t)
				id := version + client.name
				send(t, edge, client.header, id)
				wantReceived(t, postfix.Wait("<"+id+"@"), "from client.test (unknown ["+postfixLiteral(client.ip)+"])")
			})
		}
	}
}

func TestEximLearnsItByPROXY(t *testing.T) {
	t.Parallel()
	exim := harness.NewExim(t, true)
	for _, version := range []string{"proxy-v1", "proxy-v2"} {
		for _, client := range clients {
			t.Run(version+" "+client.name, func(t *testing.T) {
				edge := harness.Edge{Backend: exim.Addr, ClientAddress: version, Inbound: trusting}.Start(t)
				id := version + client.name
				send(t, edge, client.header, id)
				wantReceived(t, exim.Wait("<"+id+"@"), "["+client.ip+"]")
				exim.WaitLog("<=", "["+client.ip+"]", id)
			})
		}
	}
}

func TestPostfixLearnsNameAddressHELOAndProtocolByXCLIENT(t *testing.T) {
	t.Parallel()
	postfix := harness.NewPostfix(t)
	names := harness.NewNames(t, map[string]string{"v4.client.test": "192.0.2.7", "v6.client.test": "2001:db8::7"})
	edge := harness.Edge{
		Backend: postfix.Addr, ClientAddress: "xclient", Inbound: trusting,
		Top: fmt.Sprintf("resolver {\n  servers = [%q]\n}", names.Addr),
	}.Start(t)
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			id := "xclient" + client.name
			send(t, edge, client.header, id)
			host := map[string]string{"IPv4": "v4", "IPv6": "v6"}[client.name] + ".client.test"
			wantReceived(t, postfix.Wait("<"+id+"@"), "from client.test ("+host+" ["+postfixLiteral(client.ip)+"])")
			postfix.WaitLog("client="+host+"["+client.ip+"]", ":")
		})
	}
	t.Run("a client without a name", func(t *testing.T) {
		send(t, edge, "PROXY TCP4 192.0.2.99 192.0.2.1 4711 25\r\n", "nameless")
		wantReceived(t, postfix.Wait("<nameless@"), "from client.test (unknown [192.0.2.99])")
	})
	t.Run("HELO", func(t *testing.T) {
		c := harness.Connect(t, edge.Addr)
		c.Send(clients[0].header)
		c.Expect(220)
		c.Cmd("HELO helo.test", 250)
		c.Deliver(harness.Message("xclient-helo"))
		c.Quit()
		wantReceived(t, postfix.Wait("<xclient-helo@"), "from helo.test (v4.client.test [192.0.2.7])")
	})
}

// SEM 10: an attribute that holds what the network said is written in xtext,
// and an address of IPv6 has its prefix.
func TestXCLIENTIsWrittenAsItsReadmeSays(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Capabilities: []string{"PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO"}})
	names := harness.NewNames(t, nil)
	edge := harness.Edge{
		Backend: backend.Addr, ClientAddress: "xclient", Inbound: trusting,
		Top: fmt.Sprintf("resolver {\n  servers = [%q]\n}", names.Addr),
	}.Start(t)
	send(t, edge, clients[1].header, "readme")
	all := strings.Join(backend.Commands(), "\n")
	for _, want := range []string{"ADDR=IPV6:2001:db8::7", "NAME=[UNAVAILABLE]", "PORT=4711", "PROTO=ESMTP", "HELO=client.test"} {
		if !strings.Contains(all, want) {
			t.Errorf("the backend was not told %s:\n%s", want, all)
		}
	}
}

func TestXCLIENTMissingSendsNothing(t *testing.T) {
	t.Parallel()
	for name, capabilities := range map[string][]string{
		"not offered":      {"PIPELINING"},
		"without ADDR":     {"PIPELINING", "XCLIENT NAME HELO PROTO"},
		"another keyword":  {"PIPELINING", "XCLIENTS ADDR"},
		"offered, refused": {"PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO"},
	} {
		t.Run(name, func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{
				Capabilities: capabilities, Reply: map[string]string{"XCLIENT": "421 4.7.0 no"},
			})
			edge := harness.Edge{Backend: backend.Addr, ClientAddress: "xclient"}.Start(t)
			harness.Eventually(t, "the backend has been probed", func() bool {
				return edge.Ready() || strings.Contains(edge.Out.String(), "does not answer as it should")
			})
			for _, secured := range []bool{false, true} {
				wantNothingSent(t, edge, backend, secured)
			}
		})
	}
}

// wantNothingSent drives a session until it is refused: with 421 4.3.2, before
// anything of it reached the backend.
func wantNothingSent(t *testing.T, edge *harness.Postern, backend *harness.Backend, secured bool) {
	t.Helper()
	c := harness.Dial(t, edge.Addr)
	lines := []string{"EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>", "DATA"}
	if secured {
		c.Cmd("EHLO client.test", 250)
		c.Cmd("STARTTLS", 220)
		if err := c.Handshake(edge.Roots("mx.test")); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range lines {
		c.Send(line + "\r\n")
		code, text, err := c.Reply()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if code == 250 {
			continue
		}
		if code != 421 || !strings.Contains(text, "4.3.2") {
			t.Errorf("%s got %q, want 421 4.3.2", line, text)
		}
		c.Closed()
		break
	}
	for _, command := range backend.Commands() {
		for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
			if strings.HasPrefix(strings.ToUpper(command), verb) {
				t.Errorf("the backend was sent %q in postern's own name", command)
			}
		}
	}
}

func TestGoProxyprotoReadsVersion1(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Wrap: func(l net.Listener) net.Listener {
		return &armon.Listener{Listener: l}
	}})
	edge := harness.Edge{Backend: backend.Addr, ClientAddress: "proxy-v1", Inbound: trusting}.Start(t)
	for _, client := range clients {
		send(t, edge, client.header, client.name)
	}
	got := backend.Sessions()
	if len(got) != 2 || got[0].Remote != "192.0.2.7:4711" || got[1].Remote != "[2001:db8::7]:4711" {
		t.Errorf("the backend saw %+v", got)
	}
}

func TestHAProxyReadsVersion2(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Proxy: true})
	haproxy := harness.NewHAProxy(t, "accept-proxy", backend.Addr, "send-proxy")
	edge := harness.Edge{Backend: haproxy, ClientAddress: "proxy-v2", Inbound: trusting}.Start(t)
	for i, client := range clients {
		send(t, edge, client.header, client.name)
		got := string(backend.Sessions()[i].Proxy)
		if want := strings.Fields(client.header); !strings.HasPrefix(got, strings.Join(want[:3], " ")) || !strings.Contains(got, " 4711 ") {
			t.Errorf("HAProxy understood %q of the client %s", got, client.ip)
		}
	}
}

func TestBehindHAProxyTheClientIsSeen(t *testing.T) {
	t.Parallel()
	for _, forward := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(forward, func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{Proxy: true})
			edge := harness.Edge{Backend: backend.Addr, ClientAddress: "proxy-v1", Inbound: trusting}.Start(t)
			c := harness.ConnectFrom(t, "127.0.0.7", harness.NewHAProxy(t, "", edge.Addr, forward))
			c.Expect(220)
			c.StartTLS(edge.Roots("mx.test"))
			c.Deliver(harness.Message("behind"))
			c.Quit()
			want := fmt.Sprintf("PROXY TCP4 127.0.0.7 127.0.0.1 %d ", c.LocalPort())
			if got := string(backend.Sessions()[0].Proxy); !strings.HasPrefix(got, want) {
				t.Errorf("the backend was told %q, want %q", got, want)
			}
			edge.WaitLog("127.0.0.7")
		})
	}
}

// The client's own EHLO name reaches the backend, the one from inside TLS.
func TestTheEHLONameReachesTheBackend(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"none", "proxy-v1", "proxy-v2"} {
		t.Run(how, func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{Proxy: how != "none"})
			edge := harness.Edge{Backend: backend.Addr, ClientAddress: how}.Start(t)
			c := harness.Dial(t, edge.Addr)
			c.Cmd("EHLO before.test", 250)
			c.Cmd("STARTTLS", 220)
			if err := c.Handshake(edge.Roots("mx.test")); err != nil {
				t.Fatal(err)
			}
			c.Cmd("EHLO inside.test", 250)
			c.Deliver(harness.Message("ehlo"))
			c.Quit()
			if got := backend.Sessions()[0].Commands[0]; got != "EHLO inside.test" {
				t.Errorf("the backend was greeted with %q", got)
			}
		})
	}
}

// postfixLiteral is the form that Postfix writes an address in.
func postfixLiteral(ip string) string {
	if strings.Contains(ip, ":") {
		return "IPv6:" + ip
	}
	return ip
}

// wantReceived looks for text in the trace header of the server, its folding
// undone.
func wantReceived(t *testing.T, message []byte, text string) {
	t.Helper()
	flat := strings.Join(strings.Fields(string(message)), " ")
	if !strings.Contains(flat, text) {
		t.Errorf("no %q in the trace header of\n%s", text, message)
	}
}
