package proxy

import (
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// sasl is a backend with a LOGIN dialogue: the only lines it accepts are those
// of secret, in this order.
func sasl(secret ...string) smtptest.Script {
	step := -1
	return smtptest.Script{Capabilities: []string{"PIPELINING", "AUTH PLAIN LOGIN EXTERNAL SCRAM-SHA-256 SCRAM-SHA-256-PLUS"},
		Answer: func(_ *smtptest.Conn, phase, line string) string {
			switch {
			case phase == "AUTH" && !strings.HasPrefix(line, "AUTH PLAIN "):
				step = 0
				return "334 VXNlcm5hbWU6"
			case step < 0:
				return ""
			case line == "*":
				step = -1
				return "501 5.7.0 cancelled"
			case line != secret[step]:
				step = -1
				return "535 5.7.8 no"
			}
			if step++; step < len(secret) {
				return "334 UGFzc3dvcmQ6"
			}
			step = -1
			return "235 2.7.0 welcome"
		}}
}

const token = "c2VjcmV0LXRva2Vu"

// STANDARDS 55; SEM 37.
func TestAnAUTHExchangeIsCarriedAsItIsAndNeverLogged(t *testing.T) {
	long := strings.Repeat("QUFB", 3071) + "QQ" // 12286 octets: 12288 with CRLF
	for name, lines := range map[string][][2]string{
		"PLAIN with an initial response": {{"AUTH PLAIN " + token, "235"}},
		"PLAIN, in lower case":           {{"auth plain " + token, "334"}, {token, "235"}},
		"LOGIN":                          {{"AUTH LOGIN", "334"}, {token, "334"}, {token, "235"}},
		"a wrong password":               {{"AUTH LOGIN", "334"}, {"d3Jvbmc=", "535 5.7.8"}, {"AUTH PLAIN " + token, "235"}},
		"cancelled":                      {{"AUTH LOGIN", "334"}, {"*", "501 5.7.0"}, {"AUTH PLAIN " + token, "235"}},
		"a long first line":              {{"AUTH PLAIN " + token + long[:12000], "235"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, sasl(token, token)) // PLAIN in lower case is a dialogue of one more line
			if strings.Contains(name, "lower") {
				b.Play(sasl(token))
			}
			c := e.secure()
			want := ""
			for _, l := range lines {
				c.Do(l[0], l[1])
				want += l[0] + "\r\n"
			}
			if got := b.Connection(0).Octets(); !strings.HasSuffix(got, want) {
				t.Errorf("the backend got %.300q, want %.300q", got, want)
			}
			c.Do("QUIT", "221")
			if log := e.logged("outcome=quit"); strings.Contains(log, token) || strings.Contains(log, "d3Jvbmc") || strings.Contains(log, "AUTH") {
				t.Errorf("the log says %s", log)
			}
		})
	}
	b, e := one(t, sasl(token, long))
	c := e.secure()
	run(c, group{"AUTH LOGIN", []string{"334"}}, group{token, []string{"334"}}, group{long, []string{"235"}})
	if got := b.Connection(0).Commands(); got[len(got)-1] != long {
		t.Error("a line of 12288 octets did not arrive whole")
	}
}

// A broken exchange must not leave its lines in the log either.
func TestABrokenAUTHExchangeClosesAndLogsNothingOfIt(t *testing.T) {
	for name, c := range map[string][2]string{
		"a bare LF":              {token + "\n", "500 5.5.2"},
		"a bare CR":              {token + "\rx\r\n", "500 5.5.2"},
		"a line of 12289 octets": {strings.Repeat("A", 12287) + "\r\n", "500 5.5.2"},
		"a line behind it":       {token + "\r\nNOOP\r\n", "554 5.5.1"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, sasl(token, token))
			k := e.secure()
			k.Do("AUTH LOGIN", "334")
			k.Send(c[0])
			k.Expect(c[1])
			k.ExpectClose()
			k.Close()
			if log := e.logged("outcome="); strings.Contains(log, token) || strings.Contains(log, "AAAA") {
				t.Errorf("the log says %s", log)
			}
			for _, line := range b.Commands()[2:] {
				t.Errorf("executed %.40q", line)
			}
		})
	}
}

