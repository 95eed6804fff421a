package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"postern/peers"
	"postern/resolve"
	"postern/smtpwire"
)

// TLSMode says when a listener speaks TLS.
type TLSMode uint8

// The modes. Offer and Require use STARTTLS (RFC 3207), Implicit begins with
// the handshake (RFC 8314).
const (
	TLSOff TLSMode = iota
	TLSOffer
	TLSRequire
	TLSImplicit
)

// Front is what every listener has, whoever its clients are and wherever their
// mail goes. It is not changed once a Server has it; a reload makes a new one.
type Front struct {
	Name     string
	Hostname string // in the greeting, EHLO replies and the trace header

	Message  MessagePolicy
	Networks Networks
	Limits   Limits
	Timeouts Timeouts

	Observer Observer
	Log      *slog.Logger

	kind string // what the configuration calls it: inbound or outbound
	// told is the level of a message's line in the log: deliveries have their own.
	told slog.Level
}

// named is what its lines in the log begin with.
func (f *Front) named() slog.Attr { return slog.String(f.kind, f.Name) }

// Inbound is what one inbound does: the edge that the Internet connects to, and
// the backends behind it.
type Inbound struct {
	Front
	Mode      TLSMode
	TLS       *Termination // nil with TLSOff
	Handshake HandshakeMemory
	Backends  *Backends
}

// Service is what a Server does with its connections: an *Inbound or an
// *Outbound.
type Service interface {
	// ready is a copy in which nothing is missing.
	ready() Service
	// settings is what is the same for both.
	settings() *Front
	// open makes the session of one connection out of what it begins with.
	open(session) *session
	// silent says that nothing may be said to a client at peer before it has
	// spoken, not even that there is no place for it.
	silent(peer netip.Addr) bool
}

func (in *Inbound) ready() Service {
	c := *in
	c.complete("inbound")
	if c.Handshake == nil {
		c.Handshake = noMemory{}
	}
	return &c
}

func (f *Front) complete(kind string) {
	f.kind = kind
	if f.Observer == nil {
		f.Observer = NoObserver{}
	}
}

func (in *Inbound) settings() *Front { return &in.Front }

func (in *Inbound) open(base session) *session {
	s := &inboundSession{session: base, in: in}
	s.role = s
	return &s.session
}

func (in *Inbound) silent(peer netip.Addr) bool {
	return in.Mode == TLSImplicit || contains(in.Networks.Proxy, peer)
}

// MessagePolicy is what is done with messages.
type MessagePolicy struct {
	Newlines    smtpwire.Newlines
	TraceHeader bool
	MaxSize     int64 // octets; 0: only the backend's limit
}

// Networks are the client networks that are treated in a way of their own.
type Networks struct {
	Proxy         []netip.Prefix // send a PROXY header, always
	Normalize     []netip.Prefix // get Normalize whatever MessagePolicy says
	AuthPlaintext []netip.Prefix // are offered AUTH without TLS
	Exempt        []netip.Prefix // from the limits per client
}

// contains says whether addr is in one of the networks.
func contains(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// Limits bound what clients can take. Zero is no limit.
type Limits struct {
	Connections         int     // at once
	PerClient           int     // at once, per address (IPv6: per /64)
	Handshakes          float64 // per second
	HandshakesPerClient float64 // per minute, per address (IPv6: per /64)
	Errors              int     // refused commands in a session

	Places *Places // shared with other servers; nil: none
}

// Timeouts are those of RFC 5321, 4.5.3.2, and our own.
type Timeouts struct {
	Proxy    time.Duration // for the PROXY header
	StartTLS time.Duration // for a handshake
	Command  time.Duration // for a command of the client, or a reply of the backend
	Data     time.Duration // for a block of message data
	Final    time.Duration // for the reply to a message
	Session  time.Duration // after it, 421 at the next command
	Connect  time.Duration // TCP, to the server
	Route    time.Duration // all between a RCPT and its reply, where the recipient decides where to (SEM 19)
}

// greetingTimeout is for greeting, XCLIENT and EHLO of the backend together:
// greet delays and tarpits are part of it (SEM 4).
const greetingTimeout = 4 * time.Minute

// HandshakeMemory remembers how handshakes with clients went (SEM 31, 33).
// A client is an address and the name it gave in EHLO. Its methods are fast
// and do not fail.
type HandshakeMemory interface {
	// Avoid says that STARTTLS must not be offered to this client for now.
	Avoid(client netip.Addr, hello string) bool
	// UsedForwardSecrecy says that this client used it within 30 days.
	UsedForwardSecrecy(client netip.Addr, hello string) bool
	Failed(client netip.Addr, hello string)
	Secured(client netip.Addr, hello string, f peers.Facts)
}

// NameLookup finds the names of a client's address, for XCLIENT (SEM 10). The
// error is within the value. It ends with ctx.
type NameLookup interface {
	ClientName(ctx context.Context, addr netip.Addr) resolve.ClientName
}

// noMemory remembers nothing.
type noMemory struct{}

func (noMemory) Avoid(netip.Addr, string) bool              { return false }
func (noMemory) UsedForwardSecrecy(netip.Addr, string) bool { return false }
func (noMemory) Failed(netip.Addr, string)                  {}
func (noMemory) Secured(netip.Addr, string, peers.Facts)    {}
