package dnstest

import (
	"time"

	"github.com/miekg/dns"
)

// Reply is what a resolver says to a question.
type Reply struct {
	Rcode         string // "NOERROR", "SERVFAIL"
	Authenticated bool   // the AD flag
	Answers       int    // records in the answer section
}

// Ask asks a resolver, such as one to compare with. With checking disabled (CD)
// it says what it has without having validated it.
func Ask(address, name, kind string, disabled bool) (Reply, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), typeOf(kind))
	m.AuthenticatedData, m.CheckingDisabled = true, disabled
	m.SetEdns0(1232, false)
	for _, network := range []string{"udp", "tcp"} {
		answer, _, err := (&dns.Client{Net: network, Timeout: 30 * time.Second}).Exchange(m, address)
		if err != nil {
			return Reply{}, err
		}
		if !answer.Truncated {
			return Reply{dns.RcodeToString[answer.Rcode], answer.AuthenticatedData, len(answer.Answer)}, nil
		}
	}
	return Reply{Rcode: "TC"}, nil
}
