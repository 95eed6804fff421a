package app

import (
	"crypto/tls"
	"slices"
	"time"

	"postern/tls/dane"
)

// TLSAToPublish is a record to publish.
type TLSAToPublish struct {
	Inbound string `json:"inbound,omitempty"`
	Owner   string `json:"owner"`  // without final dot
	TTL     uint32 `json:"ttl"`    // in seconds
	Record  string `json:"record"` // as in a zone file: "3 1 1 8cb0…"
	For     string `json:"for"`    // current, next or issuer
	Key     string `json:"key"`    // of whom it is

	record dane.Record
}

// records lists what to publish for an edge, by owner. What two of its keys have in common is there once.
func (e edge) records(ttl uint32) (all []TLSAToPublish) {
	for _, name := range e.names {
		for _, port := range e.ports {
			all = append(all, e.recordsAt(name, port, ttl)...)
		}
	}
	return all
}

func (e edge) recordsAt(name string, port uint16, ttl uint32) (all []TLSAToPublish) {
	owner := dane.Owner(name, port)
	add := func(role, key string, r dane.Record) {
		text := r.String()
		if !slices.ContainsFunc(all, func(other TLSAToPublish) bool { return other.Record == text }) {
			all = append(all, TLSAToPublish{Inbound: e.inbound, Owner: owner, TTL: ttl, Record: text, For: role, Key: key, record: r})
		}
	}
	for _, k := range e.shownAt(name) {
		add("current", k.String(), k.record())
	}
	for _, k := range e.next {
		add("next", k.String(), k.record())
	}
	for _, i := range e.issuers {
		add("issuer", i.source+" ("+i.cert.Subject.String()+")", i.record())
	}
	return all
}

// shownAt are the keys that clients meet who ask for a name: which of several certificates that
// is depends on what they can verify (STANDARDS 90).
func (e edge) shownAt(name string) (all []tlsKey) {
	if e.set == nil {
		return e.current
	}
	for _, schemes := range verifiers {
		c, err := e.set.GetCertificate(&tls.ClientHelloInfo{
			ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: schemes,
		})
		if err != nil {
			continue
		}
		has := func(k tlsKey) bool { return k.leaf().Equal(c.Leaf) }
		if i := slices.IndexFunc(e.current, has); i >= 0 && !slices.ContainsFunc(all, has) {
			all = append(all, e.current[i])
		}
	}
	return all
}

// verifiers are what clients can verify signatures of.
var verifiers = [][]tls.SignatureScheme{
	{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512},
	{tls.Ed25519},
	{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512},
}

// record is 3 1 1, which names the key and nothing else: it outlives the certificate, and senders
// look at neither names nor dates (RFC 7671, 5.1).
func (k tlsKey) record() dane.Record { return dane.FromKey(k.spki, dane.MatchingSHA256) }

// record is 2 1 1 (RFC 7671, 5.2).
func (i issuer) record() dane.Record {
	return dane.From(i.cert, dane.UsageTA, dane.SelectorSPKI, dane.MatchingSHA256)
}

// warnings say what keeps the records of an edge from doing what they are for.
func (e edge) warnings() (all []string) {
	for _, name := range e.passing {
		all = append(all, "certificate \""+name+"\" is self_signed: it has a new key after each start, so no TLSA record can name it. Write cert_file and key_file")
	}
	for _, k := range slices.Concat(e.current, e.next) {
		leaf := k.leaf()
		if leaf == nil || !e.asked {
			continue
		}
		if isSelfSigned(leaf) {
			all = append(all, k.String()+" is self-signed: it has no issuer, and senders accept no 2 1 1 for the certificate itself. 3 1 1 is all that it needs")
			continue
		}
		all = append(all, e.issuerWarnings(k)...)
	}
	return all
}

// issuerWarnings tries the records of the issuers on what is served.
func (e edge) issuerWarnings(k tlsKey) (all []string) {
	var records []dane.Record
	for _, i := range e.issuers {
		records = append(records, i.record())
	}
	if len(records) == 0 {
		return []string{k.String() + ": its issuer is not in the file: add it to the file, or give --issuer-file"}
	}
	for _, name := range e.names {
		if r := dane.MatchChain(records, k.chain, dane.Names{name}, time.Now()); !r.OK {
			all = append(all, k.String()+" does not pass by the record of an issuer (2 1 1) at "+name+": "+r.Why)
		}
	}
	return all
}
