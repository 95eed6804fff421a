package dane_test

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"postern/tls/dane"
)

// FuzzParse: what is read is written, and read again as the same.
func FuzzParse(f *testing.F) {
	f.Add("3 1 1 8cb0fc6c527506a053f4f14c8464bebbd6dede2738d11468dd953d7d6a3021f1")
	f.Add("2 0 0 30 82 01")
	f.Add(" 255 0 2\t")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := dane.Parse(text)
		if err != nil {
			return
		}
		again, err := dane.Parse(r.String())
		if err != nil || again.String() != r.String() || again.Usage != r.Usage || !bytes.Equal(again.Data, r.Data) {
			t.Fatalf("%q: %v became %v, %v", text, r, again, err)
		}
		r.Usable()
		if n := strings.Count(dane.Zone("_25._tcp.mx.example.net", 60, []dane.Record{r}), "\n"); n != 1 {
			t.Fatalf("%d lines", n)
		}
	})
}

// unpack makes a set of records of octets: three numbers, a length in two octets, and the data, again and again.
func unpack(b []byte) (records []dane.Record) {
	for len(b) >= 5 && len(records) < 50 {
		n := min(int(b[3])<<8|int(b[4]), len(b)-5)
		records = append(records, dane.Record{Usage: b[0], Selector: b[1], MatchingType: b[2], Data: b[5 : 5+n]})
		b = b[5+n:]
	}
	return records
}

func pack(records []dane.Record) (b []byte) {
	for _, r := range records {
		b = append(b, r.Usage, r.Selector, r.MatchingType, byte(len(r.Data)>>8), byte(len(r.Data)))
		b = append(b, r.Data...)
	}
	return b
}

// FuzzMatch: whatever the records and certificates are, a match is one of a record that is made of a
// certificate in the chain, or of the key of one that was there in full.
func FuzzMatch(f *testing.F) {
	for i, s := range setups(f, newCast(f)) {
		if i%7 == 0 { // enough of each kind
			var raw []byte
			for _, c := range s.chain {
				raw = append(raw, c.Raw...)
			}
			f.Add(pack(s.records), raw, strings.Join(s.names, " "))
		}
	}
	f.Fuzz(func(t *testing.T, packed, raw []byte, names string) {
		records := unpack(packed)
		chain, err := x509.ParseCertificates(raw)
		if err != nil || len(chain) > 8 {
			return
		}
		r := dane.MatchChain(records, chain, strings.Fields(names), time.Now())
		if len(names) < 300 {
			checkResult(t, records, r)
		}
		if r.OK && !explains(*r.Record, chain, r.Depth) {
			t.Fatalf("%s does not explain %+v", r.Record, r)
		}
		if r.OK && r.Record.Usage == dane.UsageTA && (r.Name == "" || len(strings.Fields(names)) == 0) {
			t.Fatalf("an issuer without a name: %+v", r)
		}
	})
}

// explains says whether a record can be the reason of a match, in the plainest words.
func explains(r dane.Record, chain []*x509.Certificate, depth int) bool {
	if r.Usage == dane.UsageEE {
		return depth == 0 && bytes.Equal(dane.From(chain[0], 3, r.Selector, r.MatchingType).Data, r.Data)
	}
	if r.Usage != dane.UsageTA {
		return false
	}
	if r.MatchingType == dane.MatchingFull {
		return true // it may be nowhere else
	}
	for _, c := range chain[1:] {
		if depth > 0 && bytes.Equal(dane.From(c, 2, r.Selector, r.MatchingType).Data, r.Data) {
			return true
		}
	}
	return false
}

// TestSeedsComeBack: what FuzzMatch starts with is what the table says.
func TestSeedsComeBack(t *testing.T) {
	for _, s := range setups(t, newCast(t)) {
		if got := outcome(dane.MatchChain(unpack(pack(s.records)), s.chain, s.names, time.Now())); got != s.want {
			t.Errorf("%s: got %s, want %s", s.name, got, s.want)
		}
	}
}
