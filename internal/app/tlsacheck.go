package app

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/admin"
	"postern/config"
	"postern/resolve"
	"postern/tls/dane"
)

// TLSACheckOptions is what CheckTLSA is asked for.
type TLSACheckOptions struct {
	TLSAOptions        // without Files, Issuer and TTL
	Connect     string // host:port to ask for the certificates; empty: where the inbound listens
	Quiet       bool   // write what is wanting alone
}

// The verdicts of a finding.
const (
	findingGood    = "good"
	findingNote    = "note"    // to be known; nothing to be done at once
	findingWanting = "wanting" // mail is, or will be, refused, or the records are of no use
)

// TLSAFinding is one thing that a check has to say.
type TLSAFinding struct {
	Verdict string `json:"verdict"` // good, note or wanting
	Owner   string `json:"owner"`   // "_25._tcp.mx.example.org"
	About   string `json:"about"`   // zone, file, served, record, next or rollover
	Text    string `json:"text"`
}

// CheckTLSA compares the TLSA records that are published for the inbounds with their certificates:
// those of the configuration, those that are shown to clients now, and those that come next. The
// findings are written a line each. The error is ErrReported when one is wanting.
func CheckTLSA(ctx context.Context, o TLSACheckOptions) error {
	var err error
	if o.TLSAOptions, err = o.normal(); err != nil {
		return err
	}
	cfg, p, err := planToLookAt(o.Config)
	if err != nil {
		return err
	}
	all, err := o.edges(cfg, p)
	if err != nil {
		return err
	}
	if o.Connect != "" && (len(all) > 1 || len(all[0].ports) > 1) {
		return misuse("Say which it is, with --inbound and --port.", "%s can be only one server", o.Connect)
	}
	findings, err := o.check(ctx, cfg, all)
	if err != nil {
		return err
	}
	if err := o.write(findings); err != nil {
		return fmt.Errorf("write the findings: %w", err)
	}
	if wanting(findings) {
		return ErrReported
	}
	return nil
}

func wanting(findings []TLSAFinding) bool {
	for _, f := range findings {
		if f.Verdict == findingWanting {
			return true
		}
	}
	return false
}

func (o TLSACheckOptions) write(findings []TLSAFinding) error {
	shown := []TLSAFinding{}
	for _, f := range findings {
		if !o.Quiet || f.Verdict == findingWanting {
			shown = append(shown, f)
		}
	}
	if o.Quiet && len(shown) == 0 {
		return nil
	}
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(shown)
	}
	var b strings.Builder
	for _, f := range shown {
		fmt.Fprintf(&b, "%-8s%s: %s\n", f.Verdict, printable(f.Owner), printable(f.Text))
	}
	_, err := io.WriteString(o.Out, b.String())
	return err
}

// check goes through all owners of TLSA records.
func (o TLSACheckOptions) check(ctx context.Context, cfg *config.Config, all []edge) (findings []TLSAFinding, err error) {
	zones, err := viewOf(cfg)
	if err != nil {
		return nil, err
	}
	note, unknown, done, err := seenBy(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer done()
	c := tlsaCheck{options: o, hostname: cfg.Hostname, zones: zones, note: note, unknown: unknown}
	for _, e := range all {
		for _, name := range e.names {
			for _, port := range e.ports {
				found, err := c.owner(ctx, e, name, port)
				if err != nil {
					return nil, err
				}
				findings = append(findings, found...)
			}
		}
	}
	return findings, nil
}

// tlsaCheck is one run of the check.
type tlsaCheck struct {
	options  TLSACheckOptions
	hostname string
	zones    *zoneView
	note     admin.Seen // nil: nothing is remembered
	unknown  notSeen    // why
}

// owner checks the records of one name and port.
func (c tlsaCheck) owner(ctx context.Context, e edge, name string, port uint16) ([]TLSAFinding, error) {
	j := &judgement{owner: dane.Owner(name, port), files: e.shownAt(name), next: e.next, passing: e.passing, unknown: c.unknown, now: time.Now()}
	j.chains(c.served(ctx, e, name, port))
	if !c.published(ctx, j, name, port) {
		return j.findings, nil
	}
	if c.note != nil {
		seen, err := c.note(j.sighting())
		if err != nil {
			return nil, err
		}
		if j.remember(seen) != nil {
			return nil, errors.New("what is remembered of TLSA records cannot be read")
		}
		j.now = later(j.now, j.last()) // that was a moment later
	}
	j.judge()
	return j.findings, nil
}

// published looks the records up, as a sender does. ok is false where there are none that count.
func (c tlsaCheck) published(ctx context.Context, j *judgement, name string, port uint16) (ok bool) {
	if c.zones.off {
		return j.wanting("zone", `it cannot be told whether the zone is signed: write resolver { dnssec = "validate" }`)
	}
	lookup := dane.Lookup{Resolver: c.zones.names}
	f, err := lookup.Find(ctx, dane.MXInfo{Domain: name, Host: name, Port: port, Implicit: true, MXSecure: true})
	switch {
	case err != nil:
		return j.wanting("zone", "mail waits at its senders: %v", err)
	case c.zones.stripped():
		return j.wanting("zone", strippedText)
	case f.Status == dane.NotApplicable:
		return j.wanting("zone", "%s: senders do without DANE", f.Why)
	case f.Status == dane.NoRecords:
		return j.wanting("zone", "%s: postern tlsa prints them", f.Why)
	case f.Status == dane.Unusable:
		return j.wanting("zone", "no record can match anything (%s): senders ask for TLS, and for no certificate", strings.Join(f.Unusable, "; "))
	}
	// The answer is in the memory of the resolver since.
	owner := dane.Owner(f.Base, port)
	answer, err := ask(ctx, c.zones.names.lookup, func(r *resolve.Resolver) (resolve.TLSAAnswer, error) { return r.TLSA(ctx, owner) })
	if err != nil {
		return j.wanting("zone", "mail waits at its senders: %v", err)
	}
	j.records, j.names, j.ttl = f.Records, f.Names, answer.TTL
	j.good("zone", "%s, signed, for %v (TTL)", count(len(f.Records), "record"), answer.TTL)
	if f.Base != strings.ToLower(name) {
		j.say(findingNote, "zone", "they are those of %s, which it is an alias of", f.Base)
	}
	for _, text := range f.Unusable {
		j.wanting("record", "%s: remove it", text)
	}
	return true
}

// served asks the server for its certificates, at the first of its addresses that answers.
func (c tlsaCheck) served(ctx context.Context, e edge, name string, port uint16) (at string, chains [][]*x509.Certificate, other, err error) {
	addresses := addressesOf(e.cfg.Listen, port)
	if c.options.Connect != "" {
		addresses = []string{c.options.Connect}
	}
	if len(addresses) == 0 {
		return "", nil, nil, errors.New("it does not listen on this port: give --connect HOST:PORT to ask it for its certificates")
	}
	for _, at = range addresses {
		s := showing{address: at, name: name, hello: c.hostname, implicit: e.cfg.TLS == "implicit", proxy: e.cfg.ProxyProtocol}
		if c.options.Connect != "" {
			s.proxy = nil
		}
		if chains, other, err = s.chains(ctx); err == nil {
			return at, chains, other, nil
		}
	}
	return at, nil, nil, err
}
