package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"postern/smtpwire"
)

// showing is a server that is asked for its certificates, as a client would.
type showing struct {
	address  string // host:port to connect to
	name     string // asked for: the SNI
	hello    string // our own
	implicit bool   // TLS from the first octet
	proxy    []netip.Prefix
}

// showTimeout is for one connection.
const showTimeout = 30 * time.Second

// chains returns the chains that a server shows: to a client that can do everything, and to one that
// can only verify keys of the other kind (STANDARDS 90). That there is no other is why.
func (s showing) chains(ctx context.Context) (all [][]*x509.Certificate, why, err error) {
	first, err := s.ask(ctx, &tls.Config{})
	if err != nil {
		return nil, nil, err
	}
	all = append(all, first)
	other, why := s.ask(ctx, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, CipherSuites: otherSuites(first[0])})
	if why == nil && !other[0].Equal(first[0]) {
		all = append(all, other)
	}
	return all, why, nil
}

// otherSuites are those of TLS 1.2 and below for the other kind of key: TLS 1.3 has none of its own.
func otherSuites(leaf *x509.Certificate) (suites []uint16) {
	switch leaf.PublicKey.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		}
	case *rsa.PublicKey:
		return []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		}
	}
	return nil
}

// ask makes one connection. It leaves by a command inside TLS, so that the server does not take us
// for a client whose TLS is broken (SEM 31), and by one for which it needs no backend (SEM 1).
func (s showing) ask(ctx context.Context, c *tls.Config) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, showTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until) // a connection that is open has deadlines
	}
	if err := s.introduce(conn); err != nil {
		return nil, err
	}
	c.ServerName = s.name
	c.InsecureSkipVerify = true // the certificate is compared with TLSA records
	if !s.implicit {
		if err := s.startTLS(conn); err != nil {
			return nil, err
		}
	}
	secured := tls.Client(conn, c)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	d := dialogue{conn: secured}
	d.in.Reset(secured)
	defer d.in.Release()
	// The certificate has been shown: what is said after that does not change it.
	_, _ = d.do("QUIT", 221)
	return secured.ConnectionState().PeerCertificates, nil
}

// introduce writes the PROXY header that our own inbound waits for where it takes us for a load
// balancer (SEM 11): nothing is said about the client.
func (s showing) introduce(conn net.Conn) error {
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil || !slices.ContainsFunc(s.proxy, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) }) {
		return nil
	}
	_, err = io.WriteString(conn, "PROXY UNKNOWN\r\n")
	return err
}

var (
	errNoSTARTTLS = errors.New("STARTTLS is not offered")
	errInjected   = errors.New("there is something behind the reply to STARTTLS")
)

func (s showing) startTLS(conn net.Conn) error {
	d := dialogue{conn: conn}
	d.in.Reset(conn)
	defer d.in.Release()
	if _, err := d.expect(220); err != nil {
		return err
	}
	hello, err := d.do("EHLO "+s.hello, 250)
	if err != nil {
		return err
	}
	if !smtpwire.ParseCapabilities(hello).Has("STARTTLS") {
		return errNoSTARTTLS
	}
	if _, err := d.do("STARTTLS", 220); err != nil {
		return err
	}
	if d.in.Buffered() > 0 { // STANDARDS 6
		return errInjected
	}
	return nil
}

// dialogue is the client's side of SMTP, as far as it goes here.
type dialogue struct {
	conn net.Conn
	in   smtpwire.Reader
}

func (d *dialogue) do(command string, code int) (smtpwire.Reply, error) {
	if _, err := io.WriteString(d.conn, command+"\r\n"); err != nil {
		return smtpwire.Reply{}, err
	}
	return d.expect(code)
}

func (d *dialogue) expect(code int) (smtpwire.Reply, error) {
	reply, err := smtpwire.ReadReply(&d.in, nil)
	if err == nil && reply.Code != code {
		err = fmt.Errorf("it said %s", reply.Quote())
	}
	return reply, err
}

// addressesOf are where the listeners of a port can be connected to from this machine.
func addressesOf(listen []string, want uint16) (all []string) {
	for _, address := range listen {
		host, text, err := net.SplitHostPort(address)
		if err != nil || port(address) != int(want) {
			continue
		}
		if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
			host = "127.0.0.1"
			if a.Is6() {
				host = "::1"
			}
		}
		all = append(all, net.JoinHostPort(host, text))
	}
	return all
}
