package proxy

import (
	"context"
	"crypto/tls"
	"time"

	"postern/tls/policy"
)

// Observer is told what happens on the listeners, for metrics and traces.
// Its methods are called from many goroutines at once and must not block.
// The listener argument is the inbound's name from the configuration.
//
// NoObserver is the twin that does nothing.
type Observer interface {
	// Step opens a named step of a session (see the Step constants); the
	// function that comes back closes it with its outcome, nil for success.
	// It gives back ctx, or one that carries a span.
	Step(ctx context.Context, listener, step string) (context.Context, func(error))
	// Connected: a client connection was accepted and will be served.
	Connected(listener string)
	// Handshake: a TLS handshake with a client ended.
	Handshake(listener string, h Handshake)
	// Refused: something was refused, and why.
	Refused(listener string, why Cause)
	// BackendFailed: an attempt to reach or use the backend at address failed.
	BackendFailed(listener, address string, why Cause)
	// Message: the answer to one message was known.
	Message(listener string, m Message)
	// Delivery: what became of one attempt to hand a message to a server is known.
	Delivery(listener string, d Delivery)
	// Attempt: how TLS came out in one session attempt with a server is known.
	Attempt(outbound string, a Attempt)
	// Resolved: the DNS was asked for the way to a server. security is what DNSSEC says of the
	// answer: secure, insecure, bogus or indeterminate.
	Resolved(outbound, security string)
	// Disconnected: the session that Connected announced is over.
	Disconnected(listener string, s Summary)
}

// The named steps of a session.
const (
	StepGreet  = "greet"  // up to our 220
	StepSecure = "secure" // the TLS handshake
	StepDial   = "dial"   // connect to the backend, its greeting, XCLIENT, EHLO
	StepRelay  = "relay"  // one message, from DATA or the first BDAT to the final reply
)

// Handshake is the outcome of one TLS handshake with a client.
type Handshake struct {
	State    *tls.ConnectionState // nil when it failed
	Cause    Cause                // empty when it succeeded
	Duration time.Duration
}

// Message is the outcome of one message.
type Message struct {
	Code       int   // of the final reply that the client got; 0 when it was gone
	Bytes      int64 // of the message as the client sent it, dots and all
	Recipients int   // accepted by the backend
	Duration   time.Duration
	Secured    bool  // came over TLS
	Cause      Cause // empty when the backend's own reply was relayed
}

// Delivery is the outcome of one attempt to hand a message to a server. Names and
// addresses are for logs and traces, never for the label of a metric.
type Delivery struct {
	Destination string
	Host        string // empty: none was found
	Address     string // empty: it was not reached

	Decision *policy.Decision // nil: it did not come to one
	TLS      string           // Postfix's word for it, as in "tls=may:none"
	Trust    string           // Anonymous, Untrusted, Trusted or Verified; empty without TLS
	Version  uint16           // 0: no TLS
	Cipher   string
	Group    tls.CurveID
	Resumed  bool
	Reused   bool   // the connection was kept from an earlier message
	Would    string // what remember = "enforce" would have refused it for; else empty
	Clear    string // why there was no TLS although it was to be tried: not_offered, skip, fallback or failed; else empty

	DNS, Connect, Handshake, SMTP time.Duration

	Code       int    // of the reply that the client gets; 0 when it was gone
	DSN        string // enhanced status code of that
	Recipients int    // accepted
	Rejected   int    // refused by this server, beside those
	Rejection  string // the reply to the first of them
	Bytes      int64
	Cause      Cause // empty: delivered
}

// Summary is what a session came to.
type Summary struct {
	Messages  int // answered 2xx
	BytesIn   int64
	BytesOut  int64
	Duration  time.Duration
	Secured   bool
	Cause     Cause // why it ended; empty after QUIT
	ClientEnd bool  // the client ended it
}

// Cause is a short, fixed word for why something was refused, failed or
// ended. It is a metric label: there are few of them and none holds anything
// that a peer sent.
type Cause string

