package dnstest

import (
	"slices"

	"github.com/miekg/dns"
)

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
	WrongID   = Fault{Mangle: wrongID}              // as from somebody who has not seen the question
	OtherName = Fault{Mangle: otherName}            // what it answers is another question
	Unproved  = Fault{Mangle: unproved}             // of what there is not, no proof is given
)

// Instead has questions answered by what another server knows: as by somebody who
// is in between.
func Instead(other *Server) Fault {
	return Fault{Mangle: func(query, _ []byte) [][]byte { return other.reply(query, "tcp") }}
}

func wrongID(_, answer []byte) [][]byte {
	answer[0] ^= 1
	return [][]byte{answer}
}

// otherName answers for a name whose first letter is the next one in the alphabet.
func otherName(_, answer []byte) [][]byte {
	answer[headerSize+1]++
	return [][]byte{answer}
}

const headerSize = 12 // of a message; the name in the question comes behind it

func unproved(_, answer []byte) [][]byte {
	m := new(dns.Msg)
	if m.Unpack(answer) != nil || len(m.Answer) > 0 {
		return [][]byte{answer}
	}
	m.Ns = slices.DeleteFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeSOA })
	bare, err := m.Pack()
	if err != nil {
		panic(err) // it was packed before
	}
	return [][]byte{bare}
}

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
