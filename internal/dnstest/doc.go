// Package dnstest is a small DNS server for tests. It answers for the whole
// tree from a few records in the format of zone files, over UDP, TCP, TLS and
// pipes; it can be told to misbehave, counts what it is asked, and its records
// may change while it runs.
//
// It behaves like the resolver of a provider: it follows CNAMEs within its
// records, knows wildcards and empty non-terminals, gives NXDOMAIN or an empty
// answer with an SOA record, and sets the TC flag on what does not fit.
//
// With [StartSigned] it has a tree of zones instead, each with its own keys, and
// answers with signatures and proofs, made for the time of the test. What can be
// wrong with them is a [Flaw]; what can be wrong with the server is a [Fault], as
// ever. [Forest] is a large tree of everything, to compare validators by.
//
// In a unit test the code asks it over loopback, or through Dial where the time
// is that of a synctest bubble:
//
//	s := dnstest.Start(t, `
//		example.com.     300 IN MX 10 mx.example.com.
//		mx.example.com.      IN A  127.0.0.2
//	`)
//	r := resolve.New([]string{s.Address})
//
// In an end-to-end test a real postern asks it; the test writes its address
// into the configuration and goes on changing records and faults meanwhile:
//
//	s := dnstest.Start(t, zone)
//	config := fmt.Sprintf("resolver {\n servers = [%q]\n}\n…", s.Address)
//	… start postern, deliver …
//	s.Break("example.com", "MX", dnstest.ServFail) // the next deliveries defer
//	s.Set("example.com. 0 IN MX 10 other.example.com.")
//
// postern keeps answers as long as their TTL says, and failures for 5 s: write
// TTL 0 where the test is going to change something. The default is 60 s. In a
// network namespace, New and Listen give the server an address of choice.
package dnstest
