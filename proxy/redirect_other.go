//go:build !linux

package proxy

import "net/netip"

// redirectedFrom: other systems keep the original destination elsewhere.
func (Accepted) redirectedFrom(*conn) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
