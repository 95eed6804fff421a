package config

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/net/idna"
)

// addDestination opens a destination block. What it leaves out is filled in by
// inherit, when the whole outbound was read.
func (src *outboundSource) addDestination(s *section) table {
	to := &destinationSource{Destination: Destination{Place: place(s.at)}, sec: s}
	to.Pattern = readPattern(s)
	if first, twice := src.seen[to.Pattern]; twice && to.Pattern != "" {
		s.d.wrong(s.labelRange, "second destination "+quote(to.Pattern), "The first one is in line "+line(first)+": write both into one block.")
	} else {
		src.remember(to.Pattern, s.labelRange)
	}
	src.to = append(src.to, to)
	return table{fields: securityFields(&to.Level, &to.Match, &to.Fingerprints, &to.Grade, &to.TrustedRoots)}
}

func (src *outboundSource) remember(pattern string, at hcl.Range) {
	if src.seen == nil {
		src.seen = map[string]hcl.Range{}
	}
	src.seen[pattern] = at
}

// inherit fills in what a destination does not say. Match and fingerprints
// belong to a level, so they come only together with it.
func (to *Destination) inherit(o *Outbound) {
	if to.Level == "" {
		to.Level = o.Level
		if len(to.Match) == 0 {
			to.Match = slices.Clone(o.Match)
		}
		if len(to.Fingerprints) == 0 {
			to.Fingerprints = slices.Clone(o.Fingerprints)
		}
	}
	if to.Grade == "" {
		to.Grade = o.Grade
	}
	if to.TrustedRoots == "" {
		to.TrustedRoots = o.TrustedRoots
	}
}

// place names a line for the reasons of a decision. The folder of the file says
// nothing there.
func place(at hcl.Range) string {
	return filepath.Base(at.Filename) + ":" + line(at)
}

// readPattern returns the label of a destination in its only form, or "" for
// one that was reported.
func readPattern(s *section) string {
	text := s.label
	if text == "" {
		return ""
	}
	if strings.Contains(text, "/") || isAddress(text) {
		p, summary, detail := readPrefix(text)
		switch {
		case summary != "":
			s.d.wrong(s.labelRange, "destination: "+summary, detail)
			return ""
		case p.IsSingleIP():
			return p.Addr().String()
		}
		return p.String()
	}
	domain, ok := normalDomain(strings.TrimPrefix(text, "."))
	if !ok {
		s.d.wrong(s.labelRange, "not a destination: "+quote(text), patternHint(text))
		return ""
	}
	return text[:len(text)-len(strings.TrimPrefix(text, "."))] + domain
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

func patternHint(text string) string {
	_, behind, mailbox := cutLast(text, "@")
	host, wanted, _ := cutLast(text, ":")
	inner := strings.TrimPrefix(strings.Trim(text, "[]"), "IPv6:")
	_, isDomain := normalDomain(behind)
	switch {
	case text == "*" || text == ".":
		return "For every destination, write level and the like into the outbound itself, outside of the block."
	case strings.HasPrefix(text, "*."):
		return "Write " + quote(text[1:]) + " for all names below the domain."
	case mailbox && isDomain:
		return "Policy is looked up for a domain: write " + quote(behind) + "."
	case isAddress(inner):
		return "Write the address without brackets: " + quote(inner) + "."
	case validPort(wanted, 1) && host != "":
		return "Write it without the port: " + quote(host) + "."
	}
	return `Write a domain, "example.com"; all names below one, ".example.net"; or, with route = "original", an address or network, "192.0.2.1", "192.0.2.0/24".`
}

// normalDomain returns a domain in lower case with A-labels (RFC 5890, 2.3.2.1)
// and without a final dot. Underscores are in use in names of mail exchangers.
func normalDomain(text string) (string, bool) {
	text = strings.TrimSuffix(strings.ToLower(text), ".")
	if strings.IndexFunc(text, func(r rune) bool { return r > 127 }) >= 0 {
		ascii, err := idna.Lookup.ToASCII(text)
		if err != nil {
			return "", false
		}
		text = strings.TrimSuffix(ascii, ".")
	}
	return text, validHost(strings.ReplaceAll(text, "_", "x"), 1)
}

// strategies are Postfix's words for names that are known only when mail is
// sent (smtp_tls_verify_cert_match).
var strategies = []string{"hostname", "nexthop", "dot-nexthop"}

// matches is a list of names that a certificate may be for.
func matches(name string, target *[]string) field {
	return field{name: name, read: func(v value) { *target = each(v, "", parseMatch) }}
}

func parseMatch(v value, text string) (string, bool) {
	if slices.Contains(strategies, text) {
		return text, true
	}
	if near := closest(text, strategies); near != "" && !strings.Contains(text, ".") {
		v.wrong("unknown word "+quote(text), suggest(text, strategies))
		return "", false
	}
	domain, ok := normalDomain(strings.TrimPrefix(text, "."))
	switch {
	case ok && strings.HasPrefix(text, "."):
		return "." + domain, true
	case ok:
		return domain, true
	case strings.HasPrefix(text, "*."):
		v.wrong("a wildcard: "+quote(text), "Write "+quote(text[1:])+" for all names below the domain. (Wildcards of a certificate match by themselves.)")
	default:
		v.wrong("not a name: "+quote(text), `Write names that the certificate is for, "mx.example.com" or ".example.net", or hostname, nexthop, dot-nexthop.`)
	}
	return "", false
}

var digestIn = regexp.MustCompile(`^(pubkey-sha256:|sha256:|)([0-9a-fA-F:]*)$`)

// fingerprintList is a list of digests of certificates or public keys.
func fingerprintList(name string, target *[]string) field {
	return field{name: name, read: func(v value) { *target = each(v, "", parseFingerprint) }}
}

// parseFingerprint takes digits with or without the colons that openssl(1)
// writes between octets.
func parseFingerprint(v value, text string) (string, bool) {
	const how = `Write "sha256:" and the 64 digits that openssl x509 -noout -fingerprint -sha256 shows, or "pubkey-sha256:" and the SHA-256 of the public key.`
	m := digestIn.FindStringSubmatch(text)
	if m == nil {
		v.wrong("not a fingerprint: "+quote(text), how)
		return "", false
	}
	kind, digits := m[1], strings.ToLower(strings.ReplaceAll(m[2], ":", ""))
	switch {
	case kind == "" && len(digits) == 64:
		v.wrong("a fingerprint of nothing in particular", "Write "+quote("sha256:"+text)+" for the certificate, or "+quote("pubkey-sha256:"+text)+" for its public key.")
	case len(digits) == 40 || len(digits) == 32:
		v.wrong("a SHA-1 or MD5 fingerprint", "They can be forged. "+how)
	case len(digits) != 64:
		v.wrong("not a fingerprint: "+quote(text), how)
	default:
		return kind + digits, true
	}
	return "", false
}
