// Package policy decides how safe a connection to a destination must be, and
// enforces that decision in the TLS handshake.
//
// Destination and MX host go in, a Decision comes out: one immutable value that the
// session, the log, the metrics and "postern explain" all show. The decision makes
// the tls.Config of the connection, whose single VerifyConnection asks Judge for the
// verdict, also when a session is resumed. Judge is pure: a connection state
// and a clock in, a Verdict out.
//
//	engine := policy.New(policy.Options{Default: policy.Rule{Auto: true}, Memory: m})
//	d := engine.DecideMX(ctx, policy.MXInput{Domain: "example.com", Host: "mx1.example.com", Port: 25, MXSecure: true})
//	conn := tls.Client(raw, d.Config(policy.ConfigOptions{Verdict: &verdict}))
//
// # Who asks
//
// The first that has something to say wins (SEM 26): the operator's destination
// block; DANE and MTA-STS; what is remembered of the destination; and at last level may,
// on which everything works. A block with level "auto" replaces the settings of the
// outbound (grade, roots) and leaves the level to the others. DNS and HTTP are not
// spoken here, and no file is read: what must be looked up comes through small interfaces.
//
// DANE and MTA-STS are decided together. TLSA records that can be used end the search, and
// what they say is neither healed by a policy nor, as a rule, vetoed by one (RFC 8461, 2).
// Records that cannot be used ask for encrypt, unless a policy asks for more. An error is no answer:
// Decision.Err says so, and the MX host is skipped rather than used with less. The
// exception to the rule are hosts that only unsigned MX records lead to: see
// holdToPolicy. A policy in mode enforce asks for the MX host's own name in a
// certificate of the decision's roots, and forbids hosts that it does not name;
// one in mode testing asks for nothing: Verdict.Tested says what it would have.
//
// # What it protects against
//
// Opportunistic TLS stops who only listens. Who stands on the path can remove
// STARTTLS from the EHLO reply, or present a certificate of their own, and level may
// goes along with it (RFC 7435). The levels from encrypt on do not; those from verify
// on, and fingerprint, know the peer as well. A remembered destination is held to
// what it has proven before, which protects against stripping and interception, not
// against forged MX records: the name that is checked came from the DNS. Only secure
// with the operator's names, DANE with signed MX records, and MTA-STS protect against those.
//
// # What a certificate is checked for
//
// A chain to the trusted roots, dates, the purpose of a TLS server, and one of the
// decision's names, in the DNS names of the certificate's subjectAltName, or among its
// IP addresses when the destination is an address literal; in the common
// name only when there is no subjectAltName at all, and never for MTA-STS. With TLSA records
// package dane compares instead, and no trusted root matters. Revocation is not checked: SMTP
// servers rarely staple, and a responder that does not answer would stop mail.
package policy
