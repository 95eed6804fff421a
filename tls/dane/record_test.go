package dane_test

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"postern/tls/dane"
)

func TestARecordReadsWhatItWrites(t *testing.T) {
	digest := strings.Repeat("0fA1", 16)
	for text, want := range map[string]string{
		"3 1 1 " + digest: "3 1 1 " + strings.ToLower(digest),
		" 3\t1 1\n " + digest[:10] + " " + digest[10:] + "  ": "3 1 1 " + strings.ToLower(digest),
		"255 255 255 00": "255 255 255 00",
		"3 1 1":          "3 1 1 ",
		"03 01 01 ff":    "3 1 1 ff",
	} {
		r, err := dane.Parse(text)
		if err != nil || r.String() != want {
			t.Errorf("%q: got %q, %v", text, r, err)
		}
	}
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":             "write usage, selector, matching type and data",
		"3 1":          "write usage, selector, matching type and data",
		"3 1 256 00":   `"256" is not a number from 0 to 255`,
		"-1 1 1 00":    `"-1" is not a number from 0 to 255`,
		"+3 1 1 00":    `"+3" is not a number from 0 to 255`,
		"a 1 1 00":     `"a" is not a number`,
		"3 1 1 0":      "pairs of hex digits",
		"3 1 1 0 0g":   "pairs of hex digits",
		"3 1 1 ( 00 )": "pairs of hex digits",
	} {
		if r, err := dane.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v", text, r, err)
		}
	}
}

