package smtpwire

import (
	"math"
	"strings"
	"testing"
)

func TestParseEnvelope(t *testing.T) {
	long := strings.Repeat("x", maxPath-2)
	for _, c := range []struct{ args, path, params string }{
		{"FROM:<a@b.example>", "a@b.example", ""},
		{"from:<a@b.example>", "a@b.example", ""},
		{"FROM:<>", "", ""},
		{"FROM: <a@b>", "a@b", ""},
		{"FROM:<a@b> SIZE=1 BODY=8BITMIME", "a@b", "SIZE=1 BODY=8BITMIME"},
		{"FROM:<a@b>   SMTPUTF8", "a@b", "SMTPUTF8"},
		{"FROM:<a@b> SIZE=1  SMTPUTF8", "a@b", "SIZE=1  SMTPUTF8"},
		{"FROM:<> RET=HDRS", "", "RET=HDRS"},
		{"FROM:<Postmaster>", "Postmaster", ""},
		{"FROM:a@b", "a@b", ""},
		{"FROM:a@b SIZE=1", "a@b", "SIZE=1"},
		{"FROM:Postmaster", "Postmaster", ""},
		{`FROM:<"a b"@c> SIZE=1`, `"a b"@c`, "SIZE=1"},
		{`FROM:<"a>b"@c>`, `"a>b"@c`, ""},
		{`FROM:<"a<b"@c>`, `"a<b"@c`, ""},
		{`FROM:<"a\"> SIZE=1"@c>`, `"a\"> SIZE=1"@c`, ""},
		{`FROM:<"a\\"@c> SIZE=1`, `"a\\"@c`, "SIZE=1"},
		{`FROM:"a b"@c SIZE=1`, `"a b"@c`, "SIZE=1"},
		{"FROM:<@one.example,@two.example:a@b>", "@one.example,@two.example:a@b", ""},
		{"FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]", ""},
		{"FROM:<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""},
		{"FROM:<grün@grün.example> SMTPUTF8", "grün@grün.example", "SMTPUTF8"},
		{"FROM:<a@b> AUTH=<>", "a@b", "AUTH=<>"},
		{"FROM:<a@b> X=a=b", "a@b", "X=a=b"},
		{"FROM:<" + long + ">", long, ""},
	} {
		for _, verb := range []string{"FROM:", "TO:"} {
			args := verb + c.args[len("FROM:"):]
			e, err := ParseEnvelope([]byte(args), verb)
			if err != nil || string(e.Path) != c.path || string(e.Params) != c.params {
				t.Errorf("%q: path %q, params %q, %v", args, e.Path, e.Params, err)
			}
		}
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	for args, want := range map[string]error{
		"": ErrPath, "FROM": ErrPath, "FROM:": ErrPath, "FROM: ": ErrPath, "TO:<a@b>": ErrPath, "FROM <a@b>": ErrPath, "FROM :<a@b>": ErrPath,
		"FROM:<": ErrPath, "FROM:>": ErrPath, "FROM:<a@b": ErrPath, "FROM:a@b>": ErrPath, "FROM:<<a@b>>": ErrPath, "FROM:<a<b>": ErrPath, "FROM:a<b": ErrPath,
		"FROM:<a b@c>": ErrPath, "FROM:< a@b>": ErrPath, "FROM:<a@b >": ErrPath,
		`FROM:<"a@b>`: ErrPath, `FROM:<"a\"@b>`: ErrPath, `FROM:<"a\`: ErrPath, `FROM:"a`: ErrPath,
		"FROM:<a\x00@b>": ErrPath, "FROM:<a\t@b>": ErrPath, "FROM:\ta@b": ErrPath, "FROM:<\"a\\\x00\"@b>": ErrPath, "FROM:<\"\x01\"@b>": ErrPath, "FROM:<a\x7f@b>": ErrPath, "FROM:<\"a\\\x7f\"@b>": ErrPath,
		"FROM:<" + strings.Repeat("x", maxPath-1) + ">": ErrPath,
		"FROM:<a@b>SIZE=1":     ErrParam,
		"FROM:<a@b>>":          ErrParam,
		"FROM:<a@b> =1":        ErrParam,
		"FROM:<a@b> SIZE=":     ErrParam,
		"FROM:<a@b> -A=1":      ErrParam,
		"FROM:<a@b> A_B=1":     ErrParam,
		"FROM:<a@b> <c@d>":     ErrParam,
		"FROM:<a@b> X=\x00":    ErrParam,
		"FROM:<a@b> X=a\tb":    ErrParam,
		"FROM:<a@b> X=\x7f":    ErrParam,
		"FROM:<a@b>\tX=1":      ErrParam,
		"FROM:<a@b> GRÜN=1":    ErrParam,
		"FROM:<a@b> OK=1 BAD=": ErrParam,
	} {
		if e, err := ParseEnvelope([]byte(args), "FROM:"); err != want {
			t.Errorf("%q: path %q, params %q, %v", args, e.Path, e.Params, err)
		}
	}
}

func TestEachGivesTheParametersInOrder(t *testing.T) {
	e := Envelope{Params: []byte("SIZE=10  SMTPUTF8 X=a=b ")}
	var got []string
	e.Each(func(p Param) bool {
		got = append(got, string(p.Text)+"|"+string(p.Keyword)+"|"+string(p.Value))
		if p.HasValue != strings.Contains(string(p.Text), "=") {
			t.Errorf("%q: HasValue is %v", p.Text, p.HasValue)
		}
		return true
	})
	if strings.Join(got, ", ") != "SIZE=10|SIZE|10, SMTPUTF8|SMTPUTF8|, X=a=b|X|a=b" {
		t.Error(got)
	}
	n := 0
	if e.Each(func(Param) bool { n++; return false }); n != 1 {
		t.Errorf("%d calls after false", n)
	}
	if !(Param{Keyword: []byte("smtpUTF8")}).Is("SMTPUTF8") || (Param{Keyword: []byte("SMTPUTF")}).Is("SMTPUTF8") {
		t.Error("Is compares badly")
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "00000000000000000010": 10, "9223372036854775807": math.MaxInt64,
		"9223372036854775808": math.MaxInt64, "99999999999999999999": math.MaxInt64,
		"": -1, "000000000000000000010": -1, "-1": -1, "+1": -1, "1 ": -1, "0x10": -1, "1e3": -1, "1_0": -1, "٣": -1,
	} {
		if got, ok := ParseSize([]byte(in)); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %v", in, got, ok)
		}
	}
}

func TestParseChunk(t *testing.T) {
	type chunk struct {
		size int64
		last bool
		err  error
	}
	bad := chunk{err: ErrChunkSize}
	for in, want := range map[string]chunk{
		"0": {}, "10": {size: 10}, "10 LAST": {10, true, nil}, "10 last": {10, true, nil}, "10  Last": {10, true, nil}, "0 LAST": {last: true}, "10 ": {size: 10},
		"4611686018427387903": {size: maxChunk}, "4611686018427387904": bad, "99999999999999999999": bad,
		"": bad, " 10": bad, "LAST": bad, "10LAST": bad, "10 LAS": bad, "10 LASTS": bad, "10 LAST x": bad, "10\tLAST": bad, "-1": bad, "+1": bad, "1.0": bad, "0x1": bad, "10 10": bad,
		"000000000000000000010": bad,
	} {
		size, last, err := ParseChunk([]byte(in))
		if (chunk{size, last, err}) != want {
			t.Errorf("%q: %d, %v, %v", in, size, last, err)
		}
	}
}

func TestIsASCII(t *testing.T) {
	if !IsASCII([]byte("a\x00\x7f")) || IsASCII([]byte("a\x80")) || !IsASCII(nil) {
		t.Error("IsASCII")
	}
}
