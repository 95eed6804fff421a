package peers

import (
	"net/netip"
	"time"

	"postern/store"
)

// Handshakes is the memory of TLS handshakes with inbound clients. Its methods
// may be called from any number of goroutines, and do not allocate for a
// client that is known already.
//
// A client is its address and the name that it gave in EHLO or HELO. Names are
// compared without regard to the case of ASCII letters, and by their first 255
// octets. An IPv4 address mapped into IPv6 is that IPv4 address, and the zone
// of a link-local one is ignored.
type Handshakes struct{ m *Memory }

// NewHandshakes returns an empty memory that ends with the process. It takes
// the time from now, which is time.Now outside tests.
func NewHandshakes(now func() time.Time) *Handshakes {
	return New(Options{Store: store.NewMemory(now), Now: now}).Handshakes()
}

// Handshakes returns the part of the memory that an inbound uses.
func (m *Memory) Handshakes() *Handshakes { return &Handshakes{m} }

// both locks and returns the records of a client and of its address. The caller
// unlocks, and calls change for what it changes.
func (h *Handshakes) both(now time.Time, address netip.Addr, hello string) (client, at *entry) {
	es := h.m.clients.lock(now, clientRef(address, hello), addressRef(address))
	return es[0], es[1]
}

func (e *entry) client() *ClientRecord { return e.record.(*ClientRecord) }

// Avoid says that STARTTLS should not be offered to this client: two of its
// handshakes failed at least a minute apart, with none completed between, the
// second less than four hours ago; and no client at its address has completed
// one in the last 30 days. (SEM 31)
func (h *Handshakes) Avoid(address netip.Addr, hello string) bool {
	now := h.m.now()
	client, at := h.both(now, address, hello)
	defer h.m.clients.mu.Unlock()
	return within(now, hold, client.client().Held) && !within(now, exemption, at.client().Secured.Last)
}

// Failed notes a handshake with this client that failed, for whatever reason.
// A client that closed after our flight, without a command inside TLS, failed
// too (SEM 31).
func (h *Handshakes) Failed(address netip.Addr, hello string) {
	now := h.m.now()
	e := h.m.clients.lock(now, clientRef(address, hello))[0]
	defer h.m.clients.mu.Unlock()
	h.m.clients.change(e)
	r := e.client()
	r.Seen.add(now)
	r.Failed.add(now)
	if r.over(now) {
		r.Failing, r.Held = now, time.Time{}
	} else if r.Held.IsZero() && now.Sub(r.Failing) >= apart {
		r.Held = now
	}
}

// over says that the failures no longer count: there are none, or the hold has
// passed, after which it takes two new ones, or the second never came.
func (r *ClientRecord) over(now time.Time) bool {
	if !r.Held.IsZero() {
		return !within(now, hold, r.Held)
	}
	return !within(now, pending, r.Failing)
}

// Secured notes a handshake with this client that was completed, and what it came
// to: above all whether its key exchange was forward secret (ECDHE; always so in TLS
// 1.3).
func (h *Handshakes) Secured(address netip.Addr, hello string, f Facts) {
	now := h.m.now()
	client, at := h.both(now, address, hello)
	defer h.m.clients.mu.Unlock()
	h.m.clients.change(client)
	h.m.clients.change(at)
	at.client().Seen.add(now)
	at.client().Secured.add(now)
	r := client.client()
	r.Seen.add(now)
	r.Habits.add(now, f)
	switch {
	case f.ForwardSecret:
		r.Expected = now
	case !r.Held.IsZero(): // it has lost what it had
		r.Expected = time.Time{}
	}
	r.Failing, r.Held = time.Time{}, time.Time{}
}

// UsedForwardSecrecy says that this client completed a handshake with forward
// secrecy in the last 30 days, so that one without is not all that it can do
// (SEM 33). A client that was refused for it twice, at least a minute apart, is
// no longer held to it: its address is exempt from Avoid, so otherwise nothing
// would ever get through, and weak encryption is better than none.
func (h *Handshakes) UsedForwardSecrecy(address netip.Addr, hello string) bool {
	now := h.m.now()
	e := h.m.clients.lock(now, clientRef(address, hello))[0]
	defer h.m.clients.mu.Unlock()
	r := e.client()
	return within(now, memoryOfFS, r.Expected) && !within(now, hold, r.Held)
}
