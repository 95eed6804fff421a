// Package mtasts is the sender's side of MTA-STS (RFC 8461): it finds out what
// a domain promises about the TLS of its MX hosts, and remembers the promise.
//
// A domain publishes two things. A TXT record at _mta-sts.DOMAIN says that
// there is a policy and gives its version an id; the policy itself is a small
// text at https://mta-sts.DOMAIN/.well-known/mta-sts.txt, whose certificate
// proves that it is the domain's. The policy names the MX hosts and asks (mode
// enforce), or asks to be told (mode testing), that mail goes to no others and
// to these only over TLS with a valid certificate.
//
//	policies := mtasts.New(mtasts.Options{Resolver: r, Cache: c})
//	defer policies.Close()
//	go policies.Run(ctx)
//	f := policies.Find(ctx, "example.com")
//	if f.Policy != nil && f.Policy.Mode == mtasts.Enforce && !f.Policy.Match(mx) { … }
//
// ParseRecord, ParsePolicy and Policy.Match are pure. Lookup is the part with
// the network, a clock and a memory; Record, PolicyFile and ID make what a
// domain of one's own publishes.
//
// # What it protects against
//
// Someone on the path who strips STARTTLS, presents a certificate of their own,
// or forges the MX records, once a policy is known. DNSSEC is not needed,
// because the policy comes over HTTPS. The price is that trust begins at the
// first contact: who can suppress the TXT record or HTTPS then, is not noticed.
// Afterwards the policy stands for up to a year, whatever becomes of its TXT
// record and its web server (RFC 8461, 3.3), across restarts, and it is fetched
// anew every day so that nobody can wait for its end. That is why a failure
// never removes a policy, and only a fetched policy replaces one: mode none is
// how a domain takes its promise back.
//
// # What it costs
//
// A known policy costs a look into memory: neither the TXT record nor HTTPS is
// waited for, both are asked again in the background. Only a domain of which
// nothing is known is waited for, until the fetch has lasted 10 s (SEM 26); then the mail goes on as
// without a policy, and so does what comes after it, while the fetch continues. What a domain
// can cost is bounded: one flight per domain, 60 s and 64 KiB per fetch, at
// least 5 minutes between two that fail, and a memory of a few MiB for all.
//
// # What is not done here
//
// Judging the certificate of an MX host, and putting DANE first (RFC 8461, 2), are
// package policy's business. Revocation of the policy host's certificate is not
// checked, HTTP caches and proxies are not used. Where the name of a policy
// host leads is the Dial function's to restrict: a domain may point it at any
// address, though nothing but a TLS handshake reaches one without the certificate.
package mtasts
