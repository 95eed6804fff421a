package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/resolve"
	"postern/tls/mtasts"
)

// noMX says why a domain has no hosts.
func (l *look) noMX(err error) {
	f := Finding{Check: CheckMX, Grade: Unknown, Text: "the MX records cannot be looked up: " + err.Error()}
	switch {
	case isBogus(err):
		l.bogus("the MX records", "", err)
		return
	case errors.Is(err, resolve.ErrNullMX):
		f.Grade, f.Text = Note, "the domain takes no mail (null MX, RFC 7505)"
	case errors.Is(err, resolve.ErrNoDomain):
		f.Grade, f.Text, f.Advice = Insufficient, "there is no such domain", "check how it is written"
	}
	l.r.add(f)
	if p, ok := errors.AsType[*resolve.PermanentError](err); ok && f.Grade == Note {
		l.dnssec("the MX records", "", p.Security, p.Why)
	}
}

func isBogus(err error) bool {
	t, ok := errors.AsType[*resolve.TemporaryError](err)
	return ok && t.Security == resolve.Bogus
}

func (l *look) bogus(what, host string, err error) {
	t, _ := errors.AsType[*resolve.TemporaryError](err)
	l.r.add(Finding{Check: CheckDNSSEC, Host: host, Grade: Insufficient, Text: what + " are bogus: " + t.Why,
		Advice: "mend the signatures of the zone: resolvers that validate do not find the name, and mail waits"})
}

// dnssec grades how far an answer can be trusted.
func (l *look) dnssec(what, host string, s resolve.Security, why string) {
	f := Finding{Check: CheckDNSSEC, Host: host, Grade: Good, Text: what + " are signed (DNSSEC)"}
	switch s {
	case resolve.Secure:
	case resolve.Insecure:
		f.Grade, f.Text = Insufficient, what+" are not signed: "+orNothing(why)
		f.Advice = "sign the zone (DNSSEC), and give the parent its DS record: without it nobody can trust MX or TLSA records"
	default:
		f.Grade, f.Text = Unknown, "whether "+what+" are signed is not known: "+orNothing(why)
		f.Advice = "ask a resolver that lets DNSSEC signatures through"
	}
	l.r.add(f)
}

func orNothing(why string) string {
	if why == "" {
		return "nobody looked"
	}
	return why
}

// addressesOf grades the DNSSEC of a host's addresses, which is what its TLSA records need.
func (l *look) addressesOf(ctx context.Context, s server) {
	if isAddress(s.name) {
		return
	}
	if s.noAddress != nil {
		l.r.add(Finding{Check: CheckConnect, Host: s.name, Grade: unreachable(s.noAddress), Text: s.noAddress.Error(),
			Advice: "give it an A or AAAA record, or take it out of the MX records"})
		return
	}
	answer, err := l.p.o.Resolver.Addresses(ctx, s.name, l.p.o.Family)
	switch {
	case isBogus(err):
		l.bogus("the addresses", s.name, err)
	case err == nil:
		l.dnssec("the addresses", s.name, answer.Security, answer.Why)
	}
}

// unreachable tells a host without address from one whose address nobody could tell.
func unreachable(err error) Grade {
	if errors.Is(err, resolve.ErrNoAddress) || isBogus(err) {
		return Insufficient
	}
	return Unknown
}

// mtasts grades the policy (RFC 8461). internet.nl does not look at it: having none is a note.
func (l *look) mtasts(ctx context.Context) {
	if l.p.o.STS == nil {
		return
	}
	f := l.p.o.STS.Find(ctx, l.t.Name)
	switch {
	case f.Policy != nil:
		l.policyFound(f)
	case f.Result == mtasts.TXTError || f.Pending:
		l.r.add(Finding{Check: CheckMTASTS, Grade: Unknown, Text: "whether there is an MTA-STS policy is not known: " + f.Why})
	case f.Result != "":
		l.r.add(Finding{Check: CheckMTASTS, Grade: Insufficient, Text: "the MTA-STS policy cannot be used: " + f.Why,
			Advice: "mend it, or remove the TXT record at " + mtasts.RecordName(l.t.Name) + ": senders report it as broken"})
	default:
		l.r.add(Finding{Check: CheckMTASTS, Grade: Note, Text: "no MTA-STS policy: " + orNothing(f.Why),
			Advice: "publish one: it protects mail from senders that do no DANE"})
	}
}

