package proxy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// SEM 36, 38; STANDARDS 21, 25, 37, 175: what is no proper command is refused,
// never forwarded, and the session survives where that is safe.
func TestALineThatIsNoProperCommandIsRefusedAndNeverForwarded(t *testing.T) {
	long := "MAIL FROM:<a@b.test> ENVID=" + strings.Repeat("x", 4096-2-27)
	for _, c := range []struct {
		name, octets, want string
		closes             bool
		cause              Cause
	}{
		{"a bare LF", "NOOP\n", "500 5.5.2", false, CauseBareNewline},
		{"a bare CR", "NOOP\rRSET\r\n", "500 5.5.2", false, CauseBareNewline},
		{"a bare LF and more", "MAIL FROM:<evil@b.test>\nNOOP\r\n", "500 5.5.2", true, CauseBareNewline},
		{"CRCRLF", "NOOP\r\r\n", "500 5.5.2", false, CauseBareNewline},
		{"NUL", "MAIL FROM:<evil@b.test>\x00\r\n", "500 5.5.2", false, CauseNUL},
		{"4097 octets", "x" + long + "\r\n", "500 5.5.2", false, CauseLineTooLong},
		{"12289 octets", strings.Repeat("x", 12287) + "\r\n", "500 5.5.2", false, CauseLineTooLong},
		{"GET", "GET /evil HTTP/1.1\r\n", "554 5.5.1", true, CauseHTTP},
		{"POST and its headers", "POST /evil HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<evil@b.test>\r\n", "554 5.5.1", true, CauseHTTP},
		{"XCLIENT", "XCLIENT ADDR=192.0.2.1 LOGIN=evil\r\n", "550 5.7.0", false, CauseXCLIENT},
		{"XFORWARD", "xforward NAME=evil\r\n", "550 5.7.0", false, CauseXCLIENT},
		{"PROXY v1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "500 5.5.1", false, ""},
		{"LHLO", "LHLO evil.test\r\n", "500 5.5.1", false, ""},
		{"an unknown verb", "EVIL\r\n", "500 5.5.1", false, ""},
		{"a verb with a tab", "MAIL\tFROM:<evil@b.test>\r\n", "500 5.5.1", false, ""},
		{"a control in a path", "MAIL FROM:<evil\x01@b.test>\r\n", "501 5.5.4", false, ""},
		{"no path", "MAIL FROM:\r\n", "501 5.5.4", false, ""},
		{"two paths", "MAIL FROM:<evil@b.test><x@b.test>\r\n", "501 5.5.4", false, ""},
		{"a shell's idea of EHLO", "EHLO evil\x1b[2J\r\n", "501 5.5.4", false, ""},
		{"EHLO without a name", "EHLO\r\n", "501 5.5.4", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{})
			k := e.hello()
			k.Send(c.octets)
			k.Expect(c.want)
			if c.cause != "" {
				e.wantRefused(c.cause)
			}
			if c.closes {
				k.ExpectClose()
			} else {
				deliver(k)
			}
			if all := strings.ToLower(strings.Join(b.Commands(), "\n")); strings.Contains(all, "evil") || strings.Contains(all, "proxy") {
				t.Errorf("executed %q", all)
			}
		})
	}
	b, e := one(t, smtptest.Script{})
	e.hello().Do(long, "250")
	wantCommands(t, b, "EHLO client.test", long)
}

// SEM 39: a line without an end is read for a while, then the connection
// closed, whatever it costs the other side.
func TestAnEndlessLineIsCutOff(t *testing.T) {
	for _, begin := range []func(*edge) *smtptest.Client{(*edge).connect, (*edge).secure} {
		b, e := one(t, smtptest.Script{})
		c := begin(e)
		b.Forget()
		go func() {
			for c.Try(strings.Repeat("x", 8000)) == nil {
			}
		}()
		e.wantRefused(CauseLineTooLong)
		if s := e.ended(0); s.BytesIn > 2<<20 {
			t.Errorf("it read %d octets", s.BytesIn)
		}
		wantCommands(t, b)
	}
}

// STANDARDS 28: addresses are the backend's to judge.
func TestAddressesAreForwardedAsTheyCame(t *testing.T) {
	b, e := one(t, smtptest.Script{})
	c := e.hello()
	mail := `MAIL  From: <"a b\"> c"@b.test>`
	lines := []string{mail, "rcpt to:<@relay.test:c@d.test>", "RCPT TO:<" + strings.Repeat("l", 64) + "@" + strings.Repeat("d.", 120) + "test>"}
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("RCPT TO:<%d@d.test>", i))
	}
	for _, line := range lines {
		c.Do(line, "250")
	}
	wantCommands(t, b, append([]string{"EHLO client.test"}, lines...)...)
}

// STANDARDS 20: what is counted per connection is kept across STARTTLS.
func TestTooManyErrorsCloseTheConnection(t *testing.T) {
	_, e := one(t, smtptest.Script{}, func(p *plan) { p.Limits.Errors = 4 })
	c := e.hello()
	c.Do("EVIL", "500")
	c.Do("EVIL", "500")
	c.StartTLS(e.clientTLS())
	c.Do("EVIL", "500")
	c.Do("DATA", "503", "421 4.7.0")
	c.ExpectClose()
	e.wantRefused(CauseErrors)
}
