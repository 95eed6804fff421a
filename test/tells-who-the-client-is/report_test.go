// Package report proves that what postern found out about a client and its TLS
// stands in the trace header and in the log, one line for the session and one
// for each message.
package report

import (
	"crypto/tls"
	"strings"
	"testing"

	"postern/test/harness"
)

func TestTheClientCertificateIsJudged(t *testing.T) {
	t.Parallel()
	ca, stranger := harness.NewCA(t), harness.NewCA(t)
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr, CA: ca, Inbound: "  client_certificates = \"request\"\n  client_roots = \"" + ca.File + "\""}.Start(t)
	for i, c := range []struct {
		name         string
		certificates []tls.Certificate
		says, peer   string
	}{
		{"none", nil, "client certificate not given", "Anonymous"},
		{"of an unknown authority", []tls.Certificate{stranger.IssueClient(t, "client.test")}, "client certificate untrusted", "Untrusted"},
		{"for another name", []tls.Certificate{ca.IssueClient(t, "other.test")}, "client certificate trusted", "Trusted"},
		{"for its EHLO name", []tls.Certificate{ca.IssueClient(t, "client.test")}, "client certificate verified", "Verified"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := edge.Roots("mx.test")
			config.Certificates = c.certificates
			client := harness.Dial(t, edge.Addr)
			client.StartTLS(config)
			client.Deliver(harness.Message("judged"))
			client.Quit()
			header, _, _ := strings.Cut(string(backend.Messages()[i]), "From:")
			if !strings.Contains(header, c.says) {
				t.Errorf("the trace header does not say %q: %q", c.says, header)
			}
			edge.WaitLog(`"` + c.peer + `"`)
		})
	}
}

func TestTheTraceHeaderNamesTheProtocol(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{
		Capabilities: []string{"AUTH PLAIN", "SMTPUTF8", "8BITMIME"}, Reply: map[string]string{"AUTH": "235 2.7.0 welcome"},
	})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	for i, c := range []struct {
		name, with string
		talk       func(c *harness.Client)
	}{
		{"HELO", "with SMTP id", func(c *harness.Client) { c.Cmd("HELO client.test", 250) }},
		{"EHLO", "with ESMTP id", func(c *harness.Client) { c.Cmd("EHLO client.test", 250) }},
		{"TLS", "with ESMTPS id", func(c *harness.Client) { c.StartTLS(edge.Roots("mx.test")) }},
		{"TLS and AUTH", "with ESMTPSA id", func(c *harness.Client) {
			c.StartTLS(edge.Roots("mx.test"))
			c.Cmd("AUTH PLAIN AGEAYg==", 235)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := harness.Dial(t, edge.Addr)
			c.talk(client)
			client.Deliver(harness.Message("protocol"))
			client.Quit()
			if header, _, _ := strings.Cut(string(backend.Messages()[i]), "From:"); !strings.Contains(header, c.with) {
				t.Errorf("the trace header does not say %q: %q", c.with, header)
			}
		})
	}
}

func TestTheLogHasALineForTheSessionAndOneForEachMessage(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	c := harness.Dial(t, edge.Addr)
	c.Hello = "logged.test"
	c.StartTLS(edge.Roots("mx.test"))
	c.Deliver(harness.Message("one"))
	c.Deliver(harness.Message("two"))
	c.Quit()
	var sessions, messages []map[string]any
	harness.Eventually(t, "the session's line", func() bool { sessions = find(edge, "session", "hello", "logged.test"); return len(sessions) > 0 })
	messages = find(edge, "message", "session", sessions[0]["session"])
	if len(sessions) != 1 || len(messages) != 2 {
		t.Fatalf("%d lines for one session, %d for two messages:\n%s", len(sessions), len(messages), edge.Out.String())
	}
	for name, want := range map[string]string{"client": "127.0.0.1:", "tls": "TLSv1.3", "cipher": "TLS_", "peer": "Anonymous", "backend": backend.Addr, "outcome": "quit"} {
		if got, _ := sessions[0][name].(string); !strings.HasPrefix(got, want) {
			t.Errorf("the session's %s is %q, want %q", name, got, want)
		}
	}
	if got, _ := messages[0]["reply"].(string); !strings.HasPrefix(got, "250") {
		t.Errorf("the message's reply is %q", got)
	}
}

// find returns the log lines of one kind whose attribute has the value.
func find(edge *harness.Postern, kind, attribute string, value any) []map[string]any {
	var found []map[string]any
	for _, line := range edge.Log() {
		if line["msg"] == kind && line[attribute] == value {
			found = append(found, line)
		}
	}
	return found
}
