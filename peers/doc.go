// Package peers remembers what became of our dealings with other mail systems,
// so that the next one can be wiser than the last.
//
// # What it answers
//
// Handshakes is the memory of TLS handshakes with clients of an inbound. It
// answers a kind of sender that the SMTP standards have no word for: one that
// sees STARTTLS, tries it, shares no version or suite with us, and then
// neither falls back to plaintext nor tells anybody, but comes back until the
// message bounces. Such a client is not offered STARTTLS for a while, and its
// mail arrives in the clear instead of not at all (SEM 31).
//
// Outbound is the memory of the servers that mail is sent to. A server whose
// STARTTLS is broken is not asked for it again for a while (skip, SEM 30); one
// that has always been able to do TLS is not believed at once when it suddenly
// cannot (SEM 29); and one whose certificate has validated time and again must
// validate in future (remembered, SEM 32).
//
// # The threats
//
// Whoever can break two handshakes of a client, by sitting on the path, gets
// four hours of its plaintext. He could strip STARTTLS from our reply just as
// well, against a client that accepts that; and a client whose address has
// completed a handshake within 30 days is exempt, so that for anyone who
// normally does TLS nothing is gained by breaking it. Likewise outbound: a
// server that has completed TLS within 30 days must fail twice, five minutes
// apart, before mail goes to it in the clear, and its skip takes three
// failures over half an hour.
//
// A remembered server cannot be impersonated on the path, nor its STARTTLS
// stripped, for as long as the memory lasts: longer than 72 hours of broken
// deliveries it does not, because then a change at the destination is likelier
// than an attack, and mail must not bounce. The release is logged as an error.
// It does not protect against forged MX records: who can forge those leads us
// to a name of which nothing is remembered.
//
// Whoever floods an inbound with invented clients displaces other clients, not
// servers, and whoever has mail sent to invented domains displaces no destination
// that is remembered: the store keeps a room for each kind of record, and what
// is remembered is pinned there.
//
// # How it is kept
//
// Sessions change records in a bounded cache, which takes microseconds and
// never waits for a disk that is being written to; Memory.Run writes what has
// changed to a store.Store a moment later. A process that is killed loses the
// last quarter of a second of what it learned, and nothing else. A record
// that has been damaged is dropped, with a line in the log.
//
// Times are those of the wall clock, because they outlive the process. A time
// that lies in the future, because the clock was set back since, counts as now:
// what was remembered then lasts as long as if it had just happened, but no
// longer.
package peers
