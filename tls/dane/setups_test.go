package dane_test

import (
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/tls/dane"
)

//go:embed testdata/setups.txt
var setupsText string

// setup is a line of testdata/setups.txt.
type setup struct {
	standard, name string
	sent           string
	chain          []*x509.Certificate
	records        []dane.Record
	names          dane.Names
	want           string
}

func setups(t testing.TB, c cast) (all []setup) {
	t.Helper()
	for line := range strings.Lines(setupsText) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "|")
		if len(f) != 6 {
			t.Fatalf("not six fields: %s", line)
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		s := setup{standard: f[0], name: f[1], sent: f[2], chain: c.chain(t, f[2]), names: strings.Fields(f[4]), want: f[5]}
		for r := range strings.SplitSeq(f[3], ",") {
			s.records = append(s.records, c.record(t, strings.Fields(r)))
		}
		all = append(all, s)
	}
	return all
}

// record makes the record that "3 1 1 leaf" stands for.
func (c cast) record(t testing.TB, f []string) dane.Record {
	t.Helper()
	flip := strings.HasPrefix(f[0], "~")
	f[0] = strings.TrimPrefix(f[0], "~")
	var n [3]uint8
	for i := range n {
		v, err := strconv.ParseUint(f[i], 10, 8)
		if err != nil {
			t.Fatal(err)
		}
		n[i] = uint8(v)
	}
	if data, ok := strings.CutPrefix(f[3], "="); ok {
		return dane.Record{Usage: n[0], Selector: n[1], MatchingType: n[2], Data: c.octets(t, data)}
	}
	r := dane.From(c.chain(t, f[3])[0], n[0], n[1], n[2])
	if flip {
		r.Data = append([]byte(nil), r.Data...)
		r.Data[len(r.Data)-1] ^= 1
	}
	return r
}

// octets is hex, or a few forms of the certificate "leaf".
func (c cast) octets(t testing.TB, text string) []byte {
	t.Helper()
	leaf := c["leaf"].cert
	switch text {
	case "leaf-cert":
		return leaf.Raw
	case "leaf-cert-00":
		return append(append([]byte(nil), leaf.Raw...), 0)
	case "leaf-key":
		return leaf.RawSubjectPublicKeyInfo
	case "leaf-cert-sha256":
		return dane.From(leaf, 3, 0, 1).Data
	case "leaf-key-sha256":
		return dane.From(leaf, 3, 1, 1).Data
	case "leaf-key-sha512":
		return dane.From(leaf, 3, 1, 2).Data
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outcome is a result as the table writes it.
func outcome(r dane.Result) string {
	if !r.OK {
		return string(r.Failure)
	}
	return strings.TrimSpace(fmt.Sprintf("ok %d %s", r.Depth, r.Name))
}

func TestEverySetUpMatchesAsTheStandardSays(t *testing.T) {
	all := setups(t, newCast(t))
	if len(all) < 100 {
		t.Fatalf("only %d set-ups", len(all))
	}
	for _, s := range all {
		t.Run("STANDARDS "+s.standard+" "+s.name, func(t *testing.T) {
			r := dane.MatchChain(s.records, s.chain, s.names, time.Now())
			if got := outcome(r); got != s.want {
				t.Fatalf("got %s, want %s: %s", got, s.want, r.Why)
			}
			checkResult(t, s.records, r)
		})
	}
}

// checkResult is what is true of every result.
func checkResult(t testing.TB, records []dane.Record, r dane.Result) {
	t.Helper()
	if r.OK != (r.Record != nil) || r.OK != (r.Failure == "") || r.Why == "" {
		t.Errorf("contradicts itself: %+v", r)
	}
	if strings.ContainsFunc(r.Why, func(c rune) bool { return c < ' ' || c > '~' }) || len(r.Why) > 600 {
		t.Errorf("not fit for a reply: %q", r.Why)
	}
	if r.OK && !isOneOf(r.Record, records) {
		t.Errorf("the record is none of those given: %v", r.Record)
	}
}

func isOneOf(r *dane.Record, records []dane.Record) bool {
	for i := range records {
		if r == &records[i] {
			return true
		}
	}
	return false
}

// TestTheOrderOfRecordsDoesNotMatter: name servers rotate records.
func TestTheOrderOfRecordsDoesNotMatter(t *testing.T) {
	for _, s := range setups(t, newCast(t)) {
		backwards := make([]dane.Record, 0, len(s.records))
		for i := range s.records {
			backwards = append(backwards, s.records[len(s.records)-1-i])
		}
		if got := outcome(dane.MatchChain(backwards, s.chain, s.names, time.Now())); got != s.want {
			t.Errorf("%s: got %s, want %s", s.name, got, s.want)
		}
	}
}
