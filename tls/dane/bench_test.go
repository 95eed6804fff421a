package dane_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"postern/tls/dane"
)

func BenchmarkMatch(b *testing.B) {
	c := newCast(b)
	for _, bench := range []struct{ name, sent, records string }{
		{"3 1 1", "leaf sub ca", "3 1 1 leaf"},
		{"3 1 1 and the next", "leaf sub ca", "3 1 1 self, 3 1 1 leaf"},
		{"2 1 1", "leaf sub ca", "2 1 1 sub"},
		{"2 1 1 root", "leaf sub ca root", "2 1 1 root"},
		{"2 0 0 not sent", "leaf", "2 0 0 sub"},
		{"2 1 0 not sent", "leaf", "2 1 0 sub"},
		{"no match", "leaf sub ca", "3 1 1 self"},
	} {
		var records []dane.Record
		for r := range strings.SplitSeq(bench.records, ",") {
			records = append(records, c.record(b, strings.Fields(r)))
		}
		chain, names, now := c.chain(b, bench.sent), dane.Names{host}, time.Now()
		want := bench.name != "no match"
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if dane.MatchChain(records, chain, names, now).OK != want {
					b.Fatal("wrong")
				}
			}
		})
	}
}

// BenchmarkHostile is the most that a server and its zone can make a comparison cost.
func BenchmarkHostile(b *testing.B) {
	c := newCast(b)
	chain := c.chain(b, "leaf sub ca"+strings.Repeat(" rsa-root", 60))
	var records []dane.Record
	for range 700 {
		records = append(records, c.record(b, strings.Fields("2 1 0 stranger")))
	}
	records = append(records, c.record(b, strings.Fields("2 1 1 rsa-root")))
	b.ReportAllocs()
	for b.Loop() {
		dane.MatchChain(records, chain, dane.Names{host}, time.Now())
	}
}

func BenchmarkFind(b *testing.B) {
	l := &dane.Lookup{Resolver: fixed{signed, tlsa("3 1 1", "3 1 1")}}
	mx := dane.MXInfo{Domain: "example.com", Host: host, Port: 25, MXSecure: true}
	b.ReportAllocs()
	for b.Loop() {
		if f, err := l.Find(context.Background(), mx); err != nil || f.Status != dane.Usable {
			b.Fatal(f, err)
		}
	}
}

// fixed answers everything alike.
type fixed struct {
	address dane.Address
	tlsa    dane.Answer
}

func (f fixed) Address(context.Context, string) (dane.Address, error) { return f.address, nil }
func (f fixed) TLSA(context.Context, string) (dane.Answer, error)     { return f.tlsa, nil }
