package mtasts_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/tls/mtasts"
)

// TestTheRecordOfADomain is STANDARDS 122.
func TestTheRecordOfADomain(t *testing.T) {
	longest := strings.Repeat("aB3", 11)[:32]
	tests := []struct {
		name  string
		texts []string
		id    string
		why   string
	}{
		{"the RFC's own", []string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z", ""},
		{"without the last semicolon", []string{"v=STSv1;id=1"}, "1", ""},
		{"white space around fields", []string{"v=STSv1; \t id=1 \t; "}, "1", ""},
		{"32 letters and digits", []string{"v=STSv1; id=" + longest}, longest, ""},
		{"records of others are discarded", []string{"v=spf1 -all", "v=STSv1; id=1;", "v=TLSRPTv1; rua=mailto:a@b", "", "v=STSv1"}, "1", ""},
		{"unknown fields are ignored", []string{"v=STSv1; a.b-c_d=!x:y; id=1; z=2;"}, "1", ""},
		{"of two ids the first counts", []string{"v=STSv1; id=1; id=2;"}, "1", ""},
		{"a second id may be anything", []string{"v=STSv1; id=1; id=-;"}, "1", ""},

		{"none", nil, "", "no TXT record"},
		{"only others", []string{"v=spf1 -all"}, "", "no TXT record"},
		{"another version", []string{"v=STSv2; id=1;"}, "", "no TXT record"},
		{"a longer version", []string{"v=STSv10; id=1;"}, "", "no TXT record"},
		{"the version in other letters", []string{"V=STSv1; id=1;"}, "", "no TXT record"},
		{"the version not first", []string{"id=1; v=STSv1;"}, "", "no TXT record"},
		{"white space in front", []string{" v=STSv1; id=1;"}, "", "no TXT record"},
		{"white space before the first semicolon", []string{"v=STSv1 ; id=1;"}, "", "no TXT record"},
		{"two", []string{"v=STSv1; id=1;", "v=STSv1; id=1;"}, "", "2 TXT records"},
		{"two, one of them broken", []string{"v=STSv1; id=1;", "v=STSv1; id"}, "", "2 TXT records"},
		{"no id", []string{"v=STSv1;"}, "", "no id"},
		{"the id in other letters", []string{"v=STSv1; ID=1;"}, "", "no id"},
		{"an empty id", []string{"v=STSv1; id=;"}, "", "not name=value"},
		{"33 letters and digits", []string{"v=STSv1; id=" + longest + "x;"}, "", "1 to 32 letters and digits"},
		{"a date with hyphens", []string{"v=STSv1; id=2026-11-23;"}, "", "1 to 32 letters and digits"},
		{"an id of other letters", []string{"v=STSv1; id=é;"}, "", "not name=value"},
		{"a field without a value", []string{"v=STSv1; id=1; a"}, "", "not name=value"},
		{"a field without a name", []string{"v=STSv1; =a; id=1"}, "", "not name=value"},
		{"an empty field", []string{"v=STSv1;; id=1"}, "", "not name=value"},
		{"two semicolons at the end", []string{"v=STSv1; id=1;;"}, "", "not name=value"},
		{"a value with white space", []string{"v=STSv1; id=1; a=b c"}, "", "not name=value"},
		{"a value with an equals sign", []string{"v=STSv1; id=1; a=b=c"}, "", "not name=value"},
		{"a name of 33", []string{"v=STSv1; id=1; " + longest + "x=1"}, "", "not name=value"},
		{"a name that begins with a dot", []string{"v=STSv1; id=1; .a=1"}, "", "not name=value"},
		{"hostile", []string{"v=STSv1; \r\nid=1;\x00" + strings.Repeat("x", 70000)}, "", "not name=value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, ok, why := mtasts.ParseRecord(tt.texts)
			if id != tt.id || ok != (tt.id != "") || ok != (why == "") || !strings.Contains(why, tt.why) {
				t.Errorf("got %q, %v, %q", id, ok, why)
			}
			if len(why) > 500 || strings.ContainsAny(why, "\r\n\x00") {
				t.Errorf("got %q", why)
			}
		})
	}
}

const (
	head = "version: STSv1\n"
	tail = "max_age: 604800\n"
	full = head + "mode: enforce\nmx: mx.example.com\n" + tail
)

