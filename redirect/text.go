package redirect

import (
	"fmt"
	"net/netip"
	"strings"
)

// Print writes what Install would install: the table as nft writes it, so that
// "nft -f -" takes it, and the routes as comments, in the words of the ip program.
// The Options must pass Check.
func (o Options) Print() string {
	var b strings.Builder
	if chains := o.chains(); len(chains) > 0 {
		fmt.Fprintf(&b, "table inet %s {\n", tableName)
		for i, c := range chains {
			if i > 0 {
				b.WriteByte('\n')
			}
			c.print(&b)
		}
		b.WriteString("}\n")
	}
	for _, line := range commands(o.ways()) {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	return b.String()
}

func (c chain) print(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.name)
	if c.hook != noHook {
		fmt.Fprintf(b, "\t\t%s\n", hooks[c.hook])
	}
	for _, r := range c.rules {
		fmt.Fprintf(b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
}

// String is the rule as nft writes it.
func (r rule) String() string {
	var words []string
	if r.uid != nil {
		words = append(words, fmt.Sprintf("meta skuid %d", *r.uid))
	}
	if r.mark != nil {
		words = append(words, fmt.Sprintf("meta mark 0x%08x", *r.mark))
	}
	if r.local {
		words = append(words, "fib daddr type local")
	}
	if r.from.IsValid() {
		words = append(words, ip(r.from.Addr())+" saddr "+network(r.from))
	}
	if r.to.IsValid() {
		words = append(words, ip(r.to.Addr())+" daddr "+network(r.to))
	}
	if r.smtp {
		words = append(words, fmt.Sprintf("tcp dport %d", Port))
	}
	words = append(words, r.verdict())
	if r.comment != "" {
		words = append(words, fmt.Sprintf("comment %q", r.comment))
	}
	return strings.Join(words, " ")
}

func (r rule) verdict() string {
	switch r.do {
	case redirectTo:
		return fmt.Sprintf("counter redirect to :%d", r.port)
	case divertTo:
		return fmt.Sprintf("counter tproxy to :%d meta mark set 0x%08x accept", r.port, mark)
	case refuse:
		return "counter reject with tcp reset"
	case goTo:
		return "goto " + r.chain
	}
	return "counter accept"
}

// ip is what nft and ip call the family of an address.
func ip(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// network is a network as nft writes it: without the length where it is one address.
func network(n netip.Prefix) string {
	if n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.Masked().String()
}

// PrintRemoval writes what Remove would do, as commands.
func PrintRemoval() string {
	return fmt.Sprintf(`nft delete table inet %[1]s
ip rule flush protocol %[2]d
ip route flush table %[3]d proto %[2]d
ip -6 rule flush protocol %[2]d
ip -6 route flush table %[3]d proto %[2]d
`, tableName, protocol, routingTable)
}
