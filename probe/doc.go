// Package probe finds out what the TLS of a mail domain, or of one mail server, is worth to
// those who send mail there, and grades it as the mail test of internet.nl does.
//
//	p := probe.New(probe.Options{Gateway: g, Policy: engine, Resolver: r, DANE: d, STS: s})
//	target, err := probe.ParseTarget("example.com", 25)
//	report := p.Probe(ctx, target)
//
// # What it sees
//
// What a stranger on the Internet sees, by the way that mail takes: the MX records and their
// DNSSEC, the decision of package policy about each host, and connections by package proxy's
// own dialogue, greeted and secured by the code that delivers. What crypto/tls cannot offer
// (old versions, broken suites, odd groups) is offered by hand with package hello. No mail is sent: the
// furthest that it goes is MAIL FROM:<>, which is taken back by RSET.
//
// # What it says
//
// A [Report] is a list of [Finding]s, each of one check, with a grade and what to do about it.
// The grades are those of the guidelines that internet.nl tests by (NCSC-NL, 2025): good, sufficient, phase-out,
// insufficient. Beside them a finding can be a note, which counts for nothing, or
// unknown: a server that is busy, refuses us or is silent has said nothing about its TLS, and gets no grade
// for it. The tables are in grade.go, suite.go and the files of the checks, and docs/probe.md has them for people.
//
// # How polite it is
//
// One connection at a time to a host, a bounded number of them, and a bounded time. A server that says
// 421 or 4xx is left alone at once.
//
// # What it does not do
//
// It looks for no flaws of implementations (Heartbleed and its kind), neither renegotiates nor
// sends early data, and does not check revocation. SPF, DKIM and DMARC say who may send, not how
// safely mail arrives, and are left out.
package probe
