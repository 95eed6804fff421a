package policy

import (
	"cmp"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"postern/tls/grade"
	"postern/tls/level"
)

// Rule is what the operator wrote: one destination block, or the settings of the
// outbound itself.
type Rule struct {
	// Pattern says which destinations the rule is for: "example.com"; ".example.net" for
	// the domains below it, at any depth, and not itself; "192.0.2.1" or "192.0.2.0/24".
	// An exact name wins over a parent, a longer parent or network over a shorter one, and of
	// two equal patterns the first. It is "" for the outbound's own rule.
	Pattern string

	Auto  bool        // level = "auto": ask the others (SEM 26)
	Level level.Level // when not Auto

	// Match says what the certificate must be for at the levels verify and secure, in
	// Postfix's words: "hostname" (the MX), "nexthop" (the domain), "dot-nexthop" (below
	// the domain), or a name, "mx.example.com", or ".example.net" for those below it.
	// Empty: hostname for verify; nexthop and dot-nexthop for secure.
	Match []string

	Fingerprints []Fingerprint // for level fingerprint: one of them
	Grade        grade.Grade
	Roots        *Roots // nil: the system's
	Place        string // where it was written, "config.hcl:12", for the reasons
}

// Roots are the authorities that a certificate may lead to. Two values are different
// roots, even if the same file was read into them. Do not copy one.
type Roots struct {
	Name string         // for people: "system", or the file
	Pool *x509.CertPool // nil: the system's

	serial atomic.Uint64
}

var rootsSerial atomic.Uint64

// id tells roots apart in keys, also from roots that were collected since.
func (r *Roots) id() uint64 {
	if r == nil {
		return 0
	}
	if n := r.serial.Load(); n != 0 {
		return n
	}
	r.serial.CompareAndSwap(0, rootsSerial.Add(1))
	return r.serial.Load()
}

func (r *Roots) pool() *x509.CertPool {
	if r == nil {
		return nil // crypto/x509: the system's
	}
	return r.Pool
}

// names are what a certificate must be for one of, canonical and each once. For an address
// as the destination there is nothing below it.
func (r *Rule) names(l level.Level, domain, host string) []string {
	if l < level.Verify {
		return nil
	}
	match := r.Match
	switch {
	case len(match) > 0:
	case l == level.Verify:
		match = []string{"hostname"}
	default:
		match = []string{"nexthop", "dot-nexthop"}
	}
	names := make([]string, 0, len(match))
	for _, m := range match {
		if name := resolveMatch(m, domain, host); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func resolveMatch(m, domain, host string) string {
	switch asciiLower(m) {
	case "hostname":
		return host
	case "nexthop":
		return domain
	case "dot-nexthop":
		if _, isAddress := address(domain); isAddress || domain == "" {
			return ""
		}
		return "." + domain
	}
	return canonical(m)
}

// ruleset finds the rule for a destination without comparing it with each.
type ruleset struct {
	exact    map[string]*Rule
	parents  map[string]*Rule // without the leading dot
	networks map[netip.Prefix]*Rule
	lengths  []int // of the networks' prefixes, longest first
}

func newRuleset(rules []Rule) *ruleset {
	s := &ruleset{exact: map[string]*Rule{}, parents: map[string]*Rule{}, networks: map[netip.Prefix]*Rule{}}
	for i := range rules {
		r := rules[i]
		pattern := canonical(r.Pattern)
		if network, ok := network(pattern); ok {
			addFirst(s.networks, network, &r)
			if !slices.Contains(s.lengths, network.Bits()) {
				s.lengths = append(s.lengths, network.Bits())
			}
		} else if parent, ok := strings.CutPrefix(pattern, "."); ok {
			addFirst(s.parents, parent, &r)
		} else {
			addFirst(s.exact, pattern, &r)
		}
	}
	slices.SortFunc(s.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	return s
}

func addFirst[K comparable](m map[K]*Rule, key K, r *Rule) {
	if _, ok := m[key]; !ok {
		m[key] = r
	}
}

// network reads an address, as a network of one, or a network.
func network(pattern string) (netip.Prefix, bool) {
	if a, ok := address(pattern); ok {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	if !strings.Contains(pattern, "/") {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(pattern)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// domain returns the rule for a canonical domain, or nil.
func (s *ruleset) domain(name string) *Rule {
	if a, ok := address(name); ok {
		return s.address(a)
	}
	if r := s.exact[name]; r != nil {
		return r
	}
	for {
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			return nil
		}
		if r := s.parents[parent]; r != nil {
			return r
		}
		name = parent
	}
}

// address returns the rule for an address, or nil.
func (s *ruleset) address(a netip.Addr) *Rule {
	a = a.Unmap().WithZone("")
	for _, bits := range s.lengths {
		if p, err := a.Prefix(bits); err == nil {
			if r := s.networks[p]; r != nil {
				return r
			}
		}
	}
	return nil
}
