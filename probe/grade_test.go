package probe

import (
	"crypto/tls"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"postern/tls/hello"
)

// TestSuitesAreGradedAsTheGuidelinesDo has what NCSC-NL's appendix B says of each, and some that are not in it.
func TestSuitesAreGradedAsTheGuidelinesDo(t *testing.T) {
	for grade, names := range map[Grade]string{
		Good: "TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256",
		Sufficient: "TLS_AES_128_GCM_SHA256 TLS_AES_128_CCM_SHA256 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_ECDSA_WITH_AES_256_CCM " +
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_ECDSA_WITH_AES_128_CCM TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		PhaseOut: "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_GCM_SHA384 TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256 TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384 TLS_ECDHE_RSA_WITH_ARIA_128_CBC_SHA256 " +
			"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256 TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256 TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256 TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256 " +
			"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384 TLS_DHE_RSA_WITH_AES_256_CCM TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
		Insufficient: "TLS_AES_128_CCM_8_SHA256 TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA TLS_ECDHE_RSA_WITH_RC4_128_SHA TLS_ECDHE_RSA_WITH_NULL_SHA " +
			"TLS_RSA_WITH_AES_256_GCM_SHA384 TLS_RSA_WITH_NULL_SHA256 TLS_DHE_RSA_WITH_AES_256_CBC_SHA TLS_DHE_DSS_WITH_AES_256_GCM_SHA384 TLS_DH_anon_WITH_AES_256_GCM_SHA384 TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256 " +
			"TLS_ECDH_anon_WITH_AES_128_CBC_SHA TLS_RSA_EXPORT_WITH_RC4_40_MD5 TLS_PSK_WITH_AES_128_GCM_SHA256 TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256 TLS_SM4_GCM_SM3 0xBEEF",
	} {
		for name := range strings.FieldsSeq(names) {
			if got := gradeSuite(name); got != grade {
				t.Errorf("%s is %s, not %s", name, got, grade)
			}
		}
	}
}

func TestGroupsAreGraded(t *testing.T) {
	for grade, ids := range map[Grade][]tls.CurveID{
		Good:         {tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768, 28, 30},
		PhaseOut:     {21, 257, 260},
		Insufficient: {256, 19, 1, 0xbeef},
	} {
		for _, id := range ids {
			if got := gradeGroup(id); got != grade {
				t.Errorf("%v is %s, not %s", id, got, grade)
			}
		}
	}
}

func TestFieldsOfDiffieHellmanAreGraded(t *testing.T) {
	for _, c := range []struct {
		answer hello.Answer
		grade  Grade
		name   string
	}{
		{hello.Answer{DHBits: 2048}, Insufficient, "DHE with 2048 bits of its own"},
		{hello.Answer{DHBits: 2048, Group: ffdhe2048}, Insufficient, "ffdhe2048"},
		{hello.Answer{DHBits: 3072, Group: ffdhe3072}, PhaseOut, "ffdhe3072"},
	} {
		if g, name := gradeField(c.answer); g != c.grade || name != c.name {
			t.Errorf("%d bits: %s, %s", c.answer.DHBits, g, name)
		}
	}
}

func TestGradesAreWordsInJSON(t *testing.T) {
	for g := Unknown; g <= Insufficient; g++ {
		text, err := json.Marshal(g)
		var again Grade
		if err != nil || json.Unmarshal(text, &again) != nil || again != g || string(text) != `"`+g.String()+`"` {
			t.Errorf("%d: %s, %v", g, text, err)
		}
	}
	if json.Unmarshal([]byte(`"splendid"`), new(Grade)) == nil {
		t.Error("a word that is no grade is taken")
	}
}

