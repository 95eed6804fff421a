package main

import (
	"fmt"
	"slices"
	"strings"
)

const mib = 1 << 20

// What a scenario's rate and CPU are divided by.
const (
	perSession = ""
	perMessage = "message"
	perMB      = "MB"
)

// scenario is one situation that peers are compared in.
type scenario struct {
	name, desc string
	kind       string // what a peer must serve: starttls, tls, plain or outbound
	cert       string // ecdsa, rsa, or pair: both under one name
	sessions   int    // of one run
	concurrent int
	messages   int // of one session
	size       int // of one message, in bytes
	unit       string
	args       []string // further flags of loadgen
	noTickets  bool     // the sink issues none
	reuse      bool     // upstream connections are kept for the next session, where a peer can
	idle       bool     // the memory scenario
}

// resumes says whether the clients of s come back with a session ticket.
func (s scenario) resumes() bool { return slices.Contains(s.args, "-resume") }

// short is n sessions of one 4 KiB message each.
func short(name, desc, kind, cert string, n, c int, args ...string) scenario {
	return scenario{name: name, desc: desc, kind: kind, cert: cert, sessions: n, concurrent: c, messages: 1, size: 4096, args: args}
}

// long is 64 sessions of 200 messages.
func long(name, desc, kind string, args ...string) scenario {
	return scenario{name: name, desc: desc, kind: kind, cert: "ecdsa", sessions: 64, concurrent: 16, messages: 200, size: 4096, unit: perMessage, args: args}
}

// bulk is n sessions of four 20 MiB messages.
func bulk(name, desc, kind string, n int) scenario {
	return scenario{name: name, desc: desc, kind: kind, cert: "ecdsa", sessions: n, concurrent: 4, messages: 4, size: 20 * mib, unit: perMB}
}

func idle(name, desc, kind string) scenario {
	return scenario{name: name, desc: desc, kind: kind, cert: "ecdsa", concurrent: 128, messages: 1, size: 4096, idle: true}
}

func withReuse(s scenario) scenario {
	s.reuse = true
	return s
}

func withoutTickets(s scenario) scenario {
	s.noTickets = true
	return s
}

var scenarios = []scenario{
	short("a", "inbound STARTTLS, full handshake, TLS 1.3, ECDSA P-256, 1 x 4 KiB", "starttls", "ecdsa", 2000, 16),
	short("a1", "as a, one session at a time (latency)", "starttls", "ecdsa", 400, 1),
	short("a12", "as a, with TLS 1.2", "starttls", "ecdsa", 2000, 16, "-tls", "1.2"),
	short("a128", "as a, 128 sessions at a time (saturated)", "starttls", "ecdsa", 3000, 128),
	short("b", "as a, with RSA-2048", "starttls", "rsa", 1500, 16),
	short("b128", "as b, 128 sessions at a time (saturated)", "starttls", "rsa", 3000, 128),
	short("bp", "as a, with the ECDSA and RSA pair under one name", "starttls", "pair", 2000, 16),
	short("bp128", "as bp, 128 sessions at a time (saturated)", "starttls", "pair", 3000, 128),
	short("c", "as a, resumed", "starttls", "ecdsa", 2000, 16, "-resume"),
	short("c12", "as c, with TLS 1.2", "starttls", "ecdsa", 2000, 16, "-tls", "1.2", "-resume"),
	short("c128", "as c, 128 sessions at a time (saturated)", "starttls", "ecdsa", 3000, 128, "-resume"),
	long("d", "inbound STARTTLS, long sessions, 200 x 4 KiB", "starttls"),
	long("dp", "as d, with PIPELINING", "starttls", "-pipeline"),
	long("db", "as d, with BDAT", "starttls", "-bdat"),
	bulk("e", "inbound STARTTLS, bulk, 4 x 20 MiB per session", "starttls", 8),
	idle("f", "memory of idle sessions, STARTTLS", "starttls"),
	withoutTickets(short("g", "outbound to a STARTTLS sink, full handshake, TLS 1.3, ECDSA, 1 x 4 KiB", "outbound", "ecdsa", 2000, 16)),
	short("gr", "outbound to a STARTTLS sink that issues tickets, 1 x 4 KiB", "outbound", "ecdsa", 2000, 16),
	withReuse(short("gu", "as gr, upstream connections are kept for the next session", "outbound", "ecdsa", 4000, 16)),
	bulk("gb", "outbound bulk, 4 x 20 MiB per session", "outbound", 8),
	long("gd", "outbound, long sessions, 200 x 4 KiB", "outbound"),
	short("h", "pass-through without TLS, 1 x 4 KiB", "plain", "ecdsa", 4000, 16),
	short("h128", "as h, 128 sessions at a time (saturated)", "plain", "ecdsa", 6000, 128),
	bulk("hb", "pass-through without TLS, bulk, 4 x 20 MiB per session", "plain", 16),
	short("i", "implicit TLS, full handshake, TLS 1.3, ECDSA, 1 x 4 KiB", "tls", "ecdsa", 2000, 16),
	short("i128", "as i, 128 sessions at a time (saturated)", "tls", "ecdsa", 3000, 128),
	short("ib", "as i, with RSA-2048", "tls", "rsa", 1500, 16),
	short("ic", "as i, resumed", "tls", "ecdsa", 2000, 16, "-resume"),
	bulk("ie", "implicit TLS, bulk, 4 x 20 MiB per session", "tls", 8),
	idle("if", "memory of idle sessions, implicit TLS", "tls"),
}

// pickScenarios returns the named ones in the order of their names.
func pickScenarios(names string) ([]scenario, error) {
	var picked []scenario
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q: see -scenarios list", name)
		}
		picked = append(picked, scenarios[i])
	}
	return picked, nil
}

func listScenarios() {
	for _, s := range scenarios {
		fmt.Printf("%-5s %s\n", s.name, s.desc)
	}
}
