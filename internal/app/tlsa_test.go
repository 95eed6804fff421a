package app

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/tls/dane"
)

// domain is a mail domain of ours: its mail host mx1.example.org, with its certificates, and its
// signed DNS.
type domain struct {
	dir   string
	port  string // that the inbound listens on
	ca    *catest.CA
	files []string // names of the pairs of files, without their ends
	dns   *dnstest.Server
	mta   string // the backend
}

// newDomain has a mail host with an ECDSA and an RSA certificate, and nothing published.
func newDomain(t *testing.T) *domain {
	t.Helper()
	d := &domain{dir: t.TempDir(), port: freePort(t), ca: catest.New(t).Intermediate(t)}
	d.pair(t, "ecdsa", catest.Leaf{Names: []string{"mx1.example.org"}})
	d.pair(t, "rsa", catest.Leaf{Names: []string{"mx1.example.org"}, Key: catest.RSA2048})
	d.mta, _ = backend(t)
	d.publish(t, "")
	return d
}

func (d *domain) path(name string) string { return filepath.Join(d.dir, name) }

// pair makes the files NAME.pem and NAME.key of a certificate, which the inbound has.
func (d *domain) pair(t *testing.T, name string, l catest.Leaf) {
	t.Helper()
	d.spare(t, name, l)
	d.files = append(d.files, name)
}

// spare makes a pair that the inbound has not.
func (d *domain) spare(t *testing.T, name string, l catest.Leaf) tls.Certificate {
	t.Helper()
	c := d.ca.Issue(t, l)
	cert, key := catest.PEM(t, c)
	catest.Write(t, d.path(name+".pem"), cert)
	catest.Write(t, d.path(name+".key"), key)
	return c
}

// record is the 3 1 1 record of a file.
func (d *domain) record(name string) string {
	return must1(readKey(d.path(name))).record().String()
}

// issuer is the 2 1 1 record of the one that has issued the certificates.
func (d *domain) issuer() string {
	return dane.From(d.ca.Cert, dane.UsageTA, dane.SelectorSPKI, dane.MatchingSHA256).String()
}

// publish serves a signed DNS with these records beside the host's address.
func (d *domain) publish(t *testing.T, records string) {
	t.Helper()
	d.serve(t, dnstest.Zone{Name: "example.org", Records: "mx1 A 127.0.0.1\n" + records})
}

func (d *domain) serve(t *testing.T, z dnstest.Zone) {
	t.Helper()
	d.dns = dnstest.StartSigned(t, dnstest.Zone{Name: "."}, dnstest.Zone{Name: "org"}, z)
	catest.Write(t, d.path("root.key"), []byte(d.dns.Anchors))
}

// tlsa are lines of TLSA records of mx1 for the port that it listens on.
func (d *domain) tlsa(ttl int, records ...string) (lines string) {
	for _, r := range records {
		lines += fmt.Sprintf("_%s._tcp.mx1 %d TLSA %s\n", d.port, ttl, r)
	}
	return lines
}

// config writes the configuration, and returns its file. more is HCL beside the inbound.
func (d *domain) config(t *testing.T, more string) string {
	t.Helper()
	text := "hostname = \"mx1.example.org\"\n" + more
	text += fmt.Sprintf("resolver {\n  servers = [%q]\n  trust_anchors = %q\n}\n", d.dns.Address, d.path("root.key"))
	for _, name := range d.files {
		text += fmt.Sprintf("certificate %q {\n  cert_file = %q\n  key_file = %q\n}\n", name, d.path(name+".pem"), d.path(name+".key"))
	}
	text += fmt.Sprintf("inbound \"mx\" {\n  listen = [\"127.0.0.1:%s\"]\n  backend {\n    address = %q\n    client_address = \"none\"\n  }\n}\n", d.port, d.mta)
	must(os.WriteFile(d.path("config.hcl"), []byte(text), 0o600))
	return d.path("config.hcl")
}

// printed runs the command that prints TLSA records.
func printed(t *testing.T, o TLSAOptions) (text, notes string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	o.Out, o.Log = &out, &log
	if o.TTL == 0 {
		o.TTL = 3600
	}
	err = TLSA(t.Context(), o)
	return out.String(), log.String(), err
}

