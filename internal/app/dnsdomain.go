package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/tls/mtasts"
)

const week = 7 * 24 * time.Hour

// draft is the records of a domain in the making.
type draft struct {
	DomainRecords
	w    *recordWriter
	seen seenDomain // what is published; zero where nobody looked
}

// domain makes the records of one domain.
func (w *recordWriter) domain(ctx context.Context, domain string) (DomainRecords, error) {
	d := &draft{DomainRecords: DomainRecords{Domain: domain, Records: []DNSRecord{}, Notes: []DNSNote{}, PolicyURL: mtasts.URL(domain)}, w: w}
	if w.look.zones != nil {
		d.seen = w.look.domain(ctx, domain)
	}
	d.mx()
	if err := d.policy(); err != nil {
		return d.DomainRecords, err
	}
	d.reports()
	d.tlsa(ctx)
	return d.DomainRecords, nil
}

func (d *draft) add(owner, kind, data string, s standing) {
	d.Records = append(d.Records, DNSRecord{owner, d.w.options.TTL, kind, data, s})
}

func (d *draft) note(wanting bool, format string, args ...any) {
	d.Notes = append(d.Notes, DNSNote{wanting, fmt.Sprintf(format, args...)})
}

// mx adds a record for each mail host. The preferences are those that are published, and else a suggestion.
func (d *draft) mx() {
	preference := uint16(10)
	for i, host := range d.w.allHosts() {
		if i == len(d.w.hosts) {
			preference += 10 // hosts of others come after ours
		}
		p, s := d.seen.mx(host, preference)
		d.add(d.Domain, "MX", fmt.Sprintf("%d %s.", p, host), s)
	}
	for _, host := range d.seen.otherHosts(d.w.allHosts()) {
		d.note(true, "%s is published as an MX host too, and is not in the policy below: name it with --mx, or senders that follow the policy do not deliver there", host)
	}
	if why := d.seen.unsignedMX; why != "" {
		d.note(false, "the MX records of %s are not signed (%s): senders may do without DANE", d.Domain, why)
	}
}

// policy makes the MTA-STS policy and the record that announces it.
func (d *draft) policy() error {
	o, known := d.w.options, d.seen.policy
	mode, age := mtasts.Testing, week
	if known != nil {
		mode, age = known.Mode, known.MaxAge
	}
	if o.Mode != "" {
		mode = modesByName[o.Mode]
	}
	if o.MaxAge != 0 {
		age = o.MaxAge
	}
	var hosts []string
	if mode != mtasts.None {
		hosts = d.w.allHosts()
	}
	var err error
	if d.Policy, err = mtasts.PolicyFile(mode, hosts, age); err != nil {
		return misuse("See --mode, --max-age and --name.", "%w", err)
	}
	record, err := mtasts.Record(mtasts.ID(d.Policy))
	if err != nil {
		return err
	}
	var at standing
	d.PolicyIs, at = d.seen.sts(d.Policy, record)
	if at.State == isPublished {
		record = at.Found
		at.Found = ""
	}
	d.add(mtasts.RecordName(d.Domain), "TXT", quoted(record), at)
	return nil
}

const reportsPrefix = "_smtp._tls."

// reports adds the record that asks for reports (RFC 8460, 3), as it is asked for or published.
func (d *draft) reports() {
	if len(d.w.options.Reports) == 0 {
		if text := d.seen.tlsrpt; text != "" {
			d.add(reportsPrefix+d.Domain, "TXT", quoted(text), standing{State: isPublished})
			return
		}
		d.note(false, "to be told of failures by senders (TLSRPT), name an address for their reports: --rua postmaster@%s", d.Domain)
		return
	}
	text := "v=TLSRPTv1; rua=" + strings.Join(d.w.options.Reports, ",")
	d.add(reportsPrefix+d.Domain, "TXT", quoted(text), d.seen.reports(text))
}

// tlsa adds the TLSA records of our hosts.
func (d *draft) tlsa(ctx context.Context) {
	published := map[string]standings{}
	for _, e := range d.w.edges {
		for _, r := range e.records(d.w.options.TTL) {
			look, known := published[r.Owner]
			if !known && d.w.look.zones != nil {
				look = d.w.look.tlsa(ctx, r.Owner)
				published[r.Owner] = look
				if look.why != "" {
					d.note(true, "%s: %s", r.Owner, look.why)
				}
			}
			d.add(r.Owner, "TLSA", r.Record, look.of(r.record))
		}
	}
}

// quoted writes a text as a TXT record has it: in strings of at most 255 octets (RFC 1035, 3.3).
func quoted(text string) string {
	const most = 255
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var parts []string
	for ; len(text) > most; text = text[most:] {
		parts = append(parts, `"`+escape.Replace(text[:most])+`"`)
	}
	return strings.Join(append(parts, `"`+escape.Replace(text)+`"`), " ")
}
