package redirect

import (
	"errors"
	"fmt"
	"net/netip"
)

// Options say what is turned over to postern.
type Options struct {
	// Outbound is the port of the outbound that takes connections to port 25
	// elsewhere; 0: they are left alone.
	Outbound uint16
	// From makes this machine a gateway: what is forwarded for these networks goes
	// to Outbound, and what the machine itself opens is left alone. Empty: the other
	// way round.
	From []netip.Prefix
	// TPROXY hands over what From names without changing the address of a
	// connection; the sockets of the outbound must be transparent.
	TPROXY bool
	// Inbound is the port of the inbound that takes connections to port 25 of this
	// machine; 0: they are left alone.
	Inbound uint16
	// Exempt is left alone.
	Exempt Exempt
	// Transparent are backends that see the address of the client: what they answer
	// is brought back to postern.
	Transparent []netip.AddrPort
}

// Exempt says which connections are left alone.
type Exempt struct {
	UIDs     []uint32       // opened on this machine by these users
	Marks    []uint32       // opened on this machine by sockets with these marks
	Networks []netip.Prefix // to these networks on the way out, from them on the way in
}

// Port is the only one that is redirected (SEM 25).
const Port = 25

// The mistakes in Options.
var (
	// ErrNothing: there is nothing to install.
	ErrNothing = errors.New("nothing to redirect: name the port of an outbound, of an inbound, or a backend")
	// ErrNoExemption: postern's own connections would come back to it (SEM 24).
	ErrNoExemption = errors.New("postern's own connections would be redirected to itself: its user or its mark must be exempt")
	// ErrNoNetworks: a gateway must know whose connections are meant, or it would
	// take those that come in for mail servers behind it.
	ErrNoNetworks = errors.New("TPROXY is for a gateway: name the networks of the mail servers behind it")
)

// Check says what cannot be meant: one of the errors above, or another that names
// the value.
func (o Options) Check() error {
	host := o.Outbound != 0 && len(o.From) == 0
	switch {
	case o.Outbound == 0 && o.Inbound == 0 && len(o.Transparent) == 0:
		return ErrNothing
	case o.TPROXY && len(o.From) == 0:
		return ErrNoNetworks
	case len(o.From) > 0 && o.Outbound == 0:
		return errors.New("networks are named whose mail goes out through here, and no port of an outbound that takes it")
	case host && len(o.Exempt.UIDs) == 0 && len(o.Exempt.Marks) == 0:
		return ErrNoExemption
	case o.Outbound == o.Inbound && o.Outbound != 0:
		return fmt.Errorf("port %d is named for what goes out and for what comes in: an outbound and an inbound have listeners of their own", o.Inbound)
	case o.Inbound == Port:
		return fmt.Errorf("an inbound on port %d has these connections already: nothing needs to be redirected", Port)
	}
	return o.checkAddresses()
}

func (o Options) checkAddresses() error {
	for _, b := range o.Transparent {
		if !b.IsValid() || b.Addr().IsUnspecified() || b.Port() == 0 {
			return fmt.Errorf("%s is no address and port of a backend", b)
		}
	}
	for _, networks := range [][]netip.Prefix{o.From, o.Exempt.Networks} {
		for _, n := range networks {
			if !n.IsValid() || n.Addr().Is4In6() {
				return fmt.Errorf("%s is no network", n)
			}
		}
	}
	return nil
}
