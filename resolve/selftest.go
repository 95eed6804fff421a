package resolve

import (
	"context"

	"github.com/miekg/dns"
)

// SelfTestResult says whether the servers let DNSSEC through.
type SelfTestResult struct {
	// OK: the root's keys and the signed name are Secure, and so is the other one, or
	// it is Insecure.
	OK bool
	// Stripped: answers came without the signatures that belong to them. Such
	// servers make every signed zone bogus; SEM 27 says what that means.
	Stripped bool
	// Findings are the root (or what else has an anchor), the signed name and the
	// other one.
	Findings []SelfTestFinding
}

// SelfTestFinding is what became of one name.
type SelfTestFinding struct {
	Name     string // "." is the root
	Want     Security
	Security Security
	Why      string // one line for people
}

// SelfTest asks the servers, and not the memory, for the keys of the root, a
// signed name and one that is not (of Options). It takes 20 s at most, or until
// ctx is done. With DNSSEC off nothing is asked and nothing is found.
func (r *Resolver) SelfTest(ctx context.Context) SelfTestResult {
	if r.mode == Off {
		return SelfTestResult{}
	}
	ctx, cancel := context.WithTimeout(ctx, flightTime)
	defer cancel()
	fresh := r.forgetful()
	result := SelfTestResult{OK: true}
	add := func(name string, want Security, t trust) {
		result.OK = result.OK && (t.security == want || t.security == Secure)
		result.Stripped = result.Stripped || t.stripped
		result.Findings = append(result.Findings, SelfTestFinding{name, want, t.security, t.why})
	}
	for top := range r.anchors.zones {
		if r.mode == Validate {
			z := (&validator{r: fresh, spent: new(effort)}).zone(ctx, top)
			add(shown(top), Secure, trust{security: z.security, why: z.why, stripped: z.stripped})
		}
	}
	for i, want := range []Security{Secure, Insecure} {
		a := fresh.follow(ctx, fresh.about(lower(r.tests[i]), dns.TypeSOA), new(effort))
		add(r.tests[i], want, a.trust)
	}
	return result
}

// forgetful returns a resolver with the same servers and nothing in its memory.
func (r *Resolver) forgetful() *Resolver {
	return &Resolver{
		servers: r.servers, hosts: r.hosts, dial: r.dial, cache: newCache(r.cache.now), slots: r.slots,
		mode: r.mode, anchors: r.anchors, zones: newZones(), insecure: r.insecure, public: r.public, tests: r.tests,
	}
}
