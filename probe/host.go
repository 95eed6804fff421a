package probe

import (
	"context"
	"fmt"
	"net/netip"

	"postern/tls/dane"
	"postern/tls/mtasts"
)

func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// host looks at one server.
func (l *look) host(ctx context.Context, s server) {
	h := Host{Name: s.name, Port: s.port, Preference: s.preference, Level: s.decision.Level.String(), Source: string(s.decision.Source)}
	l.addressesOf(ctx, s)
	l.tlsa(ctx, s, &h)
	h.Addresses = l.addresses(ctx, s)
	l.r.Hosts = append(l.r.Hosts, h)
}

// tlsa grades the TLSA records of a host (RFC 7672), whatever the certificate.
func (l *look) tlsa(ctx context.Context, s server, h *Host) {
	if l.p.o.DANE == nil || isAddress(s.name) {
		return
	}
	add := func(check Check, g Grade, text, advice string) {
		l.r.add(Finding{Check: check, Host: s.name, Grade: g, Text: text, Advice: advice})
	}
	f, err := l.p.o.DANE.Find(ctx, s.mx)
	if err != nil {
		grade, advice := Unknown, "senders with DANE skip the host until that is mended, and mail waits"
		if isBogus(err) {
			grade = Insufficient
		}
		add(CheckTLSA, grade, err.Error(), advice)
		return
	}
	for _, r := range f.Records {
		h.TLSA = append(h.TLSA, r.String())
	}
	switch f.Status {
	case dane.NotApplicable:
		if f.Unproved != "" {
			add(CheckTLSA, Unknown, "whether there is DANE is not known: "+f.Why, "ask a resolver that lets DNSSEC signatures through")
			return
		}
		add(CheckTLSA, Insufficient, "no DANE: "+f.Why, "sign the zones of the host and of the domain first")
	case dane.NoRecords:
		add(CheckTLSA, Insufficient, f.Why, fmt.Sprintf("publish a record 3 1 1 of the server's key at %s", dane.Owner(s.name, s.port)))
	case dane.Unusable:
		add(CheckTLSA, Insufficient, f.Why+": "+list(f.Unusable), "publish a record 3 1 1 of the server's key in their place")
	case dane.Usable:
		l.usable(f, add)
	}
}

func (l *look) usable(f dane.Finding, add func(Check, Grade, string, string)) {
	switch {
	case f.InsecureMX:
		add(CheckTLSA, PhaseOut, f.Why, "sign the zone of the domain too: forged MX records lead elsewhere now")
	case len(f.Unusable) > 0:
		add(CheckTLSA, Sufficient, f.Why+"; not "+list(f.Unusable), "remove the records that cannot be used")
	default:
		add(CheckTLSA, Good, f.Why, "")
	}
	if ok, why := dane.Rollover(f.Records); ok {
		add(CheckRollover, Good, "the next certificate can be prepared: there are records for two", "")
	} else {
		add(CheckRollover, Note, "no scheme for the next certificate: "+why, "")
	}
}

// enforced says whether MTA-STS forbids certificates that do not validate.
func (l *look) enforced() bool { return l.policy != nil && l.policy.Mode == mtasts.Enforce }
