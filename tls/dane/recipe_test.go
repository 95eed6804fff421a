package dane_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/tls/dane"
)

// combine makes a set-up of octets: which certificates are sent, what the records are made of, and which
// name is wanted. So a fuzzer finds combinations instead of certificates.
func combine(c cast, sent, recipe []byte, name string) (s setup) {
	actors := slices.Sorted(maps.Keys(c))
	pick := func(b byte) string { return actors[int(b)%len(actors)] }
	var all []string
	for _, b := range sent[:min(len(sent), 6)] {
		all = append(all, pick(b))
		s.chain = append(s.chain, c[pick(b)].cert)
	}
	for ; len(recipe) >= 4 && len(s.records) < 8; recipe = recipe[4:] {
		r := dane.From(c[pick(recipe[3])].cert, recipe[0]%5, recipe[1]%3, recipe[2]%4)
		s.records = append(s.records, r)
	}
	s.sent, s.names = strings.Join(all, " "), strings.Fields(name)
	return s
}

// FuzzCombine: what is true of every combination of certificates and records.
func FuzzCombine(f *testing.F) {
	c := newCast(f)
	actors := slices.Sorted(maps.Keys(c))
	index := func(name string) byte { return byte(slices.Index(actors, name)) }
	f.Add([]byte{index("leaf"), index("sub"), index("ca")}, []byte{2, 1, 1, index("sub"), 3, 1, 2, index("self")}, host)
	f.Add([]byte{index("self")}, []byte{2, 1, 0, index("self")}, host)
	f.Fuzz(func(t *testing.T, sent, recipe []byte, name string) {
		s := combine(c, sent, recipe, name)
		if len(s.chain) == 0 || len(name) > 300 {
			return
		}
		now := time.Now()
		r := dane.MatchChain(s.records, s.chain, s.names, now)
		checkResult(t, s.records, r)
		if r.OK && !explains(*r.Record, s.chain, r.Depth) {
			t.Fatalf("%s does not explain %+v", r.Record, r)
		}
		with := func(more dane.Record) dane.Result {
			return dane.MatchChain(append([]dane.Record{more}, s.records...), s.chain, s.names, now)
		}
		// A record that is not usable changes nothing, unless there was no other.
		if got := with(dane.Record{Usage: 3, Selector: 1, MatchingType: 2, Data: []byte{0}}); outcome(got) != outcome(r) {
			t.Fatalf("an unusable record makes %s of %s", outcome(got), outcome(r))
		}
		// The strongest digest of the server's own key is enough, whatever else there is.
		if got := with(dane.From(s.chain[0], 3, 1, 2)); outcome(got) != "ok 0" {
			t.Fatalf("the server's own key makes %s", outcome(got))
		}
		// Who signs himself needs no issuer, and has none that was sent.
		if alone := dane.MatchChain(s.records, s.chain[:1], s.names, now); alone.OK && !r.OK {
			t.Fatalf("more certificates make %s of %s", outcome(r), outcome(alone))
		}
		slices.Reverse(s.records)
		if got := dane.MatchChain(s.records, s.chain, s.names, now); outcome(got) != outcome(r) {
			t.Fatalf("another order makes %s of %s", outcome(got), outcome(r))
		}
	})
}
