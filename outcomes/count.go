package outcomes

import (
	"hash/maphash"
	"net/netip"
	"strings"

	"postern/tls/report"
)

// Count is what became of the session attempts with one destination under one policy.
type Count struct {
	// Domain is that of the recipients. It is empty for all those together that there was no
	// room for; Policy is then of no meaning.
	Domain    string        `json:"domain,omitempty"`
	Policy    report.Policy `json:"policy,omitzero"`
	Successes int64         `json:"successes,omitempty"`
	Failures  int64         `json:"failures,omitempty"` // the sum of those in Details
	Details   []Detail      `json:"details,omitempty"`
}

// Detail is how often a session attempt failed in one way (RFC 8460, 4.4, failure-details). Beside
// Result everything is empty where there were too many ways.
type Detail struct {
	Kind
	Sessions int64 `json:"sessions"`
}

// Kind is what tells the failures of a policy apart.
type Kind struct {
	Result  report.Result `json:"result"`
	Reason  string        `json:"reason,omitempty"`
	Sender  netip.Addr    `json:"sender,omitzero"`
	Host    string        `json:"host,omitempty"`
	Address netip.Addr    `json:"address,omitzero"`
	Hello   string        `json:"hello,omitempty"`
}

// The bounds of one process's lines of one day.
const (
	maxLines   = 4096
	maxSize    = 8 << 20 // octets of all lines, as cost estimates them
	maxDetails = 32      // of one line, before those by Result alone
	maxPolicy  = 2048    // octets of a policy's text; RFC 8460 has no bound
	maxName    = 255     // octets of any other text
)

// key tells lines apart.
type key struct {
	domain, base string
	kind         report.PolicyType
	policy       uint64
}

// seed makes hashes that nobody outside can find two equal texts for.
var seed = maphash.MakeSeed()

func keyOf(o *report.Outcome) key {
	k := key{domain: clip(o.Domain), base: clip(o.Policy.Domain), kind: o.Policy.Type}
	if len(o.Policy.Strings)+len(o.Policy.MX) == 0 {
		return k
	}
	var h maphash.Hash
	h.SetSeed(seed)
	for _, s := range o.Policy.Strings {
		h.WriteString(s)
		h.WriteByte(0)
	}
	k.policy = h.Sum64()
	return k
}

func kindOf(o *report.Outcome) Kind {
	return Kind{o.Result, clip(o.Reason), o.Sender, clip(o.Host), o.Address, clip(o.Hello)}
}

// add counts n sessions of a kind; the kind with no Result is success. It says what the line
// has grown by, in octets. A new kind is noted as it is only where there is room.
func (c *Count) add(k Kind, n int64, room bool) (grown int) {
	if k.Result == "" {
		c.Successes += n
		return 0
	}
	c.Failures += n
	if c.increase(k, n) {
		return 0
	}
	if !room || len(c.Details) >= maxDetails {
		if k = (Kind{Result: k.Result}); c.increase(k, n) {
			return 0
		}
	}
	c.Details = append(c.Details, Detail{k, n})
	return k.cost()
}

func (c *Count) increase(k Kind, n int64) bool {
	for i := range c.Details {
		if c.Details[i].Kind == k {
			c.Details[i].Sessions += n
			return true
		}
	}
	return false
}

// cost is an estimate of what a kind takes in memory, and in the store.
func (k *Kind) cost() int {
	return 200 + len(k.Result) + len(k.Reason) + len(k.Host) + len(k.Hello)
}

// cost is the same of a line without details.
func (c *Count) cost() int {
	cost := 400 + len(c.Domain) + len(c.Policy.Domain)
	for _, all := range [][]string{c.Policy.Strings, c.Policy.MX} {
		for _, s := range all {
			cost += 20 + len(s)
		}
	}
	return cost
}

// bounded is a policy of which no more is kept than there is room for.
func bounded(p report.Policy) report.Policy {
	p.Domain = clip(p.Domain)
	left := maxPolicy
	p.Strings, p.MX = shortened(p.Strings, &left), shortened(p.MX, &left)
	return p
}

// shortened copies texts from the front, whole ones, as long as there is room.
func shortened(texts []string, left *int) (kept []string) {
	for _, s := range texts {
		if *left -= len(s) + 1; *left < 0 {
			break
		}
		kept = append(kept, s)
	}
	return kept
}

func clip(s string) string {
	if len(s) <= maxName {
		return s
	}
	return strings.Clone(s[:maxName]) // what it was cut from need not stay
}
