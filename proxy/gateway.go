package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"postern/peers"
	"postern/resolve"
	"postern/smtpwire"
	"postern/tls/policy"
)

// Route says how an outbound finds where a message goes.
type Route uint8

// The routes.
const (
	RouteMX        Route = iota // by the recipient's domain (RFC 5321, 5)
	RouteOriginal               // to the address that the client wanted, before it was redirected to us (SEM 16)
	RouteSmarthost              // to fixed hosts
)

// Fallback says what becomes of mail for a destination at level may whose TLS
// fails (SEM 29).
type Fallback uint8

// The ways to fall back.
const (
	FallbackSameSession Fallback = iota // connect again at once, without TLS
	FallbackNextSession                 // the client tries again later, which is without TLS then
	FallbackNever
)

// Smarthost is a fixed host of an outbound.
type Smarthost struct {
	Host     string // name or address
	Port     uint16
	Implicit bool // TLS from the first octet (RFC 8314), else STARTTLS
}

// Resolver finds hosts in the DNS; resolve.Resolver does. Its errors are those of
// package resolve.
type Resolver interface {
	MX(ctx context.Context, domain string) (resolve.MXAnswer, error)
	Addresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error)
	HostAddresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error)
}

// PeerMemory remembers how TLS with mail servers went (SEM 29, 30, 32);
// peers.Outbound does. Its methods are fast and do not fail.
type PeerMemory interface {
	Standing(h peers.Host) peers.Standing
	TLSFailed(domain string, h peers.Host, why string) (mayGoClear bool)
	WentClear(domain string, h peers.Host)
	InClear(domain string, h peers.Host)
	AskedForTLS(h peers.Host)
	Secured(domain string, h peers.Host, f peers.Facts)
	Rejected(domain string, h peers.Host, why string)
}

// Preference says which addresses of a host are tried first.
type Preference uint8

// The preferences. PreferNone takes the families in turn, IPv6 first.
const (
	PreferNone Preference = iota
	PreferIPv4
	PreferIPv6
)

// GatewayOptions is what NewGateway is made of.
type GatewayOptions struct {
	Outbound   string // name, for Observer and log
	Hostname   string
	Route      Route
	MXPort     uint16
	Smarthosts []Smarthost
	EHLO       string // our name towards servers; empty: Hostname, or the client's own with RouteOriginal (SEM 14)
	Fallback   Fallback
	RefuseBits bool // a server without 8BITMIME does not get messages that say they need it (SEM 5)

	Source     []netip.Addr // addresses that we connect from, one for each family at most
	Family     resolve.Family
	Preference Preference

	ReuseIdle   time.Duration // how long a connection is kept for the next message; 0: not beyond a session's message
	Concurrency int           // connections at once to one destination; 0: no limit
	Timeouts    Timeouts
	Places      *Places // that each connection takes one of; nil: none

	Resolver Resolver
	Policy   *policy.Engine
	Peers    PeerMemory
	Own      func(netip.AddrPort) bool // says of an address whether one of our outbounds listens on it (SEM 24)
	Loops    *Loops                    // finds connections that are redirected back to us; nil: none are looked for
	Mark     uint32                    // of our sockets (SO_MARK), by which a firewall knows them; 0: none

	Observer Observer
	Log      *slog.Logger
}

// Gateway is the way out of an outbound: it finds the servers of a destination,
// decides how safe the connection must be, dials, and keeps connections for the
// next message. It is not changed once made; what it remembers in its own memory
// is lost with it.
type Gateway struct {
	o         GatewayOptions
	pool      *pool
	failed    *failures
	places    *places
	sessions  *policy.Sessions
	sweeper   *sweeper
	deepStack workers
	known     *knownHosts
	warned    atomic.Int64 // when, in seconds since 1970

	// What the network is asked for; tests put something else there.
	dialTCP      func(context.Context, netip.AddrPort) (net.Conn, error)
	redirectedTo func(Accepted, *conn) (netip.AddrPort, bool)
}

// maxSessions bounds the TLS sessions that are kept for resumption.
const maxSessions = 4096

// NewGateway makes the way out of an outbound.
func NewGateway(o GatewayOptions) *Gateway {
	if o.Peers == nil {
		o.Peers = nobody{}
	}
	if o.Observer == nil {
		o.Observer = NoObserver{}
	}
	g := &Gateway{o: o, failed: newFailures(), places: newPlaces(o.Concurrency), sessions: policy.NewSessions(maxSessions),
		sweeper: newSweeper(), deepStack: newWorkers(), known: newKnownHosts()}
	g.pool = newPool(o.ReuseIdle)
	g.dialTCP, g.redirectedTo = g.dial, Accepted.redirectedFrom
	return g
}

// Close ends the connections that are kept for reuse, and keeps none from now on.
func (g *Gateway) Close() { g.pool.close() }

// oneDomain says whether the recipients of a transaction must have one domain.
func (g *Gateway) oneDomain() bool { return g.o.Route == RouteMX }

// ours says whether an address is one that an outbound of ours listens on (SEM 24).
func (g *Gateway) ours(a netip.AddrPort) bool { return g.o.Own != nil && g.o.Own(a) }

// dial opens a TCP connection from the configured source address.
func (g *Gateway) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Timeout: g.o.Timeouts.Connect, KeepAlive: -1, Control: marked(g.o.Mark)}
	for _, a := range g.o.Source {
		if a.Is4() == to.Addr().Is4() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
		}
	}
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", to.String())
}

// failure is why a message could not be handed on: what the client is told, the
// cause for log and metrics, and the error behind it where there is one.
type failure struct {
	reply    smtpwire.Reply
	enhanced string // of reply, where it is our own
	text     string // likewise
	said     int    // the code that the server turned us away with; 0: it did not
	address  string // that was tried; empty: it did not come to that
	cause    Cause
	err      error
}

func (f *failure) Error() string { return f.reply.String() }

func (f *failure) Unwrap() error { return f.err }

// failing makes a failure. text names the host that it is about.
func failing(cause Cause, code int, enhanced, text string, err error) *failure {
	return &failure{reply: smtpwire.NewReply(code, enhanced, text), enhanced: enhanced, text: text, cause: cause, err: err}
}

// hostIsDead says whether a client that has chosen the host itself should try its next
// one (SEM 20).
func (f *failure) hostIsDead() bool {
	switch f.cause {
	case CauseDial, CauseUpstreamGone, CauseUpstreamGreeting, CauseTLS:
		return true
	}
	return false
}

// hostIsDown says whether the next message would fare no better for now. TLS is left
// out: a failure there changes what is tried next (SEM 29).
func (f *failure) hostIsDown() bool {
	switch f.cause {
	case CauseDial, CauseUpstreamGone, CauseUpstreamGreeting, CauseDNS, CauseLoop, CauseNoHost:
		return true
	}
	return false
}

// nobody remembers nothing.
type nobody struct{}

func (nobody) Standing(peers.Host) peers.Standing        { return peers.Standing{} }
func (nobody) TLSFailed(string, peers.Host, string) bool { return true }
func (nobody) WentClear(string, peers.Host)              {}
func (nobody) InClear(string, peers.Host)                {}
func (nobody) AskedForTLS(peers.Host)                    {}
func (nobody) Secured(string, peers.Host, peers.Facts)   {}
func (nobody) Rejected(string, peers.Host, string)       {}
