package peers

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// HostRecord is what is kept of one server: an MX host or smarthost and port.
type HostRecord struct {
	Seen     Tally `json:"seen"` // sessions and attempts
	Habits         // its fields stand beside
	Clear    Tally `json:"clear,omitzero"`    // sessions without TLS
	Failed   Tally `json:"failed,omitzero"`   // TLS that was tried and failed, ever
	Failing  Tally `json:"failing,omitzero"`  // the same since the last success
	Rejected Tally `json:"rejected,omitzero"` // by a level above may
	// Why is the reason of the last failure or rejection.
	Why  string `json:"why,omitempty"`
	Skip Skip   `json:"skip,omitzero"`
	// AskedForTLS is when it refused a session in the clear for being that.
	AskedForTLS time.Time `json:"asked_for_tls,omitzero"`
}

// Skip is "don't try STARTTLS with this server for now" (SEM 30).
type Skip struct {
	Until time.Time     `json:"until,omitzero"`
	Hold  time.Duration `json:"hold_ns,omitempty"` // the last one; the next is twice that
	Times int           `json:"times,omitempty"`   // in a row
}

// DomainRecord is what is kept of one destination.
type DomainRecord struct {
	Seen  Tally        `json:"seen"` // sessions and attempts
	Hosts []DomainHost `json:"hosts,omitempty"`
	// Outage is since when deliveries have failed for what is remembered,
	// zero when they do not.
	Outage   time.Time `json:"outage,omitzero"`
	Released Tally     `json:"released,omitzero"` // when the memory was given up
}

// DomainHost is one server of a destination, and what its certificates were
// worth for that destination.
type DomainHost struct {
	Name string `json:"name"`
	Port uint16 `json:"port"`
	Seen Tally  `json:"seen"`
	// Valid counts the sessions in a row whose certificate was valid.
	Valid Tally `json:"valid,omitzero"`
	// Since is when they had become enough to be remembered; zero otherwise.
	Since time.Time `json:"remembered_since,omitzero"`
	// Rejected counts the attempts that failed in the present outage.
	Rejected Tally  `json:"rejected,omitzero"`
	Why      string `json:"why,omitempty"` // of the last one
}

// ClientRecord is what is kept of one client of an inbound: an address and the
// name that it gives itself, or an address alone.
type ClientRecord struct {
	Seen   Tally `json:"seen"` // handshakes
	Habits       // its fields stand beside
	Failed Tally `json:"failed,omitzero"` // handshakes that failed, ever
	// Failing is the failure from which a second one must be a minute apart,
	// and Held when that came (SEM 31).
	Failing time.Time `json:"failing,omitzero"`
	Held    time.Time `json:"held,omitzero"`
	// Expected is when it last used forward secrecy and so is expected to
	// (SEM 33). Unlike the tally it is erased when that has become too much.
	Expected time.Time `json:"forward_secrecy_expected,omitzero"`
}

// record is what the cache and the writer need to know of all of them.
type record interface {
	// seen is never zero in a record that holds anything.
	seen() *Tally
	// times returns all times that lie in the past, so that a clock that was
	// set back can be made up for.
	times() []*time.Time
	// mend makes every other field sane after decoding.
	mend(now time.Time)
	// keep is how long the record is kept after the peer was last seen.
	keep() time.Duration
	// protects says that less would be asked of a connection without it, so that
	// strangers must not be able to push it out.
	protects() bool
	// merge adds what another record of the same kind says of the same peer.
	merge(record)
}

func (r *HostRecord) seen() *Tally   { return &r.Seen }
func (r *DomainRecord) seen() *Tally { return &r.Seen }
func (r *ClientRecord) seen() *Tally { return &r.Seen }

func (r *HostRecord) times() []*time.Time {
	return slices.Concat(r.Seen.times(), r.Habits.times(), r.Clear.times(), r.Failed.times(),
		r.Failing.times(), r.Rejected.times(), []*time.Time{&r.AskedForTLS})
}

func (r *DomainRecord) times() []*time.Time {
	all := slices.Concat(r.Seen.times(), r.Released.times(), []*time.Time{&r.Outage})
	for i := range r.Hosts {
		h := &r.Hosts[i]
		all = slices.Concat(all, h.Seen.times(), h.Valid.times(), h.Rejected.times(), []*time.Time{&h.Since})
	}
	return all
}

func (r *ClientRecord) times() []*time.Time {
	return slices.Concat(r.Seen.times(), r.Habits.times(), r.Failed.times(),
		[]*time.Time{&r.Failing, &r.Held, &r.Expected})
}

func (r *HostRecord) mend(now time.Time) {
	r.limit()
	r.Why = clip(r.Why)
	r.Skip.Hold = max(0, min(r.Skip.Hold, longestHold))
	// The end of a skip is the one time that lies in the future by right.
	if r.Skip.Until.Sub(now) > r.Skip.Hold {
		r.Skip.Until = now.Add(r.Skip.Hold)
	}
}

func (r *DomainRecord) mend(time.Time) {
	if len(r.Hosts) > maxDomainHosts {
		r.Hosts = r.Hosts[:maxDomainHosts]
	}
	for i := range r.Hosts {
		r.Hosts[i].Why = clip(r.Hosts[i].Why)
	}
}

func (r *ClientRecord) mend(time.Time) { r.limit() }

func (r *HostRecord) keep() time.Duration {
	if r.Secured.Count > 0 {
		return keepServer
	}
	return keepOther
}

func (r *DomainRecord) keep() time.Duration {
	if r.protects() {
		return keepServer
	}
	return keepOther
}

func (r *ClientRecord) keep() time.Duration {
	if r.Secured.Count > 0 {
		return keepClient
	}
	return keepFailure
}

// A host makes itself known by any TLS, and a client by any handshake: strangers can be as many as they like.
func (r *HostRecord) protects() bool   { return false }
func (r *ClientRecord) protects() bool { return false }

// SEM 32: a certificate that must be valid.
func (r *DomainRecord) protects() bool {
	return slices.ContainsFunc(r.Hosts, func(h DomainHost) bool { return !h.Since.IsZero() })
}

// newRecord returns an empty record of a kind.
func newRecord(k kind) record {
	switch k {
	case hostKind:
		return &HostRecord{}
	case domainKind:
		return &DomainRecord{}
	default:
		return &ClientRecord{}
	}
}

// errEmpty is a record that says of itself that its peer was never seen.
var errEmpty = errors.New("it says nothing")

// decode reads a record. An error means that it is damaged. The second result
// says that times in it were repaired, as the clock has been set back since.
func decode(k kind, value []byte, now time.Time) (record, bool, error) {
	r := newRecord(k)
	if err := json.Unmarshal(value, r); err != nil {
		return nil, false, fmt.Errorf("decoding a record: %w", err)
	}
	if r.seen().Count <= 0 {
		return nil, false, errEmpty
	}
	repaired := repair(now, r.times())
	r.mend(now)
	return r, repaired, nil
}