func TestARecordSaysWhyItIsNotUsable(t *testing.T) {
	c := newCast(t)
	for text, want := range map[string]string{
		"0 1 1 leaf":              "usage 0 needs public authorities and is not for SMTP",
		"1 0 0 leaf":              "usage 1 needs public authorities and is not for SMTP",
		"4 1 1 leaf":              "usage 4 is unknown",
		"3 2 1 =leaf-key-sha256":  "selector 2 is unknown",
		"3 1 3 =leaf-key-sha256":  "matching type 3 is unknown",
		"2 1 1 =leaf-key-sha512":  "the digest has 64 octets and should have 32",
		"2 1 2 =":                 "the digest has 0 octets and should have 64",
		"2 0 0 =30":               "the data is no certificate: ",
		"3 1 0 =30":               "the data is no public key: ",
		"3 1 1 leaf":              "",
		"2 0 0 sub":               "",
		"2 1 0 ed-root":           "",
		"2 1 0 rsa-root":          "",
		"3 1 0 =" + x25519Example: "the key is of an unknown kind",
	} {
		err := c.record(t, strings.Fields(text)).Usable()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestARecordThatDoesNotCountHasAReason(t *testing.T) {
	c := newCast(t)
	for text, want := range map[string][]string{
		"3 1 1 leaf":                         {""},
		"3 1 1 leaf, 3 1 2 leaf, 3 0 1 leaf": {"there is one with a stronger digest", "", ""},
		"3 1 0 leaf, 3 1 1 leaf":             {"", ""},
		"1 1 1 leaf, 3 1 1 =00, 3 1 2 leaf":  {"usage 1 needs public authorities and is not for SMTP", "the digest has 1 octets and should have 32", ""},
		"3 1 2 =00, 3 1 1 leaf":              {"the digest has 1 octets and should have 64", ""},
	} {
		var records []dane.Record
		for r := range strings.SplitSeq(text, ",") {
			records = append(records, c.record(t, strings.Fields(r)))
		}
		if got := dane.WhyNot(records); !slices.Equal(got, want) {
			t.Errorf("%s: got %q", text, got)
		}
	}
	some := slices.Repeat([]dane.Record{c.record(t, strings.Fields("3 1 1 leaf"))}, 257)
	if why := dane.WhyNot(some); why[255] != "" || why[256] != "only 256 records are looked at" {
		t.Errorf("got %q, %q", why[255], why[256])
	}
}

// x25519Example is the SubjectPublicKeyInfo of a key that signs nothing (RFC 8410, 4).
const x25519Example = "302a300506032b656e032100" + "0900000000000000000000000000000000000000000000000000000000000000"

// TestRecordsAreWhatOpenSSLMakes compares with the usual recipe for 3 1 1.
func TestRecordsAreWhatOpenSSLMakes(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	leaf := newCast(t)["leaf"].cert
	for _, tt := range []struct {
		input    []byte
		selector uint8
		digest   string
		matching uint8
	}{
		{leaf.RawSubjectPublicKeyInfo, dane.SelectorSPKI, "-sha256", dane.MatchingSHA256},
		{leaf.RawSubjectPublicKeyInfo, dane.SelectorSPKI, "-sha512", dane.MatchingSHA512},
		{leaf.Raw, dane.SelectorCert, "-sha256", dane.MatchingSHA256},
	} {
		cmd := exec.Command(program, "dgst", "-binary", tt.digest)
		cmd.Stdin = bytes.NewReader(tt.input)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := dane.From(leaf, dane.UsageEE, tt.selector, tt.matching); !bytes.Equal(got.Data, out) {
			t.Errorf("got %s, want %s", got, hex.EncodeToString(out))
		}
	}
}

func TestARecordOfAnUnknownKindHoldsNothing(t *testing.T) {
	leaf := newCast(t)["leaf"].cert
	for _, matching := range []uint8{dane.MatchingFull, dane.MatchingSHA256, dane.MatchingSHA512, 9} {
		if got, want := dane.FromKey(leaf.RawSubjectPublicKeyInfo, matching), dane.From(leaf, 3, 1, matching); got.String() != want.String() {
			t.Errorf("of the key alone: %s", got)
		}
	}
	for _, r := range []dane.Record{dane.From(leaf, 3, 2, 1), dane.From(leaf, 3, 1, 3), dane.From(leaf, 2, 9, 0)} {
		if r.Data != nil || r.Usable() == nil {
			t.Errorf("got %s", r)
		}
	}
}

func TestAZoneHoldsFullNames(t *testing.T) {
	records := []dane.Record{{3, 1, 1, []byte{1, 0xab}}, {2, 0, 1, nil}}
	want := "_25._tcp.mx.example.net. 3600 IN TLSA 3 1 1 01ab\n_25._tcp.mx.example.net. 3600 IN TLSA 2 0 1 \n"
	for _, base := range []string{"mx.example.net", "MX.Example.net."} {
		if got := dane.Zone(dane.Owner(base, 25), 3600, records); got != want {
			t.Errorf("got %q", got)
		}
	}
	if got := dane.Zone("_25._tcp.mx.example.net.", 3600, records); got != want {
		t.Errorf("got %q", got)
	}
}

func TestARolloverNeedsTwoWays(t *testing.T) {
	c := newCast(t)
	for _, tt := range []struct{ records, why string }{
		{"3 1 1 leaf, 3 1 1 self", ""},
		{"3 1 1 leaf, 2 1 1 sub", ""},
		{"3 0 1 leaf, 3 0 1 self", ""},
		{"3 1 1 leaf", "only one certificate or key is published"},
		{"3 1 1 leaf, 3 1 1 leaf", "only one certificate or key is published"},
		{"3 1 1 leaf, 3 1 2 leaf", "only one certificate or key is published"},
		{"3 1 1 leaf, 3 0 1 leaf", "only one certificate or key is published"},
		{"3 1 1 leaf, 3 1 1 =00", "only one certificate or key is published"},
		{"3 1 1 leaf, 1 1 1 sub", "only one certificate or key is published"},
		{"2 1 1 sub", "only issuers are published"},
		{"2 1 1 sub, 2 1 1 stranger", "only issuers are published"},
		{"1 1 1 leaf", "no usable TLSA record is published"},
	} {
		var records []dane.Record
		for r := range strings.SplitSeq(tt.records, ",") {
			records = append(records, c.record(t, strings.Fields(r)))
		}
		before := slices.Clone(records)
		ok, why := dane.Rollover(records)
		if ok != (tt.why == "") || !strings.HasPrefix(why, tt.why) || ok && why != "" {
			t.Errorf("%s: got %v, %q", tt.records, ok, why)
		}
		for i := range before {
			if before[i].String() != records[i].String() {
				t.Errorf("%s: the records were changed", tt.records)
			}
		}
	}
}
