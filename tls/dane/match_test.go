package dane_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"postern/tls/dane"
)

// shake runs a handshake with a server, under a client configuration that asks Match, and returns
// what it said and whether the session was resumed.
func shake(t testing.TB, addr string, s setup, client *tls.Config) (r dane.Result, resumed bool, err error) {
	t.Helper()
	raw, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = host
	client.InsecureSkipVerify = true // VerifyConnection judges
	client.VerifyConnection = func(state tls.ConnectionState) error {
		resumed = state.DidResume
		if r = dane.Match(s.records, state, s.names, time.Now()); !r.OK {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	c := tls.Client(raw, client)
	defer c.Close()
	_, err = io.ReadFull(c, make([]byte, 1))
	return r, resumed, err
}

func TestRealHandshakesAreJudgedLikeChains(t *testing.T) {
	c := newCast(t)
	for _, s := range setups(t, c) {
		addr := listen(t, c.serving(t, s.sent))
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			r, _, err := shake(t, addr, s, &tls.Config{MaxVersion: version})
			if got := outcome(r); got != s.want || (err == nil) != strings.HasPrefix(s.want, "ok") {
				t.Errorf("%s, %s: got %s, %v; want %s", s.name, tls.VersionName(version), got, err, s.want)
			}
		}
	}
}

// TestAResumedSessionIsJudgedAnew: a session from when other records were published does not help.
func TestAResumedSessionIsJudgedAnew(t *testing.T) {
	c := newCast(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		addr := listen(t, c.serving(t, "leaf sub ca"))
		client := &tls.Config{MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for i, tt := range []struct {
			record  string
			resumed bool
			want    string
		}{
			{"3 1 1 leaf", false, "ok 0"},
			{"3 1 1 leaf", true, "ok 0"},
			{"2 1 1 sub", true, "ok 1 " + host},
			{"3 1 1 self", true, "validation-failure"},
		} {
			s := setup{records: []dane.Record{c.record(t, strings.Fields(tt.record))}, names: dane.Names{host}}
			r, resumed, _ := shake(t, addr, s, client)
			if outcome(r) != tt.want || resumed != tt.resumed {
				t.Errorf("%s, handshake %d: got %s, resumed: %v; want %+v", tls.VersionName(version), i+1, outcome(r), resumed, tt)
			}
		}
	}
}

func TestNoCertificateMatchesNothing(t *testing.T) {
	c := newCast(t)
	records := []dane.Record{c.record(t, strings.Fields("3 1 1 leaf"))}
	for name, r := range map[string]dane.Result{
		"no certificate": dane.Match(records, tls.ConnectionState{}, dane.Names{host}, time.Now()),
		"no record":      dane.MatchChain(nil, c.chain(t, "leaf sub"), dane.Names{host}, time.Now()),
	} {
		if r.OK || r.Record != nil || r.Failure == "" {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

// TestTheClockThatIsGivenCounts, and for usage 2 alone.
func TestTheClockThatIsGivenCounts(t *testing.T) {
	c := newCast(t)
	chain := c.chain(t, "leaf sub")
	for _, tt := range []struct {
		at     time.Time
		record string
		want   string
	}{
		{chain[0].NotAfter, "2 1 1 sub", "ok 1 " + host},
		{chain[0].NotAfter.Add(time.Second), "2 1 1 sub", "certificate-expired"},
		{chain[0].NotBefore, "2 1 1 sub", "ok 1 " + host},
		{chain[0].NotBefore.Add(-time.Second), "2 1 1 sub", "certificate-expired"},
		{chain[0].NotAfter.Add(9 * day), "3 1 1 leaf", "ok 0"},
		{chain[0].NotAfter.Add(9 * day), "2 1 0 sub", "certificate-expired"},
	} {
		r := dane.MatchChain([]dane.Record{c.record(t, strings.Fields(tt.record))}, chain, dane.Names{host}, tt.at)
		if outcome(r) != tt.want {
			t.Errorf("%s at %v: got %s, want %s", tt.record, tt.at, outcome(r), tt.want)
		}
	}
}

// TestAnAddressIsNoName: TLSA records are of names, and so are the certificates behind them.
func TestAnAddressIsNoName(t *testing.T) {
	c := newCast(t)
	for _, sent := range []string{"cn-address sub", "cn-ip sub"} {
		records := []dane.Record{c.record(t, strings.Fields("2 1 1 sub"))}
		if got := outcome(dane.MatchChain(records, c.chain(t, sent), dane.Names{"192.0.2.1"}, time.Now())); got != string(dane.HostMismatch) {
			t.Errorf("%s: got %s", sent, got)
		}
	}
}

func TestMatchChangesNothingThatItIsGiven(t *testing.T) {
	c := newCast(t)
	for _, s := range setups(t, c) {
		before := make([]string, 0, len(s.records))
		for _, r := range s.records {
			before = append(before, r.String())
		}
		certs := make([]x509.Certificate, 0, len(s.chain))
		for _, cert := range s.chain {
			certs = append(certs, *cert)
		}
		dane.MatchChain(s.records, s.chain, s.names, time.Now())
		for i, r := range s.records {
			if r.String() != before[i] {
				t.Errorf("%s: record %d was changed", s.name, i)
			}
		}
		for i, cert := range s.chain {
			if cert != c.chain(t, s.sent)[i] || cert.NotAfter != certs[i].NotAfter || cert.NotBefore != certs[i].NotBefore || cert.IsCA != certs[i].IsCA {
				t.Errorf("%s: certificate %d was changed", s.name, i)
			}
		}
	}
}

// TestTheTextsHelpAnAdministrator shows what the log and the reply say.
func TestTheTextsHelpAnAdministrator(t *testing.T) {
	for name, want := range map[string][]string{
		"EE, key, SHA-256":                             {"the server's certificate matches 3 1 1 "},
		"TA, issuer, key, SHA-256":                     {"the issuer at depth 1 matches 2 1 1 ", "for mx.example.net"},
		"EE, another key":                              {"matches none of the TLSA records (3 1 1 ", "it would match 3 1 1 "},
		"EE, current and next key, the current in use": {"matches 3 1 1"},
		"TA by digest is missing in the chain":         {"no issuer among the 3 certificates that the server sent matches", "(2 1 1 "},
		"TA, expired":                                  {"certificate for mx.example.net that is expired since 20"},
		"TA, not yet valid":                            {"that is not valid before 20"},
		"TA, expired certificate between":              {"whose issuer is expired since 20"},
		"TA, another name":                             {"certificate for www.example.org from the right issuer; expected one for mx.example.net"},
		"TA, the one of many names":                    {"is for mx.example.net"},
		"TA, sent and no issuer of it":                 {"does not lead to the issuer of the TLSA records"},
		"TA for names below example.org":               {"from an issuer that may not issue it"},
		"TA, for clients only":                         {"that is not for TLS servers"},
		"self-signed, key by digest":                   {"self-signed"},
		"usage 1":                                      {"none of the TLSA records is usable"},
		"unusable ones beside one that does not":       {"(3 1 1 ", "it would match"},
	} {
		found := false
		for _, s := range setups(t, newCast(t)) {
			if s.name != name {
				continue
			}
			found = true
			r := dane.MatchChain(s.records, s.chain, s.names, time.Now())
			for _, part := range want {
				if !strings.Contains(r.Why, part) {
					t.Errorf("%s: %q does not say %q", name, r.Why, part)
				}
			}
		}
		if !found {
			t.Errorf("there is no set-up %q", name)
		}
	}
}

func TestWhatStrangersWroteIsMadeFitForAReply(t *testing.T) {
	key := newCast(t)["self"].key
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(day), DNSNames: []string{"a.example", strings.Repeat("b", 200), "c.example", "d.example"}}
	template.Subject.CommonName = "250 ok\r\nQUIT\x7f"
	for _, names := range [][]string{template.DNSNames, nil} {
		template.DNSNames = names
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		records := []dane.Record{dane.From(cert, 2, 1, 0)}
		r := dane.MatchChain(records, []*x509.Certificate{cert}, dane.Names{host}, time.Now())
		checkResult(t, records, r)
		if want := map[bool]string{true: "250 ok??QUIT? (common name)", false: "c.example and 1 more"}[names == nil]; !strings.Contains(r.Why, want) {
			t.Errorf("%q does not say %q", r.Why, want)
		}
	}
}

// TestHostileSetsAreBounded: what is left out is not looked at, and the rest still counts.
func TestHostileSetsAreBounded(t *testing.T) {
	c := newCast(t)
	leaf, good := c.chain(t, "leaf sub ca"), c.record(t, strings.Fields("2 1 1 sub"))
	var many, bare []dane.Record
	for i := range 5000 {
		r := good
		r.Data = append([]byte(nil), good.Data...)
		r.Data[0], r.Data[1], r.Data[2] = byte(i), byte(i>>8), 0xa5
		many = append(many, r)
	}
	stranger := c.record(t, strings.Fields("2 1 0 stranger"))
	for range 200 {
		bare = append(bare, stranger)
	}
	long := leaf
	for range 1000 {
		long = append(long[:len(long):len(long)], c["stranger"].cert)
	}
	for name, tt := range map[string]struct {
		records []dane.Record
		chain   []*x509.Certificate
		want    string
	}{
		"too many records, the good one first": {append([]dane.Record{good}, many...), leaf, "ok 1 " + host},
		"too many records, the good one last":  {append(many[:len(many):len(many)], good), leaf, "validation-failure"},
		"too many bare keys":                   {bare, leaf, "validation-failure"},
		"too many bare keys and the issuer":    {append(bare[:len(bare):len(bare)], good), leaf, "ok 1 " + host},
		"a whole bundle behind the chain":      {[]dane.Record{good}, long, "ok 1 " + host},
	} {
		if got := outcome(dane.MatchChain(tt.records, tt.chain, dane.Names{host}, time.Now())); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// TestAnRSAKeyThatTakesSecondsIsNotUsable: in the DNS there is room for one of 500,000 bits.
func TestAnRSAKeyThatTakesSecondsIsNotUsable(t *testing.T) {
	for bits, usable := range map[uint]bool{8192: true, 8200: false, 400_000: false} {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537})
		if err != nil {
			t.Fatal(err)
		}
		key := dane.Record{Usage: 2, Selector: 1, Data: der}
		if err := key.Usable(); (err == nil) != usable {
			t.Errorf("key of %d bits: %v", bits, err)
		}
		root := newCast(t)["root"]
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(day)}
		der, err = x509.CreateCertificate(rand.Reader, template, root.cert, &rsa.PublicKey{N: n, E: 65537}, root.key)
		if err != nil {
			t.Fatal(err)
		}
		cert := dane.Record{Usage: 2, Selector: 0, Data: der}
		if err := cert.Usable(); (err == nil) != usable {
			t.Errorf("certificate with a key of %d bits: %v", bits, err)
		}
	}
}

// TestBothKeyTypesOfAServerMustBeCovered is how an operator's check uses MatchChain: once for each
// certificate that is served under the name.
func TestBothKeyTypesOfAServerMustBeCovered(t *testing.T) {
	c := newCast(t)
	for records, want := range map[string]string{
		"3 1 1 leaf":                     "ok 0, validation-failure",
		"3 1 1 leaf, 3 1 1 leaf-rsa":     "ok 0, ok 0",
		"2 1 1 sub":                      "ok 1 " + host + ", ok 1 " + host,
		"3 1 1 leaf, 2 1 1 sub":          "ok 0, ok 1 " + host,
		"3 1 1 leaf-rsa, 3 1 2 leaf":     "ok 0, validation-failure", // digest agility drops the other
		"3 1 2 leaf-rsa, 3 1 2 leaf":     "ok 0, ok 0",
		"3 0 1 leaf-rsa, 3 1 1 stranger": "validation-failure, ok 0",
	} {
		var published []dane.Record
		for r := range strings.SplitSeq(records, ",") {
			published = append(published, c.record(t, strings.Fields(r)))
		}
		var got []string
		for _, served := range []string{"leaf sub ca", "leaf-rsa sub ca"} {
			got = append(got, outcome(dane.MatchChain(published, c.chain(t, served), dane.Names{host}, time.Now())))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %s, want %s", records, strings.Join(got, ", "), want)
		}
	}
}
