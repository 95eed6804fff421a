//go:build !linux

package proxy

// hungUp is not known here; the time limits have to do.
func (c *conn) hungUp() bool { return false }

// unread is not known here: what came early is seen with the first command.
func (c *conn) unread() bool { return false }

// stirred is not known either.
func (c *conn) stirred() bool { return false }
