package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/config"
	"postern/resolve"
	"postern/tls/dane"
)

// TLSAOptions is what the commands about TLSA records are asked for.
type TLSAOptions struct {
	Config     string    // the file; empty for the usual places
	Files      []string  // PEM files to make records for; none: the inbounds of the configuration
	Inbound    string    // this one alone
	Names      []string  // of the mail host; none: as the configuration or the certificate says
	Ports      []uint16  // none: those that the inbound listens on, or 25
	Next       []string  // PEM files of keys that come next
	Issuer     bool      // records for the issuers that are in the files of the certificates, too
	IssuerFile string    // a PEM file of issuers
	TTL        uint32    // of the records, in seconds
	JSON       bool      // write the result as JSON
	Out        io.Writer // for the result
	Log        io.Writer // for what must be known beside it
}

// TLSA writes the TLSA records to publish, as lines for a zone file: for each inbound that
// shows a certificate, or for PEM files. What keeps them from being of use is noted beside
// them. The error says why there are none.
func TLSA(ctx context.Context, o TLSAOptions) error {
	o, err := o.normal()
	if err != nil {
		return err
	}
	all, zones, err := o.find()
	if err != nil {
		return err
	}
	records := []TLSAToPublish{}
	for _, e := range all {
		for _, text := range append(e.warnings(), zones.unsigned(ctx, e.names)...) {
			fmt.Fprintf(o.Log, "postern: warning: %s\n", printable(text))
		}
		records = append(records, e.records(o.TTL)...)
	}
	if o.JSON {
		err = json.NewEncoder(o.Out).Encode(records)
	} else {
		err = printTLSA(o.Out, records)
	}
	if err != nil {
		return fmt.Errorf("write the records: %w", err)
	}
	if len(records) == 0 {
		return ErrReported // a warning has said why
	}
	return nil
}

// normal has the names in the form of the DNS.
func (o TLSAOptions) normal() (TLSAOptions, error) {
	var err error
	o.Names, err = asASCII("Give the name of a mail host: --name mx1.example.org.", o.Names)
	return o, err
}

// asASCII has names in the form of the DNS. The hint is for one that is none.
func asASCII(hint string, names []string) (all []string, err error) {
	for _, name := range names {
		ascii, wrong := resolve.ToASCII(name)
		if wrong != nil {
			return nil, misuse(hint, "%w", wrong)
		}
		all = append(all, ascii)
	}
	return all, nil
}

// find returns what to make records of, and how to look at the zones that they go into: nil for
// files, which are for whom they are for.
func (o TLSAOptions) find() ([]edge, *zoneView, error) {
	if len(o.Files) > 0 {
		all, err := o.fromFiles()
		return all, nil, err
	}
	cfg, p, err := planToLookAt(o.Config)
	if err != nil {
		return nil, nil, err
	}
	all, err := o.edges(cfg, p)
	if err != nil {
		return nil, nil, err
	}
	zones, err := viewOf(cfg)
	return all, zones, err
}

// planToLookAt reads the configuration and its certificates.
func planToLookAt(file string) (*config.Config, *plan, error) {
	cfg, _, err := load(file)
	if err != nil {
		return nil, nil, err
	}
	p, err := builder{cfg: cfg, lasting: forNow(cfg, emptyMemory())}.build()
	return cfg, p, err
}

// printTLSA writes records as a zone file has them, with comments.
func printTLSA(w io.Writer, records []TLSAToPublish) error {
	var b strings.Builder
	owner := ""
	for _, r := range records {
		if owner != "" && owner != r.Owner {
			b.WriteString("\n")
		}
		owner = r.Owner
		fmt.Fprintf(&b, "; %s\n%s", printable(r.describe()), r.line())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r TLSAToPublish) line() string { return dane.Zone(r.Owner, r.TTL, []dane.Record{r.record}) }

func (r TLSAToPublish) describe() string {
	text := map[string]string{"current": "the current key", "next": "the next key", "issuer": "an issuer"}[r.For] + ": " + r.Key
	if r.Inbound != "" {
		text = fmt.Sprintf("inbound %q, %s", r.Inbound, text)
	}
	return text
}

// zoneView asks the DNS as the configuration says, for what is published.
type zoneView struct {
	names tlsaNames
	off   bool // dnssec = "off": nobody looks whether anything is signed
}

func viewOf(cfg *config.Config) (*zoneView, error) {
	n, err := builder{cfg: cfg, lasting: forNow(cfg, emptyMemory())}.lookup(true)
	if err != nil {
		return nil, err
	}
	return &zoneView{names: tlsaNames{lookup: n}, off: n.checked == nil}, nil
}

// viewTimeout is for a glance at the DNS that the result does not depend on.
const viewTimeout = 10 * time.Second

// unsigned says which of the hosts have no signed address, so that nobody asks for their TLSA
// records (RFC 7672, 2.2.2). Without a view it says nothing.
func (z *zoneView) unsigned(ctx context.Context, hosts []string) (all []string) {
	if z == nil || z.off {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	for _, host := range hosts {
		switch answer, err := z.names.Addresses(ctx, host, resolve.Both); {
		case err != nil:
			all = append(all, host+": it could not be found out whether its zone is signed: "+err.Error())
		case z.stripped():
			all = append(all, host+": "+strippedText)
		case answer.Security != resolve.Secure:
			all = append(all, host+": its zone is not signed ("+answer.Why+"): until it is, nobody looks for these records")
		}
	}
	return all
}

const strippedText = "it cannot be told whether its zone is signed: the resolver holds DNSSEC signatures back; name another with resolver { servers = […] }"

// stripped says that the resolver knows no DNSSEC.
func (z *zoneView) stripped() bool {
	return z.names.trial != nil && z.names.trial.known(unavailable)
}
