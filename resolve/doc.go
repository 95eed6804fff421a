// Package resolve asks the DNS. Its signatures have plain types only, so that
// nobody else needs to know which library does the asking.
//
// It is a stub resolver: it asks servers that do the work of walking down from
// the root, and keeps what they say for as long as the records live. Three
// kinds of questions are answered:
//
//   - Who takes the mail of this domain ([Resolver.MX]), and at which addresses
//     ([Resolver.Addresses])? Here "there is none" and "I could not find out"
//     must never be mixed up: the first bounces a message, the second makes it
//     wait. Only NXDOMAIN and an empty answer mean the first.
//   - At which addresses is a host that the operator named
//     ([Resolver.HostAddresses])? /etc/hosts comes first there.
//   - Who is this client ([Resolver.ClientName])? A server names a client by
//     what its address says of itself (PTR), and believes that name only if it
//     leads back to the address: whoever runs an address block can write any
//     name into its reverse zone.
//
// # Whom it protects against
//
// Somebody who cannot see the question may still send answers to it. So each
// question leaves from a socket of its own, connected to the server, with a
// random ID, and only an answer from there that repeats ID, name, type and
// class is read (RFC 5452). What does not match is not counted as an answer: the
// right one may still be on its way. Records for other names than the one asked
// for are never taken over.
//
// Whoever owns a zone may put any octet into a name. Names go into commands,
// logs and replies, so what leaves this package is made of letters, digits,
// hyphens, underscores and asterisks alone. Sizes are bounded too: of one answer,
// of a chain of CNAMEs, of the memory.
//
// # DNSSEC
//
// Somebody on the path to the server can answer whatever he likes. DNS over TLS
// ("tls://192.0.2.53:853") keeps him out, and not the server itself. With
// [Validate] no server needs to be trusted: each answer is followed by its
// signatures down from [Anchors], and carries how far it can be trusted, and why:
//
//   - Secure: it is signed, or its absence is, by a zone whose keys are known by
//     the DS record in the zone above, and so on up to an anchor.
//   - Insecure: a zone above it says, signed, that below it nothing is; or signed
//     with algorithms, keys or as many hash iterations as are not supported here.
//   - Bogus: it should be signed, and is not, or not rightly. That is an error and
//     never an answer.
//   - Indeterminate: nobody could tell. Something could not be had, or it takes
//     more work than an honest zone does: that is an error. Or validation is off,
//     or the clock stands before this program was built: that is an answer.
//
// One server that strips or forges decides nothing while another is there. The
// pieces are, from the bottom: rrset.go, one signature over one set of records;
// keys.go, whether the keys of a zone are its own; nsec.go, nsec3.go and
// denial.go, what is proved not to exist; zone.go, the way down from an anchor;
// validate.go, all that an answer needs. The first three are functions of
// records, keys and a clock; the last two ask for what they need.
//
// Not done: rollover of the anchors (RFC 5011; a file that unbound keeps can be
// read), Ed448, GOST and DSA, and names of clients: mail must not wait for the
// keys of whoever connects.
package resolve
