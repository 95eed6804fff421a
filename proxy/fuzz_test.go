package proxy

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/smtpwire"
)

// FuzzXtext: whatever a name holds, no attribute can end its word or its line.
func FuzzXtext(f *testing.F) {
	for _, s := range []string{"", "mail.test", "a=b+c", "x\r\nMAIL FROM:<evil>", "\x00\x7f\xff ä"} {
		f.Add(s)
	}
	clean := regexp.MustCompile(`^(?:[!-*,-<>-~]|\+[0-9A-F]{2})*$`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := xtext(s); !clean.MatchString(got) {
			t.Errorf("%q became %q", s, got)
		}
		if got := heloAttribute(s); got != "[UNAVAILABLE]" && !clean.MatchString(got) || len(got) > maxHeloAttribute {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// FuzzTraceName: a client's name cannot end its clause, let alone the header.
func FuzzTraceName(f *testing.F) {
	for _, s := range []string{"", "mail.test", "[192.0.2.1]", "x) by evil (", "x\r\nBcc: evil", strings.Repeat("\xff", 300), "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := traceName(s)
		if len(got) == 0 || len(got) > maxTraceName || strings.ContainsAny(got, "\r\n\x00 ();,\"\\<>\t") || !smtpwire.IsASCII([]byte(got)) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// FuzzProxyHeader: what is read is bounded, what is behind is left alone, and a
// header that is accepted names a client or says that there is none.
func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\n", "PROXY UNKNOWN\r\n", v2('\x21', '\x11', inet), v2('\x21', '\x21', inet6),
		v2('\x20', '\x00', ""), withCRC(0), withCRC(1), "PROXY \r\n", v2('\x21', '\x11', inet+"\x03\x00\x04")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r smtpwire.Reader
		r.Reset(bytes.NewReader(append(bytes.Clone(in), "EHLO behind\r\n"...)))
		client, _, ok, err := readProxyHeader(&r)
		rest, _ := io.ReadAll(readerOf(&r))
		switch {
		case err != nil:
		case ok != client.IsValid():
			t.Errorf("accepted %q as %v %v", in, client, ok)
		case !bytes.HasSuffix(append(bytes.Clone(in), "EHLO behind\r\n"...), rest) || len(rest) > len(in)+13-8:
			t.Errorf("%q left %q", in, rest)
		}
		r.Release()
	})
}

// readerOf reads what a Reader has left.
func readerOf(r *smtpwire.Reader) io.Reader { return oneByOne{r} }

type oneByOne struct{ r *smtpwire.Reader }

func (o oneByOne) Read(p []byte) (int, error) {
	if err := o.r.ReadExact(p[:1]); err != nil {
		return 0, io.EOF
	}
	return 1, nil
}

// proper are the lines that a backend may ever see: commands of the allow-list
// that are one line, of no control octet.
var proper = regexp.MustCompile(`^(?i:EHLO|HELO|MAIL|RCPT|DATA|RSET|NOOP|QUIT|VRFY|EXPN|HELP|ETRN|BDAT|AUTH)(?: [^\r\n\x00]*)?$`)

// FuzzSession: whatever a client sends, a gullible backend executes only
// commands that the client sent as lines of their own outside of messages, and
// gets at most one message for each 354 and each LAST.
func FuzzSession(f *testing.F) {
	const mail = "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
	for _, s := range []string{"", "EHLO c\r\n", mail + "DATA\r\n", "QUIT\r\n", "AUTH PLAIN x\r\n", "NOOP\nRSET\r\n"} {
		f.Add([]byte(s), []byte("x\r\n.\r\n"), false)
	}
	for _, ending := range endings {
		f.Add([]byte(mail), []byte("a"+ending+poison+"\r\n.\r\n"), false)
		f.Add([]byte(mail), []byte("a"+ending+poison+"\r\n.\r\n"), true)
	}
	f.Add([]byte(mail), []byte("BDAT 3\r\na\r\nBDAT 0 LAST\r\nNOOP\r\n"), false)
	f.Add([]byte(mail), []byte("BDAT 60 LAST\r\n"+poison+"\r\n"), true)
	f.Fuzz(func(t *testing.T, commands, data []byte, chunking bool) {
		if len(commands)+len(data) > 1<<14 {
			t.Skip()
		}
		capabilities := []string{"PIPELINING"}
		if chunking {
			capabilities = append(capabilities, "CHUNKING")
		}
		b, e := one(t, smtptest.Script{Capabilities: capabilities})
		conn, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		said := dialogue(conn, "EHLO c\r\n", string(commands), "DATA\r\n", string(data), "\r\n.\r\n")
		e.ended(0)
		for _, k := range b.Conns() {
			k.WaitOver()
		}
		judge(t, b, string(commands)+"\r\n"+string(data), said)
	})
}

// dialogue sends each part once a reply to the one before is there, or does not
// seem to come, and then ends its side. It returns all that was said to it.
func dialogue(conn net.Conn, parts ...string) string {
	var said strings.Builder
	buf := make([]byte, 4096)
	for _, part := range parts {
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := conn.Read(buf)
		said.Write(buf[:n])
		if err != nil && !isTimeout(err) {
			break
		}
		io.WriteString(conn, part)
	}
	conn.SetReadDeadline(time.Now().Add(smtptest.Patience))
	conn.(*net.TCPConn).CloseWrite()
	rest, _ := io.ReadAll(conn)
	said.Write(rest)
	return said.String()
}

func judge(t *testing.T, b *smtptest.Backend, sent, said string) {
	lines := strings.Split(strings.ReplaceAll(sent, "\r\n", "\n"), "\n")
	known := []string{"EHLO c", "DATA", "."}
	for _, line := range b.Commands() {
		chunked := strings.HasPrefix(line, "BDAT ") // sizes are ours
		if !proper.MatchString(line) || !chunked && !slices.Contains(known, line) && !slices.Contains(lines, line) {
			t.Errorf("the backend executed %q", line)
		}
	}
	accepted := strings.Count(said, "queued")
	if n := len(b.Messages()); n != accepted {
		t.Errorf("the backend got %d messages, the client was told of %d", n, accepted)
	}
}
