package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"slices"

	"postern/config"
	"postern/resolve"
)

// lookup finds hosts for mail that leaves, and what their domains say about them.
// With DNSSEC an answer that should be signed and is not rightly is none, unless
// the servers were found to know no DNSSEC at all (SEM 27). Backends and clients
// are looked up with plain alone.
type lookup struct {
	plain   *resolve.Resolver // believes what it is told
	checked *resolve.Resolver // says how far to believe it; nil: without DNSSEC
	trial   *trial            // of checked
	from    lookupOf
}

// lookupOf is what a lookup was made of: as long as that stays the same over a
// reload, it is kept, with what is in its memory.
type lookupOf struct {
	cfg     config.Resolver
	wanted  bool   // somebody asks for DNSSEC
	anchors []byte // of the file; nil: those of the root
}

// resolver makes the names of a configuration, or keeps those of the old one.
func (b builder) resolver() (*lookup, error) { return b.lookup(wantsDNSSEC(b.cfg)) }

// lookup makes names with DNSSEC where that is wanted, whoever it is for.
func (b builder) lookup(wanted bool) (*lookup, error) {
	from := lookupOf{cfg: b.cfg.Resolver, wanted: wanted}
	anchors, err := from.readAnchors()
	if err != nil {
		return nil, err
	}
	if b.old != nil && b.old.names.from.same(from) {
		return b.old.names, nil
	}
	n := &lookup{from: from}
	if n.plain, err = resolve.NewWith(resolve.Options{Servers: from.cfg.Servers}); err != nil {
		return nil, problem("Correct servers in the resolver block.", "resolver: %w", err)
	}
	if mode := modes[from.cfg.DNSSEC]; from.wanted && mode != resolve.Off {
		n.checked, err = resolve.NewWith(resolve.Options{Servers: from.cfg.Servers, DNSSEC: mode, Anchors: anchors, Insecure: from.cfg.Insecure})
		if err != nil {
			return nil, problem("Correct the resolver block.", "resolver: %w", err)
		}
		n.trial = &trial{lookup: n, memory: b.memories, log: b.log, observer: b.observer}
	}
	return n, nil
}

var modes = map[string]resolve.Mode{"validate": resolve.Validate, "trust-ad": resolve.TrustAD, "off": resolve.Off}

// wantsDNSSEC says whether DNSSEC can make a difference.
func wantsDNSSEC(cfg *config.Config) bool {
	asks := func(level string) bool { return level == "auto" || level == "dane" || level == "dane-only" }
	return slices.ContainsFunc(cfg.Outbounds, func(out config.Outbound) bool {
		return cfg.Resolver.DNSSECWritten || asks(out.Level) ||
			slices.ContainsFunc(out.Destinations, func(to config.Destination) bool { return asks(to.Level) })
	})
}

// readAnchors reads the file of trust_anchors, also where nothing is validated: a
// mistake in it is not for later.
func (f *lookupOf) readAnchors() (a resolve.Anchors, err error) {
	if f.cfg.TrustAnchors == "" {
		return a, nil
	}
	const hint = "Name a file of DS or DNSKEY records, such as /usr/share/dns/root.key, or remove trust_anchors: the keys of the root are built in."
	if f.anchors, err = os.ReadFile(f.cfg.TrustAnchors); err != nil {
		return a, problem(hint, "trust_anchors: %w", err)
	}
	if a, err = resolve.ParseAnchors(string(f.anchors)); err != nil {
		return a, problem(hint, "%s: %w", f.cfg.TrustAnchors, err)
	}
	return a.WithRoot(), nil
}

func (f lookupOf) same(other lookupOf) bool {
	return f.wanted == other.wanted && bytes.Equal(f.anchors, other.anchors) && reflect.DeepEqual(f.cfg, other.cfg)
}

// MX implements proxy.Resolver.
func (n *lookup) MX(ctx context.Context, domain string) (resolve.MXAnswer, error) {
	return ask(ctx, n, func(r *resolve.Resolver) (resolve.MXAnswer, error) { return r.MX(ctx, domain) })
}

// Addresses implements proxy.Resolver.
func (n *lookup) Addresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error) {
	a, err := ask(ctx, n, func(r *resolve.Resolver) (resolve.AddrAnswer, error) { return r.Addresses(ctx, host, f) })
	return n.through64(ctx, host, f, a), err
}

// HostAddresses implements proxy.Resolver.
func (n *lookup) HostAddresses(ctx context.Context, host string, f resolve.Family) (resolve.AddrAnswer, error) {
	a, err := ask(ctx, n, func(r *resolve.Resolver) (resolve.AddrAnswer, error) { return r.HostAddresses(ctx, host, f) })
	return n.through64(ctx, host, f, a), err
}

// ask asks with DNSSEC, where there is any. That the servers know none is looked
// into as soon as an answer is not to be believed, and not before: nobody waits
// for it where all is well.
func ask[T any](ctx context.Context, n *lookup, look func(*resolve.Resolver) (T, error)) (T, error) {
	if !n.checks() {
		return look(n.plain)
	}
	answer, err := look(n.checked)
	if !isTemporary(err) || n.trial.known(validates) || n.trial.known(withheld) {
		return answer, hinted(err)
	}
	// Servers that do not answer at all are not worth a trial.
	instead, wrong := look(n.plain)
	if !isTemporary(wrong) && n.trial.unavailable(ctx) {
		return instead, wrong
	}
	return answer, hinted(err)
}

var errView = errors.New("if a server of your own answers for it without signatures, name the domain in insecure_domains of the resolver block")

// hinted says beside what came without signatures that it need not be an attack.
func hinted(err error) error {
	t, ok := errors.AsType[*resolve.TemporaryError](err)
	if !ok || !t.Unsigned || t.Err != nil {
		return err
	}
	more := *t
	more.Err = errView
	return &more
}

// checks says whether answers are followed by their signatures.
func (n *lookup) checks() bool { return n.checked != nil && !n.trial.known(unavailable) }

// isTemporary says whether nobody could tell, or the answer was bogus.
func isTemporary(err error) bool {
	_, temporary := errors.AsType[*resolve.TemporaryError](err)
	return temporary
}
