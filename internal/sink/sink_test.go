package sink

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves srv on loopback until the test ends, and returns its address.
func start(t *testing.T, srv *Server, serve func(net.Listener) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; err != nil {
			t.Errorf("after Close, Serve returned %v, want nil", err)
		}
	})
	return l.Addr().String()
}

// client is the other end of a dialog.
type client struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t, nc, bufio.NewReader(nc)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// reply reads one reply of any number of lines.
func (c *client) reply() string {
	c.t.Helper()
	var all strings.Builder
	for {
		l, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatalf("after %q: %v", all.String(), err)
		}
		all.WriteString(l)
		if len(l) < 4 || l[3] != '-' {
			return all.String()
		}
	}
}

// say sends text and wants one reply that begins with each of the codes.
func (c *client) say(text string, codes ...string) {
	c.t.Helper()
	c.send(text)
	for _, code := range codes {
		if r := c.reply(); !strings.HasPrefix(r, code) {
			c.t.Fatalf("%.60q was answered %q, want %s", text, r, code)
		}
	}
}

func (c *client) startTLS() *client {
	c.t.Helper()
	t := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}) // the certificate is the test's own
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return &client{c.t, t, bufio.NewReader(t)}
}

func (c *client) wantClosed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.br); err != nil || len(b) > 0 {
		c.t.Fatalf("got %q, %v; want the connection closed", b, err)
	}
}

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sink.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func wantStats(t *testing.T, srv *Server, want Stats) {
	t.Helper()
	got := srv.Stats()
	got.Open = 0 // a session may still be ending
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("counters (-want +got):\n%s", d)
	}
}

func TestAnOrdinarySessionIsServedAndCounted(t *testing.T) {
	srv := &Server{}
	c := dial(t, start(t, srv, srv.Serve))
	c.say("", "220 sink.bench.test")
	c.send("EHLO client.test\r\n")
	want := "250-sink.bench.test\r\n250-PIPELINING\r\n250-SIZE 209715200\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n" +
		"250-XCLIENT NAME ADDR PROTO HELO LOGIN PORT\r\n250 ENHANCEDSTATUSCODES\r\n"
	if d := cmp.Diff(want, c.reply()); d != "" {
		t.Error(d)
	}
	c.say("NOOP\r\n", "250")
	c.say("VRFY b\r\n", "252")
	c.say("MAIL FROM:<a@test>\r\n", "250")
	c.say("RCPT TO:<b@test>\r\n", "250")
	c.say("DATA\r\n", "354")
	c.say("Subject: x\r\n\r\nbody\r\n.\r\n", "250")
	c.say("RSET\r\n", "250")
	c.say("STARTTLS\r\n", "502")
	c.say("WHAT\r\n", "500")
	c.say("A\r\n", "500")
	c.say("HELO client.test\r\n", "250 sink")
	c.say("QUIT\r\n", "221")
	c.wantClosed()
	wantStats(t, srv, Stats{Accepted: 1, Quit: 1, Messages: 1, Bytes: 20, Ehlo: 1})
}

