package config

import (
	"net/netip"
	"time"
)

// Inbound is one edge: the addresses that the Internet connects to, the TLS
// that is spoken there, and the mail server behind it.
type Inbound struct {
	Name               string
	Listen             []string // "host:port"; an empty host means every address of the machine
	TLS                string   // offer | require | implicit | off
	Certificates       []string // names of certificate blocks; never empty unless TLS is off
	Grade              string   // modern | intermediate | mail | legacy
	ForwardSecrecy     string   // require | where-safe | prefer; "" = by role (SEM 33)
	SessionTickets     *bool    // nil = by port (SEM 34)
	ClientCertificates string   // none | request
	ClientRoots        string   // "system", or the absolute path of a PEM file
	HandshakeMemory    bool     // SEM 31
	BareNewline        string   // reject | normalize (SEM 36)
	BareNewlineExempt  []netip.Prefix
	AuthPlaintextFrom  []netip.Prefix // SEM 37
	TraceHeader        bool           // SEM 15
	ProxyProtocol      []netip.Prefix // SEM 11; nil = no PROXY header is read
	ShutdownGrace      time.Duration
	Limits             Limits
	Timeouts           Timeouts
	Backend            Backend
}

// Limits bound what clients may use of us. Counts are per inbound or outbound; a
// client is an IPv4 address or an IPv6 /64 (SEM 13).
type Limits struct {
	Connections         int            // at the same time
	PerClient           int            // at the same time and per client; 0 = no limit, of an outbound alone
	Handshakes          int            // TLS handshakes per second in total; 0 = no limit
	HandshakesPerClient int            // TLS handshakes per minute and client; 0 = no limit
	MessageSize         int64          // octets; 0 = only the backend's own limit
	Errors              int            // refused commands before a session is closed with 421
	Exempt              []netip.Prefix // not counted per client
}

// Timeouts bound how long one step may take. The defaults are those of
// RFC 5321, 4.5.3.2, where it names one.
type Timeouts struct {
	Connect  time.Duration // TCP connect to the backend or upstream
	StartTLS time.Duration // one TLS handshake
	Command  time.Duration // wait for the client's next command
	Data     time.Duration // between two pieces of a message
	Final    time.Duration // wait for the reply to the final dot
	Session  time.Duration // whole session
	Proxy    time.Duration // wait for the PROXY header; of an inbound alone
	Route    time.Duration // all between a RCPT and its reply (SEM 19); of an outbound alone
}

// Backend is the mail server behind an inbound.
type Backend struct {
	Addresses     []string // "host:port"; a host may be a name
	Balance       string   // failover | round-robin
	ClientAddress string   // none | proxy-v1 | proxy-v2 | xclient | transparent (SEM 9)
}

const inboundHelp = `inbound "mx" {
  listen = ["0.0.0.0:25", "[::]:25"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}`

// DefaultInbound returns an inbound that holds the default of every attribute
// that has one; Listen, Certificates, Backend.Addresses and
// Backend.ClientAddress have none.
func DefaultInbound(name string) Inbound {
	return Inbound{
		Name: name, TLS: "offer", Grade: "mail",
		ClientCertificates: "none", ClientRoots: "system",
		HandshakeMemory: true, BareNewline: "reject", TraceHeader: true,
		ShutdownGrace: 30 * time.Second,
		Limits:        Limits{Connections: 10000, PerClient: 50, MessageSize: 50 << 20, Errors: 20},
		Timeouts:      defaultTimeouts(),
		Backend:       Backend{Balance: "failover"},
	}
}

func defaultTimeouts() Timeouts {
	return Timeouts{
		Connect: 30 * time.Second, StartTLS: 30 * time.Second, Command: 5 * time.Minute,
		Data: 3 * time.Minute, Final: 15 * time.Minute, Session: 2 * time.Hour, Proxy: 10 * time.Second, Route: 3 * time.Minute,
	}
}

