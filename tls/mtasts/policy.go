package mtasts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MaxPolicySize is how many octets of a policy are read (RFC 8461, 3.3).
	MaxPolicySize = 64 << 10
	// MaxKeptSize is how many octets a policy may have once all is left out that says nothing: some
	// hundred MX hosts. One that is larger counts as none. RFC 8461 bounds neither the number of hosts nor what a
	// sender must keep for up to a year for whoever asks it to.
	MaxKeptSize = 4 << 10
	// MaxMaxAge is the longest that a policy stands: a year of 365.25 days
	// (RFC 8461, 3.2). A longer max_age means this one.
	MaxMaxAge = 31557600 * time.Second

	policyVersion = "STSv1"
	maxAgeDigits  = 10
)

// Mode is what a policy asks of senders. The zero value is None.
type Mode uint8

// The modes of RFC 8461, 5.
const (
	None    Mode = iota // nothing: the domain has taken its policy back
	Testing             // check, report what fails, and deliver all the same
	Enforce             // check, and do not deliver where it fails
)

var modes = [...]string{None: "none", Testing: "testing", Enforce: "enforce"}

// String is the mode as policies have it.
func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return "mode " + strconv.Itoa(int(m))
}

func parseMode(s string) (Mode, bool) {
	for m, name := range modes {
		if s == name {
			return Mode(m), true
		}
	}
	return None, false
}

// Policy is what a domain says of its MX hosts. It is not to be changed.
type Policy struct {
	Mode   Mode
	MaxAge time.Duration // from the fetch; 0 to MaxMaxAge
	MX     []string      // patterns in small letters, without a final dot
	Lines  []string      // the policy in its canonical form, for reports too (RFC 8460, 4.2)
}

// ParsePolicy reads a policy file (RFC 8461, 3.2). What it refuses is no
// policy at all; the error says why, in words fit for a log.
func ParsePolicy(body []byte) (*Policy, error) { return parsePolicy(string(body)) }

// draft is a policy that is being read.
type draft struct {
	Policy
	seen map[string]bool
}

func parsePolicy(body string) (*Policy, error) {
	if len(body) > MaxPolicySize {
		return nil, fmt.Errorf("the policy has more than %d octets", MaxPolicySize)
	}
	d := draft{seen: make(map[string]bool, 4)}
	// RFC 8461, 3.2, and erratum 6253: lines end in LF or CRLF, the last one may end in neither.
	for n, line := range strings.Split(body, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if trim(line) == "" {
			continue
		}
		if err := d.line(line); err != nil {
			return nil, fmt.Errorf("line %d of the policy: %w", n+1, err)
		}
	}
	return d.finish()
}

func (d *draft) line(line string) error {
	if !printable(line) {
		return fmt.Errorf("%s holds control characters or is not UTF-8", quote(line))
	}
	key, value, ok := strings.Cut(line, ":")
	if key, value = trim(key), trim(value); !ok || key == "" {
		return fmt.Errorf("%s is not key: value", quote(line))
	}
	if key != "mx" {
		// RFC 8461, 3.2: of a field that is there twice, the first counts.
		if d.seen[key] {
			return nil
		}
		d.seen[key] = true
	}
	return d.field(key, value)
}

func (d *draft) field(key, value string) (err error) {
	ok := true
	switch key {
	case "version":
		if value != policyVersion {
			err = fmt.Errorf("version %s is not %s", quote(value), policyVersion)
		}
	case "mode":
		if d.Mode, ok = parseMode(value); !ok {
			err = fmt.Errorf("mode %s is none of enforce, testing and none", quote(value))
		}
	case "max_age":
		if d.MaxAge, ok = parseMaxAge(value); !ok {
			err = fmt.Errorf("max_age %s is not a number of seconds of 1 to 10 digits", quote(value))
		}
	case "mx":
		pattern := strings.ToLower(strings.TrimSuffix(value, "."))
		if !validPattern(pattern) {
			err = fmt.Errorf("mx %s is neither a host name in A-labels nor *. and a domain", quote(value))
		}
		d.MX = append(d.MX, pattern)
	}
	return err // RFC 8461, 3.2: unknown fields are ignored
}

// finish checks what only the whole can show.
func (d *draft) finish() (*Policy, error) {
	for _, key := range []string{"version", "mode", "max_age"} {
		if !d.seen[key] {
			return nil, fmt.Errorf("the policy has no %s", key)
		}
	}
	if len(d.MX) == 0 && d.Mode != None {
		return nil, errors.New("the policy has no mx, which only mode none may leave out")
	}
	p := d.Policy
	p.MX = unique(p.MX)
	if n := len(p.text("\n")); n > MaxKeptSize && p.Mode == None {
		p.MX = nil // of no meaning, and taking a promise back must not fail
	} else if n > MaxKeptSize {
		return nil, fmt.Errorf("the policy names too many MX hosts: it has %d octets without what says nothing, and may have %d", n, MaxKeptSize)
	}
	p.Lines = p.lines()
	for i := range p.MX { // nothing holds on to the text that they were cut from
		p.MX[i] = strings.TrimPrefix(p.Lines[2+i], "mx: ")
	}
	return &p, nil
}

// unique returns each pattern once, in their order.
func unique(patterns []string) (all []string) {
	seen := make(map[string]bool, len(patterns))
	for _, p := range patterns {
		if !seen[p] {
			seen[p] = true
			all = append(all, p)
		}
	}
	return all
}

// lines is the policy in its canonical form.
func (p *Policy) lines() []string {
	lines := []string{"version: " + policyVersion, "mode: " + p.Mode.String()}
	for _, mx := range p.MX {
		lines = append(lines, "mx: "+mx)
	}
	return append(lines, "max_age: "+strconv.FormatInt(int64(p.MaxAge/time.Second), 10))
}

// text is the canonical form as a file.
func (p *Policy) text(lineEnd string) string { return strings.Join(p.lines(), lineEnd) + lineEnd }

// parseMaxAge is RFC 8461, 3.2: 1 to 10 digits, and at most a year. Erratum 7282, which
// would allow 8 digits only, was not accepted; with 10, larger ones are capped.
func parseMaxAge(s string) (time.Duration, bool) {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	if s == "" || len(s) > maxAgeDigits || !every(s, digit) {
		return 0, false
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(seconds, int64(MaxMaxAge/time.Second))) * time.Second, true
}

func printable(line string) bool {
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(line)
}

// String is the policy on one line: "mode enforce, mx mx1.example.com *.example.net, max_age
// 604800". It is for people; long lists are cut short.
func (p *Policy) String() string {
	const most = 10
	text := "mode " + p.Mode.String()
	if len(p.MX) > 0 {
		text += ", mx " + strings.Join(p.MX[:min(most, len(p.MX))], " ")
	}
	if more := len(p.MX) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + ", max_age " + strconv.FormatInt(int64(p.MaxAge/time.Second), 10)
}