func TestTheRecordsOfAnInboundAreReadyForAZoneFile(t *testing.T) {
	d := newDomain(t)
	d.spare(t, "next", catest.Leaf{})
	file := d.config(t, inMemory)
	text, notes, err := printed(t, TLSAOptions{Config: file, Next: []string{d.path("next.key")}, Issuer: true, TTL: 300})
	want := fmt.Sprintf(`; inbound "mx", the current key: certificate "ecdsa" (ECDSA P-256)
_%[1]s._tcp.mx1.example.org. 300 IN TLSA %[2]s
; inbound "mx", the current key: certificate "rsa" (RSA 2048)
_%[1]s._tcp.mx1.example.org. 300 IN TLSA %[3]s
; inbound "mx", the next key: %[4]s (ECDSA P-256)
_%[1]s._tcp.mx1.example.org. 300 IN TLSA %[5]s
; inbound "mx", an issuer: issuer in certificate "ecdsa" (CN=Test Intermediate)
_%[1]s._tcp.mx1.example.org. 300 IN TLSA %[6]s
`, d.port, d.record("ecdsa.pem"), d.record("rsa.pem"), d.path("next.key"), d.record("next.pem"), d.issuer())
	if err != nil || text != want || notes != "" {
		t.Errorf("%v\n%s%s\nwant:\n%s", err, notes, text, want)
	}
	text, _, err = printed(t, TLSAOptions{Config: file, Names: []string{"MX.example.NET.", "xn--n3h.example"}, Ports: []uint16{25, 26}})
	must(err)
	wantWords(t, "asked for", text, "\n_25._tcp.mx.example.net. 3600 IN TLSA 3 1 1", "\n_26._tcp.xn--n3h.example. 3600 IN TLSA 3 1 1")
	if strings.Contains(text, "mx1.example.org") {
		t.Errorf("it prints what was not asked for:\n%s", text)
	}
}

func TestOnlyCertificatesThatAreShownForANameHaveRecordsThere(t *testing.T) {
	d := newDomain(t)
	d.pair(t, "other", catest.Leaf{Names: []string{"mx.example.net"}})
	file := d.config(t, inMemory)
	for name, want := range map[string][]string{
		"mx1.example.org": {d.record("ecdsa.pem"), d.record("rsa.pem")},
		// Clients that can do no ECDSA get the RSA certificate, whatever its name.
		"mx.example.net": {d.record("other.pem"), d.record("rsa.pem")},
	} {
		text, _, err := printed(t, TLSAOptions{Config: file, Names: []string{name}})
		must(err)
		var got []string
		for line := range strings.Lines(text) {
			if _, r, ok := strings.Cut(line, " IN TLSA "); ok {
				got = append(got, strings.TrimSpace(r))
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestWhatKeepsTLSARecordsFromHelpingIsSaid(t *testing.T) {
	own := func(d *domain, t *testing.T) {
		ca := catest.New(t)
		cert, key := catest.PEM(t, ca.Issue(t, catest.Leaf{Names: []string{"mx1.example.org"}}))
		catest.Write(t, d.path("ecdsa.pem"), cert)
		catest.Write(t, d.path("ecdsa.key"), key)
	}
	for name, c := range map[string]struct {
		prepare func(d *domain, t *testing.T)
		o       TLSAOptions
		want    string
	}{
		"all is well": {func(*domain, *testing.T) {}, TLSAOptions{Issuer: true}, ""},
		"an unsigned zone": {func(d *domain, t *testing.T) {
			d.serve(t, dnstest.Zone{Name: "example.org", Records: "mx1 A 127.0.0.1", Unsigned: true})
		}, TLSAOptions{}, "mx1.example.org: its zone is not signed"},
		"no such host":      {func(d *domain, t *testing.T) { d.serve(t, dnstest.Zone{Name: "example.org"}) }, TLSAOptions{}, "could not be found out whether its zone is signed: no address"},
		"no issuer there":   {own, TLSAOptions{Issuer: true}, `certificate "ecdsa" (ECDSA P-256) does not pass by the record of an issuer`},
		"another authority": {func(d *domain, t *testing.T) { catest.Write(t, d.path("ca.pem"), catest.New(t).PEM()) }, TLSAOptions{IssuerFile: "ca.pem"}, "does not pass by the record of an issuer (2 1 1) at mx1.example.org: no issuer among the 2 certificates"},
		"another name":      {func(*domain, *testing.T) {}, TLSAOptions{Issuer: true, Names: []string{"mx2.example.org"}}, "(2 1 1) at mx2.example.org: certificate for mx1.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDomain(t)
			c.prepare(d, t)
			if c.o.IssuerFile != "" {
				c.o.IssuerFile = d.path(c.o.IssuerFile)
			}
			c.o.Config = d.config(t, inMemory)
			text, notes, err := printed(t, c.o)
			if err != nil || !strings.Contains(text, d.record("ecdsa.pem")) {
				t.Errorf("%v\n%s", err, text)
			}
			if (notes == "") != (c.want == "") || !strings.Contains(notes, c.want) {
				t.Errorf("it says %q", notes)
			}
		})
	}
}

func TestACertificateThatIsMadeAtEachStartHasNoRecord(t *testing.T) {
	d := newDomain(t)
	file := d.config(t, inMemory)
	text := string(must1(os.ReadFile(file)))
	at := strings.Index(text, "certificate ")
	text = text[:at] + "certificate \"self\" {\n  self_signed = [\"mx1.example.org\"]\n}\n" + text[strings.Index(text, "inbound "):]
	must(os.WriteFile(file, []byte(text), 0o600))
	out, notes, err := printed(t, TLSAOptions{Config: file})
	if !errors.Is(err, ErrReported) || out != "" || !strings.Contains(notes, "new key after each start") {
		t.Errorf("%v %q %q", err, out, notes)
	}
}
