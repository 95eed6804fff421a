package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// patience is how long postern may look for a way: SMTP clients wait 5 minutes
// for the reply to a RCPT (RFC 5321, 4.5.3.2.3), and the reply must reach them.
const patience = 4*time.Minute + 30*time.Second

// checkOutbound looks at one outbound alone, once all of it was read, and gives
// its destinations what they did not say.
func (d *decoder) checkOutbound(src *outboundSource, s *section) {
	o := &src.out
	o.FromWritten = s.has("from")
	o.Place = place(s.place("level"))
	checkStrength(s, o.Level, o.Match, o.Fingerprints)
	for _, to := range src.to {
		to.inherit(o)
		checkStrength(to.sec, to.Level, to.Match, to.Fingerprints)
		o.Destinations = append(o.Destinations, to.Destination)
	}
	d.checkRoute(src, s)
	d.checkFrom(o, s)
	checkEffect(o, s)
	if t := s.blocks["timeouts"]; t != nil && o.Timeouts.Route > patience {
		t.attrs["route"].warn("longer than clients wait", `They give up after 5 minutes without a reply to RCPT: write at most "4m30s".`)
	}
}

// checkStrength compares a level with what only some levels need.
func checkStrength(s *section, level string, match, fingerprints []string) {
	named := level == "verify" || level == "secure"
	if s.has("level") && !s.ok("level") {
		return
	}
	if s.ok("match") && len(match) > 0 && !named {
		s.attrs["match"].wrong("no names are compared at level "+quote(level), `Write level = "secure" beside it, or remove the line.`)
	}
	if s.ok("fingerprints") && len(fingerprints) > 0 && level != "fingerprint" {
		s.attrs["fingerprints"].wrong("no fingerprints are compared at level "+quote(level), `Write level = "fingerprint" beside it, or remove the line.`)
	}
	if s.has("level") && level == "fingerprint" && len(fingerprints) == 0 && (s.ok("fingerprints") || !s.has("fingerprints")) {
		s.d.wrong(s.place("level"), `level "fingerprint" without fingerprints`, `Write fingerprints = ["sha256:…"], with the digits that openssl x509 -noout -fingerprint -sha256 shows.`)
	}
}

// checkRoute compares the route with what only some routes use.
func (d *decoder) checkRoute(src *outboundSource, s *section) {
	o := &src.out
	if s.has("route") && !s.ok("route") {
		return
	}
	host := s.blocks["smarthost"]
	switch {
	case o.Route == "smarthost" && host == nil:
		d.wrong(s.place("route"), `route = "smarthost" without a smarthost block`, "Write\n  smarthost {\n    address = \"smtp.example.net:587\"\n  }")
	case o.Route != "smarthost" && host != nil:
		d.wrong(host.at, "a smarthost that is not used", `This outbound has route = `+quote(o.Route)+`: write route = "smarthost", or remove the block.`)
	}
	if o.Route == "original" && o.Protocol == "lmtp" {
		d.wrong(s.place("protocol"), `protocol = "lmtp" with route = "original"`, `A mail server whose connections are redirected speaks SMTP: write protocol = "smtp".`)
	}
	if o.Route != "original" && o.Transparent {
		s.attrs["transparent"].warn("without effect", `It is for connections that TPROXY hands over, which have a destination: write route = "original", or remove the line.`)
	}
	if o.Route != "mx" && s.has("mx_port") {
		s.attrs["mx_port"].warn("without effect", `It is the port of route = "mx" alone: remove the line.`)
	}
	if o.Route == "mx" && (o.Level == "fingerprint" || o.Level == "secure") && s.ok("level") && len(o.Match) == 0 {
		s.attrs["level"].warn(quote(o.Level)+" for every destination", "Most domains have mail exchangers whose certificates are for names of their provider: mail for them would wait until it bounces. Write it into destination blocks.")
	}
	d.checkDestinations(src)
	d.checkImplicit(o, s)
}

// checkDestinations warns of blocks that the route never looks at.
func (d *decoder) checkDestinations(src *outboundSource) {
	for _, to := range src.to {
		_, _, isNetwork := readPrefix(to.Pattern)
		switch {
		case to.Pattern == "":
		case src.out.Route == "smarthost" && !namesSmarthost(to.Pattern, src.out.Smarthost):
			d.warn(to.sec.labelRange, "destination "+quote(to.Pattern)+" is not the smarthost", `With route = "smarthost" everything goes there, and only a block with its name is looked at: write level and the like into the outbound itself.`)
		case src.out.Route == "mx" && isNetwork == "":
			d.warn(to.sec.labelRange, "destination "+quote(to.Pattern)+" is an address", `Addresses are compared with route = "original" alone: write the domain of the recipients.`)
		}
	}
}

// namesSmarthost reports whether a pattern covers one of the smarthost's hosts.
func namesSmarthost(pattern string, h *Smarthost) bool {
	if h == nil {
		return true
	}
	network, summary, _ := readPrefix(pattern)
	return slices.ContainsFunc(h.Addresses, func(address string) bool {
		e := parseEndpoint(address)
		return e.host == pattern ||
			strings.HasPrefix(pattern, ".") && strings.HasSuffix(e.host, pattern) ||
			summary == "" && e.addr.IsValid() && network.Contains(e.addr)
	})
}

// checkImplicit finds TLS from the first octet where there is to be none.
func (d *decoder) checkImplicit(o *Outbound, s *section) {
	host := s.blocks["smarthost"]
	if host != nil && o.Smarthost.TLS == "implicit" && o.Level == "none" {
		d.wrong(s.place("level"), `level = "none" with a smarthost that starts with TLS`, `Line `+line(host.place("tls"))+` leads to implicit TLS: write another level, or a port with tls = "starttls".`)
	}
}

