package mtasts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// PolicyFile is the text to serve at URL: the policy of a domain of one's own
// (RFC 8461, 3.2), its lines ended by CRLF. maxAge is in whole seconds. The error says
// what no sender would understand: an MX that is no name, a time out of range, no
// MX where the mode needs one.
func PolicyFile(mode Mode, mx []string, maxAge time.Duration) (string, error) {
	if maxAge < 0 || maxAge > MaxMaxAge || maxAge%time.Second != 0 {
		return "", fmt.Errorf("max_age %v: give whole seconds from 0 to %d", maxAge, MaxMaxAge/time.Second)
	}
	if int(mode) >= len(modes) {
		return "", errors.New(mode.String() + ": give enforce, testing or none")
	}
	p := Policy{Mode: mode, MaxAge: maxAge}
	for _, host := range mx {
		if host != trim(host) || strings.ContainsAny(host, "\r\n") {
			return "", fmt.Errorf("mx %s: give a host name", quote(host))
		}
		p.MX = append(p.MX, strings.ToLower(strings.TrimSuffix(host, ".")))
	}
	text := p.text("\r\n")
	if _, err := ParsePolicy([]byte(text)); err != nil {
		return "", err
	}
	return text, nil
}

// ID is an id for the TXT record that follows from the content of the policy file, so that
// it changes whenever that does: 32 letters and digits.
func ID(policyFile string) string {
	sum := sha256.Sum256([]byte(policyFile))
	return hex.EncodeToString(sum[:maxID/2])
}

// Record is the text of the TXT record at RecordName: "v=STSv1; id=20261123;". The id
// is 1 to 32 letters and digits (RFC 8461, 3.1).
func Record(id string) (string, error) {
	if !validID(id) {
		return "", fmt.Errorf("id %s: give 1 to 32 letters and digits", quote(id))
	}
	return recordVersion + "; id=" + id + ";", nil
}
