package mtasts

import (
	"errors"
	"fmt"
	"strings"
)

const (
	recordVersion = "v=STSv1"
	maxID         = 32 // characters of a record's id (RFC 8461, 3.1)
	maxKey        = 32 // characters of an extension's name
)

// errNoRecord says that nothing at the name is meant as an MTA-STS record.
var errNoRecord = errors.New("no TXT record that begins with v=STSv1;")

const recordPrefix = "_mta-sts."

// RecordName is where a domain's record is: "_mta-sts.example.com".
func RecordName(domain string) string { return recordPrefix + domain }

// ParseRecord finds the id of a domain's policy in the TXT records at
// RecordName, each with its strings joined. Without exactly one valid record ok is
// false, which means that no policy can be discovered now, and why says what is
// the matter (RFC 8461, 3.1).
func ParseRecord(texts []string) (id string, ok bool, why string) {
	id, err := parseRecords(texts)
	if err != nil {
		return "", false, err.Error()
	}
	return id, true, ""
}

func parseRecords(texts []string) (id string, err error) {
	record, n := "", 0
	for _, text := range texts {
		// RFC 8461, 3.1: records that do not begin so are discarded. White space
		// before the semicolon, which the grammar has, does not (erratum 6285).
		if strings.HasPrefix(text, recordVersion+";") {
			record = text
			n++
		}
	}
	switch n {
	case 0:
		return "", errNoRecord
	case 1:
		return parseRecord(record)
	default:
		return "", fmt.Errorf("%d TXT records begin with v=STSv1; where there must be one", n)
	}
}

// parseRecord reads "v=STSv1; id=…;" with any extensions.
func parseRecord(record string) (id string, err error) {
	fields := strings.Split(strings.TrimPrefix(record, recordVersion+";"), ";")
	if last := len(fields) - 1; trim(fields[last]) == "" {
		fields = fields[:last] // the delimiter at the end is optional
	}
	found := false
	for _, field := range fields {
		key, value, _ := strings.Cut(trim(field), "=")
		if !validKey(key) || !validValue(value) {
			return "", fmt.Errorf("the TXT record has a field %s, which is not name=value", quote(field))
		}
		if key != "id" || found {
			continue // RFC 8461, 3.2: unknown fields and further ones are ignored
		}
		if !validID(value) {
			return "", fmt.Errorf("the TXT record has the id %s, which is not 1 to 32 letters and digits", quote(value))
		}
		id, found = value, true
	}
	if !found {
		return "", errors.New("the TXT record has no id")
	}
	return id, nil
}

// trim takes away WSP of RFC 5234 at both ends.
func trim(s string) string { return strings.Trim(s, " \t") }

func validID(s string) bool {
	return s != "" && len(s) <= maxID && every(s, alphanumeric)
}

// validKey is sts-ext-name, which is also what the known names look like.
func validKey(s string) bool {
	return s != "" && len(s) <= maxKey && alphanumeric(s[0]) && every(s, func(c byte) bool {
		return alphanumeric(c) || c == '_' || c == '-' || c == '.'
	})
}

// validValue is sts-ext-value: visible characters without "=" and ";".
func validValue(s string) bool {
	return s != "" && every(s, func(c byte) bool { return c > ' ' && c < 0x7f && c != '=' && c != ';' })
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func every(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// quote is how a text of others stands in an explanation: short and on one line.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
