// Package level is how much TLS a destination must have, as one ordered word.
// Names and meanings are those of Postfix (TLS_README, "SMTP TLS security
// levels"), because that is what mail administrators know.
//
//	none         no TLS, even if it is offered
//	may          TLS if it works, clear text if it does not; certificates are judged and never refused
//	encrypt      TLS or nothing; any certificate
//	fingerprint  a certificate, or key, that the operator named; no authority, no dates
//	dane         what the TLSA records of the MX say (RFC 7672), if it has any
//	dane-only    the same, and nothing without TLSA records
//	verify       a trusted certificate for the MX name, which the DNS gave us unproven
//	secure       a trusted certificate for a name that we knew without asking the DNS
//
// Everything above May is mandatory: what cannot meet it is not spoken to, and the
// mail waits. The order is the one in which Postfix holds them, and it means two things:
// a comparison with May or Encrypt says whether clear text, or an unauthenticated peer, will
// do; and of two demands on the same destination the higher one stands (RFC 7672,
// 2.2: unusable TLSA records ask for encrypt, a policy beside them may ask for more).
// It does not say that each level is harder to deceive than the one before: fingerprint
// is as strict as its operator, and verify trusts the MX record.
//
// "auto" is no level but the request to find one.
package level

import (
	"fmt"
	"slices"
	"strings"
)

// Level is one of the words; they compare with < and >. The zero value is None.
type Level uint8

// The levels, weakest demand first; the package comment has the table.
const (
	None Level = iota
	May
	Encrypt
	Fingerprint
	DANE
	DANEOnly
	Verify
	Secure
)

var names = [...]string{
	None: "none", May: "may", Encrypt: "encrypt", Fingerprint: "fingerprint",
	DANE: "dane", DANEOnly: "dane-only", Verify: "verify", Secure: "secure",
}

// Parse returns the level with that name. The error says which names there are.
func Parse(name string) (Level, error) {
	if i := slices.Index(names[:], name); i >= 0 {
		return Level(i), nil
	}
	return None, fmt.Errorf("unknown level %q: write %s or %s", name,
		strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}

// String returns the name as Parse takes it.
func (l Level) String() string {
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// Mandatory reports whether the level forbids clear text.
func (l Level) Mandatory() bool { return l > May }
