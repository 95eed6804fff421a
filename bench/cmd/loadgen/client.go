package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

var (
	errNoSTARTTLS = errors.New("no STARTTLS in the EHLO reply")
	errNoCHUNKING = errors.New("no CHUNKING in the EHLO reply")
)

// conn is one SMTP connection.
type conn struct {
	nc  net.Conn // the current layer
	br  *bufio.Reader
	ext string // the last EHLO reply, in upper case
}

// reply reads one reply and wants its code.
func (c *conn) reply(what, code string) error {
	for first := true; ; first = false {
		l, err := c.br.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if len(l) < 4 {
			return fmt.Errorf("%s: short reply %q", what, l)
		}
		if what == "EHLO" {
			if first {
				c.ext = ""
			}
			c.ext += strings.ToUpper(string(l[4:]))
		}
		if l[3] == '-' {
			continue
		}
		if string(l[:3]) != code {
			return fmt.Errorf("%s: wanted %s, got %q", what, code, l)
		}
		return nil
	}
}

// replies reads one reply for each pair of a command's name and its code.
func (c *conn) replies(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := c.reply(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) cmd(line, what, code string) error {
	if _, err := io.WriteString(c.nc, line); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return c.reply(what, code)
}

func (c *conn) ehlo() error { return c.cmd("EHLO client.bench.test\r\n", "EHLO", "250") }

// handshake starts TLS on the connection and gives back what came of it.
func (c *conn) handshake(cfg *tls.Config) (tls.ConnectionState, error) {
	if n := c.br.Buffered(); n != 0 {
		return tls.ConnectionState{}, fmt.Errorf("plaintext after the STARTTLS reply: %d bytes", n)
	}
	t := tls.Client(c.nc, cfg)
	if err := t.Handshake(); err != nil {
		return tls.ConnectionState{}, fmt.Errorf("handshake: %w", err)
	}
	c.nc = t
	c.br.Reset(t)
	return t.ConnectionState(), nil
}

// clientTLS is the configuration of one worker. The server is measured, not
// the client's chain building, so nothing is verified.
func clientTLS(version string, resume bool) *tls.Config {
	cfg := &tls.Config{
		ServerName:                  "bench.test",
		InsecureSkipVerify:          true,
		CurvePreferences:            []tls.CurveID{tls.X25519},
		MinVersion:                  tls.VersionTLS13,
		MaxVersion:                  tls.VersionTLS13,
		DynamicRecordSizingDisabled: true,
	}
	if version == "1.2" {
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		// In TLS 1.2 the groups also say which curve a certificate may be on
		// (RFC 8422, 5.1.1).
		cfg.CurvePreferences = append(cfg.CurvePreferences, tls.CurveP256)
		cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	if resume {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	return cfg
}

func describe(cs tls.ConnectionState) string {
	key := x509.UnknownPublicKeyAlgorithm
	if len(cs.PeerCertificates) > 0 {
		key = cs.PeerCertificates[0].PublicKeyAlgorithm
	}
	return fmt.Sprintf("%s %s %s %s", tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite), cs.CurveID, key)
}

// open connects, and speaks up to the last EHLO.
func (w *worker) open(br *bufio.Reader, limit time.Time) (*conn, error) {
	nc, err := net.DialTimeout("tcp", w.o.addr, 20*time.Second)
	if err != nil {
		return nil, err
	}
	if err := nc.SetDeadline(limit); err != nil {
		nc.Close()
		return nil, err
	}
	br.Reset(nc)
	c := &conn{nc: nc, br: br}
	if err := w.greet(c); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (w *worker) greet(c *conn) error {
	if w.o.mode == "tls" {
		if err := w.secure(c); err != nil {
			return err
		}
	}
	if err := c.reply("greeting", "220"); err != nil {
		return err
	}
	if err := c.ehlo(); err != nil {
		return err
	}
	if w.o.mode != "starttls" {
		return nil
	}
	if !strings.Contains(c.ext, "STARTTLS") {
		return errNoSTARTTLS
	}
	if err := c.cmd("STARTTLS\r\n", "STARTTLS", "220"); err != nil {
		return err
	}
	if err := w.secure(c); err != nil {
		return err
	}
	return c.ehlo()
}

func (w *worker) secure(c *conn) error {
	t0 := time.Now()
	cs, err := c.handshake(w.cfg)
	if err != nil {
		return err
	}
	w.hs = append(w.hs, time.Since(t0))
	if cs.DidResume {
		w.resumed.Add(1)
	}
	w.tlsNote.CompareAndSwap(nil, describe(cs))
	return nil
}
