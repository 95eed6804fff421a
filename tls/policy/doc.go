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
//	d := engine.Decide(ctx, "example.com", "mx1.example.com", 25)
//	conn := tls.Client(raw, d.Config(policy.ConfigOptions{Verdict: &verdict}))
//
// # Who asks
//
// The first that has something to say wins (SEM 26): the operator's destination
// block; DANE and MTA-STS, which this version does not ask; what is remembered of the
// destination; and at last level may, on which everything works. A block with
// level "auto" replaces the settings of the outbound (grade, roots) and leaves
// the level to the others. DNS and HTTP are not spoken here, and no file is read:
// what must be looked up comes through small interfaces.
//
// # What it protects against
//
// Opportunistic TLS stops who only listens. Who stands on the path can remove
// STARTTLS from the EHLO reply, or present a certificate of their own, and level may
// goes along with it (RFC 7435). The levels from encrypt on do not; those from verify
// on, and fingerprint, know the peer as well. A remembered destination is held to
// what it has proven before, which protects against stripping and interception, not
// against forged MX records: the name that is checked came from the DNS. Only secure
// with the operator's names (and, to come, DANE and MTA-STS) protects against those.
//
// # What a certificate is checked for
//
// A chain to the trusted roots, dates, the purpose of a TLS server, and one of the
// decision's names, in the DNS names of the certificate's subjectAltName, or among its
// IP addresses when the destination is an address literal; in the common
// name only when there is no subjectAltName at all. Revocation is not checked: SMTP
// servers rarely staple, and a responder that does not answer would stop mail.
package policy
