package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/resolve"
	"postern/tls/dane"
	"postern/tls/mtasts"
)

// domainView looks at what domains publish.
type domainView struct {
	zones  *zoneView                                               // nil: nobody looks
	policy func(ctx context.Context, domain string) mtasts.Finding // by MTA-STS
}

// seenDomain is what a domain publishes now.
type seenDomain struct {
	looked     bool
	hosts      []resolve.MX // none: there are no MX records
	mxError    string       // they could not be looked up
	unsignedMX string       // why they are not signed

	policy   *mtasts.Policy
	found    mtasts.Finding
	txt      []string // at _mta-sts
	txtError string

	tlsrpt      string // the record
	tlsrptError string
}

// domain looks at all that a domain publishes, but for the records of its hosts.
func (v domainView) domain(ctx context.Context, domain string) (s seenDomain) {
	s.looked = true
	answer, err := v.zones.names.MX(ctx, domain)
	switch {
	case isTemporary(err):
		s.mxError = err.Error()
	case err == nil && !answer.Implicit:
		s.hosts = answer.Hosts
	}
	if err == nil && !v.zones.off && answer.Security != resolve.Secure {
		s.unsignedMX = answer.Why
	}
	s.txt, s.txtError = v.texts(ctx, mtasts.RecordName(domain), "v=STSv1")
	if s.found = v.policy(ctx, domain); s.found.Policy != nil {
		s.policy = s.found.Policy
	}
	var all []string
	all, s.tlsrptError = v.texts(ctx, reportsPrefix+domain, "v=TLSRPTv1")
	s.tlsrpt = strings.Join(all, " ") // there should be one
	return s
}

// texts returns the TXT records at a name that begin in this way.
func (v domainView) texts(ctx context.Context, name, prefix string) (all []string, wrong string) {
	answer, err := ask(ctx, v.zones.names.lookup, func(r *resolve.Resolver) (resolve.TXTAnswer, error) { return r.TXT(ctx, name) })
	if err != nil {
		return nil, err.Error()
	}
	for _, text := range answer.Texts {
		if strings.HasPrefix(text, prefix) {
			all = append(all, text)
		}
	}
	return all, ""
}

// mx says whether a host is among the MX hosts, and with which preference.
func (s seenDomain) mx(host string, suggested uint16) (preference uint16, at standing) {
	for _, mx := range s.hosts {
		if mx.Host == host {
			return mx.Preference, standing{State: isPublished}
		}
	}
	return suggested, s.absent(s.mxError)
}

// absent is the standing of what is not there, or could not be looked up.
func (s seenDomain) absent(wrong string) standing {
	switch {
	case !s.looked:
		return standing{}
	case wrong != "":
		return standing{isUnknown, wrong}
	}
	return standing{State: isMissing}
}

// otherHosts are the MX hosts that are not named.
func (s seenDomain) otherHosts(named []string) (all []string) {
	for _, mx := range s.hosts {
		if !slices.Contains(named, mx.Host) {
			all = append(all, mx.Host)
		}
	}
	return all
}

// sts compares policy and record with those that are published. An id of somebody's own is as good as ours, as
// long as the policy is the same: record.Found is the record that is published then.
func (s seenDomain) sts(policy, record string) (file, txt standing) {
	file = s.absent(s.txtError)
	if s.policy != nil {
		file = standing{State: isPublished}
		if ours, err := mtasts.ParsePolicy([]byte(policy)); err != nil || !samePolicy(ours, s.policy) {
			file = standing{isDifferent, s.policy.String()}
		}
	} else if file.State == isMissing && len(s.txt) > 0 {
		file.Found = s.found.Why
	}
	switch {
	case len(s.txt) == 0:
		txt = s.absent(s.txtError)
	case len(s.txt) > 1:
		txt = standing{isDifferent, fmt.Sprintf("%d records, where there must be one: %q", len(s.txt), s.txt)}
	case file.State == isPublished, s.txt[0] == record:
		txt = standing{isPublished, s.txt[0]}
	default:
		txt = standing{isDifferent, s.txt[0]}
	}
	return file, txt
}

// samePolicy compares what two policies ask for.
func samePolicy(a, b *mtasts.Policy) bool {
	sorted := func(p *mtasts.Policy) []string { return slices.Sorted(slices.Values(p.MX)) }
	return a.Mode == b.Mode && a.MaxAge == b.MaxAge && slices.Equal(sorted(a), sorted(b))
}

// reports compares the record of TLSRPT with the one that is published. White space and a semicolon at the
// end mean nothing (RFC 8460, 3).
func (s seenDomain) reports(text string) standing {
	plain := func(text string) string { return strings.TrimRight(strings.Join(strings.Fields(text), ""), ";") }
	switch {
	case s.tlsrpt == "":
		return s.absent(s.tlsrptError)
	case plain(s.tlsrpt) != plain(text):
		return standing{isDifferent, s.tlsrpt}
	}
	return standing{State: isPublished}
}

// standings are the TLSA records that are published at one name.
type standings struct {
	records []dane.Record
	absence standing // of what is not among them
	why     string   // they do not count
}

// tlsa looks up the TLSA records of an owner, as senders do.
func (v domainView) tlsa(ctx context.Context, owner string) standings {
	if v.zones.off {
		return standings{absence: standing{isUnknown, `dnssec = "off"`}}
	}
	host := strings.TrimPrefix(owner, fmt.Sprintf("_%d._tcp.", smtpPort))
	lookup := dane.Lookup{Resolver: v.zones.names}
	f, err := lookup.Find(ctx, dane.MXInfo{Domain: host, Host: host, Port: smtpPort, Implicit: true, MXSecure: true})
	switch {
	case err != nil:
		return standings{absence: standing{isUnknown, err.Error()}}
	case v.zones.stripped():
		return standings{absence: standing{isUnknown, strippedText}}
	case f.Status == dane.NotApplicable:
		return standings{absence: standing{State: isMissing}, why: f.Why + ": nobody looks for TLSA records there"}
	}
	return standings{records: f.Records, absence: standing{State: isMissing}}
}

func (s standings) of(r dane.Record) standing {
	for _, p := range s.records {
		if p.String() == r.String() {
			return standing{State: isPublished}
		}
	}
	return s.absence
}
