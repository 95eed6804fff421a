package policy_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/tls/grade"
	"postern/tls/level"
	"postern/tls/policy"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// remembers is a memory of domains and hosts, "example.com/mx.example.com".
type remembers map[string]policy.Remembered

func (m remembers) Remembered(domain, host string, port uint16) policy.Remembered {
	if port != 25 {
		return policy.Remembered{}
	}
	r := m[domain+"/"+host]
	if !r.Host {
		r.Domain = m[domain+"/"].Domain
	}
	return r
}

func known(sessions int) policy.Remembered {
	return policy.Remembered{Host: true, Sessions: sessions,
		Since: today.Add(-40 * 24 * time.Hour), LastSuccess: today.Add(-24 * time.Hour), Expires: today.Add(29 * 24 * time.Hour)}
}

func engine(o policy.Options) *policy.Engine {
	o.Now = func() time.Time { return today }
	return policy.New(o)
}

func rule(pattern string, l level.Level) policy.Rule {
	return policy.Rule{Pattern: pattern, Level: l, Place: "config.hcl:" + pattern}
}

func TestTheMostExactBlockDecides(t *testing.T) {
	second := rule("EXAMPLE.com", level.None) // for the same domain as another
	e := engine(policy.Options{
		Default: rule("", level.May),
		Rules: []policy.Rule{
			rule(".example.com", level.Encrypt), rule("example.com", level.Secure), rule(".b.example.com", level.Verify),
			rule("x.example.com", level.None), rule("Example.NET.", level.Verify), rule("192.0.2.0/24", level.Encrypt),
			rule("192.0.2.1", level.Fingerprint), rule("0.0.0.0/0", level.None), rule("2001:db8::/32", level.Secure),
			second,
		},
	})
	for domain, want := range map[string]string{
		"example.com": "example.com", "EXAMPLE.com.": "example.com", "a.example.com": ".example.com",
		"a.c.example.com": ".example.com", "b.example.com": ".example.com", "a.b.example.com": ".b.example.com",
		"x.example.com": "x.example.com", "y.x.example.com": ".example.com", "evilexample.com": "", "com": "", "": "",
		"example.net": "Example.NET.", "mx.example.net": "",
		"192.0.2.1": "192.0.2.1", "[192.0.2.1]": "192.0.2.1", "[192.0.2.2]": "192.0.2.0/24", "192.0.3.1": "0.0.0.0/0",
		"[IPv6:2001:db8::1]": "2001:db8::/32", "[IPv6:2001:db9::1]": "",
	} {
		if got := e.Decide(context.Background(), domain, "mx.example.org", 25).Place; got != "config.hcl:"+want {
			t.Errorf("%s: got %s, want %q", domain, got, want)
		}
	}
}

