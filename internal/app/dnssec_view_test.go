package app

import (
	"strings"
	"testing"

	"postern/internal/dnstest"
)

// A server of one's own answers for a domain whose parent is signed.
func TestASplitHorizonIsDeclared(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	view := dnstest.Instead(dnstest.Start(t, "corp.example.com. MX 10 mx.corp.example.com.\nmx.corp.example.com. A 127.0.0.2"))
	w.dns.Break("corp.example.com", "", view)
	w.dns.Break("mx.corp.example.com", "", view)
	p := w.begin(t, inMemory+w.resolverWith("")+w.outbound(""))
	if reply := recipient(t, p.at(t, "egress"), "corp.example.com", 451); !strings.Contains(reply, "insecure_domains") {
		t.Errorf("the reply does not say what to do: %s", reply)
	}
	must(p.stop())
	p = w.begin(t, inMemory+w.resolverWith(`insecure_domains = ["corp.example.com"]`)+w.outbound(""))
	mail(t, p.at(t, "egress"), "corp.example.com")
}

// SEM 27: of a server that is believed the same is asked as of one that is checked.
func TestAServerThatStopsToVouchTakesNobodysRecordsAway(t *testing.T) {
	w := newWorld(t)
	vouched := dnstest.Fault{Mangle: func(query, answer []byte) [][]byte {
		answer[3] |= query[3] & 0x20
		return [][]byte{answer}
	}}
	w.dns = dnstest.Start(t, "example.com. MX 10 mx.example.com.\nmx.example.com. A 127.0.0.2\nietf.org. SOA a. b. 1 1 1 1 1\n"+w.tlsa(true))
	w.dns.Break("", "", vouched)
	w.dns.Break("google.com", "", dnstest.NoName)
	text := w.kept() + "resolver {\n  servers = [\"" + w.dns.Address + "\"]\n  dnssec = \"trust-ad\"\n}\n" + w.outbound("")
	p := w.begin(t, text)
	mail(t, p.at(t, "egress"), "example.com")
	p.log.await(t, "msg=delivery", "tls=dane")
	must(p.stop())
	w.dns.Mend()
	p = w.begin(t, text)
	if reply := recipient(t, p.at(t, "egress"), "example.com", 451); !strings.Contains(reply, "in the last 30 days") {
		t.Error(reply)
	}
}

// What DNSSEC says of a host without addresses does not matter.
func TestAHostWithoutAddressIsCalledThat(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "gone MX 10 nowhere\nnowhere TXT x\n")
	p := w.begin(t, inMemory+w.resolverWith("")+w.outbound(""))
	if reply := recipient(t, p.at(t, "egress"), "gone.example.com", 451); !strings.Contains(reply, "no address") || strings.Contains(reply, "4.7.5") {
		t.Error(reply)
	}
}
