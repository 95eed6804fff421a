package proxy

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/resolve"
	"postern/smtpwire"
)

// names is a NameLookup with one answer.
type names resolve.ClientName

func (n names) ClientName(context.Context, netip.Addr) resolve.ClientName {
	return resolve.ClientName(n)
}

func told(n NameLookup) func(*plan) {
	return func(p *plan) {
		fromBalancers(p)
		p.backends.Convey, p.backends.Names = ConveyXCLIENT, n
	}
}

const everything = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT REVERSE_NAME"

// STANDARDS 174; SEM 10: and EHLO again, with the client's own name.
func TestXCLIENTTellsTheListedAttributesADDRLast(t *testing.T) {
	found := names{Name: "mail.client.test", Reverse: "rev.client.test", NameStatus: resolve.Found, ReverseStatus: resolve.Found}
	for name, c := range map[string]struct {
		listed, from string
		lookup       NameLookup
		want         string
	}{
		"all": {everything, "192.0.2.1", found, "XCLIENT HELO=client.test PROTO=ESMTP NAME=mail.client.test REVERSE_NAME=rev.client.test" +
			" PORT=1000 DESTADDR=192.0.2.2 DESTPORT=25 ADDR=192.0.2.1"},
		"ADDR alone":         {"XCLIENT ADDR", "192.0.2.1", found, "XCLIENT ADDR=192.0.2.1"},
		"in lower case":      {"xclient name addr", "192.0.2.1", found, "XCLIENT NAME=mail.client.test ADDR=192.0.2.1"},
		"IPv6":               {"XCLIENT ADDR DESTADDR", "2001:db8::1", found, "XCLIENT DESTADDR=IPV6:2001:db8::2 ADDR=IPV6:2001:db8::1"},
		"no name":            {"XCLIENT NAME REVERSE_NAME ADDR", "192.0.2.1", names{NameStatus: resolve.Unavailable, ReverseStatus: resolve.Unavailable}, "XCLIENT NAME=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE] ADDR=192.0.2.1"},
		"a DNS failure":      {"XCLIENT NAME REVERSE_NAME ADDR", "192.0.2.1", names{NameStatus: resolve.TempUnavailable, ReverseStatus: resolve.TempUnavailable}, "XCLIENT NAME=[TEMPUNAVAIL] REVERSE_NAME=[TEMPUNAVAIL] ADDR=192.0.2.1"},
		"nobody looks it up": {"XCLIENT NAME ADDR", "192.0.2.1", nil, "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1"},
		"not confirmed":      {"XCLIENT NAME REVERSE_NAME ADDR", "192.0.2.1", names{Reverse: "r.test", NameStatus: resolve.Unavailable, ReverseStatus: resolve.Found}, "XCLIENT NAME=[UNAVAILABLE] REVERSE_NAME=r.test ADDR=192.0.2.1"},
		"a name with octets": {"XCLIENT NAME ADDR", "192.0.2.1", names{Name: "a=b+c d\r\nMAIL", NameStatus: resolve.Found, ReverseStatus: resolve.Unavailable}, "XCLIENT NAME=a+3Db+2Bc+20d+0D+0AMAIL ADDR=192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{Capabilities: []string{c.listed, "SIZE"}}, told(c.lookup))
			k := e.clientOf(c.from, strings.TrimSuffix(c.from, "1")+"2")
			k.Do("MAIL FROM:<a@b.test>", "250")
			wantCommands(t, b, "EHLO mx.test", c.want, "EHLO client.test", "MAIL FROM:<a@b.test>")
		})
	}
}

// STANDARDS 174.
func TestXCLIENTStaysWithin512OctetsPerCommand(t *testing.T) {
	long := strings.Repeat("n.", 126) + "test"
	b, e := one(t, smtptest.Script{Capabilities: []string{everything}},
		told(names{Name: long, Reverse: long, NameStatus: resolve.Found, ReverseStatus: resolve.Found}))
	c := e.clientOf("192.0.2.1", "192.0.2.2")
	c.Do("EHLO "+strings.Repeat("h", 200), "250")
	c.Do("MAIL FROM:<a@b.test>", "250")
	var sent []string
	for _, line := range b.Commands() {
		if strings.HasPrefix(line, "XCLIENT ") {
			sent = append(sent, line)
		}
		if len(line)+2 > 512 {
			t.Errorf("%d octets: %q", len(line)+2, line)
		}
	}
	if len(sent) < 2 || !strings.HasSuffix(sent[len(sent)-1], " ADDR=192.0.2.1") || strings.Contains(strings.Join(sent[:len(sent)-1], ""), " ADDR=") {
		t.Errorf("sent %q", sent)
	}
	all := strings.Join(sent, " ")
	for _, word := range []string{" NAME=" + long, " REVERSE_NAME=" + long, " HELO=" + strings.Repeat("h", 200)} {
		if !strings.Contains(all, word) {
			t.Errorf("%.30q is missing", word)
		}
	}
}

