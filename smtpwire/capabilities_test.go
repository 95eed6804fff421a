package smtpwire

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func offer(lines ...string) *Capabilities {
	return ParseCapabilities(Reply{Code: 250, Lines: []byte(strings.Join(lines, "\r\n") + "\r\n")})
}

func TestParseCapabilities(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"250 mx.example", ""},
		{"250-mx.example|250-PIPELINING|250 8BITMIME", "PIPELINING:,8BITMIME:"},
		{"250-mx.example|250-size 100|250 Auth PLAIN  LOGIN ", "SIZE:100,AUTH:PLAIN  LOGIN"},
		{"250-STARTTLS.example STARTTLS|250 HELP", "HELP:"}, // the first line is the server's name
		{"250-mx|250-dsn.example|250 HELP", "HELP:"},
		{"250-mx|250-AUTH=LOGIN PLAIN|250 AUTH PLAIN", "AUTH:PLAIN"},
		{"250-mx|250-|250|250 HELP", "HELP:"},
		{"250-mx|250- HELP|250 X-2 a", "HELP:,X-2:a"},
		{"250-mx|250--X|250-A_B|250-GRÜN|250-A\tB|250 OK", "OK:"},
		{"250-mx|250-SIZE 1|250 SIZE 2", "SIZE:1,SIZE:2"},
		{"", ""},
	} {
		var got []string
		for _, e := range offer(strings.Split(c.lines, "|")...).List() {
			got = append(got, e.Keyword+":"+e.Params)
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%s: %q", c.lines, got)
		}
	}
	if len(ParseCapabilities(Reply{}).List()) != 0 {
		t.Error("the zero Reply offers something")
	}
}

func TestCapabilitiesAreFoundByTheirWholeKeyword(t *testing.T) {
	c := offer("250-mx", "250-SIZE 100", "250-SIZE 200", "250-X-STARTTLS", "250 DSN")
	for keyword, want := range map[string]bool{"SIZE": true, "DSN": true, "STARTTLS": false, "DS": false, "size": false, "": false} {
		if c.Has(keyword) != want {
			t.Errorf("Has(%q) is %v", keyword, !want)
		}
	}
	if p, ok := c.Get("SIZE"); p != "100" || !ok {
		t.Errorf("SIZE: %q, %v", p, ok)
	}
	var none *Capabilities
	if none.Has("SIZE") || none.List() != nil || none.Size() != 0 {
		t.Error("a nil Capabilities offers something")
	}
	if made := MakeCapabilities(Capability{"SIZE", "5"}); made.Size() != 5 {
		t.Error("MakeCapabilities")
	}
}

func TestSize(t *testing.T) {
	for line, want := range map[string]int64{
		"SIZE 1000": 1000, "SIZE": 0, "SIZE 0": 0, "SIZE x": 0, "SIZE -1": 0, "SIZE 1 2": 0, "SIZE 99999999999999999999": math.MaxInt64, "HELP": 0,
	} {
		if got := offer("250-mx", "250 "+line).Size(); got != want {
			t.Errorf("%s: %d", line, got)
		}
	}
}

func TestOnlySoManyCapabilitiesCount(t *testing.T) {
	lines := []string{"250-mx"}
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("250-X%d", i))
	}
	if n := len(offer(lines...).List()); n != maxCapabilities {
		t.Error(n)
	}
}
