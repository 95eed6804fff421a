package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/report"
)

// DANE finds the TLSA records of an MX host: *dane.Lookup.
type DANE interface {
	// Find returns an error when it cannot be known what the records are, or whether there are any.
	Find(ctx context.Context, mx dane.MXInfo) (dane.Finding, error)
}

// STS finds the MTA-STS policy of a domain: *mtasts.Lookup.
type STS interface {
	Find(ctx context.Context, domain string) mtasts.Finding
	// Refresh is Find after another look whether there is a newer policy (RFC 8461, 5.1).
	Refresh(ctx context.Context, domain string) mtasts.Finding
}

// MXInput is what is known of an MX host before a decision. Domain, Host and Port are those of
// Engine.Decide; the rest is what the DNS said of the MX records.
type MXInput struct {
	Domain    string // the destination
	Canonical string // where CNAMEs lead from Domain; empty or Domain itself without
	Host      string // as the MX record has it
	Port      uint16 // that will be dialled
	Implicit  bool   // no MX record led to Host: it is Domain itself, or the operator named it
	MXSecure  bool   // DNSSEC proves the MX records, or that there are none; true of a host that the operator named

	MXSecurity string // for the reasons: "secure", "insecure"; empty: nobody looked
	MXWhy      string // why it is that, one line

	relay bool // a rule for its address has declared it: it is no MX of the domain
}

var errNoDANE = errors.New("TLSA records are not asked for: give resolver a dnssec other than \"off\", or the destination another level")

// askPublished is DANE and MTA-STS, decided together: what the domain and its hosts publish about themselves
// (SEM 26; RFC 8461, 2).
func (e *Engine) askPublished(ctx context.Context, in MXInput, d *Decision) bool {
	found, ok := e.findTLSA(ctx, in, d)
	switch {
	case !ok: // RFC 7672, 2.1.2: neither MTA-STS nor less may stand in
		d.Level, d.Source = level.DANE, SourceDANE
		return true
	case found.Status == dane.Usable:
		d.Source = SourceDANE
		d.authenticate(level.DANE, found)
		if found.InsecureMX {
			e.holdToPolicy(ctx, in, d)
		}
		return true
	case e.askSTS(ctx, in, d):
		return true
	case found.Status == dane.Unusable: // RFC 7672, 2.2
		d.Source = SourceDANE
		d.encrypt(found)
		return true
	}
	return false
}

// byOperator is a level that the operator wrote. MTA-STS is not asked then.
func (e *Engine) byOperator(ctx context.Context, in MXInput, r *Rule, d *Decision) {
	d.Level = r.Level
	d.Names = r.names(d.Level, d.Domain, d.Host)
	switch d.Level {
	case level.Fingerprint:
		d.Fingerprints = r.Fingerprints
	case level.DANE, level.DANEOnly:
		e.byTLSA(ctx, in, d)
	}
}

// byTLSA is level dane or dane-only in Postfix's sense: what the TLSA records say; without any, dane
// is may, and dane-only is nothing.
func (e *Engine) byTLSA(ctx context.Context, in MXInput, d *Decision) {
	if e.dane == nil {
		d.Err = errNoDANE
		return
	}
	found, ok := e.findTLSA(ctx, in, d)
	switch {
	case !ok:
	case found.Status == dane.Usable:
		d.authenticate(d.Level, found)
	case d.Level == level.DANEOnly:
		d.Counted.Failure = failedNoTLSA
		if found.Status == dane.Unusable {
			d.Counted.Failure = failedTLSA
		}
		d.Err = errors.New("level dane-only: " + found.Why)
	case found.Status == dane.NotApplicable && found.Unproved != "" && !found.NoDNSSEC: // a wrong clock, say: STANDARDS 118
		d.Counted.TLSAUnknown, d.Counted.Failure = true, failedLookup
		d.Err = errors.New("level dane: " + found.Why)
	case found.Status == dane.Unusable:
		d.encrypt(found)
	default:
		d.Level = level.May
	}
}

// findTLSA notes what was found. Where that is an error d has it, and ok is false.
func (e *Engine) findTLSA(ctx context.Context, in MXInput, d *Decision) (f dane.Finding, ok bool) {
	if e.dane == nil {
		return f, true
	}
	if in.MXSecurity != "" {
		text := "MX records: " + in.MXSecurity
		if in.MXWhy != "" {
			text += " (" + in.MXWhy + ")"
		}
		d.reason(SourceDANE, text)
	}
	f, err := e.dane.Find(ctx, dane.MXInfo{Domain: d.Domain, Canonical: in.Canonical, Host: d.Host,
		Port: d.Port, Implicit: in.Implicit, MXSecure: in.MXSecure})
	if err != nil {
		d.Counted.TLSAUnknown, d.Counted.Failure = true, failedToAsk(ctx, err)
		d.Err = fmt.Errorf("%w; without that it is not known how safe the connection must be", err)
		d.reason(SourceDANE, err.Error())
		return f, false
	}
	d.Found.DANE = kept(f)
	d.reason(SourceDANE, describeTLSA(f))
	return f, true
}

// kept is where a finding stays; one that nobody was asked for costs nothing.
func kept[T any](found T) *T { return &found }

