package dnstest

import "github.com/miekg/dns"

// Fault is a way to misbehave. What is set is done; the zero Fault is none.
type Fault struct {
	// Rcode is answered, without records: "SERVFAIL", "REFUSED", "FORMERR" …
	Rcode string
	// Drop answers nothing at all.
	Drop bool
	// Truncate sends an empty answer with the TC flag over UDP.
	Truncate bool
	// Hold is waited for, or the server's end, before the answer.
	Hold <-chan struct{}
	// Mangle returns what is sent instead of the right answer, each element as
	// one datagram or one message of a stream. Both are in wire format.
	Mangle func(query, answer []byte) [][]byte

	// Times limits the fault to the next so many questions. 0: for ever.
	Times int
	// EDNS limits it to questions that carry EDNS, UDP and TCP to a transport
	// (TLS counts as TCP). None: to none.
	EDNS, UDP, TCP bool
}

// The faults that tests need most.
var (
	ServFail  = Fault{Rcode: "SERVFAIL"}
	Refused   = Fault{Rcode: "REFUSED"}
	NoName    = Fault{Rcode: "NXDOMAIN"}
	Silent    = Fault{Drop: true}
	Truncated = Fault{Truncate: true}
	PlainOnly = Fault{Rcode: "FORMERR", EDNS: true} // a server from before 1999
)

// hits says whether f applies to a question.
func (f *Fault) hits(q *dns.Msg, network string) bool {
	return (!f.EDNS || q.IsEdns0() != nil) && (f.UDP == f.TCP || f.UDP == (network == "udp"))
}

// apply changes the right answer to q. Not all can be done there.
func (f *Fault) apply(m *dns.Msg, network string) {
	truncated := f.Truncate && network == "udp"
	if f.Rcode == "" && !truncated {
		return
	}
	m.Answer, m.Ns = nil, nil
	m.Truncated = truncated
	if f.Rcode != "" {
		m.Rcode = dns.StringToRcode[f.Rcode]
	}
}
