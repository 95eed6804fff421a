package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/smtp"
	"strings"
	"time"
	"unicode"

	"postern/internal/sink"
)

// demoLogLevel keeps the log of the demo to what is wrong: what happens is
// shown on the screen.
const demoLogLevel = slog.LevelWarn

// demoTimeout bounds the demo's own message: everything is on this machine.
const demoTimeout = 20 * time.Second

const demoMessage = "From: Alice <alice@example.org>\r\n" +
	"To: Bob <bob@example.net>\r\n" +
	"Subject: the first message through postern\r\n" +
	"Message-ID: <demo@postern.invalid>\r\n" +
	"\r\n" +
	"This was sent with STARTTLS. The mail server behind postern knows nothing of TLS:\r\n" +
	"look at the Received line above to see what it was told.\r\n"

// deliver sends the message and waits until it has arrived.
func (d *demo) deliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	state, err := d.send(ctx)
	if err != nil {
		return fmt.Errorf("the demo's message was not sent: %w", err)
	}
	select {
	case m := <-d.arrived:
		if !bytes.Contains(m.Data, []byte("with ESMTPS")) {
			return errors.New("the demo's message arrived, and its Received line tells of no TLS")
		}
	case <-ctx.Done():
		return errors.New("the demo's message was accepted and did not arrive")
	}
	d.out.printf("The client has verified the certificate of %s and used %s with %s, key exchange %s.\n\n",
		state.ServerName, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID)
	return nil
}

// send is a mail client as any: it trusts the demo's certificate, verifies it
// and sends nothing without TLS.
func (d *demo) send(ctx context.Context) (state tls.ConnectionState, err error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.starttls)
	if err != nil {
		return state, err
	}
	defer conn.Close()
	if limit, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(limit); err != nil {
			return state, err
		}
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		return state, err
	}
	if err := c.Hello("client.demo.invalid"); err != nil {
		return state, err
	}
	if err := c.StartTLS(&tls.Config{RootCAs: d.roots(), ServerName: "localhost"}); err != nil {
		return state, err
	}
	state, _ = c.TLSConnectionState()
	if err := sendOne(c); err != nil {
		return state, err
	}
	return state, c.Quit()
}

func sendOne(c *smtp.Client) error {
	if err := c.Mail("alice@example.org"); err != nil {
		return err
	}
	if err := c.Rcpt("bob@example.net"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(demoMessage)); err != nil {
		return err
	}
	return w.Close()
}

// roots are the demo's own certificates, and nobody else's.
func (d *demo) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, s := range d.process.plan.sources {
		for _, c := range s.Certificates() {
			pool.AddCert(c.Leaf)
		}
	}
	return pool
}

// demoLines is how much of a body is shown.
const demoLines = 12

// show prints a message that the backend got, and tells of the first.
func (d *demo) show(m sink.Message) (reply string) {
	var b strings.Builder
	fmt.Fprintf(&b, "The backend got a message from <%s> to <%s>.\nPostern told it (XCLIENT) that the client is %s, and its name %s:\n\n",
		plain(m.From), plain(strings.Join(m.To, ">, <")), told(m), plain(m.Hello))
	head, body, _ := bytes.Cut(m.Data, []byte("\r\n\r\n"))
	lines := strings.Split(strings.TrimRight(string(body), "\r\n"), "\r\n")
	if len(lines) > demoLines {
		lines = append(lines[:demoLines], "…")
	}
	for _, line := range append(append(strings.Split(string(head), "\r\n"), ""), lines...) {
		fmt.Fprintf(&b, "  | %s\n", plain(line))
	}
	d.out.printf("%s\n", b.String())
	select {
	case d.arrived <- m:
	default: // only the first is waited for
	}
	return ""
}

// told is what the backend was told of the client.
func told(m sink.Message) string {
	name, addr := m.XCLIENT["NAME"], m.XCLIENT["ADDR"]
	switch {
	case addr == "":
		return m.RemoteAddr.String()
	case name == "" || name[0] == '[': // [UNAVAILABLE] and the like
		return plain(addr)
	}
	return plain(name + " [" + addr + "]")
}

// plain keeps what strangers sent from giving orders to the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}
