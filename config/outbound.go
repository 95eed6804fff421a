package config

import (
	"net/netip"
	"time"
)

// Outbound is one way out: the addresses that our own mail servers connect to,
// and how their mail reaches the world from there.
//
// Level, Match, Fingerprints, Grade and TrustedRoots are of destinations that
// no block of Destinations names.
type Outbound struct {
	Name          string
	Listen        []string       // "host:port"; an empty host means every address of the machine
	From          []netip.Prefix // who may use it (SEM 17); never empty
	FromWritten   bool           // false: From is the default, and route original adds the host's own addresses
	Transparent   bool           // connections to any address are taken, as TPROXY hands them over
	Protocol      string         // smtp | lmtp: what is spoken with the clients
	Route         string         // mx | original | smarthost
	MXPort        int            // TCP port of route mx
	Level         string         // auto | none | may | encrypt | fingerprint | verify | secure | dane | dane-only
	Match         []string       // hostname, nexthop, dot-nexthop, a name or a ".parent"; empty = Postfix's for the level
	Fingerprints  []string       // as in Destination
	Grade         string         // modern | intermediate | mail | legacy
	TrustedRoots  string         // "system", or the absolute path of a PEM file
	Place         string         // where the level is written, or the block: "config.hcl:12"
	MTASTS        bool           // at level auto, MTA-STS policies count (RFC 8461)
	Fallback      string         // same-session | next-session | never (SEM 29)
	Skip          Skip
	Remember      string // enforce | observe | off (SEM 32)
	RememberAfter RememberAfter
	Destinations  []Destination // in the order of the file
	Smarthost     *Smarthost    // of route smarthost; else nil

	EHLO              string // a host name or an address literal; "" = as SEM 14 says
	EightBit          string // pass | refuse (SEM 5)
	DSN               bool   // SEM 5
	BareNewline       string // reject | normalize (SEM 36)
	BareNewlineExempt []netip.Prefix
	TraceHeader       bool          // SEM 15
	SourceAddress     []netip.Addr  // at most one of each family; none = as the system chooses
	AddressFamily     string        // any | ipv4 | ipv6 | prefer-ipv4 | prefer-ipv6
	ReuseIdle         time.Duration // how long a leg waits to be used again (SEM 23); 0 = never used again
	Concurrency       int           // upstream connections at the same time per destination; 0 = no limit
	ShutdownGrace     time.Duration
	Limits            Limits // PerClient 0 = no limit; no handshakes are counted
	Timeouts          Timeouts
}

// Destination is how one destination, or all below a parent domain, differ from
// their outbound. What the block does not say is filled in from the outbound.
type Destination struct {
	// Pattern is a domain, ".parent.domain" for what is below it, an address, or
	// a network such as "192.0.2.0/24": in lower case, with A-labels, without a
	// final dot. It is unique in its outbound.
	Pattern string
	Level   string   // as in Outbound
	Match   []string // as in Outbound; taken from there only together with the level
	// Fingerprints are "sha256:" (of the certificate) or "pubkey-sha256:" (of its
	// public key, a SubjectPublicKeyInfo) and 64 hexadecimal digits in lower
	// case. There is at least one at level fingerprint, and none elsewhere.
	Fingerprints []string
	Grade        string
	TrustedRoots string
	Place        string // "config.hcl:12", for reasons
}

// Smarthost is the one place that route smarthost sends everything to.
type Smarthost struct {
	Addresses []string // "host:port", in order of preference; a host may be a name
	TLS       string   // starttls | implicit
}

// RememberAfter says when a destination counts as remembered (SEM 32).
type RememberAfter struct {
	Sessions int           // that validated
	Age      time.Duration // between the first and the last of them
	Expire   time.Duration // after the last of them
	Grace    time.Duration // in which a certificate that has merely expired still passes
}

// Skip says for how long STARTTLS is not tried with a host that failed it
// (SEM 30).
type Skip struct {
	Hold time.Duration // the first time
	Max  time.Duration // doubling up to this
}

// DefaultOutbound returns an outbound that holds the default of every attribute
// that has one; Listen has none.
func DefaultOutbound(name string) Outbound {
	return Outbound{
		Name: name, From: loopback(), Protocol: "smtp", Route: "mx", MXPort: 25,
		Level: "auto", Grade: "mail", TrustedRoots: "system", MTASTS: true,
		Fallback: "same-session", Skip: Skip{Hold: time.Hour, Max: 24 * time.Hour},
		Remember:      "enforce",
		RememberAfter: RememberAfter{Sessions: 3, Age: 24 * time.Hour, Expire: 30 * 24 * time.Hour, Grace: 14 * 24 * time.Hour},
		EightBit:      "pass", BareNewline: "normalize", AddressFamily: "any",
		ReuseIdle: 5 * time.Second, Concurrency: 20, ShutdownGrace: 30 * time.Second,
		Limits:   Limits{Connections: 10000, MessageSize: 50 << 20, Errors: 100},
		Timeouts: defaultTimeouts(),
	}
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
