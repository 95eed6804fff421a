package proxy

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/internal/smtptest"
	"postern/smtpwire"
)

// allowed are the keywords that may stand in our EHLO replies: those of the
// table in RFC terms, whatever the backend says.
var allowed = map[string]bool{"PIPELINING": true, "SIZE": true, "STARTTLS": true, "8BITMIME": true, "SMTPUTF8": true, "DSN": true,
	"DELIVERBY": true, "MT-PRIORITY": true, "FUTURERELEASE": true, "RRVS": true, "ENHANCEDSTATUSCODES": true, "LIMITS": true,
	"VRFY": true, "EXPN": true, "HELP": true, "REQUIRETLS": true, "AUTH": true, "CHUNKING": true}

// STANDARDS 40, 60.
func TestNoKeywordOutsideTheAllowListIsEverOffered(t *testing.T) {
	keyword := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9-]{0,12}`), rapid.SampledFrom([]string{"XCLIENT", "XFORWARD", "BINARYMIME",
		"TURN", "ATRN", "ETRN", "BURL", "X-EXPS", "X-LINK2STATE", "XEXCH50", "X-ANONYMOUSTLS", "starttls", "AUTH=LOGIN", "AUTH", "REQUIRETLS", "SIZE"}))
	line := rapid.Custom(func(t *rapid.T) string {
		return keyword.Draw(t, "keyword") + rapid.SampledFrom([]string{"", " ", " 5", " PLAIN EXTERNAL scram-sha-1-plus", "\t1", "=LOGIN"}).Draw(t, "parameters")
	})
	rapid.Check(t, func(t *rapid.T) {
		lines := append([]string{"250-dsn.example greets"}, rapid.SliceOf(line).Draw(t, "lines")...)
		reply := smtpwire.Reply{Code: 250, Lines: []byte(strings.Join(lines, "\r\n250-") + "\r\n")}
		k := offerKey{backend: smtpwire.ParseCapabilities(reply), hostname: "mx.test", starttls: rapid.Bool().Draw(t, "starttls"),
			tls: rapid.Bool().Draw(t, "tls"), auth: rapid.Bool().Draw(t, "auth"), trace: rapid.Bool().Draw(t, "trace")}
		checkOffer(t, k, string(k.compose().reply.Lines))
	})
}

func checkOffer(t *rapid.T, k offerKey, reply string) {
	all := strings.Split(strings.TrimSuffix(reply, "\r\n"), "\r\n")
	if all[0] != "250-mx.test" {
		t.Fatalf("first line %q", all[0])
	}
	for i, l := range all[1:] {
		words := strings.Fields(l[4:])
		if !allowed[words[0]] || (l[3] == ' ') != (i == len(all)-2) {
			t.Fatalf("line %q of %q", l, reply)
		}
		for _, m := range words[1:] {
			if words[0] == "AUTH" && (strings.EqualFold(m, "EXTERNAL") || strings.HasSuffix(strings.ToUpper(m), "-PLUS")) {
				t.Fatalf("mechanism %q", m)
			}
		}
		if words[0] == "STARTTLS" && !k.starttls || words[0] == "AUTH" && !k.auth || words[0] == "REQUIRETLS" && !k.tls {
			t.Fatalf("%q is out of place in %+v", l, k)
		}
	}
}

// SEM 7, STANDARDS 44.
func TestSIZEIsTheLesserOfBothLessTheRoomForATraceHeader(t *testing.T) {
	for _, c := range []struct {
		backend string
		ours    int64
		trace   bool
		want    string
	}{
		{"SIZE 10000", 0, false, "SIZE 10000"}, {"SIZE 10000", 0, true, "SIZE 7952"}, {"SIZE 10000", 5000, true, "SIZE 5000"},
		{"SIZE 10000", 9000, true, "SIZE 7952"}, {"SIZE 10000", 20000, false, "SIZE 10000"}, {"SIZE 1000", 0, true, "SIZE 1"},
		{"SIZE", 0, true, "SIZE"}, {"SIZE 0", 0, true, "SIZE"}, {"SIZE 0", 7, true, "SIZE 7"}, {"DSN", 0, false, ""}, {"DSN", 7, false, "SIZE 7"},
		{"SIZE 18446744073709551615", 0, false, "SIZE 9223372036854775807"}, {"SIZE x", 0, false, "SIZE"},
	} {
		k := offerKey{backend: smtpwire.ParseCapabilities(smtpwire.Reply{Lines: []byte("250-x\r\n250 " + c.backend + "\r\n")}), maxSize: c.ours, trace: c.trace}
		got := ""
		for line := range strings.SplitSeq(string(k.compose().reply.Lines), "\r\n") {
			if strings.HasPrefix(line, "250-SIZE") {
				got = line[4:]
			}
		}
		if got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// STANDARDS 44: and 37, 47, 56 for the other parameters.
func TestParametersAreJudgedByWhatWasOffered(t *testing.T) {
	for params, want := range map[string]string{
		"SIZE=10000": "250", "SIZE=10001": "552 5.3.4", "SIZE=99999999999999999999": "552 5.3.4", "SIZE=1x": "501 5.5.4", "SIZE=": "501 5.5.4",
		"SIZE=999999999999999999999": "501 5.5.4", "size=5 body=8bitmime": "250", "BODY=7BIT": "250", "BODY=BINARYMIME": "555 5.5.4",
		"RET=HDRS ENVID=x": "250", "SMTPUTF8": "250", "AUTH=<>": "555 5.5.4", "BY=10;R": "555 5.5.4", "REQUIRETLS": "555 5.5.4",
		"XVERP": "555 5.5.4", "-X=1": "501 5.5.4",
	} {
		b, e := one(t, smtptest.Script{Capabilities: []string{"SIZE 10000", "8BITMIME", "DSN", "SMTPUTF8"}})
		c := e.hello()
		c.Do("MAIL FROM:<a@b.test> "+params, want)
		if want == "250" {
			wantCommands(t, b, "EHLO client.test", "MAIL FROM:<a@b.test> "+params)
		} else {
			if got := b.Commands(); len(got) > 1 {
				t.Errorf("%s: the backend executed %q", params, got)
			}
		}
	}
}

// STANDARDS 53: forwarded as they came.
func TestRecipientParametersAreForwardedVerbatimWhereOffered(t *testing.T) {
	line := "RCPT TO:<c@d.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+40d.test"
	for capability, want := range map[string]string{"DSN": "250", "SIZE": "555 5.5.4"} {
		b, e := one(t, smtptest.Script{Capabilities: []string{capability}})
		c := e.hello()
		c.Do("MAIL FROM:<a@b.test>", "250")
		c.Do(line, want)
		if got := b.Commands(); want == "250" && got[len(got)-1] != line {
			t.Errorf("forwarded %q", got)
		}
	}
}

// STANDARDS 47.
func TestANonASCIIAddressNeedsSMTPUTF8(t *testing.T) {
	_, e := one(t, smtptest.Script{})
	c := e.hello()
	c.Do("MAIL FROM:<ä@b.test>", "550 5.6.7")
	c.Do("MAIL FROM:<a@b.test>", "250")
	c.Do("RCPT TO:<ä@b.test>", "553 5.6.7")
	c.Do("RSET", "250")
	c.Do("MAIL FROM:<ä@b.test> SMTPUTF8", "250")
	c.Do("RCPT TO:<ä@b.test>", "250")
}

// SEM 2: the backend shows a real client less than it showed before.
func TestASessionThatLacksWhatWasOfferedLosesOnlyWhatItCan(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: []string{"SIZE 10000", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING", "AUTH PLAIN", "MT-PRIORITY"}},
		func(p *plan) { p.Networks.AuthPlaintext = p.loopback() })
	b.Play(smtptest.Script{Capabilities: []string{"HELP"}})
	c := e.hello()
	c.Do("AUTH PLAIN dGVzdA==", "454 4.7.0")
	c.Do("MAIL FROM:<a@b.test> SMTPUTF8", "553 5.6.7")
	c.Do("MAIL FROM:<a@b.test> MT-PRIORITY=3", "555")
	c.Do("MAIL FROM:<a@b.test>  SIZE=20  BODY=8BITMIME RET=HDRS ENVID=x", "250")
	c.Do("RCPT TO:<c@d.test> NOTIFY=NEVER", "250")
	c.Send("BDAT 4 LAST\r\n.a\r\n")
	c.Expect("250 2.0.0 queued")
	wantCommands(t, b, "EHLO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA")
	wantMessages(t, b, "..a\r\n")
}

// STANDARDS 57.
func TestEveryReplyOfOursCarriesAnEnhancedCodeOfItsClass(t *testing.T) {
	_, e := one(t, smtptest.Script{})
	c := e.hello()
	for _, line := range []string{"NOOP", "RSET", "DATA", "RCPT TO:<a@b>", "BDAT 0", "XCLIENT a", "WHAT", "RSET x", "MAIL x", "MAIL FROM:<a@b> X=1",
		"AUTH PLAIN", "STARTTLS x", "a\x00b", strings.Repeat("x", 5000), "QUIT"} {
		c.Send(line + "\r\n")
		r := c.Expect("")
		if len(r) < 10 || r[4] != r[0] || r[5] != '.' {
			t.Errorf("%.20q was answered %q", line, r)
		}
	}
}