// checkSmarthost takes the one address or the list of them, and finds how TLS
// starts there.
func checkSmarthost(h *Smarthost, one string, s *section) {
	d := s.d
	takeAddresses(&h.Addresses, one, s, "server", `Write address = "smtp.example.net:587", where your provider takes mail.`)
	with465 := 0
	for _, address := range h.Addresses {
		if parseEndpoint(address).port == 465 {
			with465++
		}
	}
	switch {
	case h.TLS == "" && with465 > 0 && with465 < len(h.Addresses):
		d.wrong(s.place("addresses"), "port 465 and others in one smarthost", `TLS starts at once on port 465, and with STARTTLS elsewhere: write one port for all, or tls = "starttls" or "implicit" if they are all alike.`)
	case h.TLS == "" && with465 > 0:
		h.TLS = "implicit" // RFC 8314, 3.3
	case h.TLS == "" && !s.has("tls"):
		h.TLS = "starttls"
	case h.TLS == "starttls" && with465 > 0:
		s.attrs["tls"].warn("port 465 without implicit TLS", `Servers start TLS at once on port 465: write tls = "implicit", or remove the line.`)
	case h.TLS == "implicit" && with465 == 0 && startsClear(h.Addresses):
		s.attrs["tls"].warn("implicit TLS on a port for STARTTLS", `Servers start in clear on ports 25 and 587: write tls = "starttls", or port 465.`)
	}
}

func startsClear(addresses []string) bool {
	return slices.ContainsFunc(addresses, func(address string) bool {
		p := parseEndpoint(address).port
		return p == 25 || p == 587
	})
}

// checkFrom looks at who may use an outbound: whoever may, sends mail in the
// name of this machine (SEM 17).
func (d *decoder) checkFrom(o *Outbound, s *section) {
	v, written := s.attrs["from"]
	if written && v.good && len(o.From) == 0 {
		v.wrong("empty list", `Nobody may use this outbound then: write from = ["127.0.0.0/8", "::1/128"], or the networks of your mail servers.`)
	}
	for i, p := range o.From {
		at := s.itemPlace("from", i, len(o.From))
		switch {
		case privatePrefix(p):
		case p.IsSingleIP():
			d.warn(at, "from: "+p.Addr().String()+" is a public address", "Its mail crosses the network in clear on the way to postern: put postern beside that mail server, or a VPN between them.")
		default:
			d.warn(at, "from: an open relay for "+p.String(), "Whoever connects from there can send mail to anyone in your name: name the networks of your own mail servers only.")
		}
	}
	if written && !v.good || o.Route == "original" && !written || slices.ContainsFunc(o.From, notLoopback) {
		return
	}
	for i, address := range o.Listen {
		if a := parseEndpoint(address); !a.addr.IsLoopback() {
			d.warn(s.itemPlace("listen", i, len(o.Listen)), "listen: "+address+" is open to others, and from lets none of them in", `Write from = ["10.0.0.0/8"], with the networks of your mail servers, or listen on "127.0.0.1:`+strings.TrimPrefix(a.String()[strings.LastIndex(a.String(), ":"):], ":")+`" only.`)
			return
		}
	}
}

func notLoopback(p netip.Prefix) bool {
	return !p.Addr().IsLoopback()
}

// checkEffect warns of what the rest of the outbound makes meaningless.
func checkEffect(o *Outbound, s *section) {
	if s.ok("fallback") && !someAt(o, "auto", "may", "dane") {
		s.attrs["fallback"].warn("without effect", "It is about connections that may go without TLS, and no destination here has it: mail for a level above it waits until TLS is as asked for. Remove the line.")
	}
	if s.ok("remember") && !someAt(o, "auto") {
		s.attrs["remember"].warn("without effect", `It is about level = "auto", and no destination here has it: remove the line.`)
	}
	if s.ok("mta_sts") && o.MTASTS && !someAt(o, "auto") {
		s.attrs["mta_sts"].warn("without effect", `It is about level = "auto", and no destination here has it: remove the line.`)
	}
	if b := s.blocks["remember_after"]; b != nil && o.Remember == "off" {
		s.d.warn(b.at, "remember_after without effect", `This outbound has remember = "off": remove the block.`)
	}
	if o.BareNewline == "normalize" && s.ok("bare_newline_exempt") && len(o.BareNewlineExempt) > 0 {
		s.attrs["bare_newline_exempt"].warn("without effect", `bare_newline = "normalize" does it for every client: remove the line, or write bare_newline = "reject".`)
	}
	checkFamilies(o, s)
}

// someAt reports whether the outbound or one of its destinations is at one of
// the levels.
func someAt(o *Outbound, levels ...string) bool {
	return slices.Contains(levels, o.Level) || slices.ContainsFunc(o.Destinations, func(to Destination) bool {
		return slices.Contains(levels, to.Level)
	})
}

// checkFamilies finds source addresses of a family that is never used.
func checkFamilies(o *Outbound, s *section) {
	for _, a := range o.SourceAddress {
		if o.AddressFamily == "ipv4" && a.Is6() || o.AddressFamily == "ipv6" && a.Is4() {
			s.attrs["source_address"].warn("without effect: "+a.String(), "This outbound has address_family = "+quote(o.AddressFamily)+": write an address of that family, or another address_family.")
		}
	}
}
