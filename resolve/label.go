package resolve

import (
	"cmp"
	"strings"

	"github.com/miekg/dns"
)

// Names inside this package are in lower case and have no final dot, so that
// the root is "". They are in the text form of package dns, where a backslash
// stands before what is no plain character: labels are counted and compared by
// the functions below, never by strings.

// octets undoes the backslashes of the text form (RFC 1035, 5.1).
func octets(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			plain.WriteByte(text[i])
		} else if i+3 < len(text) && digit(rune(text[i+1])) && digit(rune(text[i+2])) && digit(rune(text[i+3])) {
			plain.WriteByte((text[i+1]-'0')*100 + (text[i+2]-'0')*10 + text[i+3] - '0')
			i += 3
		} else {
			i++
			plain.WriteByte(text[i])
		}
	}
	return plain.String()
}

// labels returns those of name as octets, the one next to the root last.
func labels(name string) []string {
	all := dns.SplitDomainName(name + ".")
	for i, label := range all {
		all[i] = octets(label)
	}
	return all
}

// countLabels does not count a "*" at the beginning, as RRSIG records do not
// (RFC 4034, 3.1.3).
func countLabels(name string) int {
	n := dns.CountLabel(name + ".")
	if name == "*" || strings.HasPrefix(name, "*.") {
		n--
	}
	return n
}

// within says whether name is zone or below it.
func within(name, zone string) bool { return dns.IsSubDomain(zone+".", name+".") }

// below says whether name is below zone.
func below(name, zone string) bool { return name != zone && within(name, zone) }

// parentOf returns what is left of a name without its first label; of the root,
// the root.
func parentOf(name string) string { return ancestor(name, dns.CountLabel(name+".")-1) }

// ancestor returns the last n labels of name.
func ancestor(name string, n int) string {
	starts := dns.Split(name + ".")
	if n <= 0 || len(starts) == 0 {
		return ""
	}
	return name[starts[len(starts)-min(n, len(starts))]:]
}

// child returns label under name.
func child(label, name string) string { return strings.TrimSuffix(label+"."+name, ".") }

// compareNames is the canonical order of names (RFC 4034, 6.1): by labels from
// the right, each as octets.
func compareNames(a, b string) int {
	ours, theirs := labels(a), labels(b)
	for i := 1; i <= min(len(ours), len(theirs)); i++ {
		if c := strings.Compare(ours[len(ours)-i], theirs[len(theirs)-i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(ours), len(theirs))
}

// common returns the longest name that a and b are both within.
func common(a, b string) string { return ancestor(a, dns.CompareDomainName(a+".", b+".")) }
