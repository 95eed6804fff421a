package mtasts_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/tls/mtasts"
)

// store is a cache that lives as long as the test and keeps JSON, as a real one does.
type store struct {
	mu      sync.Mutex
	entries map[string][]byte
	expires map[string]time.Time
	err     error
}

func newStore() *store { return &store{entries: map[string][]byte{}, expires: map[string]time.Time{}} }

func (s *store) use(o *mtasts.Options) { o.Cache = s }

func (s *store) Get(domain string) (e mtasts.Entry, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.entries[domain]
	if s.err != nil || !ok {
		return e, false, s.err
	}
	return e, true, json.Unmarshal(data, &e)
}

func (s *store) Put(domain string, e mtasts.Entry, expires time.Time) error {
	data, err := json.Marshal(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.err
	}
	if err == nil {
		s.entries[domain], s.expires[domain] = data, expires
	}
	return err
}

func (s *store) Each(f func(string, mtasts.Entry)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for domain, data := range s.entries {
		var e mtasts.Entry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		f(domain, e)
	}
	return s.err
}

// pipes is a listener within the process, which a false clock needs.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.accepted <- newQueued(there):
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// queued is an end of a pipe that does not wait for its reader, as a socket does not.
type queued struct {
	net.Conn
	out    chan []byte
	closed chan struct{}
	once   sync.Once
}

func newQueued(c net.Conn) *queued {
	q := &queued{Conn: c, out: make(chan []byte, 1000), closed: make(chan struct{})}
	go q.send()
	return q
}

func (q *queued) send() {
	defer q.Conn.Close()
	for {
		select {
		case p := <-q.out:
			if _, err := q.Conn.Write(p); err != nil {
				return
			}
		case <-q.closed:
			if len(q.out) == 0 {
				return
			}
		}
	}
}

func (q *queued) Write(p []byte) (int, error) {
	select {
	case q.out <- bytes.Clone(p):
		return len(p), nil
	case <-q.closed:
		return 0, net.ErrClosed
	}
}

// crypto/tls ends a connection with a deadline in the past, which is not to reach what is queued.
func (q *queued) SetWriteDeadline(time.Time) error { return nil }
func (q *queued) SetDeadline(t time.Time) error    { return q.Conn.SetReadDeadline(t) }

func (q *queued) Close() error {
	q.once.Do(func() {
		q.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		close(q.closed)
	})
	return nil
}

// authority issues what is asked for, for ten years: a turned clock must not end it.
type authority struct {
	mu   sync.Mutex
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
	made map[string]*tls.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool(), made: map[string]*tls.Certificate{}}
	c := tenYears()
	c.IsCA, c.BasicConstraintsValid, c.Subject.CommonName = true, true, "Ten Years"
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func tenYears() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-10 * 365 * day), NotAfter: time.Now().Add(10 * 365 * day),
	}
}

func (a *authority) certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !strings.HasPrefix(h.ServerName, "mta-sts.") {
		return nil, fmt.Errorf("asked for %q", h.ServerName)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.made[h.ServerName] == nil {
		c := tenYears()
		c.DNSNames = []string{h.ServerName}
		der, err := x509.CreateCertificate(rand.Reader, c, a.cert, a.key.Public(), a.key)
		if err != nil {
			return nil, err
		}
		a.made[h.ServerName] = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
	}
	return a.made[h.ServerName], nil
}
