package app

import (
	"fmt"
	"strings"
)

// domainsText writes records as lines for zone files. What else is to be known stands in comments.
func domainsText(all []DomainRecords) string {
	var b strings.Builder
	for i, d := range all {
		if i > 0 {
			b.WriteString("\n")
		}
		d.write(&b)
	}
	return b.String()
}

func (d DomainRecords) write(b *strings.Builder) {
	fmt.Fprintf(b, "; What %s should publish\n", d.Domain)
	for _, n := range d.Notes {
		fmt.Fprintf(b, "; %s: %s\n", map[bool]string{true: "wanting", false: "note"}[n.Wanting], printable(n.Text))
	}
	last := ""
	for _, r := range d.Records {
		if r.Type != last {
			b.WriteString("\n")
		}
		last = r.Type
		if text := r.standing.text(); text != "" {
			fmt.Fprintf(b, "; %s\n", text)
		}
		fmt.Fprintf(b, "%s. %d IN %s %s\n", r.Owner, r.TTL, r.Type, printable(r.Data))
	}
	fmt.Fprintf(b, "\n; %s\n; must be this, as text/plain, from a web server whose certificate is for mta-sts.%s (--policy writes the file).\n"+
		"; Put it there before the record at _mta-sts.%s is published or changed.\n", d.PolicyURL, d.Domain, d.Domain)
	if text := d.PolicyIs.text(); text != "" {
		fmt.Fprintf(b, "; %s\n", text)
	}
	for line := range strings.Lines(d.Policy) {
		fmt.Fprintf(b, ";   %s\n", strings.TrimRight(line, "\r\n"))
	}
}

// text is a standing in a line; "" where nobody looked.
func (s standing) text() string {
	if s.Found == "" {
		return s.State
	}
	found := map[string]string{isDifferent: "there is: ", isUnknown: "", isMissing: "", isPublished: ""}[s.State]
	return s.State + ": " + found + printable(s.Found)
}