// The causes.
const (
	CauseConnections     Cause = "connections"      // limits.connections
	CausePerClient       Cause = "per_client"       // limits.per_client
	CauseHandshakeRate   Cause = "handshake_rate"   // limits.handshakes, limits.handshakes_per_client
	CauseProxyHeader     Cause = "proxy_header"     // missing, late or malformed PROXY header
	CauseEarlyTalker     Cause = "early_talker"     // input before the 220
	CausePipelining      Cause = "pipelining"       // input where a reply had to be awaited
	CauseInjection       Cause = "injection"        // plaintext behind STARTTLS
	CauseBareNewline     Cause = "bare_newline"     // a bare CR or LF
	CauseLineTooLong     Cause = "line_too_long"    //
	CauseMessageTooBig   Cause = "message_too_big"  //
	CauseNUL             Cause = "nul"              // NUL in a command
	CauseHTTP            Cause = "http"             // an HTTP request
	CauseXCLIENT         Cause = "xclient"          // XCLIENT or XFORWARD from a client
	CauseTLSRequired     Cause = "tls_required"     //
	CauseTLSUnavailable  Cause = "tls_unavailable"  // STARTTLS without a certificate, or although it was withheld
	CauseTLSWithheld     Cause = "tls_withheld"     // not offered: this client's handshakes keep failing
	CauseErrors          Cause = "errors"           // too many commands refused
	CauseTimeout         Cause = "timeout"          // the client was silent
	CauseSlow            Cause = "slow"             // the client did not read, or trickled
	CauseSession         Cause = "session"          // timeouts.session
	CauseShutdown        Cause = "shutdown"         // postern stops
	CauseClientGone      Cause = "client_gone"      // EOF or reset without QUIT
	CauseStalled         Cause = "stalled"          // the handshake took longer than timeouts.starttls
	CauseNoSharedCipher  Cause = "no_shared_cipher" // the handshake found no version, suite or group in common
	CauseClosedOnFlight  Cause = "closed_on_flight" // closed right after our first flight
	CauseRejectedByPeer  Cause = "rejected_by_peer" // the client sent a TLS alert
	CauseNotTLS          Cause = "not_tls"          // what came was no TLS record
	CauseHandshake       Cause = "handshake"        // any other handshake failure
	CauseDial            Cause = "dial"             // no TCP connection to the backend
	CauseBackendGreeting Cause = "backend_greeting" // its greeting was not 220
	CauseBackendEHLO     Cause = "backend_ehlo"     // it refused EHLO and HELO
	CauseBackendXCLIENT  Cause = "backend_xclient"  // the client's address could not be conveyed
	CauseBackendGone     Cause = "backend_gone"     // it closed, or timed out, within a session
	CauseBackendReply    Cause = "backend_reply"    // its reply could not be read

	CauseFrom             Cause = "from"              // outbound: the client is not in from
	CauseProtocol         Cause = "protocol"          // outbound: LMTP where SMTP is spoken, or the reverse
	CauseNotRedirected    Cause = "not_redirected"    // outbound, route original: nobody redirected this connection to us
	CauseOtherDestination Cause = "other_destination" // outbound, SMTP: a recipient of another destination, 452
	CauseNoDomain         Cause = "no_domain"         // the recipient's domain does not exist, or takes no mail
	CauseDNS              Cause = "dns"               // a look-up failed
	CauseLoop             Cause = "loop"              // the server is ourselves, or our own connection was redirected to us
	CauseNoHost           Cause = "no_host"           // no server of the destination could be tried
	CauseRoute            Cause = "route"             // timeouts.route
	CauseConcurrency      Cause = "concurrency"       // too many connections to the destination
	CauseUpstreamGreeting Cause = "upstream_greeting" // the server's greeting or EHLO reply turned us away
	CauseUpstreamGone     Cause = "upstream_gone"     // the server closed, or timed out
	CauseUpstreamReply    Cause = "upstream_reply"    // the server refused
	CauseNotCarried       Cause = "not_carried"       // the message needs an extension that the server lacks
	CauseNoSTARTTLS       Cause = "no_starttls"       // not offered, and the level asks for it
	CauseTLS              Cause = "tls"               // TLS failed
	CauseCertificate      Cause = "certificate"       // the certificate does not meet the level
	CausePolicy           Cause = "policy"            // what must be known of the destination could not be found out
)

// NoObserver is an Observer that does nothing.
type NoObserver struct{}

// Step implements Observer.
func (NoObserver) Step(ctx context.Context, _, _ string) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// Connected implements Observer.
func (NoObserver) Connected(string) {}

// Handshake implements Observer.
func (NoObserver) Handshake(string, Handshake) {}

// Refused implements Observer.
func (NoObserver) Refused(string, Cause) {}

// BackendFailed implements Observer.
func (NoObserver) BackendFailed(string, string, Cause) {}

// Message implements Observer.
func (NoObserver) Message(string, Message) {}

// Delivery implements Observer.
func (NoObserver) Delivery(string, Delivery) {}

// Attempt implements Observer.
func (NoObserver) Attempt(string, Attempt) {}

// Resolved implements Observer.
func (NoObserver) Resolved(string, string) {}

// Disconnected implements Observer.
func (NoObserver) Disconnected(string, Summary) {}
