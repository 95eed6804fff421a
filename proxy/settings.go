package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

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

// Inbound is what one inbound does, as validated values. It is not changed
// once a Server has it; a reload makes a new one.
type Inbound struct {
	Name     string
	Hostname string // in the greeting, EHLO replies and the trace header

	Mode      TLSMode
	TLS       *Termination // nil with TLSOff
	Handshake HandshakeMemory

	Message  MessagePolicy
	Networks Networks
	Limits   Limits
	Timeouts Timeouts
	Backends *Backends

	Observer Observer
	Log      *slog.Logger
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
	Connect  time.Duration // TCP, to the backend
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
	Succeeded(client netip.Addr, hello string, forwardSecret bool)
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
func (noMemory) Succeeded(netip.Addr, string, bool)         {}
