// Package everytls proves that every client delivers through postern, with
// the strongest TLS that the two have in common, and without any.
package everytls

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"postern/test/harness"
)

// transparent leaves the message as it is, so that it can be compared.
const transparent = "  trace_header = false"

// pairOf is what a well-run server has: an ECDSA and an RSA certificate under
// one name.
func pairOf(t *testing.T, ca *harness.CA) []harness.Pair {
	return []harness.Pair{ca.Issue(t, harness.ECDSA, "mx.test"), ca.Issue(t, harness.RSA, "mx.test")}
}

// backends are the real servers that every delivery is tried with.
func backends(t *testing.T) map[string]*harness.MTA {
	return map[string]*harness.MTA{"Postfix": &harness.NewPostfix(t).MTA, "Exim": harness.NewExim(t, false)}
}

func TestEveryVersionSuiteAndKey(t *testing.T) {
	t.Parallel()
	for name, backend := range backends(t) {
		ca := harness.NewCA(t)
		edge := harness.Edge{Backend: backend.Addr, CA: ca, Certificates: pairOf(t, ca), Grade: "mail", Inbound: transparent}.Start(t)
		for _, c := range []struct {
			name    string
			client  *tls.Config
			version uint16
			suite   uint16 // any when 0
		}{
			{"TLS 1.3", &tls.Config{}, tls.VersionTLS13, 0},
			{"TLS 1.3, P-256 only", &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}, tls.VersionTLS13, 0},
			{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			{"TLS 1.2, RSA certificate", only(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384), tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
			{"TLS 1.2, CBC-SHA", only(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
			{"TLS 1.2, RSA key exchange only", only(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_GCM_SHA256},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				config := c.client.Clone()
				config.RootCAs, config.ServerName = ca.Pool, "mx.test"
				id, message := identified(t)
				client := harness.Dial(t, edge.Addr)
				client.Hello = id + ".test" // a new client: SEM 33
				client.StartTLS(config)
				if state := client.State(); state.Version != c.version || c.suite != 0 && state.CipherSuite != c.suite {
					t.Errorf("agreed on %s with %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
				}
				client.Deliver(message)
				client.Quit()
				backend.WaitSame(id, message)
			})
		}
	}
}

func only(suite uint16) *tls.Config {
	return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}
}

// identified makes a message that holds what servers like to change.
func identified(t *testing.T) (id, message string) {
	id = harness.Sum([]byte(t.Name()))[:16]
	return id, harness.Message(id) + ".\r\n..\r\n.dot\r\n\tt\xc3\xa4b  \r\n\xff\xfe\r\n\r\n" + strings.Repeat("x", 900) + "\r\n"
}

func TestHybridKeyExchangeIsAgreed(t *testing.T) {
	t.Parallel()
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr}.Start(t)
	config := edge.Roots("mx.test")
	config.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	client := harness.Dial(t, edge.Addr)
	client.StartTLS(config)
	if got := client.State().CurveID; got != tls.X25519MLKEM768 {
		t.Errorf("agreed on %v", got)
	}
	client.Quit()
}

func TestWithoutTLS(t *testing.T) {
	t.Parallel()
	for name, backend := range backends(t) {
		edge := harness.Edge{Backend: backend.Addr, Inbound: transparent}.Start(t)
		for _, hello := range []string{"EHLO", "HELO"} {
			t.Run(name+"/"+hello, func(t *testing.T) {
				id, message := identified(t)
				client := harness.Dial(t, edge.Addr)
				client.Cmd(hello+" client.test", 250)
				client.Deliver(message)
				client.Quit()
				backend.WaitSame(id, message)
			})
		}
	}
}

// RFC 5321, 4.1.1.1 asks for a greeting; Postfix does not, and so no more do we.
func TestNoHelloAtAll(t *testing.T) {
	t.Parallel()
	backend := harness.NewPostfix(t)
	edge := harness.Edge{Backend: backend.Addr, Inbound: transparent}.Start(t)
	id, message := identified(t)
	client := harness.Dial(t, edge.Addr)
	client.Deliver(message)
	client.Quit()
	backend.WaitSame(id, message)
}

func TestImplicitTLS(t *testing.T) {
	t.Parallel()
	for name, backend := range backends(t) {
		t.Run(name, func(t *testing.T) {
			edge := harness.Edge{Backend: backend.Addr, TLS: "implicit", Inbound: transparent}.Start(t)
			id, message := identified(t)
			client := harness.DialTLS(t, edge.Addr, edge.Roots("mx.test"))
			if reply := client.Cmd("EHLO client.test", 250); strings.Contains(reply, "STARTTLS") {
				t.Errorf("STARTTLS is offered inside TLS: %q", reply)
			}
			client.Deliver(message)
			client.Quit()
			backend.WaitSame(id, message)
		})
	}
}

// One message with PIPELINING and one with BDAT, by the server's own offer.
func TestPipelinedAndChunked(t *testing.T) {
	t.Parallel()
	for name, backend := range backends(t) {
		t.Run(name, func(t *testing.T) {
			edge := harness.Edge{Backend: backend.Addr, Inbound: transparent}.Start(t)
			id, message := identified(t)
			client := harness.Dial(t, edge.Addr)
			client.StartTLS(edge.Roots("mx.test"))
			client.Send("MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n")
			client.Expect(250)
			client.Expect(250)
			client.Expect(354)
			client.Send(harness.Stuff(message) + ".\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\n")
			client.Expect(250)
			client.Expect(250)
			client.Expect(250)
			chunked := strings.ReplaceAll(message, id, id+"c")
			client.Send(fmt.Sprintf("BDAT 10\r\n%sBDAT %d LAST\r\n%sQUIT\r\n", chunked[:10], len(chunked)-10, chunked[10:]))
			client.Expect(250)
			client.Expect(250)
			client.Expect(221)
			backend.WaitSame(id, message)
			backend.WaitSame(id+"c", chunked)
		})
	}
}

// SEM 33: whoever has shown that it can do better is not let do worse; another
// client behind the same address is.
func TestForwardSecrecyWhereSafe(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	for _, c := range []struct {
		policy         string
		known, unknown bool // whether RSA key exchange is accepted from it
	}{{"where-safe", false, true}, {"prefer", true, true}, {"require", false, false}} {
		t.Run(c.policy, func(t *testing.T) {
			t.Parallel()
			backend := harness.NewBackend(t, harness.Script{})
			edge := harness.Edge{Backend: backend.Addr, CA: ca, Certificates: pairOf(t, ca), Inbound: "  forward_secrecy = \"" + c.policy + "\""}.Start(t)
			harness.Dial(t, edge.Addr).StartTLS(edge.Roots("mx.test"))
			for name, accepted := range map[string]bool{"client.test": c.known, "other.test": c.unknown} {
				client := harness.Dial(t, edge.Addr)
				client.Cmd("EHLO "+name, 250)
				client.Cmd("STARTTLS", 220)
				config := only(tls.TLS_RSA_WITH_AES_128_GCM_SHA256)
				config.RootCAs, config.ServerName = ca.Pool, "mx.test"
				if err := client.Handshake(config); (err == nil) != accepted {
					t.Errorf("RSA key exchange with %s: %v", name, err)
				}
			}
		})
	}
}
