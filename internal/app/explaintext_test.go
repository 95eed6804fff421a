package app

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/config"
	"postern/peers"
	"postern/proxy"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

// noon is when it is 12:00 where the tests are, see TestMain.
var noon = time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)

func decision(l level.Level) *policy.Decision { return &policy.Decision{Level: l} }

func TestWhatHappensWhenTLSFailsIsSaid(t *testing.T) {
	known := peers.Standing{KnownTLS: true}
	for name, c := range map[string]struct {
		fallback string
		host     proxy.HostExplanation
		want     string
	}{
		"none":                     {"same-session", proxy.HostExplanation{Decision: decision(level.None)}, "TLS is not tried"},
		"encrypt":                  {"same-session", proxy.HostExplanation{Decision: decision(level.Encrypt)}, "next server"},
		"secure with a skip":       {"same-session", proxy.HostExplanation{Decision: decision(level.Secure), Standing: peers.Standing{Skip: true}}, "next server"},
		"could not find out":       {"same-session", proxy.HostExplanation{Decision: &policy.Decision{Err: errors.New("x")}}, "the server is not used"},
		"may":                      {"same-session", proxy.HostExplanation{Decision: decision(level.May)}, "in clear, at once"},
		"may, next session":        {"next-session", proxy.HostExplanation{Decision: decision(level.May)}, "waits once"},
		"may, never":               {"never", proxy.HostExplanation{Decision: decision(level.May), Standing: known}, "where STARTTLS is not offered it goes in clear"},
		"may, which has worked":    {"same-session", proxy.HostExplanation{Decision: decision(level.May), Standing: known}, "a second failure"},
		"may, skipped":             {"never", proxy.HostExplanation{Decision: decision(level.May), Standing: peers.Standing{Skip: true}}, "before the skip ends"},
		"may, TLS from the start":  {"same-session", proxy.HostExplanation{Decision: decision(level.May), Implicit: true}, "nothing but TLS"},
		"may, next, known by then": {"next-session", proxy.HostExplanation{Decision: decision(level.May), Standing: known}, "a second failure"},
	} {
		out := &outbound{cfg: config.Outbound{Fallback: c.fallback}}
		if got := out.onFailure(c.host); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAnExplanationReadsLikeAStory(t *testing.T) {
	all := []Explanation{{Outbound: "egress", Route: "mx", Domain: "example.com", Usable: true, Hosts: []ExplainedHost{
		{
			Name: "mx1.example.com", Port: 25, Preference: 10, Addresses: []string{"192.0.2.1", "2001:db8::1"}, KnownTLS: true,
			Protects: "who listens", OnFailure: "the next server is tried",
			Decision: ExplainedDecision{
				Level: "secure", Source: "remembered", Names: []string{"mx1.example.com"}, TrustedRoots: "system", GraceSeconds: 14 * 24 * 3600, Expires: noon,
				Reasons: []ExplainedReason{{"operator", "level auto"}, {"mta-sts", "not asked: the destination is no domain"}, {"remembered", "it has validated"}},
			},
		},
		{
			Name: "mx2.example.com", Port: 465, Preference: 20, ImplicitTLS: true, AddressError: "no address\x1b[2J", SkipUntil: noon.Add(time.Hour), JustFailed: true, Own: true,
			OnFailure: "it is not used",
			Decision: ExplainedDecision{
				Level: "dane", Source: "dane", Error: "SERVFAIL", Observed: &ExplainedDecision{Level: "encrypt"}, Reasons: []ExplainedReason{{"dane", "SERVFAIL"}},
			},
		},
		{
			Name: "mx3.example.com", Port: 25, Preference: 30, MXSecurity: "insecure", MXWhy: "no DS", Addresses: []string{"192.0.2.3"}, AddressSecurity: "insecure", AddressWhy: "no DS",
			Decision: ExplainedDecision{
				Level: "dane", Source: "dane", TLSA: []string{"2 0 1 aa", "3 1 1 bb"}, TLSANames: []string{"mx3.example.com", "example.com"},
				DANE: &ExplainedDANE{Status: "usable", Why: "1 of 2", Records: []ExplainedRecord{{Record: "3 0 0 " + strings.Repeat("ab", 300), Usable: true}, {Record: "2 0 1 aa", Why: "too short"}}},
				MTASTS: &ExplainedPolicy{Mode: "enforce", MX: []string{"mx3.example.com", "*.example.net"}, NamesHost: true, ID: "7", Source: "cache", MaxAgeSeconds: 7 * 24 * 3600,
					Fetched: noon.Add(-90 * time.Minute), Expires: noon.Add(time.Hour), Trouble: "HTTP 500\a"},
				Reasons: []ExplainedReason{{"mta-sts", "mode enforce"}},
			},
		},
	}}}
	const want = `example.com by outbound "egress", to its mail exchangers

  10 mx1.example.com:25
    level          secure, because of what is remembered (until 2026-03-01 12:00 CET)
    certificate    for mx1.example.com, by an authority that the system trusts; may have expired up to 14 days ago
    protects from  who listens
    if TLS fails   the next server is tried
    rule           level auto
    addresses      192.0.2.1, 2001:db8::1
    MTA-STS        not asked: the destination is no domain
    remembered     it has validated
    standing       TLS has worked in the last 30 days

  20 mx2.example.com:465, TLS from the first octet
    level           dane, unless it is found to have no TLSA records
    cannot be used  SERVFAIL
    what happens    it is not used
    would be        encrypt, with remember = "enforce": any
    addresses       none: no address?[2J
    not asked       MTA-STS, what is remembered: DANE comes first
    standing        it is an outbound of this postern: mail would go round in circles, and is refused
                    it could not be used a moment ago, and is tried last
                    STARTTLS has failed there, and is not tried before 2026-03-01 13:00 CET

  30 mx3.example.com:25
    level         dane, because of its TLSA records
    certificate   as the TLSA records below say; where its issuer is meant (2), for mx3.example.com or example.com
    MX records    not signed: no DS
    addresses     192.0.2.3; not signed
    TLSA records  1 of 2
                  3 0 0 ABAB...: can be used
                  2 0 1 aa: cannot: too short
    MTA-STS       mode enforce, for mx3.example.com or *.example.net
                  id 7, kept since 2026-03-01 10:30 CET (1 hour ago), good until 2026-03-01 13:00 CET, max_age 7 days
                  the last look failed: HTTP 500?
    not asked     what is remembered: DANE comes first
    standing      no TLS with it in the last 30 days
`
	var out bytes.Buffer
	must(printExplanations(&out, all, noon))
	if diff := cmp.Diff(strings.ReplaceAll(want, "ABAB", strings.Repeat("ab", 37)), out.String()); diff != "" {
		t.Errorf("%s\n%s", diff, &out)
	}
}

func TestWhoAskedForALevelIsSaid(t *testing.T) {
	for want, d := range map[string]ExplainedDecision{
		"as config.hcl:9 says":                                                   {Level: "dane", Source: "operator", Place: "config.hcl:9", DANE: &ExplainedDANE{Status: "usable"}},
		"as the configuration says":                                              {Level: "secure", Source: "operator"},
		"because nobody asks for more":                                           {Level: "may", Source: "default"},
		"because of its TLSA records (until 2026-03-01 12:00 CET)":               {Level: "encrypt", Source: "dane", Expires: noon},
		"as config.hcl:9 says of a server without TLSA records that can be used": {Level: "may", Source: "operator", Place: "config.hcl:9", DANE: &ExplainedDANE{Status: "no_records"}},
	} {
		if got := sourceText(d); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAPolicyIsToldWithItsAge(t *testing.T) {
	for name, c := range map[string]struct {
		policy ExplainedPolicy
		want   string
	}{
		"none":      {ExplainedPolicy{Source: "none", Why: "no TXT record"}, "no policy: no TXT record"},
		"pending":   {ExplainedPolicy{Source: "none", Pending: true, Why: "late"}, "a look is under way, mail does not wait for it|no policy: late"},
		"mode none": {ExplainedPolicy{Mode: "none", Source: "fetched", Fetched: noon, Expires: noon}, "mode none|id , fetched just now, good until 2026-03-01 12:00 CET, max_age 0 days"},
		"testing": {ExplainedPolicy{Mode: "testing", MX: []string{"a.example"}, Source: "cache", ID: "1", Fetched: noon.Add(-72 * time.Hour), Expires: noon, MaxAgeSeconds: 90},
			"mode testing (which asks for nothing), for a.example: not this server|id 1, kept since 2026-02-26 12:00 CET (3 days ago), good until 2026-03-01 12:00 CET, max_age 1m30s"},
	} {
		if got := strings.Join(c.policy.text(noon), "|"); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestALevelSaysFromWhomItProtects(t *testing.T) {
	names := func(d *policy.Decision, source policy.Source, names ...string) *policy.Decision {
		d.Host, d.Source, d.Names = "mx.example.com", source, names
		return d
	}
	tlsa := decision(level.DANE)
	tlsa.TLSA = make([]dane.Record, 1)
	held := decision(level.DANE)
	held.TLSA, held.STS = make([]dane.Record, 1), &mtasts.Policy{Mode: mtasts.Enforce}
	sts := names(decision(level.Secure), policy.SourceMTASTS, "mx.example.com")
	sts.STS = held.STS
	const path, all = "on the way to this server; not who forges MX records", "listens, interferes or forges DNS answers"
	for name, c := range map[string]struct {
		decision *policy.Decision
		proven   bool
		want     []string
	}{
		"not used":             {&policy.Decision{Level: level.DANE, Err: errors.New("x")}, true, nil},
		"none":                 {decision(level.None), true, []string{"nobody"}},
		"may":                  {decision(level.May), true, []string{"not who can change what is on the way"}},
		"encrypt":              {decision(level.Encrypt), true, []string{"not who answers"}},
		"fingerprint":          {decision(level.Fingerprint), false, []string{"has not the server's key"}},
		"dane":                 {tlsa, true, []string{all, "rests on DNSSEC"}},
		"dane, unsigned MX":    {tlsa, false, []string{path, "rests on DNSSEC"}},
		"dane, held to policy": {held, false, []string{all, "rests on DNSSEC"}},
		"mta-sts":              {sts, false, []string{all, "authorities and on the first fetch"}},
		"remembered":           {names(decision(level.Secure), policy.SourceRemembered, "mx.example.com"), false, []string{path, "authorities and on the first contacts"}},
		"verify":               {names(decision(level.Verify), policy.SourceOperator, "mx.example.com"), false, []string{path, "rests on certificate authorities"}},
		"verify, signed MX":    {names(decision(level.Verify), policy.SourceOperator, "mx.example.com"), true, []string{all}},
		"secure":               {names(decision(level.Secure), policy.SourceOperator, "example.com", ".example.com"), false, []string{all, "rests on certificate authorities"}},
		"secure for the MX":    {names(decision(level.Secure), policy.SourceOperator, "example.com", "mx.example.com"), false, []string{path}},
	} {
		got := protection(c.decision, c.proven)
		wantWords(t, name, got, c.want...)
		if (got == "") != (c.want == nil) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTheListTellsTheStory(t *testing.T) {
	all := []peers.Summary{
		{Kind: "host", Name: "mx.example.com:25", LastSeen: noon, Secured: 12, Clear: 1, Failed: 2, Version: "TLS 1.3", Trust: "Verified", SkipUntil: noon.Add(time.Hour)},
		{Kind: "domain", Name: "example.com", LastSeen: noon, Remembered: []string{"mx.example.com", "mx2.example.com"}, Outage: noon},
		{Kind: "client", Name: "192.0.2.1", Hello: "a\x1b[2Jb", LastSeen: noon, SkipUntil: noon},
	}
	const want = `NAME                KIND    LAST SEEN             SECURED  CLEAR  FAILED  TLS      TRUST     REMEMBERED                                                            SKIP UNTIL
mx.example.com:25   host    2026-03-01 12:00 CET  12       1      2       TLS 1.3  Verified  -                                                                     2026-03-01 13:00 CET
example.com         domain  2026-03-01 12:00 CET  0        0      0       -        -         mx.example.com, mx2.example.com (failing since 2026-03-01 12:00 CET)  -
192.0.2.1 (a?[2Jb)  client  2026-03-01 12:00 CET  0        0      0       -        -         -                                                                     -
`
	var out bytes.Buffer
	must(printSummaries(&out, all, noon))
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestShowTellsEverything(t *testing.T) {
	once := peers.Tally{Count: 1, First: noon, Last: noon}
	often := peers.Tally{Count: 3, First: noon, Last: noon.Add(24 * time.Hour)}
	habits := peers.Habits{Secured: often, Resumed: once, ForwardSecret: often, Valid: once,
		Versions: peers.Uses{{Name: "TLS 1.2", Tally: once}, {Name: "TLS 1.3", Tally: often}}}
	records := []peers.Record{
		{Kind: "host", Name: "mx.example.com:25", Host: &peers.HostRecord{Seen: often, Habits: habits, Clear: once, Failed: once, Failing: once, Rejected: once, Why: "stalled\x07",
			Skip: peers.Skip{Until: noon.Add(time.Hour), Hold: time.Hour, Times: 2}, AskedForTLS: noon}},
		{Kind: "domain", Name: "example.com", Domain: &peers.DomainRecord{Seen: once, Outage: noon, Released: once,
			Hosts: []peers.DomainHost{{Name: "mx.example.com", Port: 25, Seen: once, Valid: often, Since: noon, Rejected: once, Why: "expired"}}}},
		{Kind: "client", Name: "192.0.2.1", Hello: "mail", Client: &peers.ClientRecord{Seen: once, Failed: once, Held: noon, Expected: noon}},
	}
	all := []PeerRecord{
		{Record: peers.Record{Kind: "policy", Name: "example.com"}, Policy: &PolicyRecord{ID: "7", Mode: "enforce", MX: []string{"mx.example.com", "*.example.net"}, MaxAgeSeconds: 604800, Fetched: noon.Add(-time.Hour)}},
		{Record: peers.Record{Kind: "policy", Name: "bad\a.example"}, Policy: &PolicyRecord{}},
		{Record: peers.Record{Kind: "tlsa", Name: "mx.example.com:25"}, TLSA: &TLSARecord{Seen: noon}},
	}
	for i, r := range records {
		all = slices.Insert(all, i, PeerRecord{Record: r})
	}
	const want = `host mx.example.com:25
  seen                     3, from 2026-03-01 12:00 CET to 2026-03-02 12:00 CET
  with TLS                 3, from 2026-03-01 12:00 CET to 2026-03-02 12:00 CET
  resumed                  1, 2026-03-01 12:00 CET
  forward secret           3, from 2026-03-01 12:00 CET to 2026-03-02 12:00 CET
  certificate valid        1, 2026-03-01 12:00 CET
  versions                 TLS 1.2: 1, 2026-03-01 12:00 CET
                           TLS 1.3: 3, from 2026-03-01 12:00 CET to 2026-03-02 12:00 CET
  without TLS              1, 2026-03-01 12:00 CET
  TLS failed               1, 2026-03-01 12:00 CET
  failed since TLS worked  1, 2026-03-01 12:00 CET
  refused by us            1, 2026-03-01 12:00 CET
  why                      stalled?
  STARTTLS skipped         until 2026-03-01 13:00 CET (2 times in a row, the last for 1h0m0s), which is over: STARTTLS is tried again
  asked for TLS            2026-03-01 12:00 CET

domain example.com
  seen              1, 2026-03-01 12:00 CET
  failing           since 2026-03-01 12:00 CET
  memory released   1, 2026-03-01 12:00 CET
  server            mx.example.com:25, seen 1, 2026-03-01 12:00 CET
    valid in a row  3, from 2026-03-01 12:00 CET to 2026-03-02 12:00 CET
    remembered      since 2026-03-01 12:00 CET: its certificate must validate
    refused by us   1, 2026-03-01 12:00 CET
    why             expired

client 192.0.2.1 (mail)
  handshakes                1, 2026-03-01 12:00 CET
  failed                    1, 2026-03-01 12:00 CET
  STARTTLS withheld         since 2026-03-01 12:00 CET
  forward secrecy expected  since 2026-03-01 12:00 CET

policy example.com
  MTA-STS  mode enforce
  for      mx.example.com or *.example.net
  id       7
  fetched  2026-03-01 11:00 CET (2 hours ago), good for 7 days

policy bad?.example
  MTA-STS  mode -
  id       -
  fetched  -

tlsa mx.example.com:25
  had TLSA records  2026-03-01 12:00 CET, and is expected to for 30 days, also while DNSSEC is not available
`
	var out bytes.Buffer
	must(printRecords(&out, all, noon.Add(time.Hour)))
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
