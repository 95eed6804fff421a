package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"postern/proxy"
	"postern/tls/grade"
	"postern/tls/policy"
)

// widest is what the handshakes offer: everything that crypto/tls has.
const widest = grade.Legacy

// visitor looks at one address of a host, and keeps what it finds.
type visitor struct {
	p     *Prober
	s     server
	addr  netip.AddrPort
	out   Address
	found []Finding
	seen  *policy.Decision // that its handshakes are made by
	until time.Time
	gone  bool // the server wants no more of us, or we have had enough
	far   reach

	state  *tls.ConnectionState // of a sender of today; nil: no handshake came about
	chains [][]*x509.Certificate
}

// reach says whether an address could be connected to.
type reach uint8

const (
	reached    reach = iota
	unreached        // nobody answers there
	unroutable       // this machine has no way there
)

// maxAddresses are tried of one host where one is to be looked at.
const maxAddresses = 3

// addresses looks at all addresses of a host, or at the first that can be reached.
func (l *look) addresses(ctx context.Context, s server) []Address {
	all := []Address{}
	for i, a := range s.addresses {
		if ctx.Err() != nil {
			break
		}
		v := l.p.visitor(ctx, l.t.Name, s, a)
		last := l.p.o.AllAddresses || i+1 >= min(len(s.addresses), maxAddresses)
		if v.far == unroutable && !last { // a family that this machine does not have
			continue
		}
		for _, f := range v.found {
			l.r.add(f)
		}
		// What was seen there a moment ago is judged anew, by what this domain asks.
		(&jury{l, s, v}).certificates()
		all = append(all, v.out)
		if !l.p.o.AllAddresses && (last || v.far == reached) {
			break
		}
	}
	return all
}

func (p *Prober) newVisitor(ctx context.Context, domain string, s server, addr netip.AddrPort) *visitor {
	seen := *p.seen.Decide(ctx, domain, s.name, s.port)
	seen.SNI = s.decision.SNI
	return &visitor{p: p, s: s, addr: addr, out: Address{Address: addr.Addr().String()}, seen: &seen, until: time.Now().Add(p.o.Limit)}
}

// look is a sender's own connection first, then everything else that one might do.
func (v *visitor) look(ctx context.Context) {
	limited, cancel := context.WithDeadline(ctx, v.until)
	defer cancel()
	if v.meet(limited) {
		v.again(limited)
		v.plaintext(limited)
		v.injection(limited)
		v.handshakes(limited)
	}
	if ctx.Err() == nil && limited.Err() != nil {
		v.unknown(CheckConnect, "the time for this address is over ("+v.p.o.Limit.String()+"): the rest was not looked at")
	}
}

func (v *visitor) add(check Check, g Grade, text, advice string) {
	v.found = append(v.found, Finding{Check: check, Host: v.s.name, Address: v.out.Address, Grade: g, Text: text, Advice: advice})
}

func (v *visitor) unknown(check Check, text string) { v.add(check, Unknown, text, "") }

// late is for how long connections outlive the context that ends them, so that it is the context that does.
const late = 10 * time.Second

// errGone is for what would need another connection when there are no more.
var errGone = errors.New("no more connections")

// visit makes one connection; with STARTTLS it is greeted.
func (v *visitor) visit(ctx context.Context) (*proxy.Visit, error) {
	if v.gone {
		return nil, errGone
	}
	if v.out.Connections >= v.p.o.Connections {
		v.gone = true
		v.unknown(CheckConnect, "as many connections as one server should be asked for: the rest was not looked at")
		return nil, errGone
	}
	v.out.Connections++
	c, err := v.p.o.Gateway.Visit(ctx, proxy.VisitTo{Host: v.s.name, Addr: v.addr, Implicit: v.s.implicit, Decision: v.seen, Until: v.until.Add(late)})
	if err == nil && !v.s.implicit {
		if err = c.Greet(); err != nil {
			c.Close()
		}
	}
	if err != nil {
		v.lost(ctx, err)
		return nil, err
	}
	return c, nil
}

// ready is a connection on which the ClientHello comes next.
func (v *visitor) ready(ctx context.Context) (*proxy.Visit, error) {
	c, err := v.visit(ctx)
	if err != nil || v.s.implicit {
		return c, err
	}
	if err = c.StartTLS(); err != nil {
		c.Close()
		if isBusy(err) {
			v.lost(ctx, err)
		}
		return nil, err
	}
	return c, nil
}

