// Package dane authenticates mail servers by TLSA records: DANE for SMTP, RFC 7672,
// on the ground of RFC 6698 and RFC 7671.
//
// A domain that signs its DNS publishes, beside the name of its MX host, which
// certificate or key that host uses, or which authority issues for it:
//
//	_25._tcp.mx.example.com. IN TLSA 3 1 1 8cb0…   the key itself    (DANE-EE)
//	_25._tcp.mx.example.com. IN TLSA 2 1 1 276f…   its issuer's key  (DANE-TA)
//
// The three numbers are usage, selector (0 the certificate, 1 its public key) and matching
// type (0 in full, 1 SHA-256, 2 SHA-512). A sender that finds such records, validated by DNSSEC,
// knows that TLS is there and whom it must meet, so that nobody on the path can take
// TLS away or present a certificate of his own.
//
//	finding, err := lookup.Find(ctx, dane.MXInfo{Domain: "example.com", Host: "mx.example.com", Port: 25, MXSecure: true})
//	// dial, STARTTLS with finding.Base as SNI
//	result := dane.Match(finding.Records, state, finding.Names, time.Now())
//
// # Finding
//
// [Lookup.Find] decides under which name the records are and whether they count. It
// asks for the host's address first and for TLSA records only where that answer is signed. An
// insecure answer means that DANE does not apply; an error means that nobody knows, in which case the MX host
// must be skipped, because an attacker who makes look-ups fail must not get mail without DANE
// (RFC 7672, 2.1.2). No caller may take an error for "no records".
//
// # Matching
//
// [Match] is pure: records, a connection state, names and a clock in, a [Result] out. Usage 3 is the
// server's own certificate or key, and nothing else of it counts: no name, no date, no chain. Usage
// 2 is an issuer: there must be a path from the certificate to it within what the server sent and
// the DNS holds, within its dates, for one of the names. Usages 0 and 1, which need a list of public
// authorities, are not for mail (RFC 7672, 3.1.3). Paths are built by crypto/x509; where RFC 5280 leaves
// a choice, it is made as Postfix makes it with OpenSSL: see the comments in anchor.go.
//
// # What it does not do
//
// It speaks no DNS and validates none: that is behind the interface [Resolver]. It fetches no
// missing certificates (RFC 7672, 3.1.2) and looks at no system-wide list of authorities, nor at
// revocation: a key is revoked by taking its record away. Raw public keys (RFC 7250) are not
// offered. Whether a finding outranks other policies, and what happens to mail
// when nothing matches, its callers decide.
package dane
