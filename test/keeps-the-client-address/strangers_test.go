package address

import (
	"strings"
	"testing"

	"postern/test/harness"
)

// SEM 11: a source outside proxy_protocol.from is served directly, and a PROXY
// line from it is an unknown command.
func TestPROXYFromAStrangerIsNotBelieved(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Proxy: true})
	edge := harness.Edge{Backend: backend.Addr, ClientAddress: "proxy-v1", Inbound: `
  proxy_protocol {
    from = ["127.0.0.2/32"]
  }`}.Start(t)
	c := harness.ConnectFrom(t, "127.0.0.3", edge.Addr)
	c.Expect(220)
	c.Cmd("PROXY TCP4 192.0.2.7 192.0.2.1 4711 25", 5)
	c.Cmd("EHLO client.test", 250)
	c.Deliver(harness.Message("stranger"))
	c.Quit()
	if got := string(backend.Sessions()[0].Proxy); !strings.HasPrefix(got, "PROXY TCP4 127.0.0.3 ") {
		t.Errorf("the backend was told %q", got)
	}
}

// SEM 11: from a source in proxy_protocol.from nothing is sent before a header,
// and nothing but a good header is accepted.
func TestPROXYFromATrustedSourceMustBeGood(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, Inbound: trusting}.Start(t)
	for name, start := range map[string]string{
		"a command instead":   "EHLO client.test\r\n",
		"a bad address":       "PROXY TCP4 192.0.2.777 192.0.2.1 4711 25\r\n",
		"a bad port":          "PROXY TCP4 192.0.2.7 192.0.2.1 70000 25\r\n",
		"families mixed":      "PROXY TCP4 2001:db8::7 192.0.2.1 4711 25\r\n",
		"a bare LF":           "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\n",
		"longer than allowed": "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n",
		"v2, bad version":     "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x00\x19",
		"v2, too short":       "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04\xc0\x00\x02\x07",
	} {
		t.Run(name, func(t *testing.T) {
			c := harness.Connect(t, edge.Addr)
			c.Send(start)
			if rest := c.Rest(); strings.HasPrefix(rest, "2") {
				t.Errorf("was greeted: %q", rest)
			}
		})
	}
}

// SEM 11: LOCAL and UNKNOWN are served as the proxy's own address.
func TestHealthChecksOfAProxyAreServed(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Proxy: true})
	edge := harness.Edge{Backend: backend.Addr, ClientAddress: "proxy-v1", Inbound: trusting}.Start(t)
	for name, header := range map[string]string{
		"LOCAL":   "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
		"UNKNOWN": "PROXY UNKNOWN\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			send(t, edge, header, name)
			sessions := backend.Sessions()
			if got := string(sessions[len(sessions)-1].Proxy); !strings.HasPrefix(got, "PROXY TCP4 127.0.0.1 ") {
				t.Errorf("the backend was told %q", got)
			}
		})
	}
}

// The header and what follows it may come in any segments.
func TestPROXYHeaderInPieces(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Proxy: true})
	edge := harness.Edge{Backend: backend.Addr, ClientAddress: "proxy-v1", Inbound: trusting}.Start(t)
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x00\x19"
	for name, header := range map[string]string{"v1": clients[0].header, "v2": v2} {
		t.Run(name, func(t *testing.T) {
			c := harness.Connect(t, edge.Addr)
			c.Segments(strings.Split(header, "")...)
			c.Expect(220)
			c.Cmd("EHLO client.test", 250)
			c.Deliver(harness.Message("pieces"))
			c.Quit()
			sessions := backend.Sessions()
			if got := string(sessions[len(sessions)-1].Proxy); !strings.HasPrefix(got, "PROXY TCP4 192.0.2.7 ") {
				t.Errorf("the backend was told %q", got)
			}
		})
	}
}
