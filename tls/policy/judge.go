package policy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"postern/tls/dane"
	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/report"
)

// Trust is what is known of the other end, in Postfix's four words.
type Trust uint8

// The words, ordered.
const (
	Anonymous Trust = iota // no certificate
	Untrusted              // a certificate that leads to no trusted root, or is out of date
	Trusted                // a chain to a trusted root, for another name
	Verified               // and for the right name; or a fingerprint that the operator gave; or a TLSA record
)

var trustNames = [...]string{Anonymous: "Anonymous", Untrusted: "Untrusted", Trusted: "Trusted", Verified: "Verified"}

// String returns the word as Postfix logs it.
func (t Trust) String() string {
	if int(t) < len(trustNames) {
		return trustNames[t]
	}
	return fmt.Sprintf("Trust(%d)", uint8(t))
}

// Verdict is what came of a handshake. The zero value is that of no TLS at all.
type Verdict struct {
	Trust   Trust
	Valid   bool   // chain, dates and the MX host's own name are all right: what is remembered (SEM 32)
	Met     bool   // what the decision asks is there
	Matched string // what makes it Verified: the certificate's name, its fingerprint, "TLSA 3 1 1 8cb0…"

	Failure  report.Failure // when not Met: its kind
	Tested   report.Failure // why the MTA-STS policy would have refused it if it were not in mode testing; zero if it would not
	Expected string         // when not Met: "a certificate for mx.example.com"
	Seen     string         // when not Met, not Verified, or Grace: "self-signed certificate for localhost"; printable ASCII
	Grace    bool           // met only because of Decision.Grace; Trust is Verified, and Valid false
	Would    string         // why Decision.Observed would have refused it; "" if it would not, or is nil
}

// Judge says whether a connection is what the decision asks for. It depends on its arguments
// alone (and remembers what chains came to), and asks of a resumed session what it asks
// of a new one. At levels up to encrypt any certificate will do, and is judged by the name
// of the MX host all the same.
//
// A mandatory level is met by TLS 1.2 or newer with forward secrecy only, so that a state without Version
// meets none. The state must be that of a completed handshake, or come from VerifyConnection, in which case the
// verdict counts once the handshake has completed: until then the peer has shown a certificate
// and not yet that it is its own.
func (d *Decision) Judge(state tls.ConnectionState, now time.Time) Verdict {
	v := d.judge(&state, now)
	if d.Observed != nil {
		if w := d.Observed.judge(&state, now); !w.Met {
			v.Would = (&Violation{d.Observed, w}).Error()
		}
	}
	if t := d.Counted.Tested; t != nil { // RFC 8461, 5
		v.Tested = t.Counted.Failure
		if v.Tested.OK() {
			v.Tested = t.judge(&state, now).Failure
		}
	}
	return v
}

func (d *Decision) judge(state *tls.ConnectionState, now time.Time) Verdict {
	var v Verdict
	chain := state.PeerCertificates
	if len(chain) > 0 {
		v = d.judgeChain(chain, now)
	} else {
		v.Seen, v.Failure = "no certificate", failedNoCert
	}
	strong := state.Version >= tls.VersionTLS12 && grade.ForwardSecret(state.Version, state.CipherSuite)
	switch {
	case d.Level <= level.May:
		v.Met = true
	case !strong:
		// RFC 9325, 4.1. Config offers nothing else; a session from elsewhere could be resumed.
		v.Expected, v.Seen, v.Grace, v.Failure = strongEnough, describeStrength(state), false, failedWeak
	case d.Level == level.Encrypt:
		v.Met = true
	case d.Level <= level.Secure: // and of a level that there is not, nothing is met
		v.Met = v.Matched != ""
	}
	if v.Met {
		v.Failure = report.Failure{}
	} else if v.Expected == "" {
		v.Expected = d.expected()
	}
	return v
}

// judgeChain fills everything but Met and Expected; Failure is why nothing matched. The chain is not empty.
func (d *Decision) judgeChain(chain []*x509.Certificate, now time.Time) (v Verdict) {
	found := d.chains.verify(chain, d.Roots, 0, now)
	v.Trust = Untrusted
	if found.ok {
		v.Trust = Trusted
		_, v.Valid = matchCertificate(chain[0], []string{d.Host}, found.constrained)
	}
	if d.Level == level.DANE || d.Level == level.DANEOnly {
		d.judgeTLSA(&v, chain, now)
		return v
	}
	if d.Level == level.Fingerprint {
		v.Matched, v.Failure = d.matchFingerprint(chain[0]), failedPrint
	} else if graced, ok := d.withGrace(chain, found, now); !ok {
		v.Failure = found.failure
	} else {
		v.Failure = failedName
		v.Matched, _ = matchCertificate(chain[0], d.judged(), graced.constrained || d.noCommonName())
		v.Grace = v.Matched != "" && !found.ok
	}
	if v.Matched != "" {
		v.Trust = Verified
	}
	if v.Matched == "" || v.Grace {
		v.Seen = d.seen(chain[0], found)
	}
	return v
}

// judgeTLSA is RFC 7672, 3: public authorities, and with usage 3 names and dates, do not matter.
func (d *Decision) judgeTLSA(v *Verdict, chain []*x509.Certificate, now time.Time) {
	r := dane.MatchChain(d.TLSA, chain, d.DANENames, now)
	if !r.OK {
		v.Seen, v.Failure = seenByTLSA(chain[0], r), failureByTLSA(r)
		return
	}
	v.Matched, v.Trust = "TLSA "+shortTLSA(*r.Record), Verified
	if d.InsecureMX { // RFC 7672, 2.2.1: it is the host, and perhaps not the domain's
		v.Trust = Trusted
	}
}

// noCommonName: RFC 8461, 4.1, wants a DNS name in the subjectAltName.
func (d *Decision) noCommonName() bool { return d.Source == SourceMTASTS }

// judged are the names that make a trusted certificate Verified.
func (d *Decision) judged() []string {
	if d.Level < level.Verify && d.Host != "" {
		return []string{d.Host}
	}
	return d.Names
}

// withGrace returns the verdict on the chain, or the one that it would get if its certificates
// ended later by the grace: "merely expired" is a chain with no other flaw (SEM 32).
func (d *Decision) withGrace(chain []*x509.Certificate, found trust, now time.Time) (trust, bool) {
	if found.ok || d.Grace <= 0 {
		return found, found.ok
	}
	graced := d.chains.verify(chain, d.Roots, d.Grace, now)
	return graced, graced.ok
}

// matchFingerprint returns the fingerprint that the certificate has, or "". Only the
// server's own certificate is looked at, as Postfix does: a fingerprint names a server.
func (d *Decision) matchFingerprint(leaf *x509.Certificate) string {
	for _, f := range d.Fingerprints {
		if f == FingerprintOf(leaf, f.PublicKey) {
			return f.String()
		}
	}
	return ""
}
