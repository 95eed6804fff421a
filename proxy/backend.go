package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"postern/smtpwire"
)

// backendLeg is the leg to a backend.
type backendLeg struct {
	upstream
	target *target
	// introduced: XCLIENT has told it who the client is.
	introduced bool
	// verdict is the backend's refusal of this very client (SEM 3); the
	// connection is closed then.
	verdict smtpwire.Reply
}

// introduction is what a backend is told about the client.
type introduction struct {
	client  netip.AddrPort
	local   netip.AddrPort
	hello   string // empty: the client said neither EHLO nor HELO
	esmtp   bool
	secured secured
	probe   bool // no client: we look at the backend
}

// refusal is why a backend could not be used: a reply of its own, or something
// that is missing.
type refusal struct {
	cause Cause
	reply smtpwire.Reply
	hint  string // what the operator has to look at
	// personal: the backend knew which client it refused.
	personal bool
}

func (r refusal) Error() string {
	words := string(r.cause)
	if r.reply.Code != 0 {
		words += fmt.Sprintf(": it said %q", r.reply.String())
	}
	if r.hint != "" {
		words += ": " + r.hint
	}
	return words
}

// The hints.
const (
	hintXCLIENT   = "it does not offer us XCLIENT with ADDR; with Postfix, name our address in smtpd_authorized_xclient_hosts"
	hintNoPROXY   = "it closed the connection before its greeting; does it expect a PROXY header? (client_address)"
	hintSomePROXY = "it closed the connection before its greeting; does it know the PROXY header that it was sent? (client_address)"
)

// causeOf is the cause of an error of dialling.
func causeOf(err error) Cause {
	var r refusal
	if errors.As(err, &r) {
		return r.cause
	}
	var n *net.OpError
	if errors.As(err, &n) && n.Op == "dial" {
		return CauseDial
	}
	return CauseBackendGone
}

// reach connects to one backend, and introduces the client to it. A refusal,
// or an error of the network, comes back.
func (b *Backends) reach(ctx context.Context, t *target, who introduction) (*backendLeg, error) {
	c, err := b.connect(ctx, t, who)
	if err != nil {
		return nil, err
	}
	up := &backendLeg{upstream: upstream{leg: leg{conn: newConn(c)}, address: t.address}, target: t}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(aLongTimeAgo) })
	defer stop()
	introduced := false
	defer func() {
		if !introduced { // also when a defect of ours ends it here
			up.close()
		}
	}()
	up.over(up.conn)
	// A client waits for five minutes (RFC 5321, 4.5.3.2), however many there are.
	up.conn.within(greetingTimeout/time.Duration(len(b.targets)), time.Time{})
	if err := b.introduce(ctx, up, who); err != nil {
		if errors.As(err, new(refusal)) {
			up.quit()
		}
		return nil, fmt.Errorf("backend %s: %w", t.address, err)
	}
	introduced = true
	return up, nil
}

// introduce is everything from the connection to the reply to EHLO.
func (b *Backends) introduce(ctx context.Context, up *backendLeg, who introduction) error {
	if err := b.sendProxyHeader(up, who); err != nil {
		return err
	}
	conveyed := b.o.Convey != ConveyNone && b.o.Convey != ConveyXCLIENT && !who.probe
	r, err := up.reply()
	if err != nil {
		return b.unwelcome(err)
	}
	if r.Code != 220 {
		return up.refused(CauseBackendGreeting, r, conveyed)
	}
	if r, err = b.hello(up, who); err != nil {
		return err
	}
	if r.Class() != 2 {
		return up.refused(CauseBackendEHLO, r, conveyed)
	}
	if b.o.Convey != ConveyXCLIENT {
		return nil
	}
	return b.xclient(ctx, up, who)
}

// unwelcome is what a backend means that closes before its greeting: mostly that
// one of us speaks the PROXY protocol and the other does not.
func (b *Backends) unwelcome(err error) error {
	switch {
	case isTimeout(err):
		return fmt.Errorf("no greeting: %w", err)
	case b.o.Convey == ConveyProxyV1 || b.o.Convey == ConveyProxyV2:
		return refusal{cause: CauseBackendGone, hint: hintSomePROXY}
	}
	return refusal{cause: CauseBackendGone, hint: hintNoPROXY}
}

// refused makes of a backend's 5xx the verdict on the client, where it knew
// who that is, and an error of everything else.
func (u *backendLeg) refused(cause Cause, r smtpwire.Reply, conveyed bool) error {
	if conveyed && r.Class() == 5 {
		u.verdict = r.Clone()
		u.quit()
		return nil
	}
	return refusal{cause: cause, reply: r.Clone(), personal: conveyed}
}

// hello sends EHLO, or HELO for a client that said that and to a server that
// does not know EHLO (RFC 5321, 3.2). Inbound, the name is the client's own (SEM
// 14); a client that gave none has none here either, and the backend decides
// what it thinks of that.
//
// XCLIENT is only found in a reply to EHLO, so then we say it in our own name
// first; what it offers to us is nothing to learn from.
func (b *Backends) hello(up *backendLeg, who introduction) (smtpwire.Reply, error) {
	name, esmtp := who.hello, who.esmtp || who.probe
	stranger := b.o.Convey == ConveyXCLIENT && !up.introduced && !who.probe
	if stranger {
		name, esmtp = b.o.Hostname, true
	}
	switch {
	case name == "":
		return smtpwire.Reply{Code: 250}, nil
	case !esmtp:
		up.caps = nil
		return up.ask("HELO " + name)
	}
	r, err := up.ask("EHLO " + name)
	if err != nil {
		return r, err
	}
	switch {
	case r.Code == 250 && stranger:
		up.caps = smtpwire.ParseCapabilities(r)
	case r.Code == 250:
		up.caps = b.learn(up.target, r)
	case refusesEHLO(r):
		up.caps = nil
		if r, err = up.ask("HELO " + name); err == nil && r.Code == 250 && (who.probe || up.target.seen.Load() == nil) {
			b.learn(up.target, r) // from a client it may have been the name that was refused
		}
	}
	return r, err
}
