package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/probe"
	"postern/proxy"
	"postern/resolve"
	"postern/tls/dane"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

func TestMain(m *testing.M) {
	// Workers of the gateway go by themselves, a moment after their last connection.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("postern/proxy.workers.work"), goleak.IgnoreTopFunction("postern/proxy.(*sweeper).run"))
}

// world is the mail server mx.example.com of the domain example.com, its authority, its signed zones and its web
// server. A case changes what is to be wrong before the look.
type world struct {
	t      *testing.T
	ca     *catest.CA
	cert   tls.Certificate
	script smtptest.Script
	zone   dnstest.Zone // of example.com; MORE in the records stands for what it publishes
	more   string       // records
	policy string       // the MTA-STS policy; empty: no web server

	mx     *smtptest.Backend
	port   uint16
	o      probe.Options
	source []netip.Addr // that connections come from
}

// newWorld is one in which nothing is wrong.
func newWorld(t *testing.T) *world {
	w := &world{t: t, ca: catest.New(t), policy: "version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 604800\n"}
	w.cert = w.ca.Issue(t, catest.Leaf{Names: []string{"mx.example.com"}, NotAfter: time.Now().Add(90 * 24 * time.Hour)})
	w.script = smtptest.Script{TLS: w.modern()}
	w.mx = smtptest.NewBackendAt(t, "127.0.0.2:0", w.script)
	w.port = netip.MustParseAddrPort(w.mx.Addr).Port()
	w.more = w.tlsa("mx", w.record()) + w.tlsa("mx", next) + "_mta-sts TXT \"v=STSv1; id=1;\"\n_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@example.com\"\n"
	w.zone = dnstest.Zone{Name: "example.com", Records: "@ MX 10 mx\nmx A 127.0.0.2\nmta-sts A 127.0.0.3\nMORE"}
	return w
}

// next is the record of a key that is not in use yet.
var next = dane.Record{Usage: 3, Selector: 1, MatchingType: 1, Data: []byte(strings.Repeat("n", 32))}

func (w *world) record() dane.Record { return dane.From(w.cert.Leaf, 3, 1, 1) }

// modern is TLS 1.3 alone.
func (w *world) modern() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{w.cert}, MinVersion: tls.VersionTLS13}
}

// upTo12 is TLS 1.2 with these suites.
func (w *world) upTo12(suites ...uint16) {
	w.script.TLS = &tls.Config{Certificates: []tls.Certificate{w.cert}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: suites}
}

// leaf gives the server another certificate, and its TLSA record.
func (w *world) leaf(l catest.Leaf) {
	w.cert = w.ca.Issue(w.t, l)
	w.script.TLS.Certificates = []tls.Certificate{w.cert}
	w.more = w.tlsa("mx", w.record()) + w.tlsa("mx", next)
}

func (w *world) tlsa(host string, r dane.Record) string {
	return fmt.Sprintf("_%d._tcp.%s TLSA %s\n", w.port, host, r)
}

// prober builds all that is real: resolver, policy, gateway.
func (w *world) prober() *probe.Prober {
	t := w.t
	w.mx.Play(w.script)
	zone := w.zone
	zone.Records = strings.ReplaceAll(zone.Records, "MORE", w.more)
	dns := dnstest.StartSigned(t, dnstest.Zone{Name: "."}, zone, dnstest.Zone{Name: "bare.com", Unsigned: true, Records: "@ MX 10 mx\nmx A 127.0.0.2\n"},
		dnstest.Zone{Name: "guest.com", Unsigned: true, Records: "@ MX 10 mx.example.com.\n"},
		dnstest.Zone{Name: "null.com", Records: "@ MX 0 .\n"})
	anchors, err := resolve.ParseAnchors(dns.Anchors)
	must(t, err)
	resolver, err := resolve.NewWith(resolve.Options{Servers: []string{dns.Address}, DNSSEC: resolve.Validate, Anchors: anchors, Hosts: "/dev/null"})
	must(t, err)
	sts := mtasts.New(mtasts.Options{Resolver: texts{resolver}, Dial: w.web(), Roots: w.ca.Pool()})
	t.Cleanup(sts.Close)
	o := w.o
	o.Resolver, o.STS, o.DANE = resolver, sts, &dane.Lookup{Resolver: records{resolver}}
	o.Roots = &policy.Roots{Name: "test", Pool: w.ca.Pool()}
	o.Policy = policy.New(policy.Options{Default: policy.Rule{Auto: true, Roots: o.Roots}, DANE: o.DANE, STS: sts})
	o.Gateway = proxy.NewGateway(proxy.GatewayOptions{
		Hostname: "probe.test", MXPort: w.port, Resolver: resolver, Policy: o.Policy, Source: w.source, Log: slog.New(slog.DiscardHandler),
		Timeouts: proxy.Timeouts{Connect: smtptest.Patience, StartTLS: smtptest.Patience, Command: smtptest.Patience},
	})
	t.Cleanup(o.Gateway.Close)
	return probe.New(o)
}

// look is the report on a target.
func (w *world) look(target string) *probe.Report {
	w.t.Helper()
	return w.lookIn(w.t.Context(), target)
}

func (w *world) lookIn(ctx context.Context, target string) *probe.Report {
	w.t.Helper()
	p := w.prober()
	to, err := probe.ParseTarget(target, w.port)
	must(w.t, err)
	return p.Probe(ctx, to)
}

// web serves the policy, and returns the way to it.
func (w *world) web() func(context.Context, string, string) (net.Conn, error) {
	if w.policy == "" {
		return func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
	}
	cert := w.ca.Issue(w.t, catest.Leaf{Names: []string{"mta-sts.example.com"}})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	must(w.t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(rw, w.policy)
	})}
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	w.t.Cleanup(func() { s.Close(); <-done })
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}
}

// texts lets mtasts ask the DNS.
type texts struct{ *resolve.Resolver }

func (r texts) TXT(ctx context.Context, name string) ([]string, time.Time, error) {
	a, err := r.Resolver.TXT(ctx, name)
	return a.Texts, a.Expires, err
}

// records lets dane ask the DNS.
type records struct{ *resolve.Resolver }

func (r records) Address(ctx context.Context, host string) (dane.Address, error) {
	a, err := r.Addresses(ctx, host, resolve.Both)
	return dane.Address{Canonical: a.Canonical, Secure: a.Security == resolve.Secure, AliasSecure: a.FirstSecurity == resolve.Secure}, err
}

func (r records) TLSA(ctx context.Context, owner string) (dane.Answer, error) {
	found, err := r.Resolver.TLSA(ctx, owner)
	a := dane.Answer{Secure: found.Security == resolve.Secure, Owner: found.Owner}
	for _, rr := range found.Records {
		a.Records = append(a.Records, dane.Record(rr))
	}
	return a, err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// describe lists findings, one on a line.
func describe(r *probe.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s: %s\n", f.Check, f.Grade, f.Text)
	}
	return b.String()
}

// wantFinding wants one of this check and grade whose text has the words.
func wantFinding(t *testing.T, r *probe.Report, want string) {
	t.Helper()
	head, words, _ := strings.Cut(want, ": ")
	for line := range strings.Lines(describe(r)) {
		if strings.HasPrefix(line, head+": ") && strings.Contains(line, words) {
			return
		}
	}
	t.Errorf("no finding %q in:\n%s", want, describe(r))
}

var errTooLarge = errors.New("too large")

func itoa(n uint16) string { return strconv.Itoa(int(n)) }