// table returns the names of an inbound block, read into in.
func (in *Inbound) table(d *decoder) table {
	return table{
		fields: []field{
			listen("listen", &in.Listen, `["0.0.0.0:25", "[::]:25"]`).needed(`Write listen = ["0.0.0.0:25", "[::]:25"].`),
			choice("tls", &in.TLS, "offer", "require", "implicit", "off"),
			texts("certificates", &in.Certificates),
			choice("grade", &in.Grade, "modern", "intermediate", "mail", "legacy"),
			choice("forward_secrecy", &in.ForwardSecrecy, "require", "where-safe", "prefer"),
			optionalBoolean("session_tickets", &in.SessionTickets),
			choice("client_certificates", &in.ClientCertificates, "none", "request"),
			rootsFile("client_roots", &in.ClientRoots),
			boolean("handshake_memory", &in.HandshakeMemory),
			choice("bare_newline", &in.BareNewline, "reject", "normalize"),
			prefixes("bare_newline_exempt", &in.BareNewlineExempt),
			prefixes("auth_plaintext_from", &in.AuthPlaintextFrom),
			boolean("trace_header", &in.TraceHeader),
			duration("shutdown_grace", &in.ShutdownGrace, 0),
			choice("balance", &in.Backend.Balance, "failover", "round-robin"),
		},
		blocks: []block{
			{name: "proxy_protocol", open: func(*section) table { return proxyProtocolTable(&in.ProxyProtocol) }},
			{name: "limits", open: func(*section) table { return in.Limits.table() }},
			{name: "timeouts", open: func(*section) table { return in.Timeouts.table() }},
			{
				name: "backend", open: func(*section) table { return in.Backend.table() },
				need: "backend {\n  address        = \"127.0.0.1:2525\"\n  client_address = \"xclient\"\n}",
			},
		},
		check: func(s *section) { d.checkInbound(in, s) },
	}
}

func proxyProtocolTable(from *[]netip.Prefix) table {
	return table{
		fields: []field{prefixes("from", from).needed(`Write from = ["10.0.0.0/8"], with the networks of your load balancers.`)},
		check: func(s *section) {
			if v, ok := s.attrs["from"]; ok && v.good && len(*from) == 0 {
				v.wrong("empty list", "Nobody may send a PROXY header then: list the networks of your load balancers, or remove the proxy_protocol block.")
			}
		},
	}
}

func (l *Limits) table() table {
	return table{fields: []field{
		integer("connections", &l.Connections, 1),
		integer("per_client", &l.PerClient, 1),
		integer("handshakes", &l.Handshakes, 0),
		integer("handshakes_per_client", &l.HandshakesPerClient, 0),
		size("message_size", &l.MessageSize),
		integer("errors", &l.Errors, 1),
		prefixes("exempt", &l.Exempt),
	}}
}

func (t *Timeouts) table() table {
	const least = time.Millisecond
	return table{fields: []field{
		duration("connect", &t.Connect, least),
		duration("starttls", &t.StartTLS, least),
		duration("command", &t.Command, least),
		duration("data", &t.Data, least),
		duration("final", &t.Final, least),
		duration("session", &t.Session, least),
		duration("proxy", &t.Proxy, least),
		duration("route", &t.Route, least), // the block is that of outbound too
	}}
}

// clientAddressHelp is shown where client_address is missing: there is no
// default, because a backend that takes postern's address for a trusted
// network relays for the world (SEM 9).
const clientAddressHelp = `It says how the backend learns who the client is. Write one of:
  client_address = "xclient"   Postfix, with smtpd_authorized_xclient_hosts
  client_address = "proxy-v2"  PROXY protocol with TLS facts: Exim, Postfix
  client_address = "proxy-v1"  PROXY protocol as text, for older readers
  client_address = "transparent" the connection comes from the client's address
  client_address = "none"      it sees postern's address and must not trust it`

func (b *Backend) table() table {
	var one string
	return table{
		fields: []field{
			backendServer.address("address", &one),
			backendServer.addresses("addresses", &b.Addresses),
			choice("balance", &b.Balance, "failover", "round-robin"),
			choice("client_address", &b.ClientAddress, "xclient", "proxy-v2", "proxy-v1", "transparent", "none").needed(clientAddressHelp),
		},
		check: func(s *section) { checkBackend(b, one, s) },
	}
}
