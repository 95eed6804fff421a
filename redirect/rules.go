package redirect

import (
	"fmt"
	"net/netip"
	"slices"
)

// tableName is that of our table, in the family inet.
const tableName = "postern"

// signature begins the comment on each rule in the chains that the kernel calls:
// by it a table is known as ours. Behind it stand the ports.
const signature = "postern redirect"

// mark is what TPROXY puts on packets so that they are delivered on this machine.
const mark = 0x2525

// chain is a chain of our table. Without a hook it is one that others go to.
type chain struct {
	name  string
	hook  hook
	rules []rule
}

// hook is where the kernel calls a chain.
type hook uint8

const (
	noHook hook = iota
	atOutput
	atPrerouting
	beforeRouting // as prerouting, and before any address is changed
)

// hooks are they as nft writes them. A name for the priority, dstnat, is known to nft at
// prerouting alone.
var hooks = map[hook]string{
	atOutput:      "type nat hook output priority -100; policy accept;",
	atPrerouting:  "type nat hook prerouting priority dstnat; policy accept;",
	beforeRouting: "type filter hook prerouting priority mangle; policy accept;",
}

// rule is one rule: what a packet must be like, and what becomes of it. It is written as
// text and as expressions of the kernel in the order of the fields.
type rule struct {
	uid     *uint32
	mark    *uint32
	local   bool // addressed to this machine
	from    netip.Prefix
	to      netip.Prefix
	smtp    bool // TCP, to port 25
	do      action
	port    uint16 // of redirectTo and divertTo
	chain   string // of goTo
	comment string
}

// action is what becomes of a packet. All but goTo are counted.
type action uint8

const (
	letPass    action = iota
	redirectTo        // to a port of this machine
	divertTo          // to a transparent socket, which must be there
	refuse            // by a reset
	goTo
)

// chains are all of our table, those first that others go to.
func (o Options) chains() []chain {
	var all []chain
	if o.Outbound != 0 {
		all = append(all, o.outbound())
	}
	if o.Inbound != 0 {
		all = append(all, o.inbound())
	}
	toInbound := rule{local: true, smtp: true, do: goTo, chain: "inbound", comment: toPort(o.Inbound)}
	var output, prerouting, before []rule
	switch {
	case o.TPROXY:
		before = o.forwarded()
	case len(o.From) > 0:
		prerouting = o.forwarded()
	case o.Outbound != 0:
		output = []rule{{smtp: true, do: goTo, chain: "outbound", comment: toPort(o.Outbound)}}
	}
	if o.Inbound != 0 {
		prerouting = slices.Insert(prerouting, 0, toInbound)
	}
	for _, c := range []chain{{"output", atOutput, output}, {"prerouting", atPrerouting, prerouting}, {"divert", beforeRouting, before}} {
		if len(c.rules) > 0 {
			all = append(all, c)
		}
	}
	return all
}

// toPort is the comment on a rule in a chain that the kernel calls.
func toPort(port uint16) string { return fmt.Sprintf("%s to port %d", signature, port) }

// forwarded finds what a gateway forwards to port 25. Mail for the gateway itself goes no
// further, and is not meant.
func (o Options) forwarded() []rule {
	all := []rule{{local: true, smtp: true, do: letPass, comment: signature}}
	for _, n := range o.From {
		all = append(all, rule{from: n, smtp: true, do: goTo, chain: "outbound", comment: toPort(o.Outbound)})
	}
	return all
}

// outbound is the chain of what goes to port 25. Its first rules are the exemptions:
// postern itself, and whatever does not leave the machine.
func (o Options) outbound() chain {
	c := chain{name: "outbound"}
	if len(o.From) == 0 {
		for _, uid := range o.Exempt.UIDs {
			c.rules = append(c.rules, rule{uid: &uid, do: letPass})
		}
		for _, mark := range o.Exempt.Marks {
			c.rules = append(c.rules, rule{mark: &mark, do: letPass})
		}
		c.rules = append(c.rules, rule{local: true, do: letPass})
	}
	for _, n := range o.Exempt.Networks {
		c.rules = append(c.rules, rule{to: n, do: letPass})
	}
	if o.TPROXY {
		// Where no socket is there the rule does not count as one that fits, and the
		// packet would go on its way in clear.
		c.rules = append(c.rules, rule{smtp: true, do: divertTo, port: o.Outbound}, rule{smtp: true, do: refuse})
		return c
	}
	c.rules = append(c.rules, rule{smtp: true, do: redirectTo, port: o.Outbound})
	return c
}

// inbound is the chain of what comes in to port 25 of this machine.
func (o Options) inbound() chain {
	c := chain{name: "inbound"}
	for _, n := range o.Exempt.Networks {
		c.rules = append(c.rules, rule{from: n, do: letPass})
	}
	c.rules = append(c.rules, rule{smtp: true, do: redirectTo, port: o.Inbound})
	return c
}
