package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// prefixes is a list of networks; a bare address is a network of one.
func prefixes(name string, target *[]netip.Prefix) field {
	return field{name: name, read: func(v value) { *target = each(v, "", parsePrefix) }}
}

func parsePrefix(v value, text string) (netip.Prefix, bool) {
	p, summary, detail := readPrefix(text)
	if summary != "" {
		v.wrong(summary, detail)
	}
	return p, summary == ""
}

// readPrefix returns the network of a text, or what is wrong with it and what to
// write instead.
func readPrefix(text string) (p netip.Prefix, summary, detail string) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), "", ""
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, "not a network: " + quote(text), `Write an address with the length of its prefix, or one address: "10.0.0.0/8", "2001:db8::/32", "192.0.2.7".`
	case p.Addr().Is4In6():
		return p, "an IPv4 network in IPv6 notation: " + quote(text), `Write the IPv4 network itself, as in "10.0.0.0/8".`
	case p != p.Masked():
		return p, "the address has bits behind its prefix: " + quote(text), "Write " + quote(p.Masked().String()) + " for the network, or " + quote(p.Addr().String()) + " for that one address."
	}
	return p, "", ""
}

// listen is a list of addresses to listen on, such as example; there must be one.
func listen(name string, target *[]string, example string) field {
	return field{name: name, read: func(v value) {
		*target = each(v, "at least one address: listen = "+example, parseListen)
	}}
}

// listenOne is one address to listen on.
func listenOne(name string, target *string) field {
	return field{name: name, read: func(v value) {
		if text, ok := v.text(); ok {
			*target, _ = parseListen(v, text)
		}
	}}
}

// parseListen checks host:port with a host that is empty or an IP address. A
// name is refused: what it resolves to at boot decides where mail is taken.
func parseListen(v value, text string) (string, bool) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		v.wrong("not an address with a port: "+quote(text), addressHint(text, "25"))
		return "", false
	}
	if !validPort(port, 0) {
		v.wrong("not a port: "+quote(port), "Write a number up to 65535: SMTP is 25, submission 587, submission with implicit TLS 465.")
		return "", false
	}
	if host == "" {
		return text, true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		v.wrong("a name in a listen address: "+quote(host), "Write an IP address of this machine, or nothing before the colon for all of them: "+quote(":"+port)+".")
		return "", false
	}
	return net.JoinHostPort(a.String(), port), true
}

func validPort(port string, least uint64) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n >= least
}

// addressHint completes what was written to host:port.
func addressHint(text, port string) string {
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	front, back, _ := cutLast(text, ":")
	if _, err := netip.ParseAddr(front); err == nil && validPort(back, 1) {
		return "Write an IPv6 address in brackets: " + quote("["+front+"]:"+back) + "."
	}
	switch {
	case err == nil:
		return "Write the port too: " + quote(net.JoinHostPort(a.String(), port)) + "."
	case validPort(text, 1):
		return "Write an address before the port: " + quote("127.0.0.1:"+text) + "."
	case text != "" && !strings.ContainsAny(text, ":[] /"):
		return "Write the port too: " + quote(text+":"+port) + "."
	}
	return `Write host:port, as in "192.0.2.1:` + port + `" or "[2001:db8::1]:` + port + `".`
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// A dialled is a kind of server that postern connects to, with examples for
// diagnostics.
type dialled struct {
	name    string
	instead string // of a unix socket
	port    string
	list    string
}

var (
	backendServer = dialled{
		name: "backend", instead: `let the mail server listen on loopback, "127.0.0.1:2525"`,
		port: "2525", list: `["10.0.0.5:25", "10.0.0.6:25"]`,
	}
	smarthostServer = dialled{
		name: "smarthost", instead: `"smtp.example.net:587"`,
		port: "587", list: `["smtp1.example.net:587", "smtp2.example.net:587"]`,
	}
)

// address is the address of the only such server.
func (k dialled) address(name string, target *string) field {
	return field{name: name, read: func(v value) {
		if v.val.Type().IsTupleType() {
			v.wrong("a list in place of one address", "Write addresses = "+v.source()+".")
			return
		}
		if text, ok := v.text(); ok {
			*target, _ = k.parse(v, text)
		}
	}}
}

// addresses is a list of them; there must be one.
func (k dialled) addresses(name string, target *[]string) field {
	return field{name: name, read: func(v value) {
		*target = each(v, `at least one address: addresses = `+k.list, k.parse)
	}}
}

// parse checks host:port with a host that can be connected to.
func (k dialled) parse(v value, text string) (string, bool) {
	if strings.HasPrefix(text, "unix:") || strings.HasPrefix(text, "/") {
		v.wrong("a unix socket cannot be a "+k.name, "Write host:port: "+k.instead+".")
		return "", false
	}
	host, port, err := net.SplitHostPort(text)
	switch {
	case err != nil:
		v.wrong("not an address with a port: "+quote(text), addressHint(text, k.port))
		return "", false
	case !validPort(port, 1):
		v.wrong("not a port: "+quote(port), "Write the number of the port that the mail server listens on, 1 to 65535.")
		return "", false
	}
	a, err := netip.ParseAddr(host)
	switch {
	case err == nil && a.IsUnspecified():
		v.wrong("not an address to connect to: "+quote(text), "Write "+quote("127.0.0.1:"+port)+" for a mail server on this machine.")
		return "", false
	case err == nil:
		return net.JoinHostPort(a.String(), port), true
	case !validHost(strings.ReplaceAll(host, "_", "x"), 1): // container networks have names with underscores
		v.wrong("not a host: "+quote(host), addressHint("", k.port))
		return "", false
	}
	return strings.ToLower(text), true
}
