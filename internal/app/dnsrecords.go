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
	"postern/tls/mtasts"
)

// DNSRecordsOptions is what DNSRecords is asked for.
type DNSRecordsOptions struct {
	TLSAOptions               // of the mail hosts; without Files and Ports
	Domains     []string      // that mail is for; none: the one that hostname is in
	MX          []string      // hosts of others that take mail for them too
	Mode        string        // of the MTA-STS policy; "" as it is published, else testing
	MaxAge      time.Duration // of the policy; 0: as it is published, else a week
	Reports     []string      // where TLSRPT reports go: mail addresses, or URLs
	Policy      bool          // write the policy file alone, octet by octet
	Offline     bool          // do not look at what is published
	Check       bool          // what is missing, or differs, is an error
}

// DomainRecords is what one domain should publish.
type DomainRecords struct {
	Domain    string      `json:"domain"`
	Records   []DNSRecord `json:"records"`
	PolicyURL string      `json:"policy_url"`
	Policy    string      `json:"policy"` // the file, with CRLF
	PolicyIs  standing    `json:"policy_is"`
	Notes     []DNSNote   `json:"notes"`
}

// DNSRecord is one record to publish.
type DNSRecord struct {
	Owner string `json:"owner"` // without final dot
	TTL   uint32 `json:"ttl"`   // in seconds
	Type  string `json:"type"`
	Data  string `json:"data"` // as in a zone file
	standing
}

// standing is what is published in the place of something.
type standing struct {
	State string `json:"state"`           // published, missing, differs, unknown, or "" where nobody looked
	Found string `json:"found,omitempty"` // what is there instead, or why it is not known
}

// The states of a standing.
const (
	isPublished = "published"
	isMissing   = "missing"
	isDifferent = "differs"
	isUnknown   = "unknown" // the DNS did not tell
)

// DNSNote is what else is to be known.
type DNSNote struct {
	Wanting bool   `json:"wanting"`
	Text    string `json:"text"`
}

func (s standing) wanting() bool { return s.State != "" && s.State != isPublished }

func (d DomainRecords) wanting() bool {
	return d.PolicyIs.wanting() || slices.ContainsFunc(d.Records, func(r DNSRecord) bool { return r.wanting() }) ||
		slices.ContainsFunc(d.Notes, func(n DNSNote) bool { return n.Wanting })
}

// DNSRecords writes what the domains of an inbound should publish: MX, MTA-STS, TLSRPT and TLSA
// records and the MTA-STS policy, and beside each whether it is published. With Check the error is ErrReported
// when something is not.
func DNSRecords(ctx context.Context, o DNSRecordsOptions) error {
	w, err := o.writer()
	if err != nil {
		return err
	}
	defer w.close()
	all, bad := []DomainRecords{}, false
	for _, domain := range w.options.Domains {
		d, err := w.domain(ctx, domain)
		if err != nil {
			return err
		}
		all, bad = append(all, d), bad || d.wanting()
	}
	switch {
	case o.Policy:
		_, err = io.WriteString(o.Out, all[0].Policy)
	case o.JSON:
		err = json.NewEncoder(o.Out).Encode(all)
	default:
		_, err = io.WriteString(o.Out, domainsText(all))
	}
	if err != nil {
		return fmt.Errorf("write the records: %w", err)
	}
	if o.Check && bad {
		return ErrReported
	}
	return nil
}

// recordWriter makes the records of one configuration.
type recordWriter struct {
	options DNSRecordsOptions // with what the configuration says filled in
	hosts   []string          // of ours
	edges   []edge
	look    domainView // its resolver is nil where nobody looks
	close   func()
}

