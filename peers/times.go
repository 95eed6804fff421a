package peers

import "time"

const day = 24 * time.Hour

// The times of SEM 29 to 33 that are not configured.
const (
	apart      = time.Minute     // SEM 31: between two failures that count as two
	hold       = 4 * time.Hour   // SEM 31: how long STARTTLS is not offered
	exemption  = 30 * day        // SEM 31: after a handshake that was completed
	memoryOfFS = 30 * day        // SEM 33: after a handshake with forward secrecy
	knownTLS   = 30 * day        // SEM 29: after TLS with a server
	clearAfter = 5 * time.Minute // SEM 29: from the first failure of such a server to one after which mail goes in clear

	// SEM 30: what it takes to skip STARTTLS with a server of which TLS is known.
	skipFailures = 3
	skipSpan     = 30 * time.Minute

	// SEM 32: what it takes to give up what is remembered of a domain.
	releaseSpan     = 72 * time.Hour
	releaseAttempts = 5
	// After this long without a success of any, a remembered name that was not
	// even tried is taken for one that is no MX of the domain any more. Senders
	// give up after 4 to 5 days (RFC 5321, 4.5.4.1).
	releaseUntried = 96 * time.Hour
	// Rejections of one server within this time are one attempt: several
	// messages were on their way to it at once.
	burst = time.Minute

	// A failure is forgotten after the time for which senders retry a message
	// (RFC 5321, 4.5.4.1: 4 to 5 days): the peer that these rules are about
	// fails again within it. Two accidents in half a year are no pattern.
	pending = 5 * day

	// A time may lie in the future by this much: two goroutines that read the
	// clock may take our lock in the other order, and clocks are nudged. More
	// means that the clock was set back.
	skew = time.Minute
)

// How long a record is kept after the peer was last seen. It is the order, too,
// in which records go when the store is full: clients, whom anyone can invent,
// go before any server that a promise depends on. Each is longer than all that
// is decided by it.
const (
	keepServer     = 90 * day // with TLS completed or a certificate remembered
	keepOther      = 60 * day // a server or destination without
	keepClient     = 31 * day
	keepFailure    = pending + hold // a client that never completed a handshake
	longestHold    = 7 * day        // of a skip; a record that asks for more is damaged
	maxReason      = 200            // octets of a text that says why
	maxNames       = 12             // different versions, suites, … in one record
	maxDomainHosts = 32             // servers in the record of one destination
)

// within says that at is at most d before now. A time in the future, as far as
// repair has let it pass, is.
func within(now time.Time, d time.Duration, at time.Time) bool {
	return !at.IsZero() && now.Sub(at) <= d
}

// repair sets a time that lies in the future to now, and says whether it did.
func repair(now time.Time, times []*time.Time) (repaired bool) {
	for _, t := range times {
		if t.Sub(now) > skew {
			*t, repaired = now, true
		}
	}
	return repaired
}
