package mtasts_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern/tls/mtasts"
)

// FuzzRecord takes any TXT records, one a line. An id that comes out is one that may be
// published, and what is said of the others is fit for a log.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"v=STSv1; id=20160831085700Z;", "v=STSv1;id=1\nv=spf1 -all", "v=STSv1; id=1;\nv=STSv1; id=2;", "v=STSv1 ; id=1", "v=STSv1; a=b; id=1; id=?;;", "v=STSv1;\t;=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		texts := strings.Split(text, "\n")
		id, ok, why := mtasts.ParseRecord(texts)
		if ok != (id != "") || ok != (why == "") || strings.ContainsAny(why, "\r\n\x00") || len(why) > 500 {
			t.Fatalf("got %q, %v, %q", id, ok, why)
		}
		if !ok {
			return
		}
		record, err := mtasts.Record(id)
		if err != nil {
			t.Fatalf("an id that may not be published: %v", err)
		}
		if again, ok, why := mtasts.ParseRecord([]string{record}); !ok || again != id {
			t.Fatalf("%q became %q: %s", id, again, why)
		}
		if _, ok, _ := mtasts.ParseRecord(append(texts, record)); ok {
			t.Fatal("two records are one")
		}
	})
}

// FuzzPolicy takes any file. A policy that comes out keeps RFC 8461, 3.2; it says the same
// when its lines are read again, and when it is made anew from what was understood.
func FuzzPolicy(f *testing.F) {
	for _, seed := range []string{full, strings.ReplaceAll(full, "\n", "\r\n"), head + "mode: none\nmax_age: 0", full + "mode: none\nx: ü\n\n", head + "mode: testing\nmx: *.A.example.\n" + tail, "\x00:\xff", "mx: *.*.a\n:\n\r"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := mtasts.ParsePolicy(body)
		if err != nil {
			if p != nil || strings.ContainsAny(err.Error(), "\r\n\x00") || len(err.Error()) > 500 {
				t.Fatalf("got %v, %q", p, err)
			}
			return
		}
		if p.MaxAge < 0 || p.MaxAge > mtasts.MaxMaxAge || p.Mode > mtasts.Enforce || p.Mode != mtasts.None && len(p.MX) == 0 {
			t.Fatalf("got %+v", p)
		}
		if n := len(strings.Join(p.Lines, "\n")); n >= mtasts.MaxKeptSize {
			t.Fatalf("%d octets are kept", n)
		}
		for _, line := range p.Lines {
			if !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("a line %q", line)
			}
		}
		for _, mx := range p.MX[:min(50, len(p.MX))] {
			host := strings.Replace(mx, "*", "a", 1)
			if len(host) <= 253 && !p.Match(strings.ToUpper(host)+".") {
				t.Fatalf("%q does not match %q", mx, host)
			}
		}
		again, err := mtasts.ParsePolicy([]byte(strings.Join(p.Lines, "\n")))
		if err != nil || again.String() != p.String() {
			t.Fatalf("got %v and then %v, %v", p, again, err)
		}
		made, err := mtasts.PolicyFile(p.Mode, p.MX, p.MaxAge)
		if again, err2 := mtasts.ParsePolicy([]byte(made)); err != nil || err2 != nil || again.String() != p.String() {
			t.Fatalf("got %v and made %q, %v, %v", p, made, err, err2)
		}
	})
}
