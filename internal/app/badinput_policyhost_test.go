package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/mtasts"
)

// policyHost is mta-sts.example.com, over HTTPS on a port of its own.
type policyHost struct {
	*world
	ca      *catest.CA
	address string

	mu    sync.Mutex
	page  http.HandlerFunc
	cert  tls.Certificate
	asked int
}

// newPolicyHost has example.com served by a host with a good certificate, in a DNS that is not signed and that says
// that there is a policy with the id "1".
func newPolicyHost(t *testing.T) *policyHost {
	t.Helper()
	h := &policyHost{world: newWorld(t), ca: catest.New(t)}
	h.record(`"v=STSv1; id=1;"`)
	h.certificate(t, "mta-sts.example.com")
	l := must1(net.Listen("tcp", "127.0.0.1:0"))
	h.address = l.Addr().String()
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return &h.cert, nil
		}}}
	ended := make(chan struct{})
	go func() { s.ServeTLS(l, "", ""); close(ended) }()
	t.Cleanup(func() { s.Close(); <-ended })
	return h
}

func (h *policyHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked++
	page := h.page
	h.mu.Unlock()
	page(w, r)
}

func (h *policyHost) fetches() int { h.mu.Lock(); defer h.mu.Unlock(); return h.asked }

// record replaces the TXT records, each in quotes; none for none.
func (h *policyHost) record(texts ...string) {
	h.dns.Remove("_mta-sts.example.com", "TXT")
	if len(texts) > 0 {
		h.dns.Set("_mta-sts.example.com. 0 IN TXT " + strings.Join(texts, "\n_mta-sts.example.com. 0 IN TXT ") + "\n")
	}
}

func (h *policyHost) serve(page http.HandlerFunc) { h.mu.Lock(); defer h.mu.Unlock(); h.page = page }

func (h *policyHost) certificate(t *testing.T, name string) {
	cert := h.ca.Issue(t, catest.Leaf{Names: []string{name}})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cert = cert
}

// text serves a policy as it should be served.
func text(policy string) http.HandlerFunc { return typed("text/plain", policy) }

func typed(kind, policy string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, policy)
	}
}

// asks is a policy for a mode and an MX host.
func asks(mode, mx string) string {
	return "version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: 604800\n"
}

// begin starts a postern that gets its policies from here. Run begins with the second
// configuration, so that the lookup can be another until then.
func (h *policyHost) begin(t *testing.T, state string) *running {
	t.Helper()
	return h.beginPatient(t, state, patience)
}

func (h *policyHost) beginPatient(t *testing.T, state string, wait time.Duration) *running {
	t.Helper()
	common := state + h.admin() + h.resolver()
	p := h.world.begin(t, common+h.outbound("mta_sts = false"))
	p.sts.Close()
	p.sts = mtasts.New(mtasts.Options{Resolver: p.latest, Cache: policyCache{p.memories}, Roots: h.ca.Pool(), Log: p.service.log, Wait: wait,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "mta-sts.example.com:443" {
				return nil, fmt.Errorf("nobody is at %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, h.address)
		}})
	p.write("hostname = \"gw.test\"\n" + common + h.outbound(""))
	p.reload()
	p.log.await(t, "configuration reloaded")
	return p
}
