package probe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"postern/tls/level"
	"postern/tls/policy"
)

// keep notes a chain that the server has shown, once. Servers with two certificates show one to most senders, and the
// other to those that cannot verify it.
func (v *visitor) keep(chain []*x509.Certificate) {
	known := func(c []*x509.Certificate) bool { return c[0].Equal(chain[0]) }
	if len(chain) > 0 && !slices.ContainsFunc(v.chains, known) {
		v.chains = append(v.chains, chain)
		if v.out.Certificate == nil {
			v.out.Certificate = describe(chain[0], v.judge(chain))
		}
	}
}

// keepRaw is keep for a chain that was not looked at yet. What cannot be parsed is told by the handshake.
func (v *visitor) keepRaw(raw [][]byte) {
	var chain []*x509.Certificate
	for _, der := range raw {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		chain = append(chain, c)
	}
	v.keep(chain)
}

// jury judges the certificates of an address by what a domain asks of them.
type jury struct {
	*look
	s server
	v *visitor
}

func (j *jury) add(check Check, g Grade, text, advice string) {
	j.r.add(Finding{Check: check, Host: j.s.name, Address: j.v.out.Address, Grade: g, Text: text, Advice: advice})
}

// certificates judges all chains that were seen.
func (j *jury) certificates() {
	for _, chain := range j.v.chains {
		j.trusted(chain[0], j.v.judge(chain))
		j.key(chain[0])
		j.signed(chain)
		j.matches(chain)
	}
}

// judge is what the chain is worth to a sender who asks for nothing.
func (v *visitor) judge(chain []*x509.Certificate) policy.Verdict {
	return v.seen.Judge(v.connection(chain), v.p.o.Now())
}

func describe(c *x509.Certificate, verdict policy.Verdict) *Certificate {
	key, _, _ := keyOf(c)
	sum := sha256.Sum256(c.Raw)
	out := &Certificate{Names: []string{}, Issuer: clean(c.Issuer.String()), NotAfter: c.NotAfter.UTC(), Key: key,
		Signature: c.SignatureAlgorithm.String(), Trust: verdict.Trust.String(), SHA256: hex.EncodeToString(sum[:])}
	for _, n := range c.DNSNames {
		out.Names = append(out.Names, clean(n))
	}
	return out
}

// soon is how long before its end a certificate should have been renewed.
const soon = 14 * 24 * time.Hour

// trusted is the chain, the names and the dates. Public trust is a note for mail, as with internet.nl: senders
// do not ask for it at level may, nor where TLSA records name the key; with an MTA-STS policy they do.
func (j *jury) trusted(c *x509.Certificate, verdict policy.Verdict) {
	now := j.p.o.Now()
	what := keyKind(c) + " certificate"
	switch {
	case verdict.Trust != policy.Verified && j.enforced():
		j.add(CheckCertificate, Insufficient, what+": "+verdict.Seen, "the MTA-STS policy asks for a trusted certificate for "+j.s.name+": senders that follow it do not deliver")
	case verdict.Trust != policy.Verified && isAddress(j.s.name):
		j.add(CheckCertificate, Note, what+": "+verdict.Seen, "")
	case verdict.Trust != policy.Verified:
		j.add(CheckCertificate, Note, what+": "+verdict.Seen, "no harm with DANE; a certificate of a public authority for "+j.s.name+" serves all other senders that look")
	case c.NotAfter.Sub(now) < soon:
		j.add(CheckCertificate, Sufficient, fmt.Sprintf("%s for %s, trusted, ends on %s", what, verdict.Matched, c.NotAfter.UTC().Format(time.DateOnly)), "renew it now")
	default:
		j.add(CheckCertificate, Good, fmt.Sprintf("%s for %s, trusted, until %s", what, verdict.Matched, c.NotAfter.UTC().Format(time.DateOnly)), "")
	}
}

// matches is what the decision of a sender with DANE and MTA-STS makes of the certificate.
func (j *jury) matches(chain []*x509.Certificate) {
	d := j.s.decision
	if d.Err != nil || d.Level != level.DANE && d.Level != level.DANEOnly {
		return
	}
	verdict := d.Judge(j.v.connection(chain), j.p.o.Now())
	what := keyKind(chain[0]) + " certificate"
	if verdict.Matched == "" {
		j.add(CheckDANE, Insufficient, what+": "+verdict.Seen, "publish the record that it names, or use the certificate that is published: senders with DANE do not deliver")
		return
	}
	j.add(CheckDANE, Good, what+" matches "+verdict.Matched, "")
}

func keyKind(c *x509.Certificate) string {
	_, kind, _ := keyOf(c)
	return kind
}

// key grades the public key (NCSC-NL 3.3.2.1).
func (j *jury) key(c *x509.Certificate) {
	text, _, g := keyOf(c)
	advice := ""
	switch {
	case g == PhaseOut:
		advice = "use ECDSA P-256, or RSA with 3072 bits, for the next certificate"
	case g == Insufficient:
		advice = "use ECDSA P-256, or RSA with 3072 bits, now"
	}
	j.add(CheckKey, g, text, advice)
}

func keyOf(c *x509.Certificate) (text, kind string, g Grade) {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		g = Good
		if bits < 3072 {
			g = PhaseOut
		}
		if bits < 2048 {
			g = Insufficient
		}
		return fmt.Sprintf("RSA %d bits", bits), "RSA", g
	case *ecdsa.PublicKey:
		name := k.Curve.Params().Name
		if name == "P-224" {
			return "ECDSA " + name, "ECDSA", PhaseOut
		}
		return "ECDSA " + name, "ECDSA", Good
	case ed25519.PublicKey:
		return "Ed25519", "Ed25519", Good
	}
	return c.PublicKeyAlgorithm.String(), c.PublicKeyAlgorithm.String(), Insufficient
}

// signed grades how the certificates are signed (NCSC-NL 3.3.2 and 3.3.5); roots are not looked at.
func (j *jury) signed(chain []*x509.Certificate) {
	for i, c := range chain {
		if i > 0 && bytes.Equal(c.RawIssuer, c.RawSubject) {
			continue
		}
		switch c.SignatureAlgorithm {
		case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
			x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
			continue
		}
		j.add(CheckSignature, Insufficient, fmt.Sprintf("the certificate of %s is signed with %s", c.Subject.CommonName, c.SignatureAlgorithm), "have it issued anew, signed with SHA-256")
		return
	}
	j.add(CheckSignature, Good, "signed with "+chain[0].SignatureAlgorithm.String(), "")
}

// connection is the state to judge a chain by: the one of the handshake, or, for a server that no handshake of
// today works with, one that nothing is wrong with but perhaps the certificate.
func (v *visitor) connection(chain []*x509.Certificate) tls.ConnectionState {
	state := tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	if v.state != nil {
		state = *v.state
	}
	state.PeerCertificates = chain
	return state
}