func (l *look) policyFound(f mtasts.Finding) {
	l.policy = f.Policy
	var foreign []string
	for _, h := range l.hosts {
		if !f.Policy.Match(h.name) {
			foreign = append(foreign, h.name)
		}
	}
	out := Finding{Check: CheckMTASTS, Grade: Good, Text: "MTA-STS policy: " + f.Policy.String()}
	switch {
	case f.Policy.Mode == mtasts.None:
		out.Grade, out.Advice = Note, "mode none promises nothing"
	case len(foreign) > 0:
		out.Grade, out.Text = Insufficient, out.Text+": it does not name "+list(foreign)
		out.Advice = "add the host to the policy, and change the id of the TXT record: senders do not deliver to hosts that it does not name"
		if f.Policy.Mode == mtasts.Testing {
			out.Grade = PhaseOut
		}
	case f.Policy.Mode == mtasts.Testing:
		out.Grade, out.Advice = Sufficient, "mode testing protects nothing yet: go on to enforce when the reports are good"
	}
	l.r.add(out)
}

// tlsrpt grades the record that asks for reports (RFC 8460, 3). Having none is a note.
func (l *look) tlsrpt(ctx context.Context) {
	name := "_smtp._tls." + l.t.Name
	answer, err := l.p.o.Resolver.TXT(ctx, name)
	if err != nil {
		l.r.add(Finding{Check: CheckTLSRPT, Grade: Unknown, Text: "whether reports are wanted is not known: " + err.Error()})
		return
	}
	rua, err := parseTLSRPT(answer.Texts)
	switch {
	case errors.Is(err, errNoTLSRPT):
		l.r.add(Finding{Check: CheckTLSRPT, Grade: Note, Text: "no TLSRPT record at " + name, Advice: "publish one: senders tell you of TLS that failed"})
	case err != nil:
		l.r.add(Finding{Check: CheckTLSRPT, Grade: PhaseOut, Text: "the TLSRPT record is of no use: " + err.Error(),
			Advice: "write \"v=TLSRPTv1; rua=mailto:tlsrpt@" + l.t.Name + "\""})
	default:
		l.r.add(Finding{Check: CheckTLSRPT, Grade: Good, Text: "reports of failed TLS go to " + list(rua)})
	}
}

var errNoTLSRPT = errors.New("no TLSRPT record")

// parseTLSRPT returns where reports go (RFC 8460, 3): records of another version do not count, exactly
// one must be left, and its rua holds mailto: and https: addresses.
func parseTLSRPT(texts []string) (rua []string, err error) {
	record, n := "", 0
	for _, text := range texts {
		if rest, ok := strings.CutPrefix(text, "v=TLSRPTv1;"); ok {
			record = rest
			n++
		}
	}
	switch {
	case n == 0:
		return nil, errNoTLSRPT
	case n > 1:
		return nil, fmt.Errorf("there are %d, where one must be", n)
	}
	for field := range strings.SplitSeq(record, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		if key != "rua" || rua != nil {
			continue
		}
		for uri := range strings.SplitSeq(value, ",") {
			uri = strings.TrimSpace(uri)
			if !strings.HasPrefix(uri, "mailto:") && !strings.HasPrefix(uri, "https:") {
				return nil, fmt.Errorf("rua %q is neither a mailto: nor an https: address", uri)
			}
			rua = append(rua, uri)
		}
	}
	if rua == nil {
		return nil, errors.New("it has no rua")
	}
	return rua, nil
}