// SEM 9: fail closed.
func TestAClientThatCannotBeIntroducedIsTurnedAway(t *testing.T) {
	for name, script := range map[string]smtptest.Script{
		"not advertised":      {Capabilities: []string{"SIZE"}},
		"ADDR not listed":     {Capabilities: []string{"XCLIENT NAME HELO"}},
		"advertised by HELO":  {Replies: map[string]string{"EHLO": "502 what?", "HELO": "250-gullible\r\n250 XCLIENT ADDR"}},
		"not authorised":      {Capabilities: []string{"XCLIENT ADDR"}, Replies: map[string]string{"XCLIENT": "550 5.7.0 insufficient authorization"}},
		"not known":           {Capabilities: []string{"XCLIENT ADDR"}, Replies: map[string]string{"XCLIENT": "500 5.5.2 what?"}},
		"not now":             {Capabilities: []string{"XCLIENT ADDR"}, Replies: map[string]string{"XCLIENT": "421 4.3.2 later"}},
		"an odd answer":       {Capabilities: []string{"XCLIENT ADDR"}, Replies: map[string]string{"XCLIENT": "354 go"}},
		"ADDR within a word":  {Capabilities: []string{"XCLIENT DESTADDR"}},
		"within another line": {Capabilities: []string{"X-XCLIENT ADDR"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, script, convey(ConveyXCLIENT))
			c := e.hello()
			c.Do("MAIL FROM:<a@b.test>", "421 4.3.2")
			c.ExpectClose()
			for _, line := range b.Commands() {
				if strings.HasPrefix(line, "MAIL") {
					t.Errorf("executed %q", b.Commands())
				}
			}
		})
	}
}

// SEM 9: a backend that dies in the exchange has not been told who the client is.
func TestABackendThatDiesAtXCLIENTGetsNothingMore(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: []string{"XCLIENT ADDR"}, Die: "XCLIENT"}, convey(ConveyXCLIENT))
	c := e.hello()
	c.Send("MAIL FROM:<a@b.test>\r\n")
	c.Expect("4")
	wantCommands(t, b, "EHLO mx.test", "XCLIENT ADDR=127.0.0.1")
}

// STANDARDS 174: what the backend offers the client counts, not what it offers us.
func TestCapabilitiesAreLearntAgainAfterXCLIENT(t *testing.T) {
	n := 0
	b, e := one(t, smtptest.Script{Capabilities: []string{"XCLIENT ADDR"}}, convey(ConveyXCLIENT))
	b.Play(smtptest.Script{Answer: func(_ *smtptest.Conn, phase, _ string) string {
		if phase != "EHLO" {
			return ""
		}
		if n++; n == 1 {
			return "250-gullible\r\n250-XCLIENT ADDR\r\n250-DSN\r\n250 SIZE 5"
		}
		return "250-gullible\r\n250 SIZE 7000"
	}})
	c := e.secure()
	if r := c.Do("EHLO client.test", "250"); offers(r, "DSN") || !strings.Contains(r, "SIZE 7000") {
		t.Errorf("offered %q", r)
	}
}

// SEM 10: XCLIENT takes the place of a client that says no name.
func TestAClientWithoutANameIsIntroducedToo(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: []string{"XCLIENT ADDR HELO"}}, convey(ConveyXCLIENT))
	e.connect().Do("MAIL FROM:<a@b.test>", "250")
	wantCommands(t, b, "EHLO mx.test", "XCLIENT HELO=[UNAVAILABLE] ADDR=127.0.0.1", "MAIL FROM:<a@b.test>")
}

func TestXCLIENTIsNeverOfferedToClients(t *testing.T) {
	_, e := one(t, smtptest.Script{Capabilities: []string{everything, "XFORWARD NAME ADDR"}}, convey(ConveyXCLIENT))
	c := e.secure()
	if r := c.Do("EHLO client.test", "250"); offers(r, "XCLIENT") || offers(r, "XFORWARD") {
		t.Errorf("offered %q", r)
	}
	if i := slices.IndexFunc(e.b.common.Load().List(), func(c smtpwire.Capability) bool { return c.Keyword == "XCLIENT" }); i < 0 {
		t.Error("the backend does not offer it: this test tests nothing")
	}
}
