package sink

import (
	"errors"
	"strconv"
	"strings"
)

var errBDAT = errors.New("bad BDAT: want BDAT size [LAST]")

// verbOf is the first four letters of a command line in upper case: all that
// SMTP needs to tell its verbs apart. Empty when there are fewer.
func verbOf(line []byte) string {
	if len(line) < 4 {
		return ""
	}
	return strings.ToUpper(string(line[:4]))
}

// argument is what follows the first space of a command line.
func argument(line string) string {
	_, a, _ := strings.Cut(line, " ")
	return strings.TrimSpace(a)
}

// parseBDAT reads "BDAT size [LAST]" (RFC 3030, 2).
func parseBDAT(line string) (size int64, last bool, err error) {
	f := strings.Fields(line)
	if len(f) < 2 || len(f) > 3 {
		return 0, false, errBDAT
	}
	n, err := strconv.ParseUint(f[1], 10, 63)
	if err != nil {
		return 0, false, errBDAT
	}
	if len(f) == 3 && !strings.EqualFold(f[2], "LAST") {
		return 0, false, errBDAT
	}
	return int64(n), len(f) == 3, nil
}

// parsePath takes the address out of "MAIL FROM:<a@b> …" and its like. It
// takes what stands there when there are no angle brackets.
func parsePath(line string) string {
	_, p, _ := strings.Cut(line, ":")
	p = strings.TrimSpace(p)
	if !strings.HasPrefix(p, "<") {
		p, _, _ = strings.Cut(p, " ")
		return p
	}
	p = p[1:]
	if strings.HasPrefix(p, `"`) { // a quoted local part may hold a '>'
		if i := endOfQuotes(p); i > 0 {
			rest, _, _ := strings.Cut(p[i:], ">")
			return p[:i] + rest
		}
	}
	p, _, _ = strings.Cut(p, ">")
	return p
}

// endOfQuotes is the index behind the quoted string that s begins with, or 0.
func endOfQuotes(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// parseXCLIENT adds the attributes of an XCLIENT command to attrs. Names are
// put in upper case, values are decoded from xtext (RFC 3461, 4).
func parseXCLIENT(line string, attrs map[string]string) {
	for _, f := range strings.Fields(argument(line)) {
		k, v, _ := strings.Cut(f, "=")
		attrs[strings.ToUpper(k)] = decodeXtext(v)
	}
}

// decodeXtext turns each "+" and two hexadecimal digits into their byte, and
// leaves a "+" without digits as it is.
func decodeXtext(s string) string {
	if !strings.Contains(s, "+") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