func TestTheRepliesToOneGroupComeInOneWrite(t *testing.T) {
	near, far := net.Pipe() // each Read sees at most one Write
	srv := &Server{}
	done := make(chan error, 1)
	go func() { done <- newSession(srv, far, plaintext).run() }()
	buf := make([]byte, 4096)
	read := func() string {
		n, err := near.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	read()
	for _, c := range []struct{ group, replies string }{
		{"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n", "250 2.0.0 ok\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n354 go\r\n"},
		{"x\r\n.\r\nRSET\r\nMAIL FROM:<a>\r\n", "250 2.0.0 queued\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n"},
		{"BDAT 2\r\nx\nBDAT 0 LAST\r\nQUIT\r\n", "250 2.0.0 go on\r\n250 2.0.0 queued\r\n221 2.0.0 bye\r\n"},
	} {
		if _, err := io.WriteString(near, c.group); err != nil {
			t.Fatal(err)
		}
		if got := read(); got != c.replies {
			t.Errorf("%q: the first write was %q, want %q", c.group, got, c.replies)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("after QUIT: %v", err)
	}
	near.Close()
	far.Close()
}

func TestSTARTTLSIsOfferedOnceAndForgetsWhatCameBefore(t *testing.T) {
	got := make(chan Message, 1)
	srv := &Server{TLS: testTLS(t), OnMessage: func(m Message) string { got <- m; return "" }}
	c := dial(t, start(t, srv, srv.ServeSTARTTLS))
	c.say("", "220")
	c.send("EHLO plain.test\r\n")
	if r := c.reply(); !strings.HasSuffix(r, "250 STARTTLS\r\n") {
		t.Errorf("EHLO in plaintext lacks STARTTLS: %q", r)
	}
	c.say("XCLIENT ADDR=192.0.2.1\r\n", "220")
	c.say("MAIL FROM:<before@test>\r\n", "250")
	c.say("STARTTLS\r\n", "220")
	c = c.startTLS()
	c.say("RCPT TO:<after@test>\r\n", "250")
	c.say("STARTTLS\r\n", "502")
	c.say("DATA\r\n", "354")
	c.say("x\r\n.\r\n", "250")
	m := <-got
	m.RemoteAddr = nil
	want := Message{To: []string{"after@test"}, Data: []byte("x\r\n"), Size: 3, Secured: true}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("the message (-want +got):\n%s", d)
	}
	c.send("EHLO secret.test\r\n")
	if r := c.reply(); strings.Contains(r, "STARTTLS") {
		t.Errorf("EHLO under TLS offers STARTTLS: %q", r)
	}
}

func TestImplicitTLSComesBeforeTheGreeting(t *testing.T) {
	srv := &Server{TLS: testTLS(t)}
	c := dial(t, start(t, srv, srv.ServeTLS)).startTLS()
	c.say("", "220")
	c.send("EHLO a\r\n")
	if r := c.reply(); strings.Contains(r, "STARTTLS") {
		t.Errorf("STARTTLS offered inside TLS: %q", r)
	}
	wantStats(t, srv, Stats{Accepted: 1, Handshakes: 1, Ehlo: 1})
}

func TestAFailedHandshakeIsCounted(t *testing.T) {
	srv := &Server{TLS: testTLS(t)}
	c := dial(t, start(t, srv, srv.ServeTLS))
	c.send("EHLO not-tls\r\n")
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	wantStats(t, srv, Stats{Accepted: 1, TLSFailed: 1})
}

func TestServingTLSWithoutACertificateIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := new(Server).ServeTLS(l); err != errNoTLS {
		t.Errorf("got %v, want %v", err, errNoTLS)
	}
}

func TestPlaintextBehindSTARTTLSEndsTheConnection(t *testing.T) {
	var trace bytes.Buffer
	srv := &Server{TLS: testTLS(t), Trace: log.New(&trace, "", 0)}
	c := dial(t, start(t, srv, srv.ServeSTARTTLS))
	c.say("", "220")
	c.send("STARTTLS\r\nEHLO injected.test\r\n")
	if b, _ := io.ReadAll(c.br); len(b) > 0 { // closing with unread input resets: the error does not matter
		t.Errorf("answered %q", b)
	}
	srv.Close()
	if !strings.Contains(trace.String(), errInjected.Error()) {
		t.Errorf("the trace does not name the cause: %q", trace.String())
	}
}

func TestInjectAnswersBehindThe220InOneWrite(t *testing.T) {
	near, far := net.Pipe()
	srv := &Server{TLS: testTLS(t), Inject: true}
	done := make(chan error, 1)
	go func() { done <- newSession(srv, far, offerSTARTTLS).run() }()
	buf := make([]byte, 4096)
	if _, err := near.Read(buf); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(near, "STARTTLS\r\n"); err != nil {
		t.Fatal(err)
	}
	n, err := near.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(buf[:n]), "220 2.0.0 go ahead\r\n250-INJECTED.bench.test\r\n250 INJECTED\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	near.Close()
	if err := <-done; err == nil {
		t.Error("a handshake with nobody succeeded")
	}
}

