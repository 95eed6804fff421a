package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/resolve"
	"postern/tls/mtasts"
)

// dnsRecords runs the command that prints DNS records.
func dnsRecords(t *testing.T, o DNSRecordsOptions) (text, notes string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	o.Out, o.Log, o.TTL = &out, &log, 3600
	err = DNSRecords(t.Context(), o)
	return out.String(), log.String(), err
}

const testingPolicy = "version: STSv1\r\nmode: testing\r\nmx: mx1.example.org\r\nmax_age: 604800\r\n"

func TestADomainIsToldWhatToPublish(t *testing.T) {
	d := newDomain(t)
	d.serve(t, dnstest.Zone{Name: "example.org", Records: "mx1 A 127.0.0.1\n@ MX 20 mx1\n_25._tcp.mx1 TLSA " + d.record("rsa.pem") +
		"\n_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:old@example.org\"\n"})
	file := d.config(t, inMemory)
	text, notes, err := dnsRecords(t, DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: file}, Reports: []string{"tls@example.org", "https://example.net/r"}})
	want := fmt.Sprintf(`; What example.org should publish

; published
example.org. 3600 IN MX 20 mx1.example.org.

; missing
_mta-sts.example.org. 3600 IN TXT "v=STSv1; id=%s;"
; differs: there is: v=TLSRPTv1; rua=mailto:old@example.org
_smtp._tls.example.org. 3600 IN TXT "v=TLSRPTv1; rua=mailto:tls@example.org,https://example.net/r"

; missing
_25._tcp.mx1.example.org. 3600 IN TLSA %s
; published
_25._tcp.mx1.example.org. 3600 IN TLSA %s

; https://mta-sts.example.org/.well-known/mta-sts.txt
; must be this, as text/plain, from a web server whose certificate is for mta-sts.example.org (--policy writes the file).
; Put it there before the record at _mta-sts.example.org is published or changed.
; missing
;   version: STSv1
;   mode: testing
;   mx: mx1.example.org
;   max_age: 604800
`, mtasts.ID(testingPolicy), d.record("ecdsa.pem"), d.record("rsa.pem"))
	if err != nil || text != want || notes != "" {
		t.Errorf("%v\n%s%s\nwant:\n%s", err, notes, text, want)
	}
	text, _, err = dnsRecords(t, DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: file}, Policy: true, Offline: true})
	if err != nil || text != testingPolicy {
		t.Errorf("the policy: %v\n%s", err, text)
	}
	for _, again := range []bool{false, true} {
		_, _, err = dnsRecords(t, DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: file, JSON: again}, Check: true})
		if !errors.Is(err, ErrReported) {
			t.Errorf("with --check: %v", err)
		}
	}
}

