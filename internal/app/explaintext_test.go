package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/peers"
	"postern/proxy"
	"postern/tls/level"
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
	all := []Explanation{{Outbound: "egress", Route: "mx", Domain: "example.com", Hosts: []ExplainedHost{
		{
			Name: "mx1.example.com", Port: 25, Preference: 10, Addresses: []string{"192.0.2.1", "2001:db8::1"}, KnownTLS: true, OnFailure: "the next server is tried",
			Decision: ExplainedDecision{
				Level: "secure", Source: "remembered", Names: []string{"mx1.example.com"}, TrustedRoots: "system", GraceSeconds: 14 * 24 * 3600, Expires: noon,
				Reasons: []ExplainedReason{{"operator", "level auto"}, {"remembered", "it has validated"}},
			},
		},
		{
			Name: "mx2.example.com", Port: 465, Preference: 20, ImplicitTLS: true, AddressError: "no address\x1b[2J", SkipUntil: noon.Add(time.Hour), JustFailed: true, Own: true,
			Decision: ExplainedDecision{
				Level: "may", Source: "default", Error: "SERVFAIL", Observed: &ExplainedDecision{Level: "encrypt"},
			},
		},
	}}}
	const want = `example.com by outbound "egress", to its mail exchangers

  10 mx1.example.com:25
    addresses     192.0.2.1, 2001:db8::1
    level         secure, because of what is remembered (until 2026-03-01 12:00 CET)
    certificate   for mx1.example.com, by an authority that the system trusts; may have expired up to 14 days ago
    looked at     operator: level auto
                  remembered: it has validated
    standing      TLS has worked in the last 30 days
    if TLS fails  the next server is tried

  20 mx2.example.com:465, TLS from the first octet
    addresses       none: no address?[2J
    level           may, because nobody asks for more
    cannot be used  SERVFAIL
    would be        encrypt, with remember = "enforce": any
    standing        it is an outbound of this postern: mail would go round in circles, and is refused
                    it could not be used a moment ago, and is tried last
                    STARTTLS has failed there, and is not tried before 2026-03-01 13:00 CET
`
	var out bytes.Buffer
	must(printExplanations(&out, all, noon))
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !all[0].good() || (Explanation{Hosts: all[0].Hosts[1:]}).good() || (Explanation{}).good() {
		t.Error("good is not what can be delivered")
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
`
	var out bytes.Buffer
	must(printRecords(&out, records, noon.Add(time.Hour)))
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