func TestAnAddressFindsTheLongestNetwork(t *testing.T) {
	e := engine(policy.Options{Rules: []policy.Rule{
		rule("10.0.0.0/8", level.Encrypt), rule("10.1.2.3/16", level.Verify), rule("10.1.0.5", level.Secure),
		rule("::ffff:172.16.0.0/112", level.May), rule("2001:db8::/32", level.None), rule("10.com", level.None),
	}})
	for addr, want := range map[string]string{
		"10.9.9.9": "10.0.0.0/8", "10.1.9.9": "10.1.2.3/16", "10.1.0.5": "10.1.0.5", "::ffff:10.1.0.5": "10.1.0.5",
		"172.16.1.1": "::ffff:172.16.0.0/112", "2001:db8::9": "2001:db8::/32", "fe80::1%lo": "", "192.0.2.1": "",
	} {
		got := ""
		if r := e.ForAddress(netip.MustParseAddr(addr)); r != nil {
			got = r.Pattern
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
	if r := e.ForAddress(netip.Addr{}); r != nil {
		t.Errorf("no address: got %q", r.Pattern)
	}
	d := e.DecideByRule(context.Background(), e.ForAddress(netip.MustParseAddr("10.1.0.5")), policy.MXInput{Domain: "example.com", Host: "relay.example.org", Port: 25})
	if d.Level != level.Secure || !cmp.Equal(d.Names, []string{"example.com", ".example.com"}) {
		t.Errorf("got %v for %v", d.Level, d.Names)
	}
}

func TestMatchStrategiesBecomeNames(t *testing.T) {
	tests := []struct {
		level        level.Level
		match        string
		domain, host string
		want         string
	}{
		{level.Verify, "", "example.com", "MX.example.net.", "mx.example.net"},
		{level.Secure, "", "Example.com", "mx.example.net", "example.com .example.com"},
		{level.Verify, "hostname nexthop dot-nexthop", "example.com", "mx.example.net", "mx.example.net example.com .example.com"},
		{level.Verify, "Hostname NEXTHOP", "example.com", "example.com", "example.com"},
		{level.Secure, "MX.example.org .Example.net.", "example.com", "mx.example.net", "mx.example.org .example.net"},
		{level.Secure, "", "[192.0.2.1]", "192.0.2.1", "192.0.2.1"},
		{level.Secure, "dot-nexthop", "192.0.2.1", "192.0.2.1", ""},
		{level.Secure, "hostname", "example.com", "", ""},
		{level.Encrypt, "mx.example.org", "example.com", "mx.example.net", ""},
		{level.Fingerprint, "mx.example.org", "example.com", "mx.example.net", ""},
		{level.May, "hostname", "example.com", "mx.example.net", ""},
	}
	for _, tt := range tests {
		r := rule("", tt.level)
		r.Match = strings.Fields(tt.match)
		d := engine(policy.Options{Default: r}).Decide(context.Background(), tt.domain, tt.host, 25)
		if got := strings.Join(d.Names, " "); got != tt.want || d.Level != tt.level || d.Source != policy.SourceOperator {
			t.Errorf("%v of %q for %s, %s: got %q", tt.level, tt.match, tt.domain, tt.host, got)
		}
	}
}

func TestSNIIsTheMXNameAndNeverAnAddress(t *testing.T) {
	e := engine(policy.Options{Default: policy.Rule{Auto: true}})
	for host, want := range map[string]string{
		"MX.example.com.": "mx.example.com", "_25.mx.example.com": "_25.mx.example.com",
		"192.0.2.1": "", "[192.0.2.1]": "", "2001:db8::1": "", "[IPv6:2001:db8::1]": "", "163.com": "163.com",
	} {
		if got := e.Decide(context.Background(), "example.com", host, 25).SNI; got != want {
			t.Errorf("%s: got %q", host, got)
		}
	}
}

// TestWhoDecides is SEM 26 and 32: one line per state of the operator's mind and of the memory.
func TestWhoDecides(t *testing.T) {
	expired := known(3)
	expired.Expires = today.Add(-time.Second)
	memory := remembers{
		"example.com/mx.example.com": known(5), "example.com/": {Domain: true},
		"old.example/mx.old.example": expired,
	}
	auto, encrypt, may := policy.Rule{Auto: true}, rule("", level.Encrypt), rule("", level.May)
	const proven, fresh, stranger, forgotten = "example.com mx.example.com", "example.com mx2.example.com", "example.org mx.example.org", "old.example mx.old.example"
	tests := []struct {
		own      policy.Rule
		remember policy.Remember
		to       string
		want     string // level, source, names, grace in days; what was observed
	}{
		{auto, policy.Enforce, proven, "secure remembered mx.example.com 14"},
		{auto, policy.Enforce, fresh, "encrypt remembered  0"},
		{auto, policy.Enforce, stranger, "may default  0"},
		{auto, policy.Enforce, forgotten, "may default  0"},
		{auto, policy.Observe, proven, "may default  0; secure remembered mx.example.com 14"},
		{auto, policy.Observe, fresh, "may default  0; encrypt remembered  0"},
		{auto, policy.Observe, stranger, "may default  0"},
		{auto, policy.Off, proven, "may default  0"},
		{encrypt, policy.Enforce, proven, "encrypt operator  0"},
		{may, policy.Enforce, proven, "may operator  0"},
		{may, policy.Observe, proven, "may operator  0"},
	}
	for _, tt := range tests {
		e := engine(policy.Options{Default: tt.own, Remember: tt.remember, Memory: memory, Grace: policy.DefaultGrace})
		domain, host, _ := strings.Cut(tt.to, " ")
		d := e.Decide(context.Background(), domain, host, 25)
		got := inWords(d)
		if d.Observed != nil {
			got += "; " + inWords(d.Observed)
		}
		if got != tt.want {
			t.Errorf("%v, %v, %s: got %q, want %q", tt.own.Level, tt.remember, tt.to, got, tt.want)
		}
		if d.Err != nil || len(d.Reasons) == 0 || d.Host != host || d.Port != 25 {
			t.Errorf("%v, %v, %s: got %+v", tt.own.Level, tt.remember, tt.to, d)
		}
	}
}

func inWords(d *policy.Decision) string {
	return fmt.Sprintf("%v %s %s %d", d.Level, d.Source, strings.Join(d.Names, ","), d.Grace/(24*time.Hour))
}

func TestARememberedDecisionEndsWithTheMemory(t *testing.T) {
	e := engine(policy.Options{Default: policy.Rule{Auto: true}, Memory: remembers{"example.com/mx.example.com": known(3)}})
	if got := e.Decide(context.Background(), "example.com", "mx.example.com", 25).Expires; !got.Equal(known(3).Expires) {
		t.Errorf("got %v", got)
	}
	if d := e.Decide(context.Background(), "example.com", "mx.example.com", 587); d.Level != level.May || !d.Expires.IsZero() {
		t.Errorf("another port: got %v until %v", d.Level, d.Expires)
	}
}

func TestABlockWithLevelAutoKeepsItsOtherSettings(t *testing.T) {
	roots := &policy.Roots{Name: "partner.pem"}
	e := engine(policy.Options{
		Default: policy.Rule{Auto: true},
		Rules:   []policy.Rule{{Pattern: "example.com", Auto: true, Grade: grade.Legacy, Roots: roots, Place: "config.hcl:7"}},
		Memory:  remembers{"example.com/mx.example.com": known(3)},
	})
	for _, host := range []string{"mx.example.com", "mx2.example.com"} {
		d := e.Decide(context.Background(), "example.com", host, 25)
		if d.Grade != grade.Legacy || d.Roots != roots || d.Place != "config.hcl:7" || d.Source == policy.SourceOperator {
			t.Errorf("%s: got %+v", host, d)
		}
	}
}

func TestEveryReasonIsTold(t *testing.T) {
	memory := remembers{"example.com/mx.example.com": known(5), "example.com/": {Domain: true}}
	block := policy.Rule{Pattern: ".example.org", Auto: true, Place: "config.hcl:12"}
	tests := []struct {
		remember policy.Remember
		to       string
		want     []policy.Reason
	}{
		{policy.Enforce, "example.com mx.example.com", []policy.Reason{
			{Source: "operator", Text: "no destination block matches: level auto (config.hcl:3)"},
			{Source: "remembered", Text: "level secure: mx.example.com has validated in 5 sessions since 2026-10-14, last 2026-11-22, until 2026-12-22"},
		}},
		{policy.Enforce, "example.com mx9.example.com", []policy.Reason{
			{Source: "operator", Text: "no destination block matches: level auto (config.hcl:3)"},
			{Source: "remembered", Text: "level encrypt: mx9.example.com is new, other MX hosts of example.com have validated"},
		}},
		{policy.Enforce, "a.example.org mx.example.org", []policy.Reason{
			{Source: "operator", Text: `destination ".example.org": level auto (config.hcl:12)`},
			{Source: "remembered", Text: "nothing known of mx.example.org"},
			{Source: "default", Text: "level may: TLS if it works, no certificate is refused"},
		}},
		{policy.Observe, "example.com mx.example.com", []policy.Reason{
			{Source: "operator", Text: "no destination block matches: level auto (config.hcl:3)"},
			{Source: "remembered", Text: "observed, not enforced: level secure: mx.example.com has validated in 5 sessions since 2026-10-14, last 2026-11-22, until 2026-12-22"},
			{Source: "default", Text: "level may: TLS if it works, no certificate is refused"},
		}},
		{policy.Off, "example.com mx.example.com", []policy.Reason{
			{Source: "operator", Text: "no destination block matches: level auto (config.hcl:3)"},
			{Source: "remembered", Text: "not asked: remember is off"},
			{Source: "default", Text: "level may: TLS if it works, no certificate is refused"},
		}},
	}
	for _, tt := range tests {
		e := engine(policy.Options{Default: policy.Rule{Auto: true, Place: "config.hcl:3"}, Rules: []policy.Rule{block}, Remember: tt.remember, Memory: memory})
		domain, host, _ := strings.Cut(tt.to, " ")
		if diff := cmp.Diff(tt.want, e.Decide(context.Background(), domain, host, 25).Reasons); diff != "" {
			t.Errorf("%s: %s", tt.to, diff)
		}
	}
}

func TestOnlyALevelThatLooksAtTheHostNeedsIt(t *testing.T) {
	memory := remembers{}
	tests := []struct {
		own      policy.Rule
		memory   policy.Memory
		remember policy.Remember
		want     bool
	}{
		{rule("", level.None), memory, policy.Enforce, false},
		{rule("", level.May), memory, policy.Enforce, false},
		{rule("", level.Encrypt), memory, policy.Enforce, true},
		{rule("", level.Secure), nil, policy.Enforce, true},
		{policy.Rule{Auto: true}, nil, policy.Enforce, false},
		{policy.Rule{Auto: true}, memory, policy.Off, false},
		{policy.Rule{Auto: true}, memory, policy.Enforce, true},
		{policy.Rule{Auto: true}, memory, policy.Observe, true},
	}
	for _, tt := range tests {
		for _, o := range []policy.Options{{DANE: found("none")}, {STS: policies("")}} {
			o.Default, o.Remember = tt.own, policy.Off
			if want := tt.own.Auto || tt.want; engine(o).NeedsHost("example.com") != want {
				t.Errorf("%+v, with DANE or MTA-STS: want %v", tt, want)
			}
		}
		e := engine(policy.Options{Default: tt.own, Memory: tt.memory, Remember: tt.remember,
			Rules: []policy.Rule{rule("example.org", level.Verify), rule("example.net", level.None)}})
		if got := e.NeedsHost("example.com"); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
		if !e.NeedsHost("Example.org.") || e.NeedsHost("example.net") {
			t.Errorf("%+v: a block is not looked at", tt)
		}
	}
}
