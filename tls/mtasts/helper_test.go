package mtasts_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"postern/tls/mtasts"
)

func TestMain(m *testing.M) {
	// STANDARDS 124: no fetch of any test goes to a proxy. net/http reads these once.
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		os.Setenv(name, "http://192.0.2.1:3128")
	}
	goleak.VerifyTestMain(m)
}

const (
	domain = "example.com"
	week   = 7 * 24 * time.Hour
	day    = 24 * time.Hour
)

// policyOf is a policy file that asks for a mode, for a week.
func policyOf(mode string) string {
	return "version: STSv1\nmode: " + mode + "\nmx: mx." + mode + ".example\nmax_age: 604800\n"
}

// internet is a resolver and the policy hosts of all domains.
type internet struct {
	mu      sync.Mutex
	record  func(name string) ([]string, error)
	ttl     time.Duration
	page    http.HandlerFunc
	asked   []string      // names of TXT records
	got     []string      // host and path
	dialled []string      // network and address
	held    chan struct{} // if set, no TXT question is answered before it is closed
	dial    func(ctx context.Context) (net.Conn, error)
	roots   *x509.CertPool
}

// newInternet is one in which every domain has the record id1 and an enforced policy. It is on
// loopback; between keeps it in memory, for a clock that is turned.
func newInternet(t testing.TB) *internet {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := between(t, l)
	n.dial = dialer(l.Addr())
	return n
}

var quiet = log.New(io.Discard, "", 0)

// dialer connects to one address, whatever is dialled.
func dialer(to net.Addr) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	}
}

// unusedAddress is one on loopback that refuses connections.
func unusedAddress(t *testing.T) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr()
}

func newFalseInternet(t testing.TB) *internet {
	t.Helper()
	t.Cleanup(func() { <-time.After(time.Minute) }) // what is closed may have last words
	l := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	n := between(t, l)
	n.dial = l.dial
	return n
}

func between(t testing.TB, l net.Listener) *internet {
	t.Helper()
	n := &internet{ttl: 5 * time.Minute}
	n.publish("id1", policyOf("enforce"))
	ca := newAuthority(t)
	n.roots = ca.pool
	s := &http.Server{Handler: n, ErrorLog: quiet, TLSConfig: &tls.Config{GetCertificate: ca.certificate}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return n
}

func (n *internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.got = append(n.got, r.Host+r.URL.Path)
	page := n.page
	n.mu.Unlock()
	page(w, r)
}

func (n *internet) TXT(ctx context.Context, name string) ([]string, time.Time, error) {
	n.mu.Lock()
	n.asked = append(n.asked, name)
	record, ttl, held := n.record, n.ttl, n.held
	n.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return nil, time.Time{}, ctx.Err()
		}
	}
	texts, err := record(name)
	return texts, time.Now().Add(ttl), err
}

func (n *internet) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, network+" "+address)
	dial := n.dial
	n.mu.Unlock()
	return dial(ctx)
}

func (n *internet) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// publish sets the record and the policy of all domains; without an id there is no
// record, without a policy there is a 404.
func (n *internet) publish(id, policy string) {
	texts := []string{"v=spf1 -all"}
	if id != "" {
		texts = append(texts, "v=STSv1; id="+id+";")
	}
	n.set(func() {
		n.record = func(string) ([]string, error) { return texts, nil }
		n.page = func(w http.ResponseWriter, r *http.Request) {
			if policy == "" {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			io.WriteString(w, policy)
		}
	})
}

// fail lets the resolver fail, as when the DNS is broken or blocked.
func (n *internet) fail() {
	n.set(func() {
		n.record = func(string) ([]string, error) { return nil, errors.New("SERVFAIL\r\n from 192.0.2.1") }
	})
}

// counts are the numbers of TXT questions and of HTTPS requests so far.
func (n *internet) counts() (asked, got int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.asked), len(n.got)
}

// cost checks the numbers of questions and requests since the last call.
func cost(t *testing.T, n *internet, asked, got int) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) != asked || len(n.got) != got {
		t.Errorf("cost %d questions and %d requests, want %d and %d", len(n.asked), len(n.got), asked, got)
	}
	n.asked, n.got = nil, nil
}

// lookup makes a Lookup that ends with the test.
func (n *internet) lookup(t testing.TB, change ...func(*mtasts.Options)) *mtasts.Lookup {
	t.Helper()
	o := mtasts.Options{Resolver: n, Dial: n.Dial, Roots: n.roots}
	for _, c := range change {
		c(&o)
	}
	l := mtasts.New(o)
	t.Cleanup(l.Close)
	return l
}

// running lets Run go on until the test ends.
func running(t testing.TB, l *mtasts.Lookup) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// found checks a finding: "enforce cache", "none sts-policy-fetch-error", "enforce cache txt-error".
func found(t testing.TB, f mtasts.Finding, want string) {
	t.Helper()
	got := string(f.Source)
	if f.Policy != nil {
		got = f.Policy.Mode.String() + " " + got
	}
	if f.Result != "" {
		got += " " + string(f.Result)
	}
	if f.Pending {
		got += " pending"
	}
	if got != want {
		t.Errorf("found %q, want %q: %s", got, want, f.Why)
	}
	if f.Result != "" && f.Trouble == "" || f.Source == mtasts.SourceFetched && f.Trouble != "" || !strings.Contains(f.Why, f.Trouble) {
		t.Errorf("result %q, trouble %q, why %q", f.Result, f.Trouble, f.Why)
	}
	if f.Why == "" || strings.ContainsAny(f.Why, "\r\n\x00") || (f.Policy == nil) != (f.Source == mtasts.SourceNone) {
		t.Errorf("found %+v", f)
	}
}

// pass lets that much of a bubble's time go by, and then all that it sets off.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
