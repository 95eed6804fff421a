package mtasts_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/tls/mtasts"
)

func TestWhatIsMadeCanBeRead(t *testing.T) {
	for _, mode := range []mtasts.Mode{mtasts.None, mtasts.Testing, mtasts.Enforce} {
		for _, age := range []time.Duration{0, time.Second, mtasts.MaxMaxAge} {
			text, err := mtasts.PolicyFile(mode, []string{"MX1.example.com.", "*.example.net"}, age)
			if err != nil {
				t.Fatal(err)
			}
			p, err := mtasts.ParsePolicy([]byte(text))
			if err != nil || p.Mode != mode || p.MaxAge != age || !slices.Equal(p.MX, []string{"mx1.example.com", "*.example.net"}) {
				t.Errorf("%q: got %v, %v", text, p, err)
			}
			record, err := mtasts.Record(mtasts.ID(text))
			if err != nil {
				t.Fatal(err)
			}
			if id, ok, why := mtasts.ParseRecord([]string{record}); !ok || id != mtasts.ID(text) || len(id) != 32 {
				t.Errorf("%q: got %q, %s", record, id, why)
			}
		}
	}
}

func TestTheFileIsAsTheRFCHasIt(t *testing.T) {
	text, err := mtasts.PolicyFile(mtasts.Enforce, []string{"mail.example.com", "*.example.net"}, week)
	if want := "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"; text != want || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	if mtasts.RecordName(domain) != "_mta-sts.example.com" || mtasts.URL(domain) != "https://mta-sts.example.com/.well-known/mta-sts.txt" {
		t.Error(mtasts.RecordName(domain), mtasts.URL(domain))
	}
}

func TestTheIDChangesWithThePolicy(t *testing.T) {
	seen := map[string]bool{}
	for _, mode := range []mtasts.Mode{mtasts.Testing, mtasts.Enforce} {
		for _, mx := range []string{"a.example", "b.example"} {
			for _, age := range []time.Duration{day, week} {
				text, _ := mtasts.PolicyFile(mode, []string{mx}, age)
				if mtasts.ID(text) != mtasts.ID(strings.Clone(text)) {
					t.Error("the id of one policy changes")
				}
				seen[mtasts.ID(text)] = true
			}
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d ids for 8 policies", len(seen))
	}
}

func TestWhatNoSenderWouldUnderstandIsNotMade(t *testing.T) {
	tests := []struct {
		mode mtasts.Mode
		mx   string
		age  time.Duration
		err  string
	}{
		{mtasts.Enforce, "mx.example.com", -time.Second, "whole seconds"},
		{mtasts.Enforce, "mx.example.com", mtasts.MaxMaxAge + time.Second, "whole seconds"},
		{mtasts.Enforce, "mx.example.com", 1500 * time.Millisecond, "whole seconds"},
		{mtasts.Mode(3), "mx.example.com", day, "give enforce, testing or none"},
		{mtasts.Enforce, "müller.example", day, "A-labels"},
		{mtasts.Enforce, "a\r\nmode: none", day, "give a host name"},
		{mtasts.Enforce, " a", day, "give a host name"},
		{mtasts.Enforce, "", day, "A-labels"},
	}
	for _, tt := range tests {
		if text, err := mtasts.PolicyFile(tt.mode, []string{tt.mx}, tt.age); err == nil || text != "" || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%v %q %v: got %q, %v", tt.mode, tt.mx, tt.age, text, err)
		}
	}
	if _, err := mtasts.PolicyFile(mtasts.Testing, nil, day); err == nil {
		t.Error("testing without an MX was made")
	}
	for _, id := range []string{"", "2026-11-23", strings.Repeat("a", 33), "a;b"} {
		if text, err := mtasts.Record(id); err == nil || text != "" {
			t.Errorf("id %q: got %q", id, text)
		}
	}
}
