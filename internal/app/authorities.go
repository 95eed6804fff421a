package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"postern/resolve"
	"postern/tls/dane"
	"postern/tls/mtasts"
)

// tlsaNames lets dane ask the DNS.
type tlsaNames struct {
	*lookup
	operators bool // hosts are those that an operator named: a smarthost
}

// Address implements dane.Resolver. Nothing is asked where no answer could count.
func (n tlsaNames) Address(ctx context.Context, host string) (dane.Address, error) {
	if !n.checks() {
		return dane.Address{Canonical: host, Unproved: n.unproved("")}, nil
	}
	find := n.Addresses
	if n.operators {
		find = n.HostAddresses
	}
	answer, err := find(ctx, host, resolve.Both)
	if err == nil && answer.Name != "" && answer.Name != strings.TrimSuffix(host, ".") && strings.Contains(host, ".") {
		// The search list has made another name of it, which says nothing about the records
		// of the one that is written: whoever answers for it would take them away.
		find = n.Addresses
		answer, err = find(ctx, host, resolve.Both)
	}
	if errors.Is(err, resolve.ErrNoAddress) {
		return dane.Address{}, fmt.Errorf("%w: %w", dane.ErrNoAddress, err)
	} else if err != nil {
		return dane.Address{}, briefly(err)
	}
	if answer.Security == resolve.Indeterminate {
		// One family could not be had, or nobody looked: the hosts file, a clock that is
		// wrong. What is proved of the other family holds all the same. Taking it for
		// signed costs an attacker who hides the rest his victory, and what is proved
		// to be unsigned has no DANE.
		for _, family := range []resolve.Family{resolve.IPv4Only, resolve.IPv6Only} {
			if one, err := find(ctx, host, family); err == nil && one.Security != resolve.Indeterminate {
				answer = one
				break
			}
		}
	}
	a := dane.Address{
		Canonical: answer.Canonical, Secure: answer.Security == resolve.Secure,
		AliasSecure: answer.FirstSecurity == resolve.Secure, Expires: answer.Expires,
	}
	if answer.Security == resolve.Indeterminate {
		a.Unproved = n.unproved(answer.Why)
	}
	return a, nil
}

// unproved is why it is not known whether something is signed: what the resolver says,
// or that there is no DNSSEC. It is "" of what DNSSEC says nothing about: names of one's own, and the hosts file.
func (n tlsaNames) unproved(why string) string {
	if why == "" && n.trial.known(unavailable) {
		return "DNSSEC is not available"
	}
	return why
}

// TLSA implements dane.Resolver.
func (n tlsaNames) TLSA(ctx context.Context, owner string) (dane.Answer, error) {
	found, err := ask(ctx, n.lookup, func(r *resolve.Resolver) (resolve.TLSAAnswer, error) { return r.TLSA(ctx, owner) })
	if err != nil {
		return dane.Answer{}, briefly(err)
	}
	a := dane.Answer{Secure: found.Security == resolve.Secure, Owner: found.Owner, Expires: found.Expires}
	if found.Security == resolve.Indeterminate {
		a.Unproved = n.unproved(found.Why)
	}
	for _, r := range found.Records {
		a.Records = append(a.Records, dane.Record{Usage: r.Usage, Selector: r.Selector, MatchingType: r.MatchingType, Data: r.Data})
	}
	return a, nil
}

// latest are the names of the configuration in use, for what outlives it.
type latest struct{ names atomic.Pointer[lookup] }

var errStarting = errors.New("postern is starting")

// TXT implements mtasts.Resolver. Signatures are not asked for to say more: a policy
// proves itself by the certificate of its host.
func (l *latest) TXT(ctx context.Context, name string) ([]string, time.Time, error) {
	n := l.names.Load()
	if n == nil {
		return nil, time.Time{}, errStarting
	}
	answer, err := ask(ctx, n, func(r *resolve.Resolver) (resolve.TXTAnswer, error) { return r.TXT(ctx, name) })
	return answer.Texts, answer.Expires, briefly(err)
}

// brief is an error for those who say themselves what was asked for.
type brief struct{ *resolve.TemporaryError }

func (b brief) Error() string { return b.Reason() }

// Unwrap makes it one of the error inside, too.
func (b brief) Unwrap() error { return b.TemporaryError }

func briefly(err error) error {
	if t, ok := errors.AsType[*resolve.TemporaryError](err); ok {
		return brief{t}
	}
	return err
}

// dial connects to a host by the names of the configuration: to one address after
// the other, each with its share of the time.
func (l *latest) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	n := l.names.Load()
	host, port, bad := net.SplitHostPort(address)
	if n == nil || bad != nil {
		return nil, errors.Join(errStarting, bad)
	}
	answer, err := n.Addresses(ctx, host, resolve.Both)
	if err != nil {
		return nil, err
	}
	all := answer.Addrs[:min(len(answer.Addrs), dialMost)]
	for i, a := range all {
		if conn, err = dialShare(ctx, network, net.JoinHostPort(a.String(), port), len(all)-i); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

const (
	dialMost  = 8 // addresses of one host
	dialShort = 2 * time.Second
)

// dialShare gives an address one of n shares of the time that is left.
func dialShare(ctx context.Context, network, address string, n int) (net.Conn, error) {
	var d net.Dialer
	if until, ok := ctx.Deadline(); ok {
		d.Timeout = max(time.Until(until)/time.Duration(n), dialShort)
	}
	return d.DialContext(ctx, network, address)
}

// policies finds out MTA-STS policies, by the names of l; those of before are in the
// state.
func (l *lasting) policies() *mtasts.Lookup {
	o := mtasts.Options{Resolver: l.latest, Dial: l.latest.dial, Log: l.log}
	if l.memories != nil {
		o.Cache = policyCache{l.memories}
	}
	return mtasts.New(o)
}
