package mtasts

import (
	"fmt"
	"time"
)

const (
	day = 24 * time.Hour

	// hold is how long a policy stands at least, whatever its max_age: with max_age 0
	// each mail would cost a fetch (RFC 8461, 3.3, lets senders limit their rate).
	hold = time.Minute

	recheckSoonest = 5 * time.Minute // the TXT record of a domain with a policy is asked again,
	recheckLatest  = time.Hour       // as its TTL says but within these

	noneShortest = time.Minute // that there is no record is believed,
	noneLongest  = time.Hour   // as its TTL says but within these

	retryFirst = 5 * time.Minute // RFC 8461, 3.3: after a fetch that failed, per id;
	retryMost  = time.Hour       // doubled each time up to this
	// failureStands is how long deliveries go on without waiting after a fetch that failed
	// and left no policy; attempts in the background go on meanwhile.
	failureStands = time.Hour
)

// known is what is known of a domain, and what is to become of it. It is
// replaced as a whole, never changed.
type known struct {
	entry   Entry   // of the policy
	policy  *Policy // nil: there is none
	result  Result  // of the last attempt
	trouble string  // that it met
	why     string

	asked   time.Time // when the TXT record was last asked for
	check   time.Time // from then on it is asked again, in the background
	refresh time.Time // from then on the policy is fetched again, whatever the id
	fresh   time.Time // from then on none of this counts
	failed  retry
}

// retry is about the version of a policy that could not be fetched.
type retry struct {
	id    string
	times int
	until time.Time // no further attempt before
	last  *failure  // what the last attempt met
}

// cost is an estimate of the memory that k takes, in octets.
func (k *known) cost() int {
	cost := 512 + len(k.trouble) + len(k.why)
	if k.policy != nil {
		cost += 512 + 2*len(k.entry.Policy) + 48*len(k.policy.MX)
	}
	return cost
}

// protects says that there is a policy to enforce.
func (k *known) protects() bool { return k.policy != nil && k.policy.Mode == Enforce }

// counts says whether k is still to be believed.
func (k *known) counts(now time.Time) bool { return now.Before(k.fresh) }

// due says whether k is to be checked. A clock that was set back must not put that off.
func (k *known) due(now time.Time) bool { return !now.Before(k.check) || now.Before(k.asked) }

// wantsFetch says whether a record with this id is a reason to fetch the policy:
// one that is new (RFC 8461, 3.1), or the day is over (10.2); but not while the last attempt for the
// same id is too recent.
func (k *known) wantsFetch(id string, now time.Time) bool {
	if k.failed.id == id && now.Before(k.failed.until) {
		return false
	}
	return k.policy == nil || k.entry.ID != id || !now.Before(k.refresh) || now.Before(k.entry.Fetched)
}

// failing says whether a policy that protects could not be refreshed when it was to be, be it
// only that its record is gone.
func (k *known) failing() bool {
	return k.policy != nil && k.policy.Mode != None && (k.result != "" || !k.asked.Before(k.refresh))
}

// remembered is the known of an entry. Its record is to be asked for at once.
func remembered(e Entry) (*known, error) {
	p, err := parsePolicy(e.Policy)
	if err != nil {
		return nil, err
	}
	if !validID(e.ID) {
		return nil, fmt.Errorf("id %s", quote(e.ID))
	}
	e.Fetched, e.Policy = e.Fetched.Round(0), p.text("\n")
	k := &known{entry: e, policy: p, fresh: e.Fetched.Add(max(p.MaxAge, hold)), refresh: e.Fetched.Add(min(day, p.MaxAge/2))}
	k.why = k.describe()
	return k, nil
}

// fetched is the known of a policy that has just arrived.
func fetched(e Entry, p *Policy, ttl time.Time) *known {
	now := e.Fetched
	k := &known{
		entry: e, policy: p, asked: now,
		fresh:   now.Add(max(p.MaxAge, hold)),
		refresh: now.Add(min(day, p.MaxAge/2)),
	}
	k.check = earlier(clamp(ttl, now, recheckSoonest, recheckLatest), later(k.refresh, now.Add(hold)))
	k.why = k.describe()
	return k
}

// begin is what to go on from: old without what no longer counts.
func begin(old *known, now time.Time) *known {
	k := &known{}
	if old != nil {
		*k = *old
	}
	if k.policy != nil && !k.counts(now) {
		*k = known{failed: k.failed}
	}
	k.asked = now
	return k
}

// confirmed notes that the record has an id for which there is nothing to fetch now.
func (k *known) confirmed(id string, ttl time.Time) {
	k.check = clamp(ttl, k.asked, recheckSoonest, recheckLatest)
	if k.failed.id == id && k.asked.Before(k.failed.until) {
		k.check = earlier(k.check, k.failed.until)
		if k.policy == nil {
			k.fresh = k.asked.Add(failureStands)
		}
		k.tell(k.failed.last)
		return
	}
	k.check = earlier(k.check, later(k.refresh, k.asked.Add(hold)))
	k.result, k.trouble, k.why = "", "", k.describe()
}

// unrecorded notes that there is no record that leads to a policy. A policy of
// before stays as it is (RFC 8461, 3.3).
func (k *known) unrecorded(f *failure, ttl time.Time) {
	if f.result == TXTError {
		ttl = k.asked // an error has no lifetime
	}
	if k.policy != nil {
		k.check = clamp(ttl, k.asked, recheckSoonest, recheckLatest)
	} else {
		k.check = clamp(ttl, k.asked, noneShortest, noneLongest)
		k.fresh = k.check
	}
	k.tell(f)
}

// unfetched notes that the policy of an id could not be had. A policy of before stays
// as it is (RFC 8461, 3.3).
func (k *known) unfetched(id string, f *failure, now time.Time) {
	times := 1
	if k.failed.id == id {
		times = k.failed.times + 1
	}
	wait := min(retryFirst<<min(times-1, 10), retryMost)
	k.failed = retry{id, times, now.Add(wait), f}
	k.check = now.Add(retryFirst) // there may be a new id by then
	if k.policy == nil {
		k.fresh = now.Add(failureStands)
	}
	k.tell(f)
}

// tell sets the result and the story of an attempt that failed.
func (k *known) tell(f *failure) {
	k.result, k.trouble, k.why = f.result, f.why, f.why
	if k.policy != nil {
		k.why = k.describe() + "; it stands, although " + f.why
	}
}

func (k *known) describe() string {
	return fmt.Sprintf("policy %s of %s: %v", k.entry.ID, k.entry.Fetched.UTC().Format(time.RFC3339), k.policy)
}

// clamp is t, but at least shortest and at most longest after now.
func clamp(t, now time.Time, shortest, longest time.Duration) time.Time {
	return earlier(later(t, now.Add(shortest)), now.Add(longest))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
