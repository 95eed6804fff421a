package probe_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/probe"
	"postern/tls/dane"
)

func TestAServerThatIsAsItShouldBe(t *testing.T) {
	w := newWorld(t)
	r := w.look("example.com")
	if r.Grade != probe.Sufficient || !r.Complete || !r.Good() || r.Kind != "domain" {
		t.Errorf("%s, complete %v, a %s:\n%s", r.Grade, r.Complete, r.Kind, describe(r))
	}
	for _, want := range []string{
		"mx good: 1 mail exchanger: mx.example.com",
		"dnssec good: the MX records are signed", "dnssec good: the addresses are signed",
		"mta-sts good: mode enforce", "tlsrpt good: mailto:tls@example.com",
		"tlsa good: 2 of 2 TLSA records", "rollover good", "dane good: ECDSA certificate matches TLSA 3 1 1",
		"starttls good: TLS 1.3", "versions good: accepted: TLS 1.3", "suites sufficient: 3 suites", "forward-secrecy good", "groups good: X25519MLKEM768",
		"groups note: hybrid post-quantum key exchange: X25519MLKEM768", "certificate good: for mx.example.com, trusted", "key good: ECDSA P-256", "signature good",
		"injection good", "plaintext note: mail is taken in clear too", "ehlo note: the same", "tickets note: sessions are resumed",
	} {
		wantFinding(t, r, want)
	}
	if h := r.Hosts[0]; h.Level != "dane" || len(h.TLSA) != 2 || len(h.Addresses) != 1 || len(h.Addresses[0].Suites) != 3 || h.Addresses[0].Versions[0] != "TLS 1.3" {
		t.Errorf("the host: %+v", h)
	}
}

// gcm is a suite of TLS 1.2 with which nothing is wrong.
const gcm = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384