// writer reads the configuration, and what is asked for.
func (o DNSRecordsOptions) writer() (*recordWriter, error) {
	cfg, p, err := planToLookAt(o.Config)
	if err != nil {
		return nil, err
	}
	if o.TLSAOptions, err = o.normal(); err != nil {
		return nil, err
	}
	o.Ports = []uint16{smtpPort} // whatever the inbound listens on: a mail exchanger is on port 25 (RFC 5321, 4.5.4.2)
	w := &recordWriter{close: func() {}}
	if w.edges, err = o.edges(cfg, p); err != nil {
		return nil, err
	}
	w.edges = exchangers(w.edges)
	for _, e := range w.edges {
		for _, text := range e.warnings() {
			fmt.Fprintf(o.Log, "postern: warning: %s\n", printable(text))
		}
		for _, name := range e.names {
			w.hosts = with(w.hosts, name)
		}
	}
	if w.options, err = o.asked(cfg.Hostname); err != nil {
		return nil, err
	}
	if !o.Offline {
		err = w.open(cfg)
	}
	return w, err
}

// allHosts are those that take mail for the domains, ours first.
func (w *recordWriter) allHosts() []string { return slices.Concat(w.hosts, w.options.MX) }

// open prepares to look at what is published.
func (w *recordWriter) open(cfg *config.Config) error {
	zones, err := viewOf(cfg)
	if err != nil {
		return err
	}
	l := forNow(cfg, emptyMemory())
	l.latest.names.Store(zones.names.lookup)
	sts := l.policies()
	w.look, w.close = domainView{zones: zones, policy: sts.Find}, sts.Close
	return nil
}

// exchangers are the edges that mail exchangers are: those on port 25, where there are any, else those with
// STARTTLS.
func exchangers(all []edge) (some []edge) {
	for _, e := range all {
		if len(addressesOf(e.cfg.Listen, smtpPort)) > 0 {
			some = append(some, e)
		}
	}
	if some != nil {
		return some
	}
	some = slices.DeleteFunc(slices.Clone(all), func(e edge) bool { return e.cfg.TLS == "implicit" })
	if len(some) == 0 {
		return all
	}
	return some
}

func with(all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// asked checks what is asked for, and fills in the domain.
func (o DNSRecordsOptions) asked(hostname string) (DNSRecordsOptions, error) {
	if len(o.Domains) == 0 {
		o.Domains = []string{domainAbove(hostname)}
	}
	var err error
	if o.Domains, err = asASCII("Give a domain that stands behind the @ of an address: example.org.", o.Domains); err != nil {
		return o, err
	}
	if o.MX, err = asASCII("Give the name of a host: --mx backup.example.net.", o.MX); err != nil {
		return o, err
	}
	if o.Policy && len(o.Domains) > 1 {
		return o, misuse("Each domain serves its own.", "--policy is for one domain")
	}
	if _, known := modesByName[o.Mode]; !known && o.Mode != "" {
		return o, misuse("Give testing, enforce or none.", "--mode %s", o.Mode)
	}
	for i, to := range o.Reports {
		if o.Reports[i], err = reportURI(to); err != nil {
			return o, err
		}
	}
	return o, nil
}

var modesByName = map[string]mtasts.Mode{"none": mtasts.None, "testing": mtasts.Testing, "enforce": mtasts.Enforce}

// domainAbove guesses what domain a mail host is for: example.org for mx1.example.org.
func domainAbove(hostname string) string {
	if _, parent, ok := strings.Cut(hostname, "."); ok && strings.Contains(parent, ".") {
		return parent
	}
	return hostname
}

// reportURI makes a URI of a mail address, and looks at one (RFC 8460, 3): a comma, an exclamation mark or a
// semicolon in it would end it.
func reportURI(to string) (string, error) {
	if !strings.Contains(to, ":") {
		to = "mailto:" + to
	}
	address, mail := strings.CutPrefix(to, "mailto:")
	_, web := strings.CutPrefix(to, "https://")
	if mail && !strings.Contains(address, "@") || !mail && !web || strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(",!;\"\\", r) }) {
		return "", misuse("Give a mail address, mailto:… or https://…, with other signs percent-encoded.", "--rua %q is no place for reports", to)
	}
	return to, nil
}
