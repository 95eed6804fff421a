package peers

import (
	"crypto/tls"
	"math"
	"slices"
	"strings"
	"time"
)

// A Tally says how often something happened, and when first and last.
type Tally struct {
	Count int       `json:"count"`
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

func (t *Tally) add(now time.Time) {
	if t.Count <= 0 {
		*t = Tally{First: now}
	}
	t.Count = min(t.Count, math.MaxInt-1) + 1
	t.Last = now
}

func (t *Tally) times() []*time.Time { return []*time.Time{&t.First, &t.Last} }

// span is the time from the first to the last.
func (t *Tally) span() time.Duration { return t.Last.Sub(t.First) }

// A Use is how often something that has a name was used: "TLS 1.3", say.
type Use struct {
	Name  string `json:"name"`
	Tally        // its fields stand beside the name
}

// Uses is a short list of them, in the order in which they were first seen.
type Uses []Use

func (u *Uses) add(now time.Time, name string) {
	i := slices.IndexFunc(*u, func(use Use) bool { return use.Name == name })
	if i < 0 {
		u.limit(maxNames - 1)
		*u = append(*u, Use{Name: name})
		i = len(*u) - 1
	}
	(*u)[i].add(now)
}

// limit drops those not used for longest until n are left.
func (u *Uses) limit(n int) {
	for len(*u) > n {
		oldest := 0
		for i, use := range *u {
			if use.Last.Before((*u)[oldest].Last) {
				oldest = i
			}
		}
		*u = slices.Delete(*u, oldest, oldest+1)
	}
}

// latest returns the name that was used last, or nothing.
func (u Uses) latest() string {
	var last Use
	for _, use := range u {
		if !use.Last.Before(last.Last) {
			last = use
		}
	}
	return last.Name
}

func (u Uses) times() (all []*time.Time) {
	for i := range u {
		all = append(all, u[i].times()...)
	}
	return all
}

// Facts are what is known of one TLS session. Zero values are not noted.
type Facts struct {
	Version       uint16      // as in tls.ConnectionState
	Suite         uint16      // likewise
	Group         tls.CurveID // 0 without (EC)DHE
	ForwardSecret bool
	Resumed       bool
	Trust         string // Postfix's word: "Anonymous", "Untrusted", "Trusted", "Verified"
	// Valid says that the certificate had a chain to a root, was within its
	// time and was for the name of the server itself: what SEM 32 counts.
	Valid bool
}

// Habits are the facts of all TLS sessions with a peer.
type Habits struct {
	Secured       Tally `json:"secured"` // sessions with TLS
	Resumed       Tally `json:"resumed,omitzero"`
	ForwardSecret Tally `json:"forward_secret,omitzero"`
	Valid         Tally `json:"valid,omitzero"`
	Versions      Uses  `json:"versions,omitempty"`
	Suites        Uses  `json:"suites,omitempty"`
	Groups        Uses  `json:"groups,omitempty"`
	Verdicts      Uses  `json:"verdicts,omitempty"`
}

func (h *Habits) add(now time.Time, f Facts) {
	h.Secured.add(now)
	if f.Resumed {
		h.Resumed.add(now)
	}
	if f.ForwardSecret {
		h.ForwardSecret.add(now)
	}
	if f.Valid {
		h.Valid.add(now)
	}
	if f.Version != 0 {
		h.Versions.add(now, tls.VersionName(f.Version))
	}
	if f.Suite != 0 {
		h.Suites.add(now, tls.CipherSuiteName(f.Suite))
	}
	if f.Group != 0 {
		h.Groups.add(now, f.Group.String())
	}
	if f.Trust != "" {
		h.Verdicts.add(now, clip(f.Trust))
	}
}

func (h *Habits) times() []*time.Time {
	return slices.Concat(h.Secured.times(), h.Resumed.times(), h.ForwardSecret.times(), h.Valid.times(),
		h.Versions.times(), h.Suites.times(), h.Groups.times(), h.Verdicts.times())
}

func (h *Habits) limit() {
	for _, u := range []*Uses{&h.Versions, &h.Suites, &h.Groups, &h.Verdicts} {
		u.limit(maxNames)
	}
}

// clip shortens a text from elsewhere to what a record has room for.
func clip(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return strings.ToValidUTF8(s, "?")
}
