package redirect

import "errors"

// Why the kernel was not told.
var (
	// ErrPermission: this process has no CAP_NET_ADMIN.
	ErrPermission = errors.New("no permission to change the firewall and the routes")
	// ErrNoNftables: the kernel does not know the table, or something in it.
	ErrNoNftables = errors.New("this kernel has not all of nftables that is needed")
	// ErrNotOurs: a table of our name has rules of somebody else.
	ErrNotOurs = errors.New("there is a table inet " + tableName + " that postern has not made")
	// ErrInUse: another postern takes the connections.
	ErrInUse = errors.New("another postern has these connections")
	// ErrNoIPv6: the address is of a family that is switched off.
	ErrNoIPv6 = errors.New("this machine has no IPv6")
	// ErrRoutesInUse: somebody else's routes are where ours belong.
	ErrRoutesInUse = errors.New("the routing table that is needed has routes of somebody else")
	// ErrSystem: it is not Linux.
	ErrSystem = errors.New("connections can be redirected on Linux only")
)
