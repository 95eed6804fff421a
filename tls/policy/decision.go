package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"

	"postern/tls/dane"
	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/mtasts"
)

// Source says who asked for the level of a decision.
type Source string

// The sources, in the order in which they are asked (SEM 26).
const (
	SourceOperator   Source = "operator"   // a destination block, or a level other than auto in the outbound
	SourceDANE       Source = "dane"       // TLSA records
	SourceMTASTS     Source = "mta-sts"    // a policy of the domain
	SourceRemembered Source = "remembered" // what the destination has proven before
	SourceDefault    Source = "default"    // nobody: level may
)

// Reason is one thing that was looked at on the way to a decision.
type Reason struct {
	Source Source
	Text   string // one line: what was found, or that nothing was
}

// Decision is what is asked of a connection to one destination through one MX host.
// It does not change once it was returned: share it, and do not write to its slices.
type Decision struct {
	Domain string // the destination, canonical
	Host   string // the MX, canonical
	Port   uint16

	Level  level.Level
	Source Source
	Place  string // where the operator wrote the rule that was used, also when that said auto

	Names        []string      // at verify and secure: the certificate must be for one of these; ".example.net" is all names below
	Fingerprints []Fingerprint // at fingerprint: the certificate must have one of these
	Grade        grade.Grade
	Roots        *Roots        // nil: the system's
	SNI          string        // the MX name, or Base (SEM 28); "" for an address
	Grace        time.Duration // after its end a certificate still passes for so long, with a warning

	TLSA       []dane.Record // at dane and dane-only: the certificate must match one of these
	DANENames  []string      // and be for one of these where that is an issuer's (usage 2)
	Base       string        // the TLSA base domain, where there are TLSA records; no final dot
	InsecureMX bool          // the MX records are not signed: who matches TLSA is Trusted, not Verified

	STS     *mtasts.Policy // of the domain, where it was asked for, in any mode; not to be changed
	NotAnMX string         // why STS forbids this host (RFC 8461, 4.1); Err is set then; else ""

	Found    Findings  // what Reasons says, as values
	Counted  Counted   // what those who count outcomes want to know besides
	Observed *Decision // remember = "observe": what enforce would have asked; else nil
	Reasons  []Reason  // everything that was looked at, in order, also what did not apply
	Expires  time.Time // no longer true after it; zero: as long as the configuration
	Err      error     // what must be known could not be found out, or nothing will do: skip the MX and defer (SEM 26)

	key    string
	chains *chainCache
}

// Findings are what a decision was made of, as values. Each is nil where it was not asked for, or
// where it was disabled. They are not to be changed.
type Findings struct {
	DANE       *dane.Finding // also nil where the look-up failed: Decision.Err says why
	STS        *mtasts.Finding
	Remembered *Remembered
}

// NoAddress says that the host had no address when its TLSA records were to be looked for, so that they were
// not. An address that is found since then must not be connected to: who replays an old denial would be rid of DANE.
func (d *Decision) NoAddress() bool { return d.Found.DANE != nil && d.Found.DANE.NoAddress }

func (d *Decision) reason(s Source, text string) {
	d.Reasons = append(d.Reasons, Reason{s, text})
}

// describe says which rule was found.
func (r *Rule) describe() string {
	text := "no destination block matches: level "
	if r.Pattern != "" {
		text = `destination "` + r.Pattern + `": level `
	}
	if r.Auto {
		text += "auto"
	} else {
		text += r.Level.String()
	}
	if r.Place != "" {
		text += " (" + r.Place + ")"
	}
	return text
}

// Key is equal for two decisions if and only if they ask the same of a connection to the same
// host and of the certificate at its end, under the same TLSA records and MTA-STS policy; who asked, the domain
// and the port are left out.
// What was made under a key (a session, a connection) may be used again under the same key for the same
// address, and under no other.
func (d *Decision) Key() string {
	if d.key != "" {
		return d.key
	}
	return d.makeKey()
}

// seal is the last step in making a decision.
func (d *Decision) seal() *Decision {
	d.key = d.makeKey()
	return d
}

// makeKey hashes all that Judge and Config look at. Every variable part has its length in
// front, so that no two decisions run together.
func (d *Decision) makeKey() string {
	b := make([]byte, 0, 256)
	b = append(b, byte(d.Level), byte(d.Grade))
	b = binary.BigEndian.AppendUint64(b, d.Roots.id())
	b = binary.BigEndian.AppendUint64(b, uint64(d.Grace))
	b = appendText(b, d.Host, d.SNI)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Names)))
	b = appendText(b, d.Names...)
	for _, f := range d.Fingerprints {
		b = appendText(b, f.String())
	}
	b = d.keyPublished(b)
	if d.Observed != nil {
		b = appendText(b, "observed", d.Observed.Key())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// keyPublished is the part of DANE and MTA-STS.
func (d *Decision) keyPublished(b []byte) []byte {
	if len(d.TLSA) > 0 || d.Base != "" {
		b = appendText(b, "tlsa", d.Base)
		b = binary.BigEndian.AppendUint32(b, uint32(len(d.TLSA)))
		for _, r := range d.TLSA {
			b = appendText(b, string([]byte{r.Usage, r.Selector, r.MatchingType}), string(r.Data))
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(d.DANENames)))
		b = appendText(b, d.DANENames...)
		b = appendText(b, strconv.FormatBool(d.InsecureMX))
	}
	if d.STS != nil {
		b = appendText(b, "sts", strconv.FormatBool(d.noCommonName()), d.STS.Mode.String())
		b = appendText(b, d.STS.MX...)
	}
	return b
}

func appendText(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(t)))
		b = append(b, t...)
	}
	return b
}
