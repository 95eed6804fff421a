package app

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"slices"

	"postern/config"
	"postern/peers"
	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/policy"
)

// rules are what an outbound asks of destinations: its own rule, and those of
// its destination blocks.
type rules struct {
	own   policy.Rule
	other []policy.Rule
}

// rules turns what the configuration says of destinations into what policy
// decides by. The error joins all that is wrong.
func (b builder) rules(p *plan, out config.Outbound) (r rules, err error) {
	own := config.Destination{Level: out.Level, Match: out.Match, Fingerprints: out.Fingerprints,
		Grade: out.Grade, TrustedRoots: out.TrustedRoots, Place: out.Place}
	said := map[string]bool{} // what the outbound and its destinations have in common is reported once
	read := func(to config.Destination) policy.Rule {
		rule, wrong := b.rule(p, to)
		if wrong != nil && !said[wrong.Error()] {
			said[wrong.Error()] = true
			err = errors.Join(err, wrong)
		}
		return rule
	}
	r.own = read(own)
	for _, to := range out.Destinations {
		r.other = append(r.other, read(to))
	}
	return r, err
}

func (b builder) rule(p *plan, to config.Destination) (r policy.Rule, err error) {
	r = policy.Rule{Pattern: to.Pattern, Auto: to.Level == "auto", Match: to.Match, Place: to.Place}
	if !r.Auto {
		if r.Level, err = level.Parse(to.Level); err != nil {
			return r, err
		}
	}
	if r.Grade, err = grade.Parse(to.Grade); err != nil {
		return r, err
	}
	for _, text := range to.Fingerprints {
		f, err := policy.ParseFingerprint(text)
		if err != nil {
			return r, err
		}
		r.Fingerprints = append(r.Fingerprints, f)
	}
	r.Roots, err = b.trustedRoots(p, to.TrustedRoots)
	return r, err
}

// roots lists the roots of all rules, so that two sets of rules can be compared.
func (r rules) roots() []*policy.Roots {
	all := []*policy.Roots{r.own.Roots}
	for _, rule := range r.other {
		all = append(all, rule.Roots)
	}
	return all
}

// engine decides by the rules, and by what destinations say of themselves.
func (b builder) engine(p *plan, r rules, out config.Outbound, memory *peers.Outbound) *policy.Engine {
	o := policy.Options{
		Default: r.own, Rules: r.other, Remember: remembers[out.Remember],
		Grace: out.RememberAfter.Grace, Memory: remembering{memory},
	}
	if p.names.checked != nil {
		resolver := tlsaNames{p.names, out.Route == "smarthost"}
		o.DANE = newTLSAFinder(resolver, b.memories, b.log)
	}
	if out.MTASTS && b.sts != nil {
		o.STS = b.sts
	}
	return policy.New(o)
}

var remembers = map[string]policy.Remember{"enforce": policy.Enforce, "observe": policy.Observe, "off": policy.Off}

// roots are the trusted roots of a file, and what was in it.
type roots struct {
	*policy.Roots
	pem []byte
}

// trustedRoots reads a file once for each configuration. As long as the same is
// in it, the roots are the same object over reloads: what was verified with
// them goes on being good.
func (b builder) trustedRoots(p *plan, file string) (*policy.Roots, error) {
	if file == "system" {
		return nil, nil
	}
	if i := slices.IndexFunc(p.roots, func(r roots) bool { return r.Name == file }); i >= 0 {
		return p.roots[i].Roots, nil
	}
	text, pool, err := readRoots("trusted_roots", file)
	if err != nil {
		return nil, err
	}
	read := roots{&policy.Roots{Name: file, Pool: pool}, text}
	if b.old != nil {
		for _, before := range b.old.roots {
			if before.Name == file && bytes.Equal(before.pem, text) {
				read.Roots = before.Roots
			}
		}
	}
	p.roots = append(p.roots, read)
	return read.Roots, nil
}

// readRoots reads a file of trusted roots for the attribute of that name.
func readRoots(attribute, file string) (text []byte, pool *x509.CertPool, err error) {
	if text, err = os.ReadFile(file); err != nil {
		return nil, nil, problem("Write "+attribute+` = "system", or the path of a PEM file that postern may read.`, attribute+": %w", err)
	}
	pool = x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, nil, problem("It must hold at least one certificate in PEM form: lines that start with BEGIN CERTIFICATE.",
			attribute+": no certificate in %s", file)
	}
	return text, pool, nil
}