func TestTheMessageHandedOutIsWhatTheClientSaid(t *testing.T) {
	got := make(chan Message, 1)
	srv := &Server{Name: "mx.test", Capabilities: []string{"SIZE 10"}, MaxData: 6,
		OnMessage: func(m Message) string { got <- m; return "451 4.3.0 not today" }}
	c := dial(t, start(t, srv, srv.Serve))
	c.say("", "220 mx.test")
	c.say("XCLIENT ADDR=IPV6:2001:db8::1 NAME=a+2Bb\r\n", "220")
	c.send("EHLO client.test\r\n")
	if got, want := c.reply(), "250-mx.test\r\n250 SIZE 10\r\n"; got != want {
		t.Errorf("EHLO: got %q, want %q", got, want)
	}
	c.say("MAIL FROM:<old@test>\r\nRCPT TO:<old@test>\r\nRSET\r\n", "250", "250", "250")
	c.say("MAIL FROM:<a@test> SIZE=3\r\nRCPT TO:<b@test>\r\nRCPT TO:<c@test>\r\nDATA\r\n", "250", "250", "250", "354")
	c.say("..1\r\n456\r\n.\r\n", "451 4.3.0 not today")
	want := Message{From: "a@test", To: []string{"b@test", "c@test"}, Data: []byte(".1\r\n45"), Size: 9,
		Hello: "client.test", XCLIENT: map[string]string{"ADDR": "IPV6:2001:db8::1", "NAME": "a+b"}, RemoteAddr: c.LocalAddr()}
	if d := cmp.Diff(want, <-got); d != "" {
		t.Errorf("DATA (-want +got):\n%s", d)
	}
	c.say("BDAT 2\r\n12BDAT 2\r\n34BDAT 1 LAST\r\n5", "250", "250", "451")
	want.From, want.To, want.Data, want.Size = "", nil, []byte("12345"), 5
	if d := cmp.Diff(want, <-got); d != "" {
		t.Errorf("BDAT (-want +got):\n%s", d)
	}
}

func TestAbandonedChunksAreNoPartOfTheNextMessage(t *testing.T) {
	for _, abandon := range []string{"RSET\r\n", "MAIL FROM:<x>\r\n", "EHLO x\r\n", "HELO x\r\n"} {
		t.Run(abandon, func(t *testing.T) {
			got := make(chan Message, 1)
			srv := &Server{OnMessage: func(m Message) string { got <- m; return "" }}
			c := dial(t, start(t, srv, srv.Serve))
			c.say("", "220")
			c.say("BDAT 3\r\nold", "250")
			c.say(abandon, "250")
			c.say("BDAT 3 LAST\r\nnew", "250")
			if m := <-got; string(m.Data) != "new" {
				t.Errorf("got %q", m.Data)
			}
		})
	}
}

func TestABadBDATEndsTheConnection(t *testing.T) {
	srv := &Server{}
	addr := start(t, srv, srv.Serve)
	for _, bad := range []string{"BDAT\r\n", "BDAT x\r\n", "BDAT -1\r\n", "BDAT 1 LAS\r\n", "BDAT 1 LAST x\r\n", "BDAT 9223372036854775808\r\n"} {
		c := dial(t, addr)
		c.say("", "220")
		c.send(bad)
		c.wantClosed()
	}
}

func TestCloseEndsIdleSessionsAndRefusesMore(t *testing.T) {
	srv := &Server{}
	addr := start(t, srv, srv.Serve)
	c := dial(t, addr)
	c.say("", "220")
	if n := srv.Stats().Open; n != 1 {
		t.Errorf("%d connections open, want 1", n)
	}
	srv.Close()
	c.wantClosed()
	if n := srv.Stats().Open; n != 0 {
		t.Errorf("%d connections open after Close", n)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(l); err != nil {
		t.Errorf("Serve after Close: %v, want nil at once", err)
	}
}

func TestDropEndsTheSessionsButNotTheService(t *testing.T) {
	srv := &Server{}
	addr := start(t, srv, srv.Serve)
	c := dial(t, addr)
	c.say("", "220")
	srv.Drop()
	c.wantClosed()
	dial(t, addr).say("", "220")
}

func TestABrokenListenerIsReported(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := new(Server).Serve(l); err == nil {
		t.Error("Serve on a closed listener returned nil")
	}
}

func TestCapabilitiesCanBeEmpty(t *testing.T) {
	srv := &Server{Capabilities: []string{}}
	c := dial(t, start(t, srv, srv.Serve))
	c.say("", "220")
	c.send("EHLO x\r\n")
	if got := c.reply(); got != "250 sink.bench.test\r\n" {
		t.Errorf("got %q", got)
	}
}
