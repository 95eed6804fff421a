package redirect

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// Host is the machine whose kernel is told. The zero value is this one, or rather
// the network namespace of the calling thread.
type Host struct {
	options []nftables.ConnOption // of a kernel that is played by a test
}

// Install installs what o asks for, in place of what was installed before. Notes are for
// the operator. The error is one of Check, ErrPermission, ErrNotOurs, ErrNoNftables, or
// ErrInUse; where it is not nil, the table and the routes are as they were.
func (h Host) Install(o Options) (notes []string, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	conn, err := nftables.New(h.options...)
	if err != nil {
		return nil, explain(err)
	}
	found, err := look(conn)
	if err != nil {
		return nil, err
	}
	if err := found.mayBeReplacedBy(o); err != nil {
		return nil, err
	}
	undo, notes, err := setWays(o.ways())
	if err != nil {
		return nil, err
	}
	if err := replace(conn, found, o.chains()); err != nil {
		undo()
		return nil, explain(err)
	}
	return notes, nil
}

// replace sends the whole table in one transaction: there is no moment without it.
func replace(conn *nftables.Conn, found state, chains []chain) error {
	if found.exists {
		conn.DelTable(ourTable())
	}
	if len(chains) > 0 {
		t := conn.AddTable(ourTable())
		for _, c := range chains {
			c.add(conn, t)
		}
	}
	return conn.Flush()
}

// Remove removes what was installed, and says whether there was anything. The errors are
// those of Install.
func (h Host) Remove() (removed bool, err error) {
	conn, err := nftables.New(h.options...)
	if err != nil {
		return false, explain(err)
	}
	found, err := look(conn)
	if err != nil {
		return false, err
	}
	if err := replace(conn, found, nil); err != nil {
		return false, explain(err)
	}
	n, err := clearWays()
	return found.exists || n > 0, err
}

// state is what there is of a table with our name.
type state struct {
	exists bool
	ports  []uint16 // that it leads to
}

// look reads the table. ErrNotOurs where somebody else has made it.
func look(conn *nftables.Conn) (s state, err error) {
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return s, explain(err)
	}
	for _, t := range tables {
		s.exists = s.exists || t.Name == tableName
	}
	if !s.exists {
		return s, nil
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return s, explain(err)
	}
	for _, c := range chains {
		if c.Table.Name != tableName || c.Hooknum == nil {
			continue
		}
		if err := s.read(conn, c); err != nil {
			return s, err
		}
	}
	if len(s.ports) == 0 {
		return s, ErrNotOurs
	}
	return s, nil
}

// read reads the comments on the rules of a chain.
func (s *state) read(conn *nftables.Conn, c *nftables.Chain) error {
	rules, err := conn.GetRules(ourTable(), c)
	if err != nil {
		return explain(err)
	}
	for _, r := range rules {
		comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
		rest, ours := strings.CutPrefix(comment, signature)
		if !ours {
			return ErrNotOurs
		}
		var port uint16
		if n, _ := fmt.Sscanf(rest, " to port %d", &port); n == 1 {
			s.ports = append(s.ports, port)
		}
	}
	return nil
}

// mayBeReplacedBy says ErrInUse where a port that connections lead to now, and would not
// any more, is still listened on: another postern lives there.
func (s state) mayBeReplacedBy(o Options) error {
	for _, port := range s.ports {
		if port == o.Outbound || port == o.Inbound {
			continue
		}
		if len(Listeners(port)) > 0 {
			return fmt.Errorf("%w: connections to port %d go to port %d, where a program listens", ErrInUse, Port, port)
		}
	}
	return nil
}

// explain puts an error of netlink in the terms of this package.
func explain(err error) error {
	for _, missing := range []syscall.Errno{
		syscall.ENOENT, syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.EINVAL, syscall.ENOPROTOOPT,
	} {
		if errors.Is(err, missing) {
			return fmt.Errorf("%w: %w", ErrNoNftables, err)
		}
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}
