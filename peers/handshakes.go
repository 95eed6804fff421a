// Package peers remembers what became of our dealings with other mail systems,
// so that the next one can be wiser than the last.
//
// Handshakes is the memory of TLS handshakes with clients of an inbound. It
// answers a kind of sender that the SMTP standards have no word for: one that
// sees STARTTLS, tries it, shares no version or suite with us, and then
// neither falls back to plaintext nor tells anybody, but comes back until the
// message bounces. Such a client is not offered STARTTLS for a while, and its
// mail arrives in the clear instead of not at all (SEM 31).
//
// The threat: whoever can break two handshakes of a client, by sitting on the
// path, gets four hours of its plaintext. He could strip STARTTLS from our
// reply just as well, against a client that accepts that; and a client whose
// address has completed a handshake within 30 days is exempt, so that for
// anyone who normally does TLS nothing is gained by breaking it.
//
// Not done here: the memory ends with the process, and a fleet does not share
// it. It is bounded; when it is full, the clients unseen for longest are
// forgotten, and a forgotten client is one that was never seen.
package peers

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// The times of SEM 31 and SEM 33.
const (
	apart      = time.Minute         // between two failures that count as two
	hold       = 4 * time.Hour       // how long STARTTLS is not offered
	exemption  = 30 * 24 * time.Hour // after a handshake that was completed
	memoryOfFS = 30 * 24 * time.Hour // after a handshake with forward secrecy
	// A single failure is forgotten after the time for which senders retry a
	// message (RFC 5321, 4.5.4.1: 4 to 5 days): the sender that SEM 31 is
	// about fails again within it. Two accidents in half a year are no pattern.
	pending = 5 * 24 * time.Hour

	// A time may lie in the future by this much: two goroutines that read the
	// clock may take our lock in the other order. More means that the clock
	// was set back; what was noted before is then void, or it would last until
	// the clock has caught up.
	skew = time.Minute

	capacity = 65536 // keys in each of the three memories, about 200 bytes each
)

// Handshakes is the memory of TLS handshakes with inbound clients. Its methods
// may be called from any number of goroutines, and do not allocate for a
// client that is known already.
//
// A client is its address and the name that it gave in EHLO or HELO. Names are
// compared without regard to the case of ASCII letters, and by their first 255
// octets. An IPv4 address mapped into IPv6 is that IPv4 address, and the zone
// of a link-local one is ignored.
type Handshakes struct {
	now   func() time.Time
	start time.Time
	names hasher

	mu            sync.Mutex
	failed        *simplelru.LRU[client, failure]
	completed     *simplelru.LRU[netip.Addr, instant]
	forwardSecret *simplelru.LRU[client, instant]
}

// instant is a time since the start of the memory. With the real clock it is
// monotonic, so that setting the host's clock does not touch it.
type instant time.Duration

// failure is what is known of a client whose handshakes fail.
type failure struct {
	first instant // the failure from which a minute must pass
	held  bool    // a second one came
	since instant // when it came, if held
}

// NewHandshakes returns an empty memory that takes the time from now, which is
// time.Now outside tests.
func NewHandshakes(now func() time.Time) *Handshakes {
	return &Handshakes{
		now: now, start: now(), names: newHasher(),
		failed:        newLRU[client, failure](),
		completed:     newLRU[netip.Addr, instant](),
		forwardSecret: newLRU[client, instant](),
	}
}

func newLRU[K comparable, V any]() *simplelru.LRU[K, V] {
	l, err := simplelru.NewLRU[K, V](capacity, nil)
	if err != nil {
		panic(err) // only for a capacity that is not positive
	}
	return l
}

// Avoid says that STARTTLS should not be offered to this client: two of its
// handshakes failed at least a minute apart, with none completed between, the
// second less than four hours ago; and no client at its address has completed
// one in the last 30 days. (SEM 31)
func (h *Handshakes) Avoid(address netip.Addr, hello string) bool {
	key := h.names.client(address, hello)
	now := h.instant()
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.failed.Get(key)
	if !ok || !f.held || !now.within(hold, f.since) {
		return false
	}
	at, ok := h.completed.Get(key.address)
	return !ok || !now.within(exemption, at)
}

// Failed notes a handshake with this client that failed, for whatever reason.
// A client that closed after our flight, without a command inside TLS, failed
// too (SEM 31).
func (h *Handshakes) Failed(address netip.Addr, hello string) {
	key := h.names.client(address, hello)
	now := h.instant()
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.failed.Get(key)
	if !ok || f.over(now) {
		f = failure{first: now}
	} else if !f.held && now-f.first >= instant(apart) {
		f.held, f.since = true, now
	}
	h.failed.Add(key, f)
}

// over says that f no longer counts: the hold has passed, after which it takes
// two new failures, or the second failure never came.
func (f failure) over(now instant) bool {
	if f.held {
		return !now.within(hold, f.since)
	}
	return !now.within(pending, f.first)
}

// Succeeded notes a handshake with this client that was completed, and whether
// its key exchange was forward secret (ECDHE; always so in TLS 1.3).
func (h *Handshakes) Succeeded(address netip.Addr, hello string, forwardSecret bool) {
	key := h.names.client(address, hello)
	now := h.instant()
	h.mu.Lock()
	defer h.mu.Unlock()
	f, failed := h.failed.Peek(key)
	h.failed.Remove(key)
	h.completed.Add(key.address, now)
	switch {
	case forwardSecret:
		h.forwardSecret.Add(key, now)
	case failed && f.held: // it has lost what it had
		h.forwardSecret.Remove(key)
	}
}

// UsedForwardSecrecy says that this client completed a handshake with forward
// secrecy in the last 30 days, so that one without is not all that it can do
// (SEM 33). A client that was refused for it twice, at least a minute apart, is
// no longer held to it: its address is exempt from Avoid, so otherwise nothing
// would ever get through, and weak encryption is better than none.
func (h *Handshakes) UsedForwardSecrecy(address netip.Addr, hello string) bool {
	key := h.names.client(address, hello)
	now := h.instant()
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, failed := h.failed.Get(key); failed && f.held && now.within(hold, f.since) {
		return false
	}
	at, ok := h.forwardSecret.Get(key)
	return ok && now.within(memoryOfFS, at)
}

func (h *Handshakes) instant() instant { return instant(h.now().Sub(h.start)) }

// within says that at is at most d before now, and not in the future by more
// than skew.
func (now instant) within(d time.Duration, at instant) bool {
	age := time.Duration(now - at)
	return -skew <= age && age <= d
}
