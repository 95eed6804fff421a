package resolve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	askPlain = 10 * time.Minute // for so long a server is not bothered with EDNS that did not understand it
	avoid    = 30 * time.Second // for so long one that did not answer is asked after the others
)

// server is one that is asked, and what is known of it.
type server struct {
	text    string // as in logs
	address string
	tls     *tls.Config // nil: UDP and TCP
	wrong   error       // of a server that is not well written; it is never asked

	mu         sync.Mutex
	plainSince time.Time // EDNS was not understood
	failedAt   time.Time // zero: the last question was answered somehow
	idle       []*idle   // connections of DNS over TLS, the latest last
}

// parseServer reads a server as Options has it. What is wrong with it is in the
// server.
func parseServer(text string, roots *x509.CertPool) *server {
	s := &server{text: text}
	if strings.HasPrefix(text, "tls://") {
		if err := s.parseTLS(text, roots); err != nil {
			s.text, s.wrong = printable(text), fmt.Errorf("not a DNS server: %q: %w", text, err)
		}
		return s
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		s.address = net.JoinHostPort(addr.String(), "53")
	} else if both, err := netip.ParseAddrPort(text); err == nil && both.Port() != 0 {
		s.address = both.String()
	} else {
		s.wrong = fmt.Errorf(`not a DNS server: %q: write an address, as in "127.0.0.1:53" or "tls://192.0.2.53:853"`, text)
		s.text = printable(text)
		return s
	}
	s.text = s.address
	return s
}

func printable(text string) string { return fmt.Sprintf("%.100q", text) }

func (s *server) parseTLS(text string, roots *x509.CertPool) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("not of the form tls://HOST:PORT")
	}
	name, port := u.Hostname(), or(u.Port(), "853")
	if name == "" || u.User != nil || u.Path != "" {
		return errors.New("not of the form tls://HOST:PORT")
	}
	s.address, s.text = net.JoinHostPort(name, port), "tls://"+net.JoinHostPort(name, port)
	s.tls = &tls.Config{
		ServerName: or(u.Fragment, name), RootCAs: roots, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"dot"}, ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if pin := u.Query().Get("pin-sha256"); pin != "" {
		return pinTo(s.tls, pin)
	}
	return nil
}

// pinTo makes c take the certificate with this public key and no other
// (RFC 7858, 4.2).
func pinTo(c *tls.Config, pin string) error {
	want, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(pin, " ", "+")) // a + in a query is a space
	if err != nil || len(want) != sha256.Size {
		return errors.New("pin-sha256 is not a SHA-256 in base64")
	}
	c.InsecureSkipVerify = true // the key below is who it is, whatever the names and dates
	c.VerifyConnection = func(state tls.ConnectionState) error {
		got := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
		if subtle.ConstantTimeCompare(got[:], want) != 1 {
			return errors.New("the certificate has another key than pin-sha256 says")
		}
		return nil
	}
	return nil
}

// takesEDNS says whether the server is to be asked with EDNS.
func (s *server) takesEDNS(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plainSince.IsZero() || now.Sub(s.plainSince).Abs() >= askPlain
}

func (s *server) noEDNS(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plainSince = now
}

// failed notes that nothing came from the server, worked that something did.
func (s *server) failed(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failedAt = now
}

func (s *server) worked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failedAt = time.Time{}
}

// avoided says whether others are to be asked first.
func (s *server) avoided(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.failedAt.IsZero() && now.Sub(s.failedAt).Abs() < avoid
}

// connect opens a stream to the server, with TLS if that is its kind.
func (s *server) connect(ctx context.Context, dial dialer) (net.Conn, error) {
	conn, err := dialUntil(ctx, dial, "tcp", s.address)
	if err != nil || s.tls == nil {
		return conn, err
	}
	secured := tls.Client(conn, s.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}
