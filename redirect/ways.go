package redirect

import (
	"fmt"
	"net/netip"
)

// What our rules and routes carry, so that they are known as ours and are in nobody's way.
const (
	routingTable = 2525
	priority     = 2525
	protocol     = 225 // one that nobody has registered (rtnetlink(7), rtm_protocol)
)

// way is a rule of policy routing by which packets are delivered on this machine,
// whatever address they go to.
type way struct {
	v6   bool
	mark uint32         // of TPROXY; 0: by backend
	from netip.AddrPort // a backend: what it answers
}

// ways are all that is needed of policy routing.
func (o Options) ways() (all []way) {
	if o.TPROXY {
		all = append(all, way{mark: mark}, way{v6: true, mark: mark})
	}
	for _, b := range o.Transparent {
		b = netip.AddrPortFrom(b.Addr().Unmap().WithZone(""), b.Port())
		all = append(all, way{v6: b.Addr().Is6(), from: b})
	}
	return all
}

// commands are the ways in the words of the ip program: a rule for each, and a route
// for each family.
func commands(ways []way) (all []string) {
	var families [2]bool
	for _, w := range ways {
		all = append(all, w.command())
		if w.v6 {
			families[1] = true
		} else {
			families[0] = true
		}
	}
	for i, used := range families {
		if used {
			all = append(all, fmt.Sprintf("%s route add local default dev lo table %d proto %d", ipCommand(i == 1), routingTable, protocol))
		}
	}
	return all
}

func (w way) command() string {
	what := fmt.Sprintf("fwmark %#x", w.mark)
	if w.mark == 0 {
		what = fmt.Sprintf("from %s ipproto tcp sport %d", w.from.Addr(), w.from.Port())
	}
	return fmt.Sprintf("%s rule add %s lookup %d priority %d protocol %d", ipCommand(w.v6), what, routingTable, priority, protocol)
}

func ipCommand(v6 bool) string {
	if v6 {
		return "ip -6"
	}
	return "ip"
}
