package config

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/zclconf/go-cty/cty"
)

const outboundHelp = `outbound "egress" {
  listen = ["127.0.0.1:10025"]
}`

// addOutbound opens an outbound block, in the manner of addInbound.
func (d *decoder) addOutbound(s *section) table {
	src := &outboundSource{out: DefaultOutbound(s.label), sec: s}
	d.once(d.edges(), s)
	d.outbounds = append(d.outbounds, src)
	return src.table(d)
}

// edges lists the names of all inbounds and outbounds so far: they appear side
// by side in logs and metrics, so no two are alike.
func (d *decoder) edges() []written {
	var all []written
	for _, src := range d.inbounds {
		all = append(all, written{"inbound", src.in.Name, src.sec.labelRange})
	}
	for _, src := range d.outbounds {
		all = append(all, written{"outbound", src.out.Name, src.sec.labelRange})
	}
	return all
}

// table returns the names of an outbound block.
func (src *outboundSource) table(d *decoder) table {
	o := &src.out
	fields := []field{
		listen("listen", &o.Listen, `["127.0.0.1:10025"]`).needed(`Write listen = ["127.0.0.1:10025"], and name it in your mail server: Postfix, relayhost = [127.0.0.1]:10025.`),
		prefixes("from", &o.From),
		boolean("transparent", &o.Transparent),
		choice("protocol", &o.Protocol, "smtp", "lmtp"),
		choice("route", &o.Route, "mx", "original", "smarthost"),
		port("mx_port", &o.MXPort),
		choice("fallback", &o.Fallback, "same-session", "next-session", "never"),
		choice("remember", &o.Remember, "enforce", "observe", "off"),
		boolean("mta_sts", &o.MTASTS),
		hostname("ehlo", &o.EHLO),
		choice("eight_bit", &o.EightBit, "pass", "refuse"),
		boolean("dsn", &o.DSN),
		choice("bare_newline", &o.BareNewline, "reject", "normalize"),
		prefixes("bare_newline_exempt", &o.BareNewlineExempt),
		boolean("trace_header", &o.TraceHeader),
		sourceAddress("source_address", &o.SourceAddress),
		choice("address_family", &o.AddressFamily, "any", "ipv4", "ipv6", "prefer-ipv4", "prefer-ipv6"),
		duration("reuse_idle", &o.ReuseIdle, 0),
		integer("concurrency", &o.Concurrency, 0),
		duration("shutdown_grace", &o.ShutdownGrace, 0),
	}
	return table{
		fields: append(fields, securityFields(&o.Level, &o.Match, &o.Fingerprints, &o.Grade, &o.TrustedRoots)...),
		blocks: []block{
			{name: "destination", labelled: true, free: true, many: true, open: func(s *section) table { return src.addDestination(s) }},
			{name: "smarthost", open: func(s *section) table { return src.addSmarthost(s) }},
			{name: "skip", open: func(*section) table { return o.Skip.table() }},
			{name: "remember_after", open: func(*section) table { return o.RememberAfter.table() }},
			{name: "limits", open: func(*section) table { return o.Limits.outboundTable() }},
			{name: "timeouts", open: func(*section) table { return o.Timeouts.outboundTable() }},
		},
		check: func(s *section) { d.checkOutbound(src, s) },
	}
}

// securityFields are how safe a destination must be, in an outbound and in a
// destination alike.
func securityFields(level *string, match, fingerprints *[]string, g, roots *string) []field {
	return []field{
		choice("level", level, "auto", "none", "may", "encrypt", "fingerprint", "verify", "secure", "dane", "dane-only"),
		matches("match", match),
		fingerprintList("fingerprints", fingerprints),
		choice("grade", g, "modern", "intermediate", "mail", "legacy"),
		rootsFile("trusted_roots", roots),
	}
}

func (src *outboundSource) addSmarthost(s *section) table {
	h := new(Smarthost)
	src.out.Smarthost = h
	var one string
	return table{
		fields: []field{
			smarthostServer.address("address", &one),
			smarthostServer.addresses("addresses", &h.Addresses),
			choice("tls", &h.TLS, "starttls", "implicit"),
		},
		check: func(s *section) { checkSmarthost(h, one, s) },
	}
}

func (k *Skip) table() table {
	return table{
		fields: []field{
			duration("hold", &k.Hold, time.Second),
			duration("max", &k.Max, time.Second),
		},
		check: func(s *section) {
			if k.Hold > k.Max {
				s.d.wrong(s.place("max"), "max is shorter than hold", "hold is "+k.Hold.String()+" and doubles up to max, which is "+k.Max.String()+": write a longer max, or a shorter hold.")
			}
		},
	}
}

func (r *RememberAfter) table() table {
	return table{fields: []field{
		integer("sessions", &r.Sessions, 1),
		duration("age", &r.Age, 0),
		duration("expire", &r.Expire, time.Second),
		duration("grace", &r.Grace, 0),
	}}
}

// outboundTable leaves out what only a side that speaks TLS with its clients
// can count.
func (l *Limits) outboundTable() table {
	const why = "no TLS is spoken with the clients of an outbound: remove the line"
	return table{fields: []field{
		integer("connections", &l.Connections, 1),
		integer("per_client", &l.PerClient, 0),
		size("message_size", &l.MessageSize),
		integer("errors", &l.Errors, 1),
		prefixes("exempt", &l.Exempt),
		refused("handshakes", why),
		refused("handshakes_per_client", why),
	}}
}

// outboundTable leaves out the PROXY header, which no outbound reads.
func (t *Timeouts) outboundTable() table {
	all := t.table()
	for i, f := range all.fields {
		if f.name == "proxy" {
			all.fields[i] = refused("proxy", "an outbound reads no PROXY header: remove the line")
		}
	}
	return all
}

// port is a TCP port that can be connected to.
func port(name string, target *int) field {
	n := *target
	f := integer(name, &n, 1)
	read := f.read
	f.read = func(v value) {
		switch {
		case !v.read(read).good:
		case n > 65535:
			v.wrong("not a port: "+strconv.Itoa(n), "Write a number up to 65535: "+name+" = 25 is the default.")
		default:
			*target = n
		}
	}
	return f
}

// sourceAddress is one address, or a list with one of each family.
func sourceAddress(name string, target *[]netip.Addr) field {
	return field{name: name, read: func(v value) {
		if v.val.Type() == cty.String {
			v.val = cty.TupleVal([]cty.Value{v.val})
		}
		families := map[bool]netip.Addr{}
		*target = each(v, "", func(item value, text string) (netip.Addr, bool) {
			a, ok := parseSource(item, text)
			if first, twice := families[a.Is4()]; ok && twice {
				item.wrong("a second address of one family: "+quote(text), "There is "+first.String()+" already: write one IPv4 and one IPv6 address at most, and an outbound of its own for another.")
				return a, false
			}
			families[a.Is4()] = a
			return a, ok
		})
	}}
}

func parseSource(v value, text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	a = a.Unmap()
	if err != nil || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
		v.wrong("not an address to connect from: "+quote(text), `Write an address of this machine, without a port: source_address = "192.0.2.1", or one of each family, ["192.0.2.1", "2001:db8::1"].`)
		return netip.Addr{}, false
	}
	return a, true
}
