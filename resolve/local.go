package resolve

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// exempt is why what is said of name need not be signed, or "" where it must be: the
// caller has said so (a negative trust anchor, RFC 7646), or the public DNS cannot have
// the name.
func (r *Resolver) exempt(name string) string {
	for _, zone := range r.insecure {
		if within(name, zone) {
			return "declared to be unsigned: " + shown(zone)
		}
	}
	if zone, anchored := r.anchors.above(name); r.public && isLocal(name) && (!anchored || zone == "") {
		return "the public DNS cannot have " + shown(name)
	}
	return ""
}

// isPublic says whether the root that is believed is the one of the Internet. Only
// there it is known which names cannot be.
func (a Anchors) isPublic() bool {
	public := IANA().zones[""]
	return slices.ContainsFunc(a.zones[""], func(ds *dns.DS) bool {
		return slices.ContainsFunc(public, func(p *dns.DS) bool {
			return ds.KeyTag == p.KeyTag && ds.DigestType == p.DigestType && strings.EqualFold(ds.Digest, p.Digest)
		})
	})
}

// isLocal says whether a name cannot be in the public DNS, so that its root, which
// is signed, denies it, while a resolver of one's own may know it: single labels, and
// names below those that are set aside (RFC 6761, RFC 6762, RFC 8375, RFC 9476, and "internal"
// by ICANN) or never given away because so many use them (RFC 6762, appendix G, and what
// ICANN keeps back for name collisions).
func isLocal(name string) bool {
	if !strings.Contains(name, ".") || within(name, "home.arpa") {
		return true
	}
	return slices.Contains(localTops, name[strings.LastIndexByte(name, '.')+1:])
}

var localTops = []string{
	"alt", "consul", "corp", "home", "internal", "intra", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "mail", "private", "test",
}
