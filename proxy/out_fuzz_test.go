package proxy

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"postern/internal/smtptest"
)

// outward are the lines that a server may ever see of us.
var outward = regexp.MustCompile(`^(?:EHLO gateway\.test|RSET|QUIT|DATA|(?i:MAIL FROM:|RCPT TO:)[^\r\n\x00]*)$`)

// FuzzOutboundSession: whatever a client sends, a gullible server executes only commands
// that are ours or that the client sent as lines of their own, gets the messages that
// the client is told of, and the client hears replies and nothing else.
func FuzzOutboundSession(f *testing.F) {
	const mail = "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@example.com>\r\n"
	for _, s := range []string{"", "EHLO c\r\n", mail + "DATA\r\n.\r\n", mail + mail, "QUIT\r\n", mail + "RSET\r\n", "HELO c\r\nMAIL FROM:<>\r\n", mail + "RCPT TO:<x@[192.0.2.1]>\r\n",
		mail + "RCPT TO:<x@other.test>\r\n", "MAIL FROM:<a@b.test> SIZE=1 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<\xc3\xa4@b\xc3\xbccher.example>\r\n", "NOOP\nRSET\r\n"} {
		f.Add([]byte(s), []byte("x\r\n.\r\n"))
	}
	for _, ending := range endings {
		f.Add([]byte(mail), []byte("a"+ending+poison+"\r\n.\r\n"))
	}
	f.Add([]byte(mail), []byte("BDAT 3\r\na\r\nBDAT 0 LAST\r\nNOOP\r\n"))
	f.Add([]byte(mail), []byte("BDAT 99999999999999999999\r\nBDAT 5 LAST\r\n"))
	reply := regexp.MustCompile(`^(?:[2-5][0-9][0-9](?:[ -][^\r\n]*)?\r\n)*$`)
	f.Fuzz(func(t *testing.T, commands, data []byte) {
		if len(commands)+len(data) > 1<<14 {
			t.Skip()
		}
		b, e := theDomain(t, smtptest.Script{})
		conn, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		said := dialogue(conn, "EHLO c\r\n", string(commands), "DATA\r\n", string(data), "\r\n.\r\n")
		if !reply.MatchString(said) {
			t.Errorf("the client heard %q", said)
		}
		e.wantNothingLeft()
		b.Stop()
		if n, told := len(b.Messages()), strings.Count(said, "queued"); n != told {
			t.Errorf("it got %d messages, the client was told of %d", n, told)
		}
		for _, line := range b.Commands() {
			if !outward.MatchString(line) {
				t.Errorf("it executed %q", line)
			}
		}
	})
}