func TestDomainsThatAreNamedGetTheSameHosts(t *testing.T) {
	d := newDomain(t)
	text, _, err := dnsRecords(t, DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory), JSON: true}, Domains: []string{"Example.COM.", "bücher.example"},
		MX: []string{"backup.example.net"}, Mode: "enforce", MaxAge: 24 * time.Hour, Offline: true})
	must(err)
	var all []DomainRecords
	must(json.Unmarshal([]byte(text), &all))
	var got []string
	for _, one := range all {
		for _, r := range one.Records {
			if r.State != "" {
				t.Errorf("%s is %s, and nobody has looked", r.Owner, r.State)
			}
			got = append(got, r.Owner+" "+r.Type+" "+strings.Fields(r.Data)[0])
		}
		if want := "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.org\r\nmx: backup.example.net\r\nmax_age: 86400\r\n"; one.Policy != want || one.PolicyURL != mtasts.URL(one.Domain) {
			t.Errorf("%s\n%s", one.PolicyURL, one.Policy)
		}
	}
	var want []string
	for _, domain := range []string{"example.com", "xn--bcher-kva.example"} {
		want = append(want, domain+" MX 10", domain+" MX 20", "_mta-sts."+domain+` TXT "v=STSv1;`, "_25._tcp.mx1.example.org TLSA 3", "_25._tcp.mx1.example.org TLSA 3")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestADomainThatPublishesAllIsGood(t *testing.T) {
	d := newDomain(t)
	d.serve(t, dnstest.Zone{Name: "example.org", Records: "mx1 A 127.0.0.1\n@ MX 20 mx1\n_25._tcp.mx1 TLSA " + d.record("rsa.pem") + "\n_25._tcp.mx1 TLSA " + d.record("ecdsa.pem") +
		"\n_mta-sts TXT \"v=STSv1; id=2026\"\n_smtp._tls TXT \"v=TLSRPTv1;rua=mailto:tls@example.org;\"\n"})
	o := DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory), TTL: 3600}, Reports: []string{"tls@example.org"}}
	for name, c := range map[string]struct {
		policy string
		ask    func(o *DNSRecordsOptions)
		host   string   // ours, if not mx1
		want   []string // what is wanting
	}{
		"with a policy of its own": {"version: STSv1\nmode: enforce\nmx: mx1.example.org\nmax_age: 86400\n", nil, "", nil},
		"another mode": {testingPolicy, func(o *DNSRecordsOptions) { o.Mode = "enforce" }, "", []string{
			"policy differs mode testing, mx mx1.example.org, max_age 604800", "_mta-sts.example.org TXT differs v=STSv1; id=2026"}},
		"another host": {strings.Replace(testingPolicy, "mx1", "mx2", 1), nil, "", []string{
			"policy differs mode testing, mx mx2.example.org, max_age 604800", "_mta-sts.example.org TXT differs v=STSv1; id=2026"}},
		"taking it back": {"version: STSv1\nmode: none\nmax_age: 604800\n", nil, "", nil},
		"another age": {testingPolicy, func(o *DNSRecordsOptions) { o.MaxAge = time.Hour }, "", []string{
			"policy differs mode testing, mx mx1.example.org, max_age 604800", "_mta-sts.example.org TXT differs v=STSv1; id=2026"}},
		"no policy": {"", nil, "", []string{"policy missing not there", "_mta-sts.example.org TXT differs v=STSv1; id=2026"}},
		"reports to somebody else": {testingPolicy, func(o *DNSRecordsOptions) { o.Reports = []string{"mailto:me@example.org"} }, "", []string{
			"_smtp._tls.example.org TXT differs v=TLSRPTv1;rua=mailto:tls@example.org;"}},
		"no reports asked for": {testingPolicy, func(o *DNSRecordsOptions) { o.Reports = nil }, "", nil},
		"a second host": {testingPolicy, nil, "mx2.example.org", []string{
			"policy differs mode testing, mx mx1.example.org, max_age 604800", "example.org MX missing", "_mta-sts.example.org TXT differs v=STSv1; id=2026", "note mx1.example.org is published as an MX host too"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			if c.ask != nil {
				c.ask(&o)
			}
			w := must1(o.writer())
			defer w.close()
			if c.host != "" {
				w.hosts = []string{c.host}
			}
			w.look.policy = func(context.Context, string) mtasts.Finding {
				p, err := mtasts.ParsePolicy([]byte(c.policy))
				if err != nil {
					return mtasts.Finding{Why: "not there"}
				}
				return mtasts.Finding{Policy: p}
			}
			r := must1(w.domain(t.Context(), "example.org"))
			if got := wants(r); !matches(got, c.want) || r.wanting() != (c.want != nil) {
				t.Errorf("%q", got)
			}
		})
	}
}

// wants lists what is wanting of a domain.
func wants(d DomainRecords) (all []string) {
	if d.PolicyIs.wanting() {
		all = append(all, "policy "+d.PolicyIs.State+" "+d.PolicyIs.Found)
	}
	for _, r := range d.Records {
		if r.wanting() {
			all = append(all, strings.TrimSpace(r.Owner+" "+r.Type+" "+r.State+" "+r.Found))
		}
	}
	for _, n := range d.Notes {
		if n.Wanting {
			all = append(all, "note "+n.Text)
		}
	}
	return all
}

