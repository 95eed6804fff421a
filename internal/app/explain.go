package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/peers"
	"postern/proxy"
	"postern/store"
)

// ExplainOptions is what Explain is asked for.
type ExplainOptions struct {
	Domain   string    // of the recipients, or the address of one
	Outbound string    // whose decision is asked for; empty for each
	Config   string    // the file; empty for the usual places
	JSON     bool      // write the answer as JSON
	Out      io.Writer // for the answer
	Log      io.Writer // for what must be known beside it
}

// Explain shows what would be done with mail for a domain, and why. A postern
// that runs and has an admin socket is asked, because it knows best; without
// one the configuration and the state are read. The error is ErrReported when
// mail could not go out.
func Explain(ctx context.Context, o ExplainOptions) error {
	cfg, _, err := load(o.Config)
	if err != nil {
		return err
	}
	if named := outboundNames(cfg); o.Outbound != "" && len(named) > 0 && !slices.Contains(named, o.Outbound) {
		return misuse("There is: "+strings.Join(named, ", ")+".", "there is no outbound %q", o.Outbound)
	}
	all, err := explanations(ctx, cfg, o)
	if err != nil {
		return err
	}
	if o.JSON {
		err = json.NewEncoder(o.Out).Encode(all)
	} else {
		err = printExplanations(o.Out, all, time.Now())
	}
	if err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	for _, e := range all {
		if !e.Usable {
			return ErrReported
		}
	}
	return nil
}

func outboundNames(cfg *config.Config) (all []string) {
	for _, out := range cfg.Outbounds {
		all = append(all, out.Name)
	}
	return all
}

func explanations(ctx context.Context, cfg *config.Config, o ExplainOptions) ([]Explanation, error) {
	live, err := askAdmin(cfg.Admin.Socket)
	if err != nil {
		return nil, err
	}
	if live != nil {
		return live.explain(ctx, o.Domain, o.Outbound)
	}
	memory, kept, forget, known, err := memoryToExplain(cfg, o.Log)
	if err != nil {
		return nil, err
	}
	defer forget()
	l := forNow(cfg, memory)
	l.memories = kept
	l.sts = l.policies()
	defer l.sts.Close() // before the state is
	p, err := builder{cfg: cfg, lasting: l}.build()
	if err != nil {
		return nil, err
	}
	l.own.set(ownAsWritten(p))
	l.latest.names.Store(p.names)
	all, err := p.explain(ctx, o.Domain, o.Outbound)
	if !known {
		for i := range all {
			all[i].withoutMemory()
		}
	}
	return all, err
}

// explain implements admin.Explain.
func (s *service) explain(ctx context.Context, domain, outbound string) (any, error) {
	return s.current().explain(ctx, domain, outbound)
}

// explain asks the gateways, by the same way that mail takes.
func (p *plan) explain(ctx context.Context, domain, outbound string) ([]Explanation, error) {
	domain = domainOf(domain)
	if p == nil || len(p.outbounds) == 0 {
		return nil, unknown("there is no outbound in this configuration, so no mail leaves through this postern")
	}
	if outbound != "" && p.outbound(outbound) == nil {
		return nil, unknown(fmt.Sprintf("there is no outbound %q; there is: %s", outbound, strings.Join(p.outboundNames(), ", ")))
	}
	all := []Explanation{}
	for _, out := range p.outbounds {
		if outbound == "" || out.name == outbound {
			all = append(all, out.explain(ctx, domain))
		}
	}
	dnssec := p.names.explain() // which the questions above may have found out
	for i := range all {
		all[i].DNSSEC = dnssec
	}
	return all, nil
}

// IsDestination says whether Explain can be asked about a text: a domain, an address
// literal, or the address of a recipient.
func IsDestination(text string) bool { return proxy.IsDestination(domainOf(text)) }

// domainOf is what stands behind the @, if there is one.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

func (p *plan) outboundNames() (all []string) {
	for _, out := range p.outbounds {
		all = append(all, out.name)
	}
	return all
}

// memoryToExplain opens what is remembered, as far as that can be done: of peers,
// and in what it is kept, nil for nothing. forget closes it. known is false where
// another process has it.
func memoryToExplain(cfg *config.Config, w io.Writer) (m *peers.Memory, kept store.Store, forget func(), known bool, err error) {
	m, kept, _, err = readMemory(cfg)
	forget = func() {
		if kept != nil {
			_ = kept.Close()
		}
	}
	if err == nil || !isInUse(err) {
		return m, kept, forget, true, err
	}
	fmt.Fprintf(w, "postern: note: what is remembered is not taken into account: %v\n%s\n", err, socketHint)
	return emptyMemory(), nil, forget, false, nil
}
