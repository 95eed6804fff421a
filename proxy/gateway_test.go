package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/peers"
	"postern/resolve"
	"postern/store"
	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/policy"
)

// world is the DNS and the network of a test: domains, their exchangers, and the
// servers behind the addresses. Nothing in it leaves the machine.
type world struct {
	t  testing.TB
	ca *catest.CA

	mu      sync.Mutex
	mx      map[string][]resolve.MX
	addrs   map[string][]netip.Addr
	faults  map[string]error // by name, for both kinds of question
	servers map[netip.AddrPort]*smtptest.Backend
	pipes   map[*smtptest.Backend]*pipeListener // nil: the servers have sockets
	dialled []netip.AddrPort
	asked   int
	last    byte

	security  resolve.Security // of all MX answers, with the next two
	implicit  bool
	canonical string
}

func newWorld(t testing.TB) *world {
	return &world{t: t, ca: catest.New(t), mx: map[string][]resolve.MX{}, addrs: map[string][]netip.Addr{},
		faults: map[string]error{}, servers: map[netip.AddrPort]*smtptest.Backend{}}
}

// server starts a server at an address of its own, and gives it a name.
func (w *world) server(name string, s smtptest.Script) *smtptest.Backend {
	b := w.start(s)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	a := netip.AddrFrom4([4]byte{192, 0, 2, w.last})
	w.addrs[name] = append(w.addrs[name], a)
	w.servers[netip.AddrPortFrom(a, 25)] = b
	return b
}

// domain gives a domain exchangers, in the order of their preference.
func (w *world) domain(name string, exchangers ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mx[name] = nil
	for i, x := range exchangers {
		w.mx[name] = append(w.mx[name], resolve.MX{Host: x, Preference: uint16(10 * i)})
	}
}

// cert is a certificate of the world's authority.
func (w *world) cert(names ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{w.ca.Issue(w.t, catest.Leaf{Names: names})}}
}

// MX implements Resolver.
func (w *world) MX(_ context.Context, domain string) (resolve.MXAnswer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if err := w.faults[domain]; err != nil {
		return resolve.MXAnswer{}, err
	}
	all, ok := w.mx[domain]
	if !ok {
		return resolve.MXAnswer{}, resolve.ErrNoDomain
	}
	return resolve.MXAnswer{Hosts: append([]resolve.MX(nil), all...), Security: w.security, Implicit: w.implicit, Canonical: w.canonical}, nil
}

// Addresses implements Resolver.
func (w *world) Addresses(_ context.Context, host string, _ resolve.Family) (resolve.AddrAnswer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if err := w.faults[host]; err != nil {
		return resolve.AddrAnswer{}, err
	}
	if len(w.addrs[host]) == 0 {
		return resolve.AddrAnswer{}, resolve.ErrNoAddress
	}
	return resolve.AddrAnswer{Addrs: append([]netip.Addr(nil), w.addrs[host]...), Security: w.security, Why: "because"}, nil
}

// HostAddresses implements Resolver.
func (w *world) HostAddresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error) {
	return w.Addresses(ctx, host, f)
}

func (w *world) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, to)
	b := w.servers[to]
	l := w.pipes[b]
	w.mu.Unlock()
	if b == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused")}
	}
	if l != nil {
		return l.connect()
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", b.Addr)
}

// dials is how many connections were made since the last call.
func (w *world) dials() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.dialled)
	w.dialled = nil
	return n
}

// egress is a gateway under test, and its client's side.
type egress struct {
	*Server
	t      testing.TB
	w      *world
	g      *Gateway
	memory *peers.Memory
	addr   string
	l      net.Listener
	served chan struct{}
	watch  *watcher
	log    *journal
	clock  *clock
}

// clock is one that tests turn.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// layout is what an egress is made of. Tests change it before it is built.
type layout struct {
	Outbound
	gateway  GatewayOptions
	rules    []policy.Rule
	own      policy.Rule
	remember policy.Remember
	dane     policy.DANE
	sts      policy.STS
	// redirected stands in for what the kernel says of a connection; nil: it is asked.
	redirected func(Accepted, *conn) (netip.AddrPort, bool)
}