func TestAReportIsAsGoodAsItsWorstFinding(t *testing.T) {
	for _, c := range []struct {
		grades   []Grade
		want     Grade
		complete bool
	}{
		{nil, Unknown, true},
		{[]Grade{Note}, Unknown, true},
		{[]Grade{Good, Note, Sufficient}, Sufficient, true},
		{[]Grade{Good, Unknown}, Good, false},
		{[]Grade{Insufficient, PhaseOut, Unknown}, Insufficient, false},
	} {
		r := &Report{}
		for _, g := range c.grades {
			r.add(Finding{Grade: g})
		}
		r.finish(r.Began)
		if r.Grade != c.want || r.Complete != c.complete || r.Good() != (c.complete && c.want >= Good && c.want <= Sufficient) {
			t.Errorf("%v: %s, complete %v, good %v", c.grades, r.Grade, r.Complete, r.Good())
		}
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	r := &Report{}
	for _, g := range []Grade{Good, Unknown, Note, PhaseOut, Sufficient, Insufficient} {
		r.add(Finding{Grade: g})
	}
	r.finish(r.Began)
	var got []Grade
	for _, f := range r.Findings {
		got = append(got, f.Grade)
	}
	if want := []Grade{Insufficient, PhaseOut, Unknown, Note, Sufficient, Good}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestTheOrderOfSuites(t *testing.T) {
	const (
		ecdsaGCM = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
		ecdsaCBC = tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
		rsaGCM   = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
		rsaCBC   = tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
		rsa256   = tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
	)
	for _, c := range []struct {
		suites         []uint16
		mixed, ordered bool
	}{
		{[]uint16{rsaGCM}, false, true},
		{[]uint16{rsaGCM, rsaCBC}, true, true},
		{[]uint16{rsaCBC, rsaGCM}, true, false},
		{[]uint16{rsaGCM, rsaCBC, rsa256}, true, false},
		{[]uint16{ecdsaGCM, ecdsaCBC, rsaGCM, rsaCBC}, true, true},
		{[]uint16{ecdsaGCM, rsaCBC, rsaGCM}, true, false},
	} {
		var all []hello.Answer
		for _, id := range c.suites {
			all = append(all, hello.Answer{Suite: id})
		}
		if mixed(all) != c.mixed || ordered(all) != c.ordered {
			t.Errorf("%x: mixed %v, ordered %v", c.suites, mixed(all), ordered(all))
		}
	}
}

func TestTargets(t *testing.T) {
	for text, want := range map[string]Target{
		"example.com":           {Name: "example.com", Port: 25},
		"EXAMPLE.com.":          {Name: "example.com", Port: 25},
		"user@example.com":      {Name: "example.com", Port: 25},
		"bücher.example":        {Name: "xn--bcher-kva.example", Port: 25},
		" example.com ":         {Name: "example.com", Port: 25},
		"mx.example.com:587":    {Name: "mx.example.com", Port: 587, Host: true},
		"mx.example.com:465":    {Name: "mx.example.com", Port: 465, Host: true, Implicit: true},
		"[mx.example.com]":      {Name: "mx.example.com", Port: 25, Host: true},
		"[mx.example.com]:465":  {Name: "mx.example.com", Port: 465, Host: true, Implicit: true},
		"192.0.2.1":             {Name: "192.0.2.1", Port: 25, Host: true},
		"192.0.2.1:26":          {Name: "192.0.2.1", Port: 26, Host: true},
		"2001:db8::1":           {Name: "2001:db8::1", Port: 25, Host: true},
		"[2001:db8::1]":         {Name: "2001:db8::1", Port: 25, Host: true},
		"[IPv6:2001:db8::1]":    {Name: "2001:db8::1", Port: 25, Host: true},
		"[2001:db8::1]:26":      {Name: "2001:db8::1", Port: 26, Host: true},
		"user@[192.0.2.1]":      {Name: "192.0.2.1", Port: 25, Host: true},
		"_weird.name_.example.": {Name: "_weird.name_.example", Port: 25},
		"::ffff:192.0.2.1":      {Name: "192.0.2.1", Port: 25, Host: true},
	} {
		want.Text = text
		if got, err := ParseTarget(text, 25); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "@", "mx:0", "mx:65536", "mx:smtp", "not a domain", "a..b", "[", "[]", "example.com:", "\x1b[31m"} {
		if got, err := ParseTarget(text, 25); err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// TestHandshakesAreGraded has what crypto/tls, the server of the other tests, cannot do.
func TestHandshakesAreGraded(t *testing.T) {
	const (
		gcm = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
		cbc = tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
		dhe = 0x009f // TLS_DHE_RSA_WITH_AES_256_GCM_SHA384
	)
	good := hello.Answer{Suite: gcm, EMS: true, SecureRenegotiation: true}
	but := func(change func(*hello.Answer)) []hello.Answer {
		a := good
		change(&a)
		return []hello.Answer{a}
	}
	for name, c := range map[string]struct {
		version uint16
		answers []hello.Answer
		order   hello.Order
		groups  []tls.CurveID
		want    []string // "check grade", of those that are graded
	}{
		"good": {tls.VersionTLS12, []hello.Answer{good}, hello.Unknown, []tls.CurveID{tls.X25519},
			[]string{"groups good", "extended-master-secret good", "renegotiation good", "compression good"}},
		"no EMS":           {tls.VersionTLS12, but(func(a *hello.Answer) { a.EMS = false }), hello.Unknown, nil, []string{"extended-master-secret insufficient"}},
		"no renegotiation": {tls.VersionTLS12, but(func(a *hello.Answer) { a.SecureRenegotiation = false }), hello.Unknown, nil, []string{"renegotiation insufficient"}},
		"compression":      {tls.VersionTLS12, but(func(a *hello.Answer) { a.Compression = true }), hello.Unknown, nil, []string{"compression insufficient"}},
		"client's order":   {tls.VersionTLS12, []hello.Answer{good, {Suite: cbc}}, hello.ByClient, nil, []string{"order phase-out"}},
		"wrong order":      {tls.VersionTLS12, []hello.Answer{{Suite: cbc}, good}, hello.ByServer, nil, []string{"order phase-out"}},
		"right order":      {tls.VersionTLS12, []hello.Answer{good, {Suite: cbc}}, hello.ByServer, nil, []string{"order good"}},
		"an old curve":     {tls.VersionTLS12, []hello.Answer{good}, hello.Unknown, []tls.CurveID{tls.X25519, p224}, []string{"groups phase-out"}},
		"a broken curve":   {tls.VersionTLS12, []hello.Answer{good}, hello.Unknown, []tls.CurveID{19, tls.X25519}, []string{"groups insufficient"}},
		"a small field":    {tls.VersionTLS12, []hello.Answer{{Suite: dhe, DHBits: 1024}}, hello.Unknown, nil, []string{"groups insufficient"}},
		"a field of 7919":  {tls.VersionTLS12, []hello.Answer{{Suite: dhe, DHBits: 3072, Group: ffdhe3072}}, hello.Unknown, nil, []string{"groups phase-out", "suites phase-out"}},
		"SSL 3.0":          {versionSSL30, []hello.Answer{{Suite: 0x0004}}, hello.Unknown, nil, []string{"versions insufficient", "suites insufficient", "forward-secrecy insufficient"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &handmade{versions: []uint16{c.version}, suites: map[uint16][]hello.Answer{c.version: c.answers}, order: map[uint16]hello.Order{c.version: c.order}, groups: c.groups}
			v := &visitor{}
			v.out.write(h)
			v.grade(h)
			var got []string
			for _, f := range v.found {
				got = append(got, string(f.Check)+" "+f.Grade.String())
			}
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("no %q in %q", want, got)
				}
			}
			if name == "SSL 3.0" && strings.Contains(strings.Join(got, " "), "extended") { // which has no extensions
				t.Error(got)
			}
		})
	}
}
