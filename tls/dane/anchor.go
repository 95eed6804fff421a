package dane

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strconv"
	"time"
)

// anchor is where a path may end: an issuer that a record of usage 2 names.
type anchor struct {
	root   *x509.Certificate // as crypto/x509 is given it
	record *Record
	bare   bool // only its key is known, and root was made up around it
}

// matchIssuer is usage 2 (RFC 7671, 5.2; RFC 7672, 3.1.2).
func (m *matcher) matchIssuer() Result {
	leaf := m.chain[0]
	if selfSigned(leaf) {
		return m.matchSelfSigned()
	}
	issuers := m.issuers()
	anchors := append(m.known(issuers), m.bare(issuers)...)
	if len(anchors) == 0 {
		// RFC 7671, 5.2.2: an issuer that is known by a digest must be in what the server sends.
		return m.mismatch("no issuer among the " + strconv.Itoa(len(m.chain)) + " certificates that the server sent matches the TLSA records")
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	for _, a := range anchors {
		roots.AddCert(a.root)
	}
	for _, c := range issuers {
		others.AddCert(c)
	}
	return m.verify(roots, others, anchors)
}

// issuers are the certificates that may stand in the path behind the server's own: those that it sent, and
// those that the DNS holds in full. The server's own is no issuer of itself, sent twice or not.
func (m *matcher) issuers() []*x509.Certificate {
	all := slices.Clone(m.chain[1:])
	for _, u := range m.all {
		if u.Usage == UsageTA && u.cert != nil {
			all = append(all, u.cert)
		}
	}
	return slices.DeleteFunc(all, m.chain[0].Equal)
}

// known returns the issuers that a record names. Each may be at any height: a path ends at
// the first, and who signed that does not matter.
func (m *matcher) known(issuers []*x509.Certificate) (all []anchor) {
	for _, c := range issuers {
		if r := m.find(UsageTA, &associations{cert: c}); r != nil {
			all = append(all, anchor{root: asRoot(c), record: r})
		}
	}
	return all
}

// asRoot makes an issuer what crypto/x509 calls a root. RFC 5280, 6.1.1 d: an anchor is a name and a key;
// what else its certificate says is local policy, and ours is what Postfix does with OpenSSL. Its purposes,
// name constraints and path length count, and so do its dates if it is self-issued,
// but not otherwise. Without basic constraints it may sign if its key usage says so.
func asRoot(c *x509.Certificate) *x509.Certificate {
	root := *c
	if !selfIssued(c) {
		root.NotBefore, root.NotAfter = time.Time{}, forever
	}
	if !c.BasicConstraintsValid && c.KeyUsage&x509.KeyUsageCertSign != 0 {
		root.BasicConstraintsValid, root.IsCA, root.MaxPathLen = true, true, -1
	}
	return &root
}

var forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280, 4.1.2.5: no certificate ends later

// maxBareChecks is how many signatures are checked in search of what a bare key has signed. crypto/x509
// has a limit of its own, of 100, for the path.
const maxBareChecks = 32

// bare returns an anchor for every certificate that was signed by a key which the DNS holds in full
// (2 1 0): it is all that is needed to verify a path, and some servers rely on it (RFC 7671, 5.2.3). If the server
// has sent the certificate of that key, it stands for it, with its limits.
func (m *matcher) bare(issuers []*x509.Certificate) (all []anchor) {
	checks := 0
	for _, u := range m.all {
		if u.Usage != UsageTA || u.key == nil || holds(issuers, u.Data) {
			continue
		}
		for _, c := range m.chain {
			if checks++; checks > maxBareChecks {
				return all
			}
			root := &x509.Certificate{PublicKey: u.key}
			if root.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
				all = append(all, anchor{dress(u, c), u.Record, true})
			}
		}
	}
	return all
}

func holds(issuers []*x509.Certificate, spki []byte) bool {
	return slices.ContainsFunc(issuers, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubjectPublicKeyInfo, spki) })
}

// dress makes up a certificate around a key: the issuer of c, without an end or a limit.
func dress(u usable, c *x509.Certificate) *x509.Certificate {
	return &x509.Certificate{
		Raw:                     slices.Concat(u.Data, c.RawIssuer), // what a pool tells its certificates apart by
		RawSubject:              c.RawIssuer,
		RawSubjectPublicKeyInfo: u.Data,
		PublicKey:               u.key,
		PublicKeyAlgorithm:      algorithm(u.key),
		Version:                 3,
		BasicConstraintsValid:   true,
		IsCA:                    true,
		MaxPathLen:              -1,
		NotAfter:                forever,
	}
}

// matchSelfSigned is a server's certificate that nobody else has signed. It has no issuer, so that no record of
// usage 2 can match, with one exception: the bare key (2 1 0) that signed it is its own, as it
// could have signed any other. Postfix sees it so, and many such records are published by mistake for 3 1 0.
func (m *matcher) matchSelfSigned() Result {
	leaf := m.chain[0]
	for _, u := range m.all {
		if u.Usage == UsageTA && u.key != nil && bytes.Equal(leaf.RawSubjectPublicKeyInfo, u.Data) {
			roots := x509.NewCertPool()
			roots.AddCert(leaf)
			return m.verify(roots, nil, []anchor{{leaf, u.Record, true}})
		}
	}
	return m.mismatch("the server's certificate is self-signed, so that no issuer (usage 2) can match the TLSA records")
}

// verify looks for a path to one of the anchors that is valid now, and then for a name.
func (m *matcher) verify(roots, others *x509.CertPool, anchors []anchor) Result {
	leaf := m.chain[0]
	if err := forServers(leaf); err != "" {
		return Result{Failure: NotTrusted, Why: "certificate for " + describeNames(leaf) + " " + err}
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: m.now})
	if err != nil {
		return m.explain(err)
	}
	slices.SortStableFunc(paths, func(a, b []*x509.Certificate) int { return len(a) - len(b) })
	for _, path := range paths {
		if name, ok := m.names.match(path); ok {
			return matched(path, name, anchors)
		}
	}
	return Result{Failure: HostMismatch, Why: "certificate for " + describeNames(leaf) + " from the right issuer; expected one for " + List(m.names)}
}

func matched(path []*x509.Certificate, name string, anchors []anchor) Result {
	depth := len(path) - 1
	i := slices.IndexFunc(anchors, func(a anchor) bool { return a.root == path[depth] })
	a := anchors[i]
	if a.bare && depth > 0 {
		depth--
	}
	return Result{OK: true, Record: a.record, Depth: depth, Name: name,
		Why: "the issuer at depth " + strconv.Itoa(depth) + " matches " + a.record.short() + ", and the certificate is for " + Clean(name)}
}

// forServers holds the key usage to what TLS does with a key, as OpenSSL does and crypto/x509
// does not (RFC 5280, 4.2.1.3). The extended one crypto/x509 checks.
func forServers(c *x509.Certificate) string {
	const tls = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	if c.KeyUsage != 0 && c.KeyUsage&tls == 0 {
		return "that is not for TLS servers"
	}
	return ""
}

// selfIssued says that a certificate names itself as its issuer (RFC 5280, 6.1).
func selfIssued(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject)
}

// selfSigned says that it is signed by its own key besides.
func selfSigned(c *x509.Certificate) bool {
	return selfIssued(c) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}
