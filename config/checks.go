package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

func line(at hcl.Range) string {
	return strconv.Itoa(at.Start.Line)
}

// addInbound opens an inbound block, in the manner of addCertificate.
func (d *decoder) addInbound(c *Config, s *section) table {
	in := DefaultInbound(s.label)
	d.once(d.edges(), s)
	d.inbounds = append(d.inbounds, &inboundSource{&in, s})
	return in.table(d)
}

// checkFile compares the blocks with each other, once all were read, and fills
// in what depends on several of them.
func (d *decoder) checkFile(c *Config, s *section) {
	if c.Hostname == fallbackHostname && !s.has("hostname") {
		d.warn(s.at, "hostname is missing", `The name of this machine is not fully qualified, so postern calls itself `+fallbackHostname+`: write hostname = "mx1.example.org", the name that your MX record points to.`)
	}
	if len(d.inbounds) == 0 && len(d.outbounds) == 0 {
		d.wrong(s.at, "no inbound and no outbound block", "Write\n"+indent(inboundHelp)+"\nfor mail that arrives, or for mail that leaves\n"+indent(outboundHelp))
	}
	for _, src := range d.inbounds {
		d.checkCertificates(c, src)
		c.Inbounds = append(c.Inbounds, *src.in)
	}
	for _, src := range d.outbounds {
		c.Outbounds = append(c.Outbounds, src.out)
	}
	d.checkDNSSEC(c)
	d.checkUnused(c)
	d.checkListens(c, s)
}

// checkCertificates finds the certificates of an inbound; all of the file when
// none is named.
func (d *decoder) checkCertificates(c *Config, src *inboundSource) {
	in, sec := src.in, src.sec
	known := make([]string, len(d.certificates))
	for i, w := range d.certificates {
		known[i] = w.name
	}
	if v, ok := sec.attrs["certificates"]; ok {
		d.checkCertificateNames(v, known)
	}
	if in.TLS == "off" || sec.has("tls") && !sec.ok("tls") {
		return
	}
	v, named := sec.attrs["certificates"]
	if !named {
		in.Certificates = slices.Clone(known)
	}
	switch {
	case len(in.Certificates) > 0:
	case len(known) == 0 && !named:
		d.wrong(sec.place("tls"), "TLS without a certificate", "Write\n"+indent(certificateHelp)+"\nor, to try things out, self_signed = [\"mx1.example.org\"] in place of the files, or tls = \"off\" in this inbound.")
	case v.good:
		v.wrong("empty list", "Name certificate blocks of this file, or remove the line for all of them.")
	}
}

func (d *decoder) checkCertificateNames(v value, known []string) {
	each(v, "", func(item value, name string) (string, bool) {
		switch {
		case slices.Contains(known, name):
		case len(known) == 0:
			item.wrong("there is no certificate "+quote(name), "Write\n"+indent(strings.Replace(certificateHelp, `"mx"`, quote(name), 1)))
		default:
			item.wrong("there is no certificate "+quote(name), suggest(name, known))
		}
		return "", false
	})
}

func (d *decoder) checkUnused(c *Config) {
	if len(c.Inbounds) == 0 && len(c.Outbounds) == 0 {
		return
	}
	for _, w := range d.certificates {
		used := slices.ContainsFunc(c.Inbounds, func(in Inbound) bool { return slices.Contains(in.Certificates, w.name) })
		if !used {
			d.warn(w.at, "certificate "+quote(w.name)+" is used by no inbound", "Name it in certificates of an inbound, or remove the block.")
		}
	}
}

// checkInbound looks at one inbound alone.
func (d *decoder) checkInbound(in *Inbound, s *section) {
	d.checkBalance(s)
	d.checkNetworks(in, s)
	d.checkFamilies(in, s)
	if in.TLS == "off" {
		d.checkWithoutTLS(s)
	} else {
		d.checkGrade(in, s)
		d.checkPorts(in, s)
		checkClientRoots(in, s)
	}
	if len(in.BareNewlineExempt) > 0 && in.BareNewline == "normalize" {
		s.attrs["bare_newline_exempt"].warn("without effect", `bare_newline = "normalize" does it for every client: remove one of the two lines.`)
	}
}

func checkClientRoots(in *Inbound, s *section) {
	if s.ok("client_roots") && in.ClientCertificates == "none" {
		s.attrs["client_roots"].warn("without effect", `No client certificate is asked for: write client_certificates = "request" too, or remove the line.`)
	}
}

func (d *decoder) checkBalance(s *section) {
	b := s.blocks["backend"]
	if b != nil && b.has("balance") && s.has("balance") {
		d.wrong(s.place("balance"), "balance is written twice", "Line "+line(b.place("balance"))+" says it too: remove one of the two.")
	}
}

// checkWithoutTLS names what has no meaning when no TLS is spoken.
func (d *decoder) checkWithoutTLS(s *section) {
	for _, name := range []string{"certificates", "grade", "forward_secrecy", "session_tickets", "client_certificates", "client_roots", "handshake_memory"} {
		if v, ok := s.attrs[name]; ok {
			v.warn("without effect", `This inbound has tls = "off": remove the line, or write tls = "offer".`)
		}
	}
}

