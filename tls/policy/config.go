package policy

import (
	"crypto/tls"
	"time"

	"postern/tls/level"
)

// Violation is the error of a handshake whose peer does not meet the decision.
// Find it with errors.As.
type Violation struct {
	Decision *Decision
	Verdict  Verdict
}

// Error says what was expected and what was seen: "secure: expected a certificate for
// example.com, saw self-signed certificate for localhost".
func (v *Violation) Error() string {
	return v.Decision.Level.String() + ": expected " + v.Verdict.Expected + ", saw " + v.Verdict.Seen
}

// ConfigOptions are the parts of a connection's configuration that are not the decision's.
// The zero value works.
type ConfigOptions struct {
	// Plain is for the retry of a handshake that died: no hybrid key exchange and,
	// at level may, no SNI (SEM 28).
	Plain bool

	Verdict *Verdict // the verdict is stored here before the handshake returns
	// SawCertificate is set when the peer's certificate has arrived and could be parsed, or a
	// session was resumed. A handshake that fails with it set was not stopped by our ClientHello (SEM 28).
	SawCertificate *bool

	Sessions tls.ClientSessionCache // see Sessions.For; nil: no resumption
	Now      func() time.Time       // nil: time.Now
}

// Config makes the configuration of one connection as a TLS client, for one handshake: what the
// options point to is written to by it. The handshake fails with *Violation if the decision
// is not met. A certificate that crypto/x509 cannot parse (a negative serial number, say) fails every
// handshake before it is judged.
func (d *Decision) Config(o ConfigOptions) *tls.Config {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	c := &tls.Config{
		ServerName:         d.SNI,
		ClientSessionCache: o.Sessions,
		Time:               o.Now,
		InsecureSkipVerify: true, // VerifyConnection below judges instead, at every level and for resumed sessions too
		VerifyConnection: func(state tls.ConnectionState) error {
			if o.SawCertificate != nil {
				*o.SawCertificate = true
			}
			v := d.Judge(state, now())
			if o.Verdict != nil {
				*o.Verdict = v
			}
			if !v.Met {
				return &Violation{d, v}
			}
			return nil
		},
	}
	d.Grade.Client(c, d.Level.Mandatory())
	if o.Plain {
		d.Grade.ClientPlain(c)
		if d.Level <= level.May {
			c.ServerName = ""
		}
	}
	return c
}
