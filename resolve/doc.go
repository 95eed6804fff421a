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
// # Not done here
//
// DNSSEC: each answer carries a [Security], but nothing is validated yet, so it
// says Indeterminate. Somebody on the path to the server is kept out by DNS over
// TLS alone ("tls://192.0.2.53:853").
package resolve