// newEgress starts a gateway in a world.
func newEgress(t testing.TB, w *world, change ...func(*layout)) *egress {
	t.Helper()
	e := makeEgress(t, w, change...)
	var err error
	if e.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	e.addr = e.l.Addr().String()
	go func() {
		defer close(e.served)
		e.Serve(e.l)
	}()
	t.Cleanup(e.stop)
	return e
}

// makeEgress is newEgress without a listener.
func makeEgress(t testing.TB, w *world, change ...func(*layout)) *egress {
	e := &egress{t: t, w: w, watch: newWatcher(), served: make(chan struct{}), clock: &clock{at: time.Now()}}
	e.log = &journal{watch: e.watch}
	log := slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e.memory = peers.New(peers.Options{Store: store.NewMemory(e.clock.now), Now: e.clock.now, Log: log})
	limits := patient
	limits.Route = smtptest.Patience
	p := &layout{
		Outbound: Outbound{Front: Front{Name: "egress", Hostname: "gateway.test", Timeouts: limits, Observer: e.watch, Log: log, Message: MessagePolicy{Newlines: 1}},
			From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		gateway: GatewayOptions{Outbound: "egress", Hostname: "gateway.test", MXPort: 25, Timeouts: limits, ReuseIdle: smtptest.Patience, Resolver: w, Observer: e.watch, Log: log},
		own:     policy.Rule{Auto: true, Grade: grade.Mail, Roots: &policy.Roots{Name: "test", Pool: w.ca.Pool()}},
	}
	for _, f := range change {
		f(p)
	}
	for i := range p.rules {
		if p.rules[i].Roots == nil {
			p.rules[i].Roots = p.own.Roots
		}
	}
	out := e.memory.Outbound(peers.DefaultRules())
	p.gateway.Peers = out
	p.gateway.Policy = policy.New(policy.Options{Default: p.own, Rules: p.rules, Remember: p.remember, Grace: policy.DefaultGrace, Memory: remembered{out}, DANE: p.dane, STS: p.sts, Now: e.clock.now})
	e.g = NewGateway(p.gateway)
	if e.g.dialTCP = w.dial; p.redirected != nil {
		e.g.redirectedTo = p.redirected
	}
	p.Gateway = e.g
	e.Server = NewServer(&p.Outbound)
	return e
}

// remembered adapts the memory for package policy.
type remembered struct{ *peers.Outbound }

func (r remembered) Remembered(domain, host string, port uint16) policy.Remembered {
	m := r.Outbound.Remembered(domain, peers.Host{Name: host, Port: port})
	return policy.Remembered{Host: m.Host, Domain: m.Domain, Since: m.Since, LastSuccess: m.LastSuccess, Expires: m.Expires, Sessions: m.Sessions}
}

func (e *egress) stop() {
	e.l.Close()
	<-e.served
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e.Shutdown(ctx)
	e.watch.until(e.t, "the end of all sessions", func() bool { return e.Sessions() == 0 })
	e.g.Close()
}

func (e *egress) logged(text string) string {
	e.t.Helper()
	return e.log.once(e.t, text)
}

// client is a client that was greeted and has said EHLO or LHLO.
func (e *egress) client() *smtptest.Client {
	e.t.Helper()
	c := e.connect()
	c.Expect("220")
	word := "EHLO"
	if e.now().(*Outbound).LMTP {
		word = "LHLO"
	}
	c.Do(word+" mta.test", "250")
	return c
}

// deliver sends one message and gives the reply to the first command that is refused,
// or to the message.
func (e *egress) deliver(to string) string {
	e.t.Helper()
	c := e.client()
	defer c.Close()
	return offerMessage(c, to)
}

func offerMessage(c *smtptest.Client, to string) string {
	for _, line := range []string{"MAIL FROM:<a@sender.test>", "RCPT TO:<" + to + ">", "DATA", "Subject: x\r\n\r\nhello\r\n."} {
		c.Send(line + "\r\n")
		r, err := c.Reply()
		if err != nil {
			return "closed"
		}
		if line[0] != 'S' && (strings.HasPrefix(r, "4") || strings.HasPrefix(r, "5")) || line[0] == 'S' {
			return r
		}
	}
	panic("unreachable")
}

func TestMailLeavesByTheStrongestTLSThatTheServerHas(t *testing.T) {
	w := newWorld(t)
	b := w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com")})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w)
	if r := e.deliver("b@example.com"); !strings.HasPrefix(r, "250 2.0.0 queued") {
		t.Fatalf("the message got %q", r)
	}
	c := b.Connection(0)
	if s := c.Secured(); s == nil || s.Version != tls.VersionTLS13 || s.ServerName != "mx.example.com" {
		t.Fatalf("TLS: %+v", s)
	}
	if got := b.Messages(); len(got) != 1 || got[0] != "Subject: x\r\n\r\nhello\r\n" {
		t.Fatalf("it received %q", got)
	}
	e.logged("tls=may source=default peer=Verified version=TLSv1.3")
}

// The levels against all kinds of servers: what is delivered, in which way, and what
// the client hears otherwise.
func TestEachLevelIsMetByTheServersThatCanMeetIt(t *testing.T) {
	levels := []level.Level{level.None, level.May, level.Encrypt, level.Verify, level.Secure}
	for name, c := range map[string]struct {
		script func(w *world) smtptest.Script
		want   []string // for each level: "clear", "tls", or what the reply holds
	}{
		"good":          {func(w *world) smtptest.Script { return smtptest.Script{TLS: w.cert("mx.example.com", "example.com")} }, []string{"clear", "tls", "tls", "tls", "tls"}},
		"wrong name":    {func(w *world) smtptest.Script { return smtptest.Script{TLS: w.cert("other.example")} }, []string{"clear", "tls", "tls", "451 4.7.5", "451 4.7.5"}},
		"only the host": {func(w *world) smtptest.Script { return smtptest.Script{TLS: w.cert("mx.example.com")} }, []string{"clear", "tls", "tls", "tls", "tls"}},
		"no STARTTLS":   {func(*world) smtptest.Script { return smtptest.Script{} }, []string{"clear", "clear", "451 4.7.5", "451 4.7.5", "451 4.7.5"}},
		"not now": {func(w *world) smtptest.Script {
			return smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"STARTTLS": "454 4.7.0 no"}}
		}, []string{"clear", "clear", "451 4.7.5", "451 4.7.5", "451 4.7.5"}},
		"dies": {func(w *world) smtptest.Script {
			return smtptest.Script{TLS: w.cert("mx.example.com"), Die: "handshake"}
		}, []string{"clear", "clear", "451 4.7.5", "451 4.7.5", "451 4.7.5"}},
		"EHLO inside": {func(w *world) smtptest.Script {
			return smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"TLS EHLO": "554 5.5.0 no"}}
		}, []string{"clear", "clear", "451 4.7.5", "451 4.7.5", "451 4.7.5"}},
		"injection": {func(w *world) smtptest.Script {
			return smtptest.Script{TLS: w.cert("mx.example.com"), Replies: map[string]string{"STARTTLS": "220 go\r\n250 injected"}}
		}, []string{"clear", "451 4.7.5", "451 4.7.5", "451 4.7.5", "451 4.7.5"}},
	} {
		for i, lvl := range levels {
			t.Run(name+"/"+lvl.String(), func(t *testing.T) {
				w := newWorld(t)
				b := w.server("mx.example.com", c.script(w))
				w.domain("example.com", "mx.example.com")
				e := newEgress(t, w, func(p *layout) { p.own.Auto, p.own.Level = false, lvl })
				r := e.deliver("b@example.com")
				var got string
				switch {
				case !strings.HasPrefix(r, "250 2.0.0 queued"):
					got = r
				case b.Conns()[len(b.Conns())-1].Secured() != nil:
					got = "tls"
				default:
					got = "clear"
				}
				if !strings.HasPrefix(got, c.want[i]) {
					t.Errorf("%q, want %q", got, c.want[i])
				}
			})
		}
	}
}