// failedToAsk is none where it was us who had no time left.
func failedToAsk(ctx context.Context, err error) report.Failure {
	var lookup *dane.LookupError
	switch {
	case ctx.Err() != nil:
		return report.Failure{}
	case errors.As(err, &lookup) && lookup.Bogus():
		return failedBogus
	}
	return failedLookup
}

func describeTLSA(f dane.Finding) string {
	text := f.Status.String() + ": " + f.Why
	if len(f.Unusable) > 0 {
		text += "; not " + strings.Join(f.Unusable, ", ")
	}
	return text
}

// authenticate asks for a certificate that the records are about.
func (d *Decision) authenticate(l level.Level, f dane.Finding) {
	d.Level, d.TLSA, d.DANENames, d.InsecureMX = l, f.Records, f.Names, f.InsecureMX
	d.Base, d.SNI, d.Expires = f.Base, f.Base, f.Expires // RFC 7672, 8.1
}

// encrypt asks for TLS with anybody: there are records that should have said more.
func (d *Decision) encrypt(f dane.Finding) {
	d.Level, d.Base, d.SNI, d.Expires = level.Encrypt, f.Base, f.Base, f.Expires
}

// askSTS is what a policy in mode enforce asks (RFC 8461, 4). In mode testing nothing follows from
// one but a count (RFC 8461, 5), and the reasons tell of it.
func (e *Engine) askSTS(ctx context.Context, in MXInput, d *Decision) bool {
	f, enforced := e.findPolicy(ctx, in, d)
	if !enforced {
		if f.Policy != nil && f.Policy.Mode == mtasts.Testing {
			e.test(d)
		}
		return false
	}
	d.Level, d.Source, d.Expires = level.Secure, SourceMTASTS, f.Expires
	d.Names = []string{d.Host} // which the policy has named, whoever wrote the MX record
	e.exclude(d)
	return true
}

// holdToPolicy is for usable TLSA records of a host that only unsigned MX records led to. They prove whose host it is
// and not that it is the domain's: who forges MX records could name a host with TLSA records of his own, and be rid of
// the policy. So the policy's word on hosts stands (RFC 7672, 2.2.1; RFC 8461, 4.1); the certificate is for the
// TLSA records to judge.
func (e *Engine) holdToPolicy(ctx context.Context, in MXInput, d *Decision) {
	if f, enforced := e.findPolicy(ctx, in, d); enforced {
		d.Expires = sooner(d.Expires, f.Expires)
		e.exclude(d)
	}
}

// findPolicy notes the policy of the domain, and says whether it is to be enforced.
func (e *Engine) findPolicy(ctx context.Context, in MXInput, d *Decision) (f mtasts.Finding, enforced bool) {
	if e.sts == nil {
		return f, false
	}
	if _, isAddress := address(d.Domain); isAddress || d.Domain == "" { // RFC 8461, 3.4
		d.reason(SourceMTASTS, "not asked: the destination is no domain")
		return f, false
	}
	if in.relay {
		d.reason(SourceMTASTS, "not asked: "+d.Host+" was declared as a relay, and is no MX host")
		return f, false
	}
	f = e.sts.Find(ctx, d.Domain)
	if f.Policy != nil && f.Policy.Mode == mtasts.Enforce && !f.Policy.Match(d.Host) {
		f = e.sts.Refresh(ctx, d.Domain) // RFC 8461, 5.1: the domain may have new hosts
	}
	d.STS, d.Found.STS = f.Policy, kept(f)
	d.reason(SourceMTASTS, describePolicy(f))
	return f, f.Policy != nil && f.Policy.Mode == mtasts.Enforce
}

func describePolicy(f mtasts.Finding) string {
	switch {
	case f.Policy == nil && f.Why == "":
		return "no policy"
	case f.Policy == nil:
		return "no policy: " + f.Why
	}
	text := f.Policy.String()
	if f.Trouble != "" {
		text += "; the last look failed: " + f.Trouble
	}
	return text
}

// exclude is RFC 8461, 4.1: a host that the policy does not name is not to be used.
func (e *Engine) exclude(d *Decision) {
	if d.STS.Match(d.Host) {
		return
	}
	d.NotAnMX = "not among the MX hosts that the MTA-STS policy of " + dane.Clean(d.Domain) + " names"
	d.Err, d.Counted.Failure = errors.New(d.NotAnMX), failedNotAnMX
}

// sooner is the earlier time; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// joinTLSA makes d do for every host that TLSA records decide about, see Any.
func (d *Decision) joinTLSA(all []*Decision) {
	d.TLSA, d.DANENames = slices.Clone(d.TLSA), slices.Clone(d.DANENames)
	for _, other := range all {
		if len(other.TLSA) == 0 {
			continue
		}
		d.TLSA = append(d.TLSA, other.TLSA...)
		d.InsecureMX = d.InsecureMX || other.InsecureMX
		for _, name := range other.DANENames {
			if !slices.Contains(d.DANENames, name) {
				d.DANENames = append(d.DANENames, name)
			}
		}
	}
	d.TLSA = dane.Sort(d.TLSA)
}
