// Package catches proves the whole path of a sidecar: a mail server without any TLS,
// whose configuration nobody has touched, has modern TLS both ways once "postern redirect
// install" has run beside it, and nothing leaves in clear when postern is gone.
package catches

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// pod is a mail server with postern beside it, and the Internet that both see.
type pod struct {
	t       *testing.T
	lab     *harness.Lab
	inside  *harness.Namespace
	world   *harness.Namespace
	postern *harness.Postern
	mta     *harness.Sender
	servers map[string]*smtptest.Backend // by domain
}

const (
	podIPv4   = "10.79.0.2"
	podIPv6   = "fd79::2"
	worldIPv4 = "10.79.0.1"
	worldIPv6 = "fd79::1"
)

const domains = `
four.test.    0 IN MX 10 mx.four.test.
mx.four.test. 0 IN A 10.79.0.11
six.test.     0 IN MX 10 mx.six.test.
mx.six.test.  0 IN AAAA fd79::12
`

// user is whom postern runs as: nobody, with CAP_NET_RAW.
const user = "nobody"

// newPod starts everything but the redirect. In top, further text of the configuration,
// PROXY stands for the address where the mail server wants a PROXY header.
func newPod(t *testing.T, top string) *pod {
	p := &pod{t: t, lab: harness.NewLab(t), inside: harness.NewNamespace(t), world: harness.NewNamespace(t), servers: map[string]*smtptest.Backend{}}
	harness.Link(p.inside, "eth0", []string{podIPv4 + "/24", podIPv6 + "/64"},
		p.world, "eth0", []string{worldIPv4 + "/24", "10.79.0.11/24", worldIPv6 + "/64", "fd79::12/64"})
	p.inside.Run("ip route add default via " + worldIPv4 + "; ip -6 route add default via " + worldIPv6)
	p.world.Do(func() {
		for domain, addr := range map[string]string{"four.test": "10.79.0.11:25", "six.test": "[fd79::12]:25"} {
			p.servers[domain] = smtptest.NewBackendAt(t, addr, smtptest.Script{TLS: harness.With(p.lab.Certificate(catest.Leaf{Names: []string{"mx." + domain}}))})
		}
	})
	p.world.Run(`nft 'add table inet watch; add chain inet watch input { type filter hook input priority 0; }; add rule inet watch input tcp dport 25 counter'`)
	dns, err := dnstest.New(domains)
	if err != nil {
		t.Fatal(err)
	}
	p.inside.Do(func() { err = dns.Listen("127.0.0.1:53") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Close)
	p.inside.Do(func() {
		p.mta = harness.NewPostfixSenderAt(t, "0.0.0.0:25", mailServer)
		p.postern = harness.Gateway{
			DNS: "127.0.0.1:53", Route: "original", Roots: p.lab.CA.File, User: user,
			Addr: "127.0.0.1:10025", Also: "[::1]:10025", Outbound: verified,
			Top: strings.ReplaceAll(top, "PROXY", p.mta.ProxyAddr),
		}.Start(t)
	})
	return p
}

// mailServer is a Postfix that takes mail for client.test from everybody, and for others
// from this machine alone. Nothing in it is about TLS or about postern.
const mailServer = `inet_interfaces = all
inet_protocols = all
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
smtp_connect_timeout = 5s`

// verified asks for a certificate with the name of the mail exchanger, so that mail which
// arrives has been sent over verified TLS.
const verified = "  level = \"verify\"\n"

// command runs postern in the pod and returns what it said.
func (p *pod) command(args ...string) (out string, code int) {
	p.inside.Do(func() { out, code = harness.Run(p.t, "", harness.Binary(p.t), args...) })
	return out, code
}

func (p *pod) must(args ...string) string {
	p.t.Helper()
	out, code := p.command(args...)
	if code != 0 {
		p.t.Fatalf("postern %s: %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// sniffed is how many packets for port 25 have reached the Internet.
func (p *pod) sniffed() int {
	p.t.Helper()
	return counter(p.t, p.world, "watch", `tcp dport 25 counter packets (\d+)`)
}

// counter reads a counter of a table.
func counter(t *testing.T, n *harness.Namespace, table, pattern string) (count int) {
	t.Helper()
	n.Do(func() {
		out, _ := harness.Run(t, "", harness.Tool(t, "nft"), "list", "table", "inet", table)
		m := regexp.MustCompile(pattern).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("nothing like %s in\n%s", pattern, out)
		}
		count, _ = strconv.Atoi(m[1])
	})
	return count
}

// send has the mail server send a message to a domain.
func (p *pod) send(id, domain string) {
	p.inside.Do(func() { p.mta.Submit(harness.Message(id), "b@"+domain) })
}

// arrived waits for the message, and gives the connection that it came by.
func (p *pod) arrived(id, domain string) *smtptest.Conn {
	p.t.Helper()
	var came *smtptest.Conn
	if !harness.Poll(harness.Deadline, func() bool {
		for _, c := range p.servers[domain].Conns() {
			if strings.Contains(strings.Join(c.Messages(), "\n"), "<"+id+"@") {
				came = c
			}
		}
		return came != nil
	}) {
		p.t.Fatalf("%s did not get %s:\n%s\n%s", domain, id, p.mta.Log(), p.postern.Out.String())
	}
	return came
}

// waits says that the message waits in the queue, and gives the reason.
func (p *pod) waits(domain string) (reason string) {
	p.t.Helper()
	harness.Eventually(p.t, fmt.Sprintf("mail for %s waits", domain), func() bool {
		reason = p.mta.Deferred()["b@"+domain]
		return reason != ""
	})
	return reason
}
