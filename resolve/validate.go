package resolve

import (
	"context"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// checker looks at the answer that was read from a message, completes it, and may
// reject it: the next server is asked then.
type checker func(ctx context.Context, m *dns.Msg, a *answer) error

// born is a time before which no clock stands that is right (STANDARDS 118).
var born = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// ClockDoubt is why nothing can be validated by the clock of this machine; "" where that does not
// stand in the way.
func (r *Resolver) ClockDoubt() string {
	if r.mode != Validate {
		return ""
	}
	return doubtClock(r.cache.now())
}

func doubtClock(now time.Time) string {
	if !now.Before(born) {
		return ""
	}
	return "nothing can be validated: the clock says " + now.UTC().Format(time.DateTime)
}

// check returns what is done with the answers to q.
func (r *Resolver) check(q question, spent *effort) checker {
	switch q.mode {
	case TrustAD:
		return trustAD
	case Validate:
		return (&validator{r: r, spent: spent}).judge
	default:
		return func(context.Context, *dns.Msg, *answer) error { return nil }
	}
}

// trustAD takes the word of the server, which is on this machine.
func trustAD(_ context.Context, m *dns.Msg, a *answer) error {
	a.security, a.why = Insecure, "the DNS server does not vouch for it (no AD flag)"
	if m.AuthenticatedData {
		a.security, a.why = Secure, "the DNS server vouches for it (AD flag)"
	}
	a.first, a.chain = a.security, a.security
	return nil
}

// judge says how far an answer can be trusted: each CNAME on the way in its own
// zone, and what is at the end.
func (v *validator) judge(ctx context.Context, m *dns.Msg, a *answer) error {
	if a.why = doubtClock(a.since); a.why != "" {
		return nil
	}
	fold(m)
	b, all := v.spent.budget(), verdict{security: Secure, keep: keepMost}
	a.first = Secure
	if a.kind == dns.TypeDS && len(a.path) > 0 {
		return v.alias(ctx, m, a, b)
	}
	for i, name := range a.path {
		all = all.and(v.link(ctx, m, name, b))
		if i == 0 {
			a.first = all.security
		}
		if d := all.doubt(); d != nil {
			return d
		}
	}
	a.chain = all.security
	if a.status != leadsOn {
		end := v.end(ctx, m, a, b)
		all, a.ttl = all.and(end), end.ttl
	}
	if len(a.path) == 0 {
		a.first = all.security
	}
	a.security, a.why = all.security, all.why
	if until := a.since.Add(all.keep); until.Before(a.expires) {
		a.expires = until
	}
	return all.doubt()
}

// alias judges the CNAME that is answered to a question for DS records. It says
// that no zone begins there; where it leads does not matter. It is signed by the
// zone above, as DS records are.
func (v *validator) alias(ctx context.Context, m *dns.Msg, a *answer, b *budget) error {
	all := v.link(ctx, m, a.path[0], b)
	a.security, a.why = all.security, all.why
	a.status, a.records = leadsOn, nil
	a.expires = a.since.Add(all.keep)
	return all.doubt()
}

// doubt returns an error for what is no answer.
func (v verdict) doubt() error {
	if v.security >= Insecure {
		return nil
	}
	return &doubt{v}
}

// link judges a CNAME. One that is not signed itself may have been made from a
// DNAME that is (RFC 6672, 5.3.1).
func (v *validator) link(ctx context.Context, m *dns.Msg, name string, b *budget) verdict {
	set := collect(m.Answer, name, dns.TypeCNAME)
	if len(set.sigs) > 0 || len(set.records) != 1 {
		return v.positive(ctx, m, set, b)
	}
	target := lower(set.records[0].(*dns.CNAME).Target)
	for _, rr := range m.Answer {
		dname, ok := rr.(*dns.DNAME)
		if !ok || !below(name, lower(dname.Hdr.Name)) {
			continue
		}
		owner := lower(dname.Hdr.Name)
		if prefix := name[:len(name)-len(owner)]; owner != "" && target == child(prefix[:len(prefix)-1], lower(dname.Target)) {
			return v.positive(ctx, m, collect(m.Answer, owner, dns.TypeDNAME), b)
		}
	}
	return v.positive(ctx, m, set, b)
}

// end judges what the answer ends with.
func (v *validator) end(ctx context.Context, m *dns.Msg, a *answer, b *budget) verdict {
	if a.status == found {
		return v.positive(ctx, m, collect(m.Answer, a.target, a.kind), b)
	}
	return v.negative(ctx, m, a, b)
}

// positive judges a set of records.
func (v *validator) positive(ctx context.Context, m *dns.Msg, set rrset, b *budget) verdict {
	if why := v.exempt(set.name); why != "" {
		return insecure(keepMost, "%s", why)
	}
	worst := bogus("%v came without a signature", set)
	worst.stripped = len(set.sigs) == 0
	for _, signer := range v.signers(set.sigs, set) {
		z := v.zone(ctx, signer)
		switch z.kind {
		case unsigned, lost:
			return z.verdict
		case inside, absent:
			worst = bogus("the signature for %v is by %s, where no zone begins", set, shown(signer))
			continue
		}
		sig, found := set.verify(signer, z.keys, v.r.cache.now(), b)
		if sig != nil {
			return found.and(v.expansion(m, set, sig, z, b))
		}
		return found
	}
	return v.unless(ctx, set.name, worst)
}

// exempt is that of the resolver, for what somebody has asked for: while it is looked for
// what begins at a name, top-level domains have a single label too.
func (v *validator) exempt(name string) string {
	if v.apex != nil {
		return ""
	}
	return v.r.exempt(name)
}

// signers returns the zones that may have signed a set, of those that sigs name.
// While it is looked for what begins at a name, that is none; and above the
// anchor next to the set there is nobody to be asked.
func (v *validator) signers(sigs []*dns.RRSIG, set rrset) []string {
	top, ok := v.r.anchors.above(set.name)
	return signersOf(sigs, func(zone string) bool {
		return ok && within(zone, top) && set.mayBeSignedBy(zone) && (v.apex == nil || zone != *v.apex)
	})
}

// unless returns a verdict of Bogus, unless what it is about is in a zone that
// need not be signed. What is said of a name while it is looked for what begins
// there is said by the zone above.
func (v *validator) unless(ctx context.Context, name string, worst verdict) verdict {
	if v.apex != nil && name == *v.apex {
		name = parentOf(name)
	}
	return v.home(ctx, name, worst)
}

// expansion: what has fewer labels in its signature than in its name was made
// from a wildcard, which must be proved to be right (RFC 4035, 5.3.4).
func (v *validator) expansion(m *dns.Msg, set rrset, sig *dns.RRSIG, z *zone, b *budget) verdict {
	if int(sig.Labels) == countLabels(set.name) {
		return secure(keepMost, "signed by %s", shown(z.name))
	}
	if set.kind == dns.TypeDS || set.kind == dns.TypeDNAME {
		return bogus("%v is made from a wildcard", set)
	}
	d, all := v.proofs(m, z, b)
	if all.security != Secure {
		return all
	}
	return d.expanded(set.name, int(sig.Labels))
}

// negative judges that there is nothing at the end of an answer.
func (v *validator) negative(ctx context.Context, m *dns.Msg, a *answer, b *budget) verdict {
	if why := v.exempt(a.target); why != "" {
		return insecure(keepMost, "%s", why)
	}
	worst := bogus("there is no proof that there is no %s of %s", kindName(a.kind), shown(a.target))
	signers := v.signers(proofSigs(m), rrset{name: a.target, kind: a.kind})
	worst.stripped = len(signers) == 0
	for _, signer := range signers {
		z := v.zone(ctx, signer)
		switch z.kind {
		case unsigned, lost:
			return z.verdict
		case inside, absent:
			continue
		}
		d, all := v.proofs(m, z, b)
		if all.security == Secure {
			found := d.denies(a.target, a.kind, m.Rcode == dns.RcodeNameError)
			if all = all.and(found.verdict); found.security != Bogus {
				a.cut = found.cut
				if m.Rcode == dns.RcodeNameError && all.security >= Insecure {
					a.status = found.status
				}
			}
		}
		if all.security != Bogus {
			return all
		}
		worst = all
	}
	return v.unless(ctx, a.target, worst)
}

// proofSigs returns the signatures for NSEC and NSEC3 records of a message.
func proofSigs(m *dns.Msg) (sigs []*dns.RRSIG) {
	for _, rr := range m.Ns {
		if sig, ok := rr.(*dns.RRSIG); ok && (sig.TypeCovered == dns.TypeNSEC || sig.TypeCovered == dns.TypeNSEC3) {
			sigs = append(sigs, sig)
		}
	}
	return sigs
}

// proofs verifies the NSEC and NSEC3 records of a zone in a message, and its SOA
// record, which says how long they hold.
func (v *validator) proofs(m *dns.Msg, z *zone, b *budget) (*denial, verdict) {
	d := &denial{zone: z.name, keep: keepMost, budget: b}
	all, now := secure(keepMost, "its absence is signed by %s", shown(z.name)), v.r.cache.now()
	for _, set := range proofSets(m, z.name) {
		sig, found := set.verify(z.name, z.keys, now, b)
		if sig == nil {
			return nil, found
		}
		if int(sig.Labels) != countLabels(set.name) {
			return nil, bogus("%v is made from a wildcard", set)
		}
		d.keep = min(d.keep, found.keep)
		for _, rr := range set.records {
			d.add(rr)
		}
	}
	all.keep = d.keep
	return d, all
}

// proofSets returns the sets that a zone's proof is made of.
func proofSets(m *dns.Msg, zone string) (sets []rrset) {
	for _, rr := range m.Ns {
		name, kind := lower(rr.Header().Name), rr.Header().Rrtype
		switch sig, ok := rr.(*dns.RRSIG); {
		case ok && lower(sig.SignerName) == zone && within(name, zone) && (sig.TypeCovered == dns.TypeNSEC || sig.TypeCovered == dns.TypeNSEC3):
			kind = sig.TypeCovered
		case kind != dns.TypeSOA || name != zone:
			continue
		}
		known := slices.ContainsFunc(sets, func(s rrset) bool { return s.name == name && s.kind == kind })
		if !known && len(sets) < maxProofs {
			sets = append(sets, collect(m.Ns, name, kind))
		}
	}
	return sets
}