func TestABackendThatDiesWithinAnExchangeLeavesNothingInTheLog(t *testing.T) {
	script := sasl(token, token)
	script.Die = token
	answer := script.Answer
	script.Answer = func(c *smtptest.Conn, phase, line string) string {
		if line == token {
			c.Close()
		}
		return answer(c, phase, line)
	}
	_, e := one(t, script)
	c := e.secure()
	c.Do("AUTH LOGIN", "334")
	c.Do(token, "421 4.3.2")
	c.ExpectClose()
	c.Close()
	if log := e.logged("outcome="); strings.Contains(log, token) {
		t.Errorf("the log says %s", log)
	}
}

// STANDARDS 13, 54; SEM 37.
func TestAUTHIsRefusedWhereItHasNoPlace(t *testing.T) {
	b, e := one(t, sasl(token, token))
	c := e.hello()
	c.Do("AUTH PLAIN "+token, "538 5.7.11")
	c.Do("AUTH", "538 5.7.11")
	if len(b.Conns()) != 0 {
		t.Error("AUTH in clear dialled")
	}
	c = e.secure()
	run(c,
		group{"AUTH", []string{"501 5.5.4"}},
		group{"AUTH EXTERNAL =", []string{"504 5.5.4"}},
		group{"AUTH scram-sha-256-plus " + token, []string{"504 5.5.4"}},
		group{"MAIL FROM:<a@b.test>", []string{"250"}},
		group{"AUTH PLAIN " + token, []string{"503 5.5.1"}},
		group{"RSET", []string{"250"}},
		group{"AUTH PLAIN " + token, []string{"235"}},
		group{"AUTH PLAIN " + token, []string{"503 5.5.1"}},
		group{"RSET", []string{"250"}},
		group{"EHLO client.test", []string{"250"}},
		group{"AUTH PLAIN " + token, []string{"503 5.5.1"}}) // STANDARDS 33: RSET keeps AUTH
	n := 0
	for _, line := range b.Commands() {
		if strings.HasPrefix(line, "AUTH") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the backend saw %d AUTH commands: %q", n, b.Commands())
	}
	none, plain := one(t, smtptest.Script{Capabilities: []string{"SIZE"}})
	plain.secure().Do("AUTH PLAIN "+token, "502")
	for _, line := range none.Commands() {
		if strings.HasPrefix(line, "AUTH") {
			t.Error("a backend without AUTH got it")
		}
	}
}

// STANDARDS 13.
func TestAUTHIsOfferedInsideTLSAndToNamedNetworksOnly(t *testing.T) {
	_, e := one(t, sasl())
	c := e.connect()
	if r := c.Do("EHLO client.test", "250"); offers(r, "AUTH") {
		t.Errorf("in clear it offers %q", r)
	}
	c.StartTLS(e.clientTLS())
	if r := c.Do("EHLO client.test", "250"); !strings.Contains(r, "250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n") {
		t.Errorf("inside TLS it offers %q", r)
	}
	_, e = one(t, sasl(token), func(p *plan) { p.Networks.AuthPlaintext = p.loopback() })
	c = e.hello()
	c.Do("AUTH PLAIN "+token, "235")
	deliver(c)
}

// What was authenticated is lost with the backend's connection, so the session
// must not go on as if it were not.
func TestAnAuthenticatedSessionEndsWithItsBackendConnection(t *testing.T) {
	for name, lose := range map[string]func(*smtptest.Client){
		"a refused message": func(c *smtptest.Client) {
			c.Do(envelope, "250", "250", "354")
			c.Send("bare\nLF\r\n.\r\n")
			c.Expect("550 5.5.2")
		},
		"RSET amid chunks": func(c *smtptest.Client) { amidChunks(c); c.Do("RSET", "421 4.3.2") },
		"EHLO amid chunks": func(c *smtptest.Client) { amidChunks(c); c.Do("EHLO client.test", "421 4.3.2") },
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, sasl(token))
			c := e.secure()
			c.Do("AUTH PLAIN "+token, "235")
			lose(c)
			c.ExpectClose()
			wantMessages(t, b)
			if n := len(b.Conns()); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func amidChunks(c *smtptest.Client) {
	c.Do("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>", "250", "250")
	c.Send("BDAT 3\r\na\r\n")
	c.Expect("250")
}
