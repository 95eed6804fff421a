package tablesays

import (
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// receiver is a mail exchanger of the table.
type receiver struct {
	addr string
	// took says whether it has the message, and whether that came over TLS.
	took func(id string) (has, secured bool)
}

// receivers starts one server for each row of the table. Its certificates name
// all domains of the table where nothing else is said.
func receivers(t *testing.T, l *harness.Lab, pair harness.Pair) map[string]receiver {
	leaf := catest.Leaf{Names: wildcards()}
	expired := func(d time.Duration) smtptest.Script {
		c := leaf
		c.NotBefore, c.NotAfter = harness.Ago(d)
		return smtptest.Script{TLS: harness.With(l.Certificate(c))}
	}
	sound := harness.With(l.Certificate(leaf))
	at := map[string]receiver{
		"postfix":     real(harness.NewPostfixMX(t, l.Next(), nil)),
		"postfix-tls": real(harness.NewPostfixMX(t, l.Next(), &pair)),
		"exim-tls":    real(harness.NewEximMX(t, l.Next(), pair)),
		"opensmtpd":   real(harness.NewOpenSMTPDMX(t, l.Next())),
		"tls-1-0":     old(t, l.Next(), "0.8.28", "TLSv1_method", "", pair),
		"rsa-only":    old(t, l.Next(), "0.10.24", "SSLv23_method", "AES128-GCM-SHA256", pair),
	}
	for name, script := range map[string]smtptest.Script{
		"refuses":      {TLS: sound, Replies: map[string]string{"STARTTLS": "454 4.7.0 TLS not available"}},
		"garbage":      {TLS: sound, Answer: garbage},
		"closes":       {TLS: sound, Die: "handshake"},
		"stalls":       {TLS: sound, Hold: map[string]<-chan struct{}{"handshake": nil}},
		"injects":      {TLS: sound, Replies: map[string]string{"STARTTLS": "220 2.0.0 go on\r\n250 2.0.0 before TLS"}},
		"expired":      expired(24 * time.Hour),
		"long-expired": expired(60 * 24 * time.Hour),
		"wrong-name":   {TLS: harness.With(l.Certificate(catest.Leaf{Names: []string{"mx.elsewhere.test"}}))},
		"self-signed":  {TLS: harness.With(catest.New(t).Issue(t, leaf))},
	} {
		if hold, ok := script.Hold["handshake"]; ok && hold == nil {
			script.Hold["handshake"] = make(chan struct{}) // until the test ends
		}
		at[name] = scripted(l.Server(script))
	}
	return at
}

// garbage answers the first octets of a handshake with what is no TLS.
func garbage(c *smtptest.Conn, phase, _ string) string {
	if phase != "handshake" {
		return ""
	}
	if _, err := c.Conn.Read(make([]byte, 4096)); err != nil {
		return ""
	}
	return "this is no TLS"
}

func scripted(s *smtptest.Backend) receiver {
	return receiver{s.Addr, func(id string) (has, secured bool) {
		for _, c := range s.Conns() {
			if strings.Contains(strings.Join(c.Messages(), "\n"), "<"+id+"@") {
				return true, c.Secured() != nil
			}
		}
		return false, false
	}}
}

var overTLS = regexp.MustCompile(`(?i)\bwith\s+(utf8)?esmtpsa?\b`)

// real is a mail server that says in Received how a message came.
func real(m *harness.MTA) receiver {
	return receiver{m.Addr, func(id string) (has, secured bool) {
		for _, message := range m.Messages() {
			if text := string(message); strings.Contains(text, "<"+id+"@") {
				first, _, _ := strings.Cut(text[strings.Index(text, "Received:")+1:], "Received:")
				return true, overTLS.MatchString(first)
			}
		}
		return false, false
	}}
}

// old is a server with the OpenSSL of 2009 to 2013.
func old(t *testing.T, addr, version, method, ciphers string, pair harness.Pair) receiver {
	node := harness.Cached(t, "node-"+version+"/bin/node")
	host, port, _ := net.SplitHostPort(addr)
	p := harness.StartProcess(t, node, "testdata/server.js", host, port, method, ciphers, pair.CertFile, pair.KeyFile)
	harness.Eventually(t, "the old server listens", func() bool { return p.Ended() || strings.Contains(p.Out.String(), "LISTENING") })
	if p.Ended() {
		t.Fatalf("node %s: %s", version, p.Out.String())
	}
	return receiver{addr, func(id string) (has, secured bool) {
		out := p.Out.String()
		secured = strings.Contains(out, "TOOK tls "+id+"\n")
		return secured || strings.Contains(out, "TOOK clear "+id+"\n"), secured
	}}
}