func (d *decoder) checkGrade(in *Inbound, s *section) {
	strict := in.Grade == "modern" || in.Grade == "intermediate"
	if strict && s.ok("forward_secrecy") && in.ForwardSecrecy != "require" {
		s.attrs["forward_secrecy"].warn("without effect", "Grade "+quote(in.Grade)+" has forward secrecy always. Remove the line, or write grade = \"mail\" for clients that can do without only.")
	}
}

// checkPorts warns of TLS on a port where the world expects something else.
func (d *decoder) checkPorts(in *Inbound, s *section) {
	for _, address := range in.Listen {
		a := parseEndpoint(address)
		at := s.place("tls")
		switch {
		case a.addr.IsLoopback():
		case a.port == 25 && in.TLS == "require":
			// RFC 3207, 4: a publicly referenced SMTP server must not require TLS.
			d.warn(at, `tls = "require" on port 25`, `Servers that speak no TLS cannot deliver mail to you any more, which RFC 3207 forbids for a public mail exchanger: write tls = "offer" unless you know every sender.`)
			return
		case a.port == 25 && in.TLS == "implicit":
			d.warn(at, `tls = "implicit" on port 25`, `No mail server starts TLS at once on port 25: write tls = "offer".`)
			return
		case a.port == 465 && in.TLS != "implicit":
			// RFC 8314, 3.3: implicit TLS on port 465.
			d.warn(at, "port 465 without implicit TLS", `Mail programs start TLS at once on port 465: write tls = "implicit", in an inbound of its own.`)
			return
		}
	}
}

// checkNetworks warns of trust in networks that are not one's own.
func (d *decoder) checkNetworks(in *Inbound, s *section) {
	for _, p := range in.AuthPlaintextFrom {
		if !privatePrefix(p) {
			s.attrs["auth_plaintext_from"].warn("public network "+p.String(), "Passwords from there cross the Internet in clear: name private networks only, or let those clients use TLS.")
		}
	}
	for _, p := range in.ProxyProtocol {
		if p.Bits() == 0 {
			b := s.blocks["proxy_protocol"]
			b.attrs["from"].warn("everyone", "Whoever connects may claim any address: name the networks of your load balancers only.")
		}
	}
}

// checkFamilies warns of clients that no backend can see the address of: a connection has
// both ends in one family. A name may have addresses of both.
func (d *decoder) checkFamilies(in *Inbound, s *section) {
	b := s.blocks["backend"]
	if in.Backend.ClientAddress != "transparent" || b == nil {
		return
	}
	for _, v4 := range []bool{true, false} {
		comes := slices.ContainsFunc(in.Listen, func(address string) bool {
			a := parseEndpoint(address).addr
			return !a.IsValid() || a.Is4() == v4
		})
		suits := slices.ContainsFunc(in.Backend.Addresses, func(address string) bool {
			a := parseEndpoint(address).addr
			return !a.IsValid() || a.Is4() == v4
		})
		if family := map[bool]string{true: "IPv4", false: "IPv6"}[v4]; comes && !suits && len(in.Backend.Addresses) > 0 {
			d.warn(b.place("client_address"), "clients of "+family+" are turned away", `The mail server sees their address only if it has one of the same family: write addresses = [...] with one of `+family+` too, or listen without `+family+`.`)
		}
	}
}

func privatePrefix(p netip.Prefix) bool {
	for _, own := range []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"} {
		n := netip.MustParsePrefix(own)
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// takeAddresses takes the one address or the list of them: exactly one of both must be
// written. what they are addresses of, and missing is what to write where there is none.
func takeAddresses(all *[]string, one string, s *section, what, missing string) {
	switch single, list := s.has("address"), s.has("addresses"); {
	case single && list:
		s.d.wrong(s.place("addresses"), "address and addresses", "Write one of them: address for one "+what+", addresses for several.")
	case !single && !list:
		s.d.wrong(s.at, "address is missing", missing)
	case single && one != "":
		*all = []string{one}
	}
}

// checkBackend takes the one address or the list of them.
func checkBackend(b *Backend, one string, s *section) {
	d := s.d
	takeAddresses(&b.Addresses, one, s, "mail server", `Write address = "127.0.0.1:2525", where your mail server listens.`)
	for i, address := range b.Addresses {
		d.warnPublic(s.backendPlace(i, len(b.Addresses)), address)
	}
	if b.ClientAddress == "none" {
		s.attrs["client_address"].warn("the backend sees postern's address for every client", `It must not trust that address: take it out of mynetworks (Postfix) or relay_from_hosts (Exim), or everyone can relay. "xclient" or "proxy-v2" tell it who the client is.`)
	}
}

// warnPublic warns of a backend across the Internet. Names are resolved later,
// by those who connect.
func (d *decoder) warnPublic(at hcl.Range, address string) {
	a := parseEndpoint(address).addr
	if a.IsValid() && !privatePrefix(netip.PrefixFrom(a, a.BitLen())) {
		d.warn(at, "backend on a public address: "+address, "Mail and passwords cross the network in clear between postern and the backend: put postern beside the mail server, or a VPN between them.")
	}
}