// secured is a connection with TLS.
func (v *visitor) secured(ctx context.Context, plain bool) (*proxy.Visit, error) {
	c, err := v.ready(ctx)
	if err != nil {
		return nil, err
	}
	if err = c.Secure(plain); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// lost is the end of what can be asked: a server that does not want us is not asked again. That is about
// us, or about the moment, and says nothing of its TLS.
func (v *visitor) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	v.gone = true
	text, advice := err.Error(), ""
	if e, ok := errors.AsType[*proxy.VisitError](err); ok && e.Step == "connect" && v.out.Connections == 1 {
		if v.far = unreached; e.Unroutable() {
			v.far, advice = unroutable, "run postern probe where there is a way to this address"
		}
	}
	if isBusy(err) {
		text, advice = "busy: "+text, "try again later"
	}
	if v.out.Connections > 1 {
		text += "; the rest was not looked at"
	}
	v.add(CheckConnect, Unknown, text, advice)
}

func isBusy(err error) bool {
	e, ok := errors.AsType[*proxy.VisitError](err)
	return ok && e.Busy()
}

// meet is the connection that any sender makes. It says whether there is more to look at.
func (v *visitor) meet(ctx context.Context) bool {
	c, err := v.visit(ctx)
	if err != nil {
		return false
	}
	defer c.Close()
	if !v.s.implicit {
		v.out.Capabilities = words(c.Capabilities())
		v.auth(c.Capabilities())
		if !c.Capabilities().Has("STARTTLS") {
			c.Leave()
			v.add(CheckSTARTTLS, Insufficient, "STARTTLS is not offered", "switch TLS on: mail to this server can be read and changed by anybody on the way")
			v.plaintext(ctx)
			return false
		}
		if err := c.StartTLS(); err != nil {
			return v.refused(ctx, err)
		}
	}
	if err := c.Secure(false); err != nil {
		return v.failed(ctx, err)
	}
	v.works(ctx, c)
	return true
}

// refused is STARTTLS that is offered and does not come about.
func (v *visitor) refused(ctx context.Context, err error) bool {
	if e, ok := errors.AsType[*proxy.VisitError](err); ok && e.Code == 421 {
		v.lost(ctx, err)
		return false
	}
	v.add(CheckSTARTTLS, Insufficient, "STARTTLS is offered, and refused: "+err.Error(), "look into the server's log: its certificate or key may be missing")
	return false
}

// failed is a handshake that failed. Some servers do not stand a large ClientHello (SEM 28).
func (v *visitor) failed(ctx context.Context, err error) bool {
	c, again := v.secured(ctx, true)
	if again != nil {
		if ctx.Err() == nil && !v.gone {
			v.add(CheckSTARTTLS, Insufficient, "the handshake of TLS fails: "+err.Error(), "mail goes in clear, or waits: look into the server's log")
		}
		return !v.gone
	}
	defer c.Close()
	v.add(CheckHello, PhaseOut, "the handshake fails with the ClientHello of today (hybrid key exchange, server name): "+err.Error(),
		"bring the TLS library, or the firewall in front, up to date: not every sender tries again with less")
	v.works(ctx, c)
	return true
}

// works is TLS that came about.
func (v *visitor) works(ctx context.Context, c *proxy.Visit) {
	state := c.State()
	v.state = &state
	v.out.Protocol = tls.VersionName(state.Version) + ", " + suiteName(state.CipherSuite)
	if state.CurveID != 0 {
		v.out.Protocol += ", " + state.CurveID.String()
	}
	v.keep(state.PeerCertificates)
	if v.s.implicit {
		if err := c.Greet(); err != nil {
			v.add(CheckSTARTTLS, Insufficient, "nothing can be said inside TLS: "+err.Error(), "")
			return
		}
		v.add(CheckSTARTTLS, Good, "TLS from the first octet: "+v.out.Protocol, "")
		v.out.CapabilitiesTLS = words(c.Capabilities())
		c.Leave()
		return
	}
	if err := c.Hello(); isBusy(err) { // TLS works, and says so
		v.add(CheckSTARTTLS, Good, "STARTTLS works: "+v.out.Protocol, "")
		v.lost(ctx, err)
		return
	} else if err != nil {
		v.add(CheckSTARTTLS, Insufficient, "the handshake works, and EHLO inside TLS fails: "+err.Error(), "look into the server's log: senders take that for broken TLS")
		return
	}
	v.add(CheckSTARTTLS, Good, "STARTTLS works: "+v.out.Protocol, "")
	v.out.CapabilitiesTLS = words(c.Capabilities())
	v.inside(c.Capabilities())
	c.Leave()
}