// TestEachFaultIsFound has one line per fault: what is made wrong with a server that is as it should be, and the
// finding that must come of it. A grade that is wanting is that of the whole report too.
func TestEachFaultIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(w *world)
		want  string
	}{
		"STARTTLS is not offered": {func(w *world) { w.script.TLS = nil }, "starttls insufficient: not offered"},
		"STARTTLS is refused": {func(w *world) { w.script.Replies = map[string]string{"STARTTLS": "454 4.7.0 no key"} },
			"starttls insufficient: STARTTLS is offered, and refused: STARTTLS refused: it said \"454 4.7.0 no key\""},
		"the handshake dies": {func(w *world) { w.script.Die = "handshake" }, "starttls insufficient: the handshake of TLS fails: handshake cut off"},
		"a large ClientHello is not stood": {func(w *world) {
			w.script.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if h.ServerName != "" && len(h.SupportedCurves) > 5 {
					return nil, errTooLarge
				}
				return nil, nil
			}
		}, "clienthello phase-out: fails with the ClientHello of today"},
		"EHLO inside TLS is refused": {func(w *world) { w.script.Replies = map[string]string{"TLS EHLO": "554 5.5.1 no"} }, "starttls insufficient: EHLO inside TLS fails"},
		"STARTTLS inside TLS": {func(w *world) {
			w.script.Replies = map[string]string{"TLS EHLO": "250-gullible\r\n250 STARTTLS"}
		}, "ehlo phase-out: STARTTLS is still offered inside TLS"},
		"other capabilities inside": {func(w *world) {
			w.script.Replies = map[string]string{"TLS EHLO": "250-gullible\r\n250-SIZE 1\r\n250 AUTH PLAIN"}
		}, "ehlo note: more: SIZE 1, AUTH PLAIN; no longer: PIPELINING"},
		"injection":                 {func(w *world) { w.script.Answer = executed }, "injection insufficient: was executed inside TLS: QUIT was answered 250"},
		"passwords in clear":        {func(w *world) { w.script.Capabilities = []string{"AUTH LOGIN CRAM-MD5"} }, "auth insufficient: AUTH LOGIN CRAM-MD5 is offered without TLS"},
		"hashed passwords in clear": {func(w *world) { w.script.Capabilities = []string{"AUTH CRAM-MD5"} }, "auth phase-out: AUTH CRAM-MD5"},
		"no mail in clear": {func(w *world) { w.script.Replies = map[string]string{"MAIL": "530 5.7.0 STARTTLS first"} },
			"plaintext note: mail in clear is refused: 530 5.7.0 STARTTLS first"},
		"no tickets": {func(w *world) { w.script.TLS.SessionTicketsDisabled = true }, "tickets note: not resumed"},

		"TLS 1.2":               {func(w *world) { w.script.TLS.MinVersion = tls.VersionTLS12 }, "versions sufficient: accepted: TLS 1.3, TLS 1.2"},
		"TLS 1.2 alone":         {func(w *world) { w.upTo12(gcm) }, "versions sufficient: accepted: TLS 1.2"},
		"TLS 1.0 and 1.1":       {func(w *world) { w.script.TLS.MinVersion = tls.VersionTLS10 }, "versions insufficient: accepted: TLS 1.3, TLS 1.2, TLS 1.1, TLS 1.0"},
		"TLS 1.0 alone":         {func(w *world) { w.script.TLS.MinVersion, w.script.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, "versions insufficient: accepted: TLS 1.0"},
		"suites of TLS 1.0":     {func(w *world) { w.script.TLS.MinVersion, w.script.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, "suites insufficient: TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"},
		"CBC with SHA-1":        {func(w *world) { w.upTo12(gcm, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA) }, "suites insufficient: insufficient: TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"},
		"CBC with SHA-256":      {func(w *world) { w.upTo12(gcm, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256) }, "suites phase-out: phase-out: TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"},
		"RC4":                   {func(w *world) { w.upTo12(gcm, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA) }, "suites insufficient: TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"},
		"the better ones first": {func(w *world) { w.upTo12(gcm, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA) }, "order good"},
		"no forward secrecy": {func(w *world) {
			w.leaf(catest.Leaf{Names: []string{"mx.example.com"}, Key: catest.RSA2048})
			w.upTo12(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256)
		}, "forward-secrecy insufficient: without forward secrecy: TLS_RSA_WITH_AES_128_GCM_SHA256"},
		"no hybrid groups": {func(w *world) { w.script.TLS.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} }, "groups note: no hybrid post-quantum key exchange"},

		"a short key":        {func(w *world) { w.leaf(catest.Leaf{Names: []string{"mx.example.com"}, Key: catest.RSA1024}) }, "key insufficient: RSA 1024 bits"},
		"a key of 2048 bits": {func(w *world) { w.leaf(catest.Leaf{Names: []string{"mx.example.com"}, Key: catest.RSA2048}) }, "key phase-out: RSA 2048 bits"},
		"another name, with a policy": {func(w *world) { w.leaf(catest.Leaf{Names: []string{"other.example.com"}}); w.more += sts },
			"certificate insufficient: certificate for other.example.com"},
		"another name, without one": {func(w *world) { w.leaf(catest.Leaf{Names: []string{"other.example.com"}}) }, "certificate note: certificate for other.example.com"},
		"an expired one": {func(w *world) {
			w.leaf(catest.Leaf{Names: []string{"mx.example.com"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
		}, "certificate note: that expired on"},
		"one that ends soon": {func(w *world) { w.leaf(catest.Leaf{Names: []string{"mx.example.com"}}) }, "certificate sufficient: ends on"},

		"no TLSA records":      {func(w *world) { w.more = "" }, "tlsa insufficient: no TLSA records at _"},
		"unusable ones":        {func(w *world) { w.more = w.tlsa("mx", dane.From(w.cert.Leaf, 1, 1, 1)) }, "tlsa insufficient: usage 1 needs public authorities"},
		"one that is unusable": {func(w *world) { w.more += w.tlsa("mx", dane.From(w.cert.Leaf, 1, 1, 1)) }, "tlsa sufficient: not 1 1 1"},
		"the wrong key":        {func(w *world) { w.more = w.tlsa("mx", next) }, "dane insufficient: ECDSA certificate: certificate for mx.example.com"},
		"one key published":    {func(w *world) { w.more = w.tlsa("mx", w.record()) }, "rollover note: no scheme for the next certificate"},
		"an unsigned zone":     {func(w *world) { w.zone.Unsigned = true }, "dnssec insufficient: the MX records are not signed"},
		"no DANE without":      {func(w *world) { w.zone.Unsigned = true }, "tlsa insufficient: no DANE"},
		"a bogus zone":         {func(w *world) { w.zone.Flaws = map[string]dnstest.Flaw{"@": dnstest.Expired} }, "dnssec insufficient: the MX records are bogus"},
		"bogus TLSA records": {func(w *world) {
			w.zone.Flaws = map[string]dnstest.Flaw{"_" + itoa(w.port) + "._tcp.mx": dnstest.Expired}
		}, "tlsa insufficient: TLSA records of"},
		"a host without address": {func(w *world) { w.zone.Records = "@ MX 10 none\n" }, "connect insufficient: no address"},

		"no policy":                  {func(w *world) { w.more = "" }, "mta-sts note: no MTA-STS policy"},
		"a policy that is not there": {func(w *world) { w.policy = "" }, "mta-sts insufficient: cannot be used"},
		"a broken policy":            {func(w *world) { w.policy = "nonsense" }, "mta-sts insufficient: line 1 of the policy"},
		"a policy for others":        {func(w *world) { w.policy = strings.Replace(w.policy, "mx.", "other.", 1) }, "mta-sts insufficient: it does not name mx.example.com"},
		"a policy for tests":         {func(w *world) { w.policy = strings.Replace(w.policy, "enforce", "testing", 1) }, "mta-sts sufficient: mode testing"},
		"a policy for others, for tests": {func(w *world) {
			w.policy = strings.Replace(strings.Replace(w.policy, "enforce", "testing", 1), "mx.", "other.", 1)
		}, "mta-sts phase-out: it does not name mx.example.com"},
		"a policy taken back": {func(w *world) { w.policy = "version: STSv1\nmode: none\nmax_age: 86400\n" }, "mta-sts note: mode none"},
		"no reports":          {func(w *world) { w.more = "" }, "tlsrpt note: no TLSRPT record"},
		"reports to nowhere":  {func(w *world) { w.more = "_smtp._tls TXT \"v=TLSRPTv1;\"\n" }, "tlsrpt phase-out: it has no rua"},
		"reports by fax":      {func(w *world) { w.more = "_smtp._tls TXT \"v=TLSRPTv1; rua=fax:1\"\n" }, "tlsrpt phase-out: is neither a mailto: nor an https: address"},
		"reports twice":       {func(w *world) { w.more += "_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:b@example.com\"\n" }, "tlsrpt phase-out: there are 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.wrong(w)
			r := w.look("example.com")
			wantFinding(t, r, c.want)
			for _, g := range []probe.Grade{probe.PhaseOut, probe.Insufficient} {
				if strings.Contains(c.want, " "+g.String()) && r.Grade < g {
					t.Errorf("all in all it is %s", r.Grade)
				}
			}
		})
	}
}

const sts = "_mta-sts TXT \"v=STSv1; id=1;\"\n"

// executed is a server that executes inside TLS what came in clear behind STARTTLS.
func executed(c *smtptest.Conn, phase, _ string) string {
	if phase == "EHLO" && c.Secured() != nil && strings.Contains(c.Octets(), "STARTTLS\r\nNOOP") {
		c.Say("250 2.0.0 ok\r\n")
	}
	return ""
}