// TestThePolicyFile is STANDARDS 127.
func TestThePolicyFile(t *testing.T) {
	tests := []struct {
		name, body string
		want       string // Policy.String
		err        string
	}{
		{"lines that end in LF", full, "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"lines that end in CRLF", strings.ReplaceAll(full, "\n", "\r\n"), "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"lines that end in either", strings.Replace(full, "\n", "\r\n", 1), "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"the last line without an end", strings.TrimSuffix(full, "\n"), "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"empty lines", "\n" + strings.ReplaceAll(full, "\n", "\n \t\r\n\n"), "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"any order", "max_age:1\nmx:a\nmode:testing\nversion:STSv1", "mode testing, mx a, max_age 1", ""},
		{"white space", "version:STSv1  \nmode: \t enforce\t\nmx :\tmx.example.com\n  max_age: 604800", "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"mode testing", head + "mode: testing\nmx: a\nmx: *.b.example\n" + tail, "mode testing, mx a *.b.example, max_age 604800", ""},
		{"mode none without mx", head + "mode: none\n" + tail, "mode none, max_age 604800", ""},
		{"mode none with mx", head + "mode: none\nmx: a\n" + tail, "mode none, mx a, max_age 604800", ""},
		{"unknown keys", full + "x-y.z_1: what ever: ü\nMode: testing\nmx_: -\nempty:\n", "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"the first of two modes", head + "mode: testing\nmode: enforce\nmode: ?\nmx: a\n" + tail, "mode testing, mx a, max_age 604800", ""},
		{"the first of two max_ages", full + "max_age: 1\nmax_age: never\n", "mode enforce, mx mx.example.com, max_age 604800", ""},
		{"the first of two versions", full + "version: STSv2\n", "mode enforce, mx mx.example.com, max_age 604800", ""},

		{"empty", "", "", "no version"},
		{"no version", "mode: none\n" + tail, "", "no version"},
		{"another version", "version: STSv2\nmode: none\n" + tail, "", `line 1 of the policy: version "STSv2" is not STSv1`},
		{"the version in other letters", "version: stsv1\nmode: none\n" + tail, "", "is not STSv1"},
		{"the key in other letters", "Version: STSv1\nmode: none\n" + tail, "", "no version"},
		{"no mode", head + "mx: a\n" + tail, "", "no mode"},
		{"another mode", head + "mode: report\nmx: a\n" + tail, "", `mode "report" is none of`},
		{"the mode in other letters", head + "mode: Enforce\nmx: a\n" + tail, "", "is none of"},
		{"a first mode that is broken", head + "mode: \nmode: enforce\nmx: a\n" + tail, "", "is none of"},
		{"no max_age", head + "mode: none\n", "", "no max_age"},
		{"enforce without mx", head + "mode: enforce\n" + tail, "", "no mx"},
		{"testing without mx", head + "mode: testing\n" + tail, "", "no mx"},
		{"a line without a colon", full + "hello\n", "", `line 5 of the policy: "hello" is not key: value`},
		{"a line without a key", full + ": hello\n", "", "is not key: value"},
		{"a web page", "<!doctype html>\n<html>", "", "is not key: value"},
		{"lines that end in CR", strings.ReplaceAll(full, "\n", "\r"), "", "control characters"},
		{"a NUL", full + "a: \x00\n", "", "control characters"},
		{"no UTF-8", full + "a: \xff\n", "", "not UTF-8"},
		{"a byte order mark", "\ufeff" + full, "", "no version"},
		{"64 KiB and an octet", full + "a: " + strings.Repeat("b", mtasts.MaxPolicySize-len(full)-2), "", "more than 65536 octets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := mtasts.ParsePolicy([]byte(tt.body))
			if err != nil {
				if p != nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if p.String() != tt.want || tt.err != "" {
				t.Errorf("got %q, want %q", p, tt.want)
			}
		})
	}
	if p, err := mtasts.ParsePolicy([]byte(full + "a: " + strings.Repeat("b", mtasts.MaxPolicySize-len(full)-3))); err != nil || len(p.Lines) != 4 {
		t.Errorf("64 KiB: got %v", err)
	}
}

// What is kept of a policy, and told in reports, is what it says and nothing else.
func TestTheLinesOfAPolicyAreCanonical(t *testing.T) {
	p, err := mtasts.ParsePolicy([]byte("version: STSv1\r\nmode: testing\r\nmode: none\r\n\r\nmx:  A.example.\r\nx: y\r\nmx: *.b.example\nmx: a.example\nmax_age: 9999999999"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Lines, "|"); got != "version: STSv1|mode: testing|mx: a.example|mx: *.b.example|max_age: 31557600" {
		t.Errorf("got %q", got)
	}
}

func TestAPolicyWithTooManyHostsIsNone(t *testing.T) {
	hosts := func(mode string, n int) string {
		text := head + "mode: " + mode + "\n"
		for i := range n {
			text += fmt.Sprintf("mx: mx%04d.mail.example.com\n", i) + strings.Repeat("mx: same.example.com\n", 5)
		}
		return text + tail
	}
	for _, tt := range []struct {
		mode   string
		hosts  int
		kept   int
		reason string
	}{
		{"enforce", 140, 141, ""}, {"testing", 140, 141, ""},
		{"enforce", 150, 0, "names too many MX hosts"}, {"testing", 150, 0, "names too many MX hosts"},
		{"none", 150, 0, ""}, // what it takes back, it takes back
	} {
		p, err := mtasts.ParsePolicy([]byte(hosts(tt.mode, tt.hosts)))
		if tt.reason != "" {
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%s with %d hosts: %v, %v", tt.mode, tt.hosts, p, err)
			}
		} else if err != nil || len(p.MX) != tt.kept {
			t.Errorf("%s with %d hosts: %v, %v", tt.mode, tt.hosts, p, err)
		}
	}
}

// TestTheAgeOfAPolicy is STANDARDS 128.
func TestTheAgeOfAPolicy(t *testing.T) {
	const no = -1
	for value, seconds := range map[string]int64{
		"0": 0, "1": 1, "0000000001": 1, "86400": 86400, "31557599": 31557599, "31557600": 31557600,
		"31557601": 31557600, "2147483648": 31557600, "9999999999": 31557600,
		"": no, "-1": no, "+1": no, "1.5": no, "1s": no, "1 2": no, "0x10": no, "10000000000": no, "00000000001": no, "99999999999999999999": no, "١": no,
	} {
		p, err := mtasts.ParsePolicy([]byte(head + "mode: none\nmax_age: " + value))
		if (err == nil) != (seconds != no) || err == nil && p.MaxAge != time.Duration(seconds)*time.Second {
			t.Errorf("max_age %q: got %v, %v", value, p, err)
		}
	}
}

// TestThePatternsOfAPolicy is STANDARDS 129, for what may stand in a policy.
func TestThePatternsOfAPolicy(t *testing.T) {
	label := strings.Repeat("a", 63)
	for value, ok := range map[string]bool{
		"mx.example.com": true, "MX.Example.COM": true, "mx.example.com.": true, "*.example.com": true, "*.example.com.": true, "*.com": true,
		"localhost": true, "xn--mller-kva.example": true, "mx_1.example.com": true, "1.example.com": true, label + ".example": true,
		"": false, ".": false, "*": false, "*.": false, "*..": false, "*.*.example.com": false, "a.*.example.com": false, "mx*.example.com": false, "*mx.example.com": false,
		"müller.example": false, "*.müller.example": false, ".example.com": false, "a..b": false, "mx.example.com..": false,
		"a b": false, "mx.example.com:25": false, "[192.0.2.1]": false, "mx.example.com,mx2.example.com": false, label + "a.example": false,
		strings.Repeat("a.", 127) + "a": false,
	} {
		_, err := mtasts.ParsePolicy([]byte(head + "mode: enforce\nmx: " + value + "\n" + tail))
		if (err == nil) != ok {
			t.Errorf("mx %q: got %v", value, err)
		}
	}
}

// TestWhichHostsMatch is STANDARDS 129, and with it the candidates of STANDARDS 133.
func TestWhichHostsMatch(t *testing.T) {
	tests := []struct{ pattern, yes, no string }{
		{"mx.example.com", "mx.example.com MX.EXAMPLE.com mx.example.com.", "example.com a.mx.example.com mx.example.com.evil.example xmx.example.com mx.example.co mx2.example.com"},
		{"MX.Example.Com.", "mx.example.com mx.example.com.", "mx.example.com.."},
		{"*.example.com", "a.example.com A.EXAMPLE.COM. _a.example.com xn--a.example.com", "example.com a.b.example.com .example.com *.example.com aexample.com a.example.com.evil.example com"},
		{"*.com", "example.com", "com mx.example.com"},
		{"com", "com", "example.com"},
	}
	for _, tt := range tests {
		p, err := mtasts.ParsePolicy([]byte(head + "mode: enforce\nmx: other.example\nmx: " + tt.pattern + "\nmx: another.example\n" + tail))
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range strings.Fields(tt.yes) {
			if !p.Match(host) {
				t.Errorf("%s does not match %s", tt.pattern, host)
			}
		}
		for _, host := range append(strings.Fields(tt.no), "", ".", "a b", "mx.example.com\x00", "192.0.2.1", "[192.0.2.1]", "*") {
			if p.Match(host) {
				t.Errorf("%s matches %q", tt.pattern, host)
			}
		}
	}
	if (&mtasts.Policy{}).Match("a") {
		t.Error("no pattern matches")
	}
}

func TestALongPolicyIsShortForPeople(t *testing.T) {
	p := &mtasts.Policy{Mode: mtasts.Enforce, MX: strings.Fields(strings.Repeat("mx.example ", 12)), MaxAge: time.Minute}
	if got := p.String(); !strings.HasSuffix(got, "mx.example and 2 more, max_age 60") {
		t.Errorf("got %q", got)
	}
	if got := mtasts.Mode(9).String(); got != "mode 9" {
		t.Errorf("got %q", got)
	}
}