// matches says whether each text begins as it should.
func matches(got, want []string) bool {
	return slices.EqualFunc(got, want, strings.HasPrefix)
}

func TestWhatIsPublishedIsLookedAtWithDNSSEC(t *testing.T) {
	d := newDomain(t)
	records := "mx1 A 127.0.0.1\n@ MX 20 mx1\n_25._tcp.mx1 TLSA " + d.record("rsa.pem") + "\n_25._tcp.mx1 TLSA " + d.record("ecdsa.pem") + "\n"
	sts := "_mta-sts.example.org TXT "
	tlsa := "_25._tcp.mx1.example.org TLSA "
	for name, c := range map[string]struct {
		prepare func()
		want    []string
	}{
		"not signed": {func() { d.serve(t, dnstest.Zone{Name: "example.org", Records: records, Unsigned: true}) },
			[]string{"policy missing", sts + "missing", tlsa + "missing", tlsa + "missing", "note _25._tcp.mx1.example.org: the address of mx1.example.org is not signed"}},
		"no host": {func() { d.serve(t, dnstest.Zone{Name: "example.org"}) },
			[]string{"policy missing", "example.org MX missing", sts + "missing", tlsa + "missing", tlsa + "missing", "note _25._tcp.mx1.example.org: mx1.example.org has no address"}},
		"TLSA fails": {func() {
			d.serve(t, dnstest.Zone{Name: "example.org", Records: records})
			d.dns.Break("", "TLSA", dnstest.ServFail)
		}, []string{"policy missing", sts + "missing", tlsa + "unknown cannot look up the TLSA records of", tlsa + "unknown"}},
		"all fails": {func() {
			d.serve(t, dnstest.Zone{Name: "example.org", Records: records})
			d.dns.Break("", "", dnstest.ServFail)
		}, []string{"policy unknown SERVFAIL", "example.org MX unknown SERVFAIL", sts + "unknown SERVFAIL", tlsa + "unknown", tlsa + "unknown"}},
		"two records": {func() {
			d.serve(t, dnstest.Zone{Name: "example.org", Records: records + "_mta-sts TXT \"v=STSv1; id=1\"\n_mta-sts TXT \"v=STSv1; id=2\"\n_mta-sts TXT other\n"})
		}, []string{"policy missing _mta-sts.example.org: 2 TXT records", sts + "differs 2 records, where there must be one"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.prepare()
			w := must1(DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory)}}.writer())
			defer w.close()
			r := must1(w.domain(t.Context(), "example.org"))
			if got := wants(r); !matches(got, c.want) {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestThatDNSSECIsOffIsSaid(t *testing.T) {
	d := newDomain(t)
	d.publish(t, d.tlsa(60, d.record("ecdsa.pem"))+"@ MX 10 mx1\n")
	file := d.config(t, inMemory)
	text := string(must1(os.ReadFile(file)))
	must(os.WriteFile(file, []byte(strings.Replace(text, "resolver {", "resolver {\n  dnssec = \"off\"", 1)), 0o600))
	w := must1(DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: file}}.writer())
	defer w.close()
	got := wants(must1(w.domain(t.Context(), "example.org")))
	if !slices.Contains(got, `_25._tcp.mx1.example.org TLSA unknown dnssec = "off"`) {
		t.Errorf("%q", got)
	}
	wantStory(t, TLSACheckOptions{TLSAOptions: TLSAOptions{Config: file}}, false, "wanting served", "wanting zone: it cannot be told whether the zone is signed|dnssec")
}

