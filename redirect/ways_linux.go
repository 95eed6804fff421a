package redirect

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// setWays brings policy routing to what ways say. undo takes back what it changed. A
// machine without IPv6 needs none for it, which is noted.
func setWays(ways []way) (undo func(), notes []string, err error) {
	wanted, notes, err := possible(ways)
	if err != nil {
		return nil, nil, err
	}
	var c changes
	if err := c.add(wanted); err != nil {
		c.undo()
		return nil, nil, explainRoutes(err)
	}
	if err := c.removeAllBut(wanted); err != nil {
		c.undo()
		return nil, nil, explainRoutes(err)
	}
	return c.undo, notes, nil
}

// changes are what was changed, as what would take it back.
type changes []func() error

// undo takes all back, the last first. The error before it is the one to tell.
func (c *changes) undo() {
	for i := len(*c) - 1; i >= 0; i-- {
		_ = (*c)[i]()
	}
}

// made notes a change that was tried. What is there already is no error.
func (c *changes) made(err error, back func() error) error {
	switch {
	case err == nil:
		*c = append(*c, back)
	case errors.Is(err, syscall.EEXIST):
		return nil
	}
	return err
}

// add adds the rules of ways, and the route of each family before them.
func (c *changes) add(ways []way) error {
	for _, w := range ways {
		route, err := w.route()
		if err != nil {
			return err
		}
		if err := vacant(route); err != nil {
			return err
		}
		if err := c.made(netlink.RouteAdd(route), func() error { return netlink.RouteDel(route) }); err != nil {
			return err
		}
		rule := w.rule()
		if err := c.made(netlink.RuleAdd(rule), func() error { return netlink.RuleDel(rule) }); err != nil {
			return err
		}
	}
	return nil
}

// removeAllBut removes what is ours and does not belong to the ways.
func (c *changes) removeAllBut(ways []way) error {
	rules, err := ourRules()
	if err != nil {
		return err
	}
	for _, r := range rules {
		if slices.ContainsFunc(ways, func(w way) bool { return w.is(r) }) {
			continue
		}
		if err := c.made(netlink.RuleDel(&r), func() error { return netlink.RuleAdd(&r) }); err != nil {
			return err
		}
	}
	for _, family := range families {
		if slices.ContainsFunc(ways, func(w way) bool { return w.family() == family }) {
			continue
		}
		routes, err := ourRoutes(family)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if err := c.made(netlink.RouteDel(&r), func() error { return netlink.RouteAdd(&r) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// possible leaves out what concerns a family that is switched off, where that is no loss.
func possible(ways []way) (all []way, notes []string, err error) {
	for _, w := range ways {
		switch {
		case !w.v6 || hasIPv6():
			all = append(all, w)
		case w.mark == 0:
			return nil, nil, fmt.Errorf("%w: the backend %s cannot be reached", ErrNoIPv6, w.from)
		default:
			notes = append(notes, "this machine has no IPv6: connections are taken over by IPv4 only")
		}
	}
	return all, notes, nil
}

// hasIPv6 says whether the loopback interface has it. Without any in the kernel there is
// no such file.
func hasIPv6() bool {
	text, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	return err == nil && !bytes.HasPrefix(text, []byte("1"))
}

// vacant says ErrRoutesInUse where others have routes in our table.
func vacant(route *netlink.Route) error {
	all, err := netlink.RouteListFiltered(route.Family, &netlink.Route{Table: routingTable}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Protocol != protocol {
			return fmt.Errorf("%w: table %d has %s", ErrRoutesInUse, routingTable, r)
		}
	}
	return nil
}

func (w way) family() int {
	if w.v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// rule is what leads packets to our table.
func (w way) rule() *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Table, r.Priority, r.Protocol = w.family(), routingTable, priority, protocol
	if w.mark != 0 {
		r.Mark = w.mark
		return r
	}
	r.Src = &net.IPNet{IP: w.from.Addr().AsSlice(), Mask: net.CIDRMask(w.from.Addr().BitLen(), w.from.Addr().BitLen())}
	r.IPProto, r.Sport = unix.IPPROTO_TCP, netlink.NewRulePortRange(w.from.Port(), w.from.Port())
	return r
}

// is says whether a rule that the kernel has is that of the way.
func (w way) is(r netlink.Rule) bool {
	if w.v6 != (r.Family == unix.AF_INET6) || w.mark != r.Mark {
		return false
	}
	if w.mark != 0 {
		return true
	}
	if r.Src == nil || r.Sport == nil {
		return false
	}
	from, ok := netip.AddrFromSlice(r.Src.IP)
	return ok && netip.AddrPortFrom(from.Unmap(), r.Sport.Start) == w.from
}

// route is the one in our table: everything is delivered here.
func (w way) route() (*netlink.Route, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	every := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if w.v6 {
		every = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &netlink.Route{Family: w.family(), LinkIndex: lo.Attrs().Index, Dst: every, Type: unix.RTN_LOCAL,
		Scope: netlink.SCOPE_HOST, Table: routingTable, Protocol: protocol}, nil
}

// families are both, IPv4 first.
var families = []int{unix.AF_INET, unix.AF_INET6}

// ourRules are those of both families that lead to our table and carry our protocol.
func ourRules() (ours []netlink.Rule, err error) {
	for _, family := range families {
		all, err := netlink.RuleList(family)
		if err != nil && !absent(err) {
			return nil, err
		}
		for _, r := range all {
			if r.Protocol == protocol && r.Table == routingTable {
				r.Family = family
				ours = append(ours, r)
			}
		}
	}
	return ours, nil
}

// ourRoutes are those of a family in our table that carry our protocol.
func ourRoutes(family int) ([]netlink.Route, error) {
	all, err := netlink.RouteListFiltered(family, &netlink.Route{Table: routingTable, Protocol: protocol}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil && !absent(err) {
		return nil, err
	}
	return all, nil
}

// absent says whether an error is that of a kernel without IPv6, or without policy
// routing: there is nothing of ours then.
func absent(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EOPNOTSUPP)
}

// clearWays removes our rules and routes, and says how many there were.
func clearWays() (n int, err error) {
	var c changes
	err = c.removeAllBut(nil)
	return len(c), explainRoutes(err)
}

// explainRoutes is explain for what is not nftables.
func explainRoutes(err error) error {
	if errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}
