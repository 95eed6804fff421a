// Package outcomes counts how sessions with other mail systems came out, by UTC day, destination
// and policy: what a report to the destination is made of (RFC 8460, 4), a day later.
//
// # What is counted
//
// Each session attempt adds one, to the successes or to the failures of the policy that it was
// held to. Failures are told apart by what a report tells them apart by: their type, both addresses, the
// host and what it calls itself. A policy that changes within the day makes a second line.
//
// # How it is kept
//
// Add changes a table in memory, which takes about a microsecond and never waits for the store;
// Run writes what has changed once in a second. A process that is killed loses the counts of its last second.
// Every process, and every start of one, writes lines of its own, which nobody else touches: several may share
// a store without a lock or a lost count, and Day adds the lines up. A line is replaced as a whole
// in one transaction, so that it is never half of one thing and half of another.
//
// Lines are kept for three days after theirs, which is long enough to send reports and to
// try again for a day, and go by themselves then.
//
// # The threats
//
// Who gets mail sent to invented domains, by bounces to forged senders, invents lines. Their number and their
// size in a day are bounded. Beyond the bound a destination is counted among the others, together, and a failure
// by its type alone: the sums stay right. What a server calls itself, and what a domain
// publishes, is a stranger's text; it is cut to a sane length and is not to be believed.
package outcomes
