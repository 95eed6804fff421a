package config

import (
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

func (r *Resolver) table() table {
	return table{
		fields: []field{
			resolverServers("servers", &r.Servers),
			choice("dnssec", &r.DNSSEC, "validate", "trust-ad", "off"),
			filePath("trust_anchors", &r.TrustAnchors),
			insecureDomains("insecure_domains", &r.Insecure),
		},
		check: func(s *section) { checkResolver(r, s) },
	}
}

func checkResolver(r *Resolver, s *section) {
	r.DNSSECWritten = s.has("dnssec")
	if s.has("dnssec") && !s.ok("dnssec") {
		return
	}
	if s.ok("trust_anchors") && r.DNSSEC != "validate" {
		s.attrs["trust_anchors"].warn("without effect", `Nothing is validated here with dnssec = `+quote(r.DNSSEC)+`: remove the line, or write dnssec = "validate".`)
	}
	if s.ok("insecure_domains") && r.DNSSEC != "validate" {
		s.attrs["insecure_domains"].warn("without effect", `Nothing is validated here with dnssec = `+quote(r.DNSSEC)+`: remove the line.`)
	}
	if r.DNSSEC != "trust-ad" || s.has("servers") && !s.ok("servers") {
		return
	}
	switch far := slices.IndexFunc(r.Servers, notHere); {
	case len(r.Servers) == 0:
		s.attrs["dnssec"].warn("trust-ad without servers", `Whoever /etc/resolv.conf names is believed then, and everybody on the way to it: write servers = ["127.0.0.1:53"], a resolver on this machine that validates, or dnssec = "validate".`)
	case far >= 0:
		// RFC 4035, 4.9.3: the AD flag is worth what the way to the server is worth.
		s.d.warn(s.itemPlace("servers", far, len(r.Servers)), "servers: "+r.Servers[far]+" is not on this machine, and its word is taken", `Everybody on the way to it can say that an answer is signed: write a resolver on this machine, or dnssec = "validate".`)
	}
}

// insecureDomains is a list of domains that are not validated (RFC 7646).
func insecureDomains(name string, target *[]string) field {
	return field{name: name, read: func(v value) {
		*target = each(v, "", func(item value, text string) (string, bool) {
			domain, ok := normalDomain(text)
			if !ok {
				item.wrong("not a domain: "+quote(text), `Write one that your own resolver answers for in its own way, "corp.example.com": what is below it is meant too.`)
			}
			return domain, ok
		})
	}}
}

// notHere says whether somebody may stand between a server and this machine. With
// DNS over TLS it is the server alone who is believed.
func notHere(server string) bool {
	return !strings.HasPrefix(server, "tls://") && !parseEndpoint(server).addr.IsLoopback()
}

// checkDNSSEC finds levels that cannot be met without DNSSEC.
func (d *decoder) checkDNSSEC(c *Config) {
	if c.Resolver.DNSSEC != "off" {
		return
	}
	const write = `TLSA records count only if they are signed: write dnssec = "validate" in the resolver block, or another level.`
	isDANE := func(level string) bool { return level == "dane" || level == "dane-only" }
	for _, src := range d.outbounds {
		if src.sec.ok("level") && isDANE(src.out.Level) {
			src.sec.attrs["level"].wrong(`no DANE with dnssec = "off"`, write)
		}
		for _, to := range src.to {
			if to.sec.ok("level") && isDANE(to.Level) {
				to.sec.attrs["level"].wrong(`no DANE with dnssec = "off"`, write)
			}
		}
	}
}

// resolverServers is a list of DNS servers by address; the port is 53 where
// none is written, and 853 for DNS over TLS.
func resolverServers(name string, target *[]string) field {
	return field{name: name, read: func(v value) { *target = each(v, "", parseResolver) }}
}

func parseResolver(v value, text string) (string, bool) {
	if strings.Contains(text, "://") {
		return parseResolverTLS(v, text)
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return net.JoinHostPort(a.String(), "53"), true
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil || a.Port() == 0 || a.Addr().IsUnspecified() {
		v.wrong("not the address of a DNS server: "+quote(text), `Write an IP address with its port, as in "127.0.0.1:53": a name could not be looked up yet. DNS over TLS is "tls://192.0.2.53:853".`)
		return "", false
	}
	return a.String(), true
}

// parseResolverTLS checks a server of DNS over TLS (RFC 7858): a name or an
// address, the name in its certificate where that is another, and the key that it
// must have (RFC 7858, 4.2).
func parseResolverTLS(v value, text string) (string, bool) {
	const write = `Write "tls://192.0.2.53:853", with the name in its certificate behind it if that is not the address, "tls://192.0.2.53:853#dns.example.net", or the SHA-256 of its public key, "tls://192.0.2.53:853?pin-sha256=…".`
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "tls" || u.User != nil || u.Path != "" || !validServer(u.Hostname()) || u.Port() != "" && !validPort(u.Port(), 1) {
		v.wrong("not a DNS server: "+quote(text), write)
		return "", false
	}
	for key, pins := range u.Query() {
		// In a query a + is a space.
		pin, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(pins[0], " ", "+"))
		if key != "pin-sha256" || len(pins) > 1 || err != nil || len(pin) != 32 {
			v.wrong("not the pin of a DNS server: "+quote(text), write)
			return "", false
		}
	}
	return text, true
}

func validServer(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return !a.IsUnspecified()
	}
	return validHost(host, 1)
}