// A resolver that strips signatures must not look like a zone without them.
func TestAResolverWithoutDNSSECIsToldFromAZoneWithoutIt(t *testing.T) {
	d := newDomain(t)
	anchors := d.path("root.key")
	before := must1(os.ReadFile(anchors))
	d.dns = dnstest.Start(t, "example.org. IN MX 10 mx1.example.org.\nmx1.example.org. IN A 127.0.0.1\n")
	catest.Write(t, anchors, before)
	file := d.config(t, inMemory)
	_, notes, err := printed(t, TLSAOptions{Config: file})
	if must(err); !strings.Contains(notes, "holds DNSSEC signatures back") {
		t.Errorf("printing: %q", notes)
	}
	wantStory(t, TLSACheckOptions{TLSAOptions: TLSAOptions{Config: file}}, false, "wanting served", "wanting zone: it cannot be told|holds DNSSEC signatures back")
	w := must1(DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: file}}.writer())
	defer w.close()
	if got := wants(must1(w.domain(t.Context(), "example.org"))); !strings.Contains(strings.Join(got, "\n"), "TLSA unknown it cannot be told") {
		t.Errorf("records: %q", got)
	}
}

func TestWhatCannotBePublishedIsRefused(t *testing.T) {
	d := newDomain(t)
	for want, o := range map[string]DNSRecordsOptions{
		"--mode strict":                   {Mode: "strict"},
		"not a domain name: \"a b\"":      {Domains: []string{"a b"}},
		"not a domain name: \"-_- \"":     {MX: []string{"-_- "}},
		"--policy is for one domain":      {Policy: true, Domains: []string{"a.example", "b.example"}},
		`"mailto:nobody" is no place`:     {Reports: []string{"nobody"}},
		`"http://example.org" is no`:      {Reports: []string{"http://example.org"}},
		`"mailto:a@b,c" is no place`:      {Reports: []string{"a@b,c"}},
		`"mailto:a@b\n" is no place`:      {Reports: []string{"a@b\n"}},
		"max_age":                         {MaxAge: 1000000 * time.Hour},
		`there is no inbound "elsewhere"`: {TLSAOptions: TLSAOptions{Inbound: "elsewhere"}},
	} {
		o.Config, o.Offline = d.config(t, inMemory), true
		if text, _, err := dnsRecords(t, o); err == nil || text != "" || !strings.Contains(err.Error(), want) || Hint(err) == "" {
			t.Errorf("%s: %v %q", want, err, text)
		}
	}
}

func TestTheDomainOfAHostIsTheOneAboveIt(t *testing.T) {
	for host, want := range map[string]string{"mx1.example.org": "example.org", "a.b.example.org": "b.example.org", "example.org": "example.org", "localhost": "localhost"} {
		if got := domainAbove(host); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}

func TestALongTextIsSeveralStrings(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `""`,
		`say "a\b"`:              `"say \"a\\b\""`,
		strings.Repeat("a", 255): `"` + strings.Repeat("a", 255) + `"`,
		strings.Repeat("a", 256): `"` + strings.Repeat("a", 255) + `" "a"`,
	} {
		if got := quoted(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// What is written is read back as it was meant.
func TestALongTextIsReadAsOne(t *testing.T) {
	text := "v=TLSRPTv1; rua=mailto:" + strings.Repeat("a", 300) + "@example.org"
	s := dnstest.Start(t, "_smtp._tls.example.org. IN TXT "+quoted(text))
	answer := must1(resolve.New([]string{s.Address}).TXT(t.Context(), "_smtp._tls.example.org"))
	if len(answer.Texts) != 1 || answer.Texts[0] != text {
		t.Errorf("%q", answer.Texts)
	}
}

func TestAMailExchangerIsOnPort25OrHasSTARTTLS(t *testing.T) {
	edgeAt := func(name, tls string, listen ...string) edge {
		return edge{inbound: name, cfg: config.Inbound{TLS: tls, Listen: listen}}
	}
	for want, all := range map[string][]edge{
		"mx":    {edgeAt("mx", "offer", ":25"), edgeAt("submission", "require", ":587")},
		"a b":   {edgeAt("a", "offer", ":25"), edgeAt("b", "offer", "[::]:25"), edgeAt("smtps", "implicit", ":465")},
		"high":  {edgeAt("high", "offer", ":2525"), edgeAt("smtps", "implicit", ":465")},
		"smtps": {edgeAt("smtps", "implicit", ":465")},
	} {
		var got []string
		for _, e := range exchangers(all) {
			got = append(got, e.inbound)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q, not %s", got, want)
		}
	}
}
