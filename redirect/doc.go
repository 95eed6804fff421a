// Package redirect tells the kernel to turn connections to port 25 over to
// postern, so that a mail server next to it needs no new setting. It speaks
// netlink itself: there need be no nft and no ip program where it runs.
//
// # What it installs
//
// An nftables table of its own, "inet postern", for both families. On the way
// out, connections that this machine opens to port 25 elsewhere are redirected
// to the port of an outbound; on the way in, connections to port 25 of this
// machine are redirected to the port of an inbound. A gateway does the first
// for the networks behind it, by REDIRECT or by TPROXY. And where a backend is
// to see the address of the client itself, policy routing brings its answers
// back to postern: they are addressed to the client, and would leave otherwise.
//
// # What it must not do
//
// It fails closed. A redirected connection whose port nobody listens on is
// refused by the kernel, so the mail server keeps its mail and tries again;
// TPROXY would let such a connection pass, which is why a rule that resets it
// stands behind.
//
// It makes no loop. Postern's own connections to port 25 have to be exempt, by
// the user that it runs as or by the mark of its sockets (SEM 24), or nothing is
// installed.
//
// It touches nothing of others. The table is replaced or removed as a whole, in
// one transaction, and only where its comments say that it is ours; rules and
// routes are known by the number of the protocol that they carry.
//
// # What it does not do
//
// Only port 25 is redirected (SEM 25). Nothing survives a reboot, and nothing is
// watched: whoever flushes the tables of nftables removes these too.
package redirect
