package resolve

import (
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// zone is what is known of a name as the top of a zone.
type zone struct {
	name    string
	kind    zoneKind
	keys    []key // of a signed one
	verdict       // of what it is known by
	since   time.Time
	expires time.Time
	cut     bool    // lost because the question that needed it had cost too much
	asker   *effort // of that question
}

type zoneKind uint8

const (
	lost     zoneKind = iota // nobody could tell; the verdict is Bogus or Indeterminate
	signed                   // by keys that are believed
	unsigned                 // which is proved
	inside                   // no zone begins there
	absent                   // the name does not exist, nor anything below it
)

// zones remembers them, as cache does answers.
type zones struct {
	mu  sync.Mutex
	all *bounded[string, *zone]
}

const maxZones = 8192

func newZones() *zones { return &zones{all: newBounded[string](maxZones, mostOctets, (*zone).cost)} }

func (z *zone) cost() int {
	n := costOfOne
	for _, k := range z.keys {
		n += costOfRecord + len(k.PublicKey)
	}
	return n
}

func (c *zones) get(name string, now time.Time) *zone {
	c.mu.Lock()
	defer c.mu.Unlock()
	z, ok := c.all.get(name)
	if !ok || now.Before(z.since) || !now.Before(z.expires) {
		return nil
	}
	return z
}

func (c *zones) put(z *zone) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all.put(z.name, z)
}

// validator validates what is needed for one question. The work is counted for
// all of it.
type validator struct {
	r     *Resolver
	spent *effort
	apex  *string // what discover asks for; nothing but what is above it may be asked for then
}

// zone returns what name is as the top of a zone, from the memory or by asking
// for its DS records and keys. Look-ups of the same name share one flight: each
// waits for names above its own alone, so that none wait for each other.
func (v *validator) zone(ctx context.Context, name string) *zone {
	if v.apex != nil && !below(*v.apex, name) {
		return &zone{verdict: unknown("a proof for %s is needed for itself", shown(*v.apex))}
	}
	now := v.r.cache.now()
	if z := v.r.zones.get(name, now); z != nil {
		return z
	}
	found, _, _ := v.r.zoneFlights.Do(name, func() (any, error) {
		if z := v.r.zones.get(name, now); z != nil {
			return z, nil
		}
		return v.look(ctx, name, now), nil
	})
	z := found.(*zone)
	if z.cut && z.asker != v.spent { // the work of another question
		z = v.look(ctx, name, now)
	}
	return z
}

// look finds out, and remembers what holds for everybody: not that this question had
// already cost so much elsewhere, or a hostile zone could make others unreachable.
func (v *validator) look(ctx context.Context, name string, now time.Time) *zone {
	z := (&validator{v.r, v.spent, &name}).discover(ctx, name)
	z.name, z.since, z.expires = name, now, now.Add(max(z.keep, time.Second)) // TTL 0 would ask again at each step
	if z.kind == lost && v.spent.exhausted() {
		z.cut, z.asker = true, v.spent
		return z
	}
	v.r.zones.put(z)
	return z
}

// discover asks for the DS records of a name: they say whether a zone begins
// there, and by which keys it is signed.
func (v *validator) discover(ctx context.Context, name string) *zone {
	if ds, ok := v.r.anchors.zones[name]; ok {
		return v.signed(ctx, name, ds, keepMost)
	}
	if _, ok := v.r.anchors.above(name); !ok {
		return &zone{kind: unsigned, verdict: insecure(keepMost, "no trust anchor is for %s", shown(name))}
	}
	a := v.ask(ctx, question{name: name, kind: dns.TypeDS, mode: Validate}, v.judge)
	keep := a.expires.Sub(a.since)
	switch {
	case a.failure != nil:
		return &zone{verdict: verdict{security: a.security, why: a.why, keep: keep, stripped: a.stripped}}
	case a.security == Insecure:
		return &zone{kind: unsigned, verdict: insecure(keep, "%s", a.why)}
	case a.security != Secure:
		return &zone{verdict: verdict{security: Indeterminate, why: a.why, keep: keepFailure}}
	case a.cut:
		return &zone{kind: unsigned, verdict: insecure(keep, "%s is not signed: the zone above says that it has no DS record", shown(name))}
	case a.links > 0 || a.status == noRecords: // a CNAME does not stand at the top of a zone
		return &zone{kind: inside, verdict: secure(keep, "%s", a.why)}
	case a.status == noName:
		return &zone{kind: absent, verdict: secure(keep, "%s", a.why)}
	}
	var all []*dns.DS
	for _, rr := range a.records {
		if ds, ok := rr.(*dns.DS); ok {
			all = append(all, ds)
		}
	}
	return v.signed(ctx, name, all, keep)
}

// signed asks for the keys of a zone, which are known by its DS records.
func (v *validator) signed(ctx context.Context, name string, all []*dns.DS, keep time.Duration) *zone {
	usable := usableDS(all)
	if len(usable) == 0 {
		return &zone{kind: unsigned, verdict: insecure(keep, "%s is signed with algorithms that are not supported", shown(name))}
	}
	var keys []key
	var known verdict
	a := v.ask(ctx, question{name: name, kind: dns.TypeDNSKEY, mode: Validate}, func(_ context.Context, m *dns.Msg, a *answer) error {
		fold(m)
		set := collect(m.Answer, name, dns.TypeDNSKEY)
		if len(set.records) == 0 {
			return &doubt{bogus("%s has a DS record and no keys", shown(name))}
		}
		keys, known = trusted(set, usable, a.since, v.spent.budget())
		return known.doubt()
	})
	if a.failure != nil {
		return &zone{verdict: verdict{security: a.security, why: a.why, keep: a.expires.Sub(a.since), stripped: a.stripped}}
	}
	known.keep = min(known.keep, keep)
	if known.security == Insecure {
		return &zone{kind: unsigned, verdict: known}
	}
	return &zone{kind: signed, keys: keys, verdict: known}
}

// ask asks for something that a verdict needs.
func (v *validator) ask(ctx context.Context, q question, check checker) *answer {
	if v.spent.asked++; v.spent.asked > maxAllAsked {
		return v.r.fails(q, nil, &doubt{tooMuch})
	}
	return v.r.askAll(ctx, q, check)
}

// home says what becomes of something at name that is bogus by itself: it is
// Insecure if a zone that is not signed begins there or above.
func (v *validator) home(ctx context.Context, name string, worst verdict) verdict {
	top, ok := v.r.anchors.above(name)
	if !ok {
		return insecure(keepMost, "no trust anchor is for %s", shown(name))
	}
	apex := top
	for n := dns.CountLabel(top + "."); n <= dns.CountLabel(name+"."); n++ {
		z := v.zone(ctx, ancestor(name, n))
		switch z.kind {
		case unsigned, lost:
			return z.verdict
		case signed:
			apex = z.name
		}
		if z.kind == absent && apex == "" && n == 1 { // no one can be harmed by it: nobody has the name
			return insecure(z.keep, "there is no top-level domain %s in the public DNS", shown(z.name))
		}
		if z.kind == absent {
			break
		}
	}
	worst.why += ", and the zone " + shown(apex) + " is signed"
	return worst
}
