package resolve

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// servers are those of the configuration, or those of the system.
type servers struct {
	fixed   []*server      // nil: those of system
	system  *file[*system] // nil: those that are fixed
	timeout time.Duration  // 0: by their number
	now     func() time.Time
}

func newServers(o Options) *servers {
	all := &servers{timeout: o.Timeout, now: o.Now}
	for _, text := range o.Servers {
		all.fixed = append(all.fixed, parseServer(text, o.Roots))
	}
	if all.fixed == nil {
		all.system = newFile(or(o.Resolvconf, "/etc/resolv.conf"), parseResolvconf)
	}
	return all
}

// order returns the servers in the order in which they are asked: those that
// gave no sign of life lately come last.
func (all *servers) order() []*server {
	list := all.fixed
	if all.system != nil {
		list = all.system.get().servers
	}
	now := all.now()
	good, bad := make([]*server, 0, len(list)), []*server(nil)
	for _, s := range list {
		if s.avoided(now) {
			bad = append(bad, s)
		} else {
			good = append(good, s)
		}
	}
	return append(good, bad...)
}

// patience is how long each of n servers may take in the first round.
func (all *servers) patience(n int) time.Duration {
	if all.timeout > 0 {
		return all.timeout
	}
	return min(tryTimeout, firstRound/time.Duration(max(n, 1)))
}

// names returns what host may mean: with the search list of resolv.conf, where
// its servers are the ones that are asked.
func (all *servers) names(host string) []string {
	if all.system == nil {
		return []string{host}
	}
	return all.system.get().names(host)
}

// system is what /etc/resolv.conf says.
type system struct {
	servers []*server
	dns.ClientConfig
}

// names returns host with the domains of the search list, before or behind host
// itself as resolv.conf(5) says of ndots.
func (s *system) names(host string) []string {
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}
	}
	return s.NameList(host)
}

const maxSystem = 3 // servers of resolv.conf that count (MAXNS in resolv.conf(5))

// parseResolvconf reads resolv.conf(5). Without a server in it, the machine's
// own is asked.
func parseResolvconf(from io.Reader) *system {
	s := &system{}
	if config, err := dns.ClientConfigFromReader(from); err == nil {
		s.ClientConfig = *config
	}
	// NameList hangs domains behind names, the root's dot included.
	s.Search = slices.DeleteFunc(s.Search, func(domain string) bool { return strings.Trim(domain, ".") == "" })
	for _, address := range s.Servers[:min(len(s.Servers), maxSystem)] {
		s.servers = append(s.servers, parseServer(address, nil))
	}
	if len(s.servers) == 0 {
		s.servers = []*server{parseServer("127.0.0.1", nil), parseServer("::1", nil)}
	}
	return s
}

// Asks lists the servers that are asked, as a [Failure] names them, in the order in
// which they are written.
func (r *Resolver) Asks() (all []string) {
	list := r.servers.fixed
	if r.servers.system != nil {
		list = r.servers.system.get().servers
	}
	for _, s := range list {
		all = append(all, s.text)
	}
	return all
}
