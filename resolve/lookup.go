package resolve

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// question is what is asked, always in class IN.
type question struct {
	name string // lower case, no final dot; the text form of package dns
	kind uint16 // dns.TypeMX and the like
	mode Mode   // what is done about DNSSEC
}

// String tells questions apart.
func (q question) String() string {
	return dns.TypeToString[q.kind] + " " + q.name + [...]string{"", " AD", " DO"}[q.mode]
}

// about is a question that is asked in the mode of the resolver.
func (r *Resolver) about(name string, kind uint16) question { return question{name, kind, r.mode} }

// answer is what became of a question. It is shared and never changed once it
// is in the cache.
type answer struct {
	question
	status  status
	target  string   // the name that the records are of: where CNAMEs lead
	links   int      // CNAMEs on the way there
	path    []string // the names that they are of; of a part of a chain alone
	records []dns.RR // of the kind asked for
	server  string   // the last one that said something
	trust
	since   time.Time // when it was had
	expires time.Time
	failure *TemporaryError // of status failed
}

// trust is how far an answer can be trusted.
type trust struct {
	security Security      // of all of it
	first    Security      // of the first record on the way: the CNAME at the name, or what was asked for
	chain    Security      // of the CNAMEs, and of what was asked for where there are none
	why      string        // of security, one line for people
	cut      bool          // there is no DS record, and a zone begins there
	stripped bool          // bogus because signatures are missing altogether
	ttl      time.Duration // of what was asked for, as its zone has it; 0: not known
}

// status says what an answer is.
type status uint8

const (
	failed    status = iota // nobody could tell
	found                   // there are records
	noRecords               // the name exists, with no record of this kind
	noName                  // NXDOMAIN
	leadsOn                 // a CNAME whose target has to be asked for
)

// canonical is the target as a caller may see it.
func (a *answer) canonical() string {
	if !validDomain(a.target) {
		return ""
	}
	return a.target
}

func (a *answer) permanent(err error) *PermanentError {
	return &PermanentError{Name: a.name, Type: dns.TypeToString[a.kind], Server: a.server, Security: a.security, Why: a.why, Err: err}
}

func (a *answer) temporary(why string) *TemporaryError {
	return &TemporaryError{Name: a.name, Type: dns.TypeToString[a.kind], Failures: []Failure{{a.server, why}}}
}

// lookup answers q from the cache or from the DNS. With an error the answer is
// the failed one, or nil if ctx was done first.
func (r *Resolver) lookup(ctx context.Context, q question) (*answer, error) {
	return r.begin(q).wait(ctx)
}

// pending is an answer that is there or on its way.
type pending struct {
	question
	answer *answer
	flight <-chan singleflight.Result
}

// begin asks, unless the answer is known or somebody is asking already. The
// flight does not end with the caller who began it: others may have joined.
func (r *Resolver) begin(q question) pending {
	if a := r.cache.get(q); a != nil {
		return pending{question: q, answer: a}
	}
	return pending{question: q, flight: r.flights.DoChan(q.String(), func() (any, error) {
		if a := r.cache.get(q); a != nil {
			return a, nil // of a flight that landed since
		}
		a := r.fly(q)
		r.cache.put(q, a)
		return a, nil
	})}
}

// fly answers q from the DNS. What comes from there may hit a defect: it costs
// this answer, not the process.
func (r *Resolver) fly(q question) (a *answer) {
	defer func() {
		if p := recover(); p != nil {
			a = r.fails(q, nil, fmt.Errorf("a defect: %q", fmt.Sprint(p)))
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), flightTime)
	defer cancel()
	return r.follow(ctx, q, new(effort))
}

// wait returns the answer, or the error of ctx if that is done first.
func (p pending) wait(ctx context.Context) (*answer, error) {
	a := p.answer
	if a == nil {
		select {
		case result := <-p.flight:
			a = result.Val.(*answer)
		case <-ctx.Done():
			return nil, &TemporaryError{Name: p.name, Type: dns.TypeToString[p.kind], Err: fmt.Errorf("no answer yet: %w", ctx.Err())}
		}
	}
	if a.failure != nil {
		return a, a.failure
	}
	return a, nil
}

// follow asks, and asks again for the target of each CNAME that a server did
// not follow itself. It asks the cache on the way, but joins no other flight: two
// CNAMEs that lead to each other would wait for each other.
func (r *Resolver) follow(ctx context.Context, q question, spent *effort) *answer {
	all := &answer{question: q, target: q.name, expires: r.cache.now().Add(keepMost)}
	all.security, all.first, all.chain = Secure, Secure, Secure
	check := r.check(q, spent)
	for {
		next := question{all.target, q.kind, q.mode}
		a := r.cache.get(next)
		if a == nil {
			a = r.ask(ctx, next, check)
		}
		all.join(a)
		switch {
		case a.status == failed:
			failure := *a.failure
			failure.Name = q.name
			all.failure = &failure
			return all
		case all.links > maxLinks:
			all.status, all.failure = failed, all.temporary(tooLong)
			all.expires = all.since.Add(keepFailure)
			return all
		case a.status != leadsOn:
			return all
		}
	}
}

// join adds the next part of a chain of CNAMEs.
func (all *answer) join(a *answer) {
	all.chain = min(all.security, a.chain)
	if all.server == "" {
		all.first = a.first
	}
	if a.security < all.security || all.why == "" {
		all.why = a.why
	}
	all.status, all.target, all.links, all.records, all.server = a.status, a.target, all.links+a.links, a.records, a.server
	all.security, all.stripped, all.since, all.ttl = min(all.security, a.security), a.stripped, a.since, a.ttl
	if a.expires.Before(all.expires) {
		all.expires = a.expires
	}
}

// lower returns name as a question has it.
func lower(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
