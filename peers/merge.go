package peers

import (
	"encoding/json"
	"time"

	"postern/store"
)

// Rebase lets f exchange what the store holds, and writes what has changed
// before. What f has left there counts afterwards, whatever was in the cache.
// Nobody reads or changes a record meanwhile.
func (m *Memory) Rebase(f func() error) error {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	all := []*cache{m.servers, m.clients}
	for _, c := range all {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	for _, c := range all {
		var changes []store.Change
		for _, e := range c.changed {
			changes = append(changes, e.change())
		}
		if err := m.store.Write(changes...); err != nil {
			return err
		}
	}
	if err := f(); err != nil {
		return err
	}
	for _, c := range all {
		c.entries.Purge()
		clear(c.changed)
		c.settled++
	}
	return nil
}

// Merge makes one record of two about the same peer that were written apart:
// by a process that has not yet got the store of the one before it, or no
// longer has it. Kept is the value in the store. Of what is no record of ours
// what was learned counts.
//
// No promise may become weaker by it than it is in either, but by what has
// itself the power to do that: a success after a failure, a release.
func (m *Memory) Merge(kept []byte, learned store.Change) store.Change {
	ref, ok := parseKey(learned.Key)
	if !ok {
		return learned
	}
	now := m.now()
	was, _, err := decode(ref.kind, kept, now)
	if err != nil {
		return learned
	}
	is, _, err := decode(ref.kind, learned.Value, now)
	if err != nil {
		return store.Change{Key: learned.Key, Value: kept, Expires: now.Add(keepFailure)}
	}
	if continues(was.seen(), is.seen()) {
		return learned
	}
	was.merge(is)
	was.mend(now)
	merged, err := json.Marshal(was)
	if err != nil { // a time in the year 10000
		return learned
	}
	return store.Change{Key: learned.Key, Value: merged, Expires: was.seen().Last.Add(was.keep()), Pinned: was.protects()}
}

// continues says that a record was made from another one, and that nothing was
// added to that since.
func continues(was, is *Tally) bool {
	return is.First.Equal(was.First) && is.Count >= was.Count && !is.Last.Before(was.Last)
}

// merge counts what was counted apart. Two tallies that began at the same
// instant have the same past, which is not counted twice: the longer one counts.
func (t *Tally) merge(o Tally) {
	switch {
	case o.Count <= 0:
		return
	case t.Count <= 0:
		*t = o
		return
	case t.First.Equal(o.First):
		t.Count = max(t.Count, o.Count)
	default:
		t.Count += o.Count
	}
	t.First, t.Last = earlier(t.First, o.First), later(t.Last, o.Last)
}

// earlier is the first of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// after keeps a tally of failures that began after a success, and forgets one
// that a success has ended.
func (t Tally) after(success time.Time) Tally {
	if t.First.After(success) {
		return t
	}
	return Tally{}
}

func (u *Uses) merge(o Uses) {
	for _, use := range o {
		found := false
		for i := range *u {
			if (*u)[i].Name == use.Name {
				(*u)[i].Tally.merge(use.Tally)
				found = true
			}
		}
		if !found {
			*u = append(*u, use)
		}
	}
	u.limit(maxNames)
}

func (h *Habits) merge(o *Habits) {
	h.Secured.merge(o.Secured)
	h.Resumed.merge(o.Resumed)
	h.ForwardSecret.merge(o.ForwardSecret)
	h.Valid.merge(o.Valid)
	h.Versions.merge(o.Versions)
	h.Suites.merge(o.Suites)
	h.Groups.merge(o.Groups)
	h.Verdicts.merge(o.Verdicts)
}

func (r *HostRecord) merge(other record) {
	o := other.(*HostRecord)
	if !o.Seen.Last.Before(r.Seen.Last) && o.Why != "" {
		r.Why = o.Why
	}
	r.Seen.merge(o.Seen)
	r.Habits.merge(&o.Habits)
	r.Clear.merge(o.Clear)
	r.Failed.merge(o.Failed)
	r.Rejected.merge(o.Rejected)
	r.AskedForTLS = later(r.AskedForTLS, o.AskedForTLS)
	cleared := later(r.Secured.Last, r.AskedForTLS)
	failing := r.Failing.after(r.Secured.Last)
	failing.merge(o.Failing.after(r.Secured.Last))
	r.Failing = failing
	if o.Skip.Until.After(r.Skip.Until) {
		r.Skip = o.Skip
	}
	// SEM 30: a success clears it, and so does a server that asks for TLS.
	if !r.Skip.Until.Add(-r.Skip.Hold).After(cleared) {
		r.Skip = Skip{}
	}
}

func (r *DomainRecord) merge(other record) {
	o := other.(*DomainRecord)
	r.Seen.merge(o.Seen)
	r.Released.merge(o.Released)
	for _, h := range o.Hosts {
		r.take(h)
	}
	var success time.Time
	for i := range r.Hosts {
		if h := &r.Hosts[i]; !h.Since.After(r.Released.Last) { // SEM 32: what was released stays so
			h.Since = time.Time{}
		}
		success = later(success, r.Hosts[i].Valid.Last)
	}
	if r.Outage = earlier(r.Outage, o.Outage); !r.Outage.After(success) {
		r.recovered()
	}
}

// take merges what is known of one server. The count of sessions in a row that
// were valid goes on where one of the two has not met the certificate at all.
func (r *DomainRecord) take(o DomainHost) {
	for i := range r.Hosts {
		h := &r.Hosts[i]
		if !h.is(o.Name, o.Port) {
			continue
		}
		if !o.Seen.Last.Before(h.Seen.Last) && o.Why != "" {
			h.Why = o.Why
		}
		h.Seen.merge(o.Seen)
		h.Valid.merge(o.Valid)
		h.Rejected.merge(o.Rejected)
		h.Since = earlier(h.Since, o.Since)
		return
	}
	if len(r.Hosts) < maxDomainHosts {
		r.Hosts = append(r.Hosts, o)
	}
}

func (r *ClientRecord) merge(other record) {
	o := other.(*ClientRecord)
	r.Seen.merge(o.Seen)
	r.Habits.merge(&o.Habits)
	r.Failed.merge(o.Failed)
	r.Failing, r.Held, r.Expected = later(r.Failing, o.Failing), later(r.Held, o.Held), later(r.Expected, o.Expected)
	if !r.Failing.After(r.Secured.Last) {
		r.Failing, r.Held = time.Time{}, time.Time{}
	}
}
