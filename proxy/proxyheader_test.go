package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	armon "github.com/armon/go-proxyproto"
	pires "github.com/pires/go-proxyproto"

	"postern/internal/smtptest"
)

func fromBalancers(p *plan) { p.Networks.Proxy = p.loopback() }

// v2 makes a header of version 2 from its parts.
func v2(command, family byte, payload string) string {
	var b bytes.Buffer
	b.Write(pires.SIGV2)
	b.Write([]byte{command, family})
	binary.Write(&b, binary.BigEndian, uint16(len(payload)))
	b.WriteString(payload)
	return b.String()
}

// inet are the addresses of 192.0.2.1:1000 and 192.0.2.2:25.
const inet = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x03\xe8\x00\x19"

const inet6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
	"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x03\xe8\x00\x19"

// withCRC adds the checksum TLV; a wrong one where spoil is not 0.
func withCRC(spoil uint32) string {
	h := []byte(v2('\x21', '\x11', inet+"\x05\x00\x01x\x03\x00\x04\x00\x00\x00\x00\x04\x00\x00"))
	at := len(h) - 3 - 4
	sum := crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli)) + spoil
	binary.BigEndian.PutUint32(h[at:], sum)
	return string(h)
}

// STANDARDS 167 to 170; SEM 11.
func TestAPROXYHeaderSaysWhoTheClientIs(t *testing.T) {
	for name, c := range map[string]struct{ header, want string }{
		"v1 TCP4":            {"PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\n", "192.0.2.1:1000"},
		"v1 TCP6":            {"PROXY TCP6 2001:db8::1 2001:db8::2 1000 25\r\n", "[2001:db8::1]:1000"},
		"v1 UNKNOWN":         {"PROXY UNKNOWN\r\n", ""},
		"v1 UNKNOWN longer":  {"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""},
		"v2 TCP4":            {v2('\x21', '\x11', inet), "192.0.2.1:1000"},
		"v2 TCP6":            {v2('\x21', '\x21', inet6), "[2001:db8::1]:1000"},
		"v2 with TLVs":       {v2('\x21', '\x11', inet+"\x04\x00\x02\x00\x00\xe0\x00\x01x"), "192.0.2.1:1000"},
		"v2 with a CRC":      {withCRC(0), "192.0.2.1:1000"},
		"v2 LOCAL":           {v2('\x20', '\x00', ""), ""},
		"v2 LOCAL with TCP4": {v2('\x20', '\x11', inet), ""},
		"v2 LOCAL with TLVs": {v2('\x20', '\x00', "\x04\x00\x01\x00"), ""},
	} {
		for _, split := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				_, e := one(t, smtptest.Script{}, fromBalancers)
				k := smtptest.Dial(t, e.addr)
				if split {
					for _, octet := range []byte(c.header) {
						k.Send(string([]byte{octet}))
					}
				} else {
					k.Send(c.header)
				}
				k.Expect("220")
				k.Do("EHLO client.test", "250")
				k.Do("QUIT", "221")
				log := e.logged("outcome=quit")
				want := c.want
				if want == "" {
					want = k.Conn.LocalAddr().String()
				}
				if !strings.Contains(log, "client="+want) && !strings.Contains(log, `client="`+want) || strings.Contains(log, "via=") != (c.want != "") {
					t.Errorf("the log says %s, want client %s", log, want)
				}
				if strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
					t.Errorf("the log says %s", log)
				}
			})
		}
	}
}

// STANDARDS 168 to 170: nothing is sent, the connection is closed.
func TestADefectivePROXYHeaderIsClosedWithoutAWord(t *testing.T) {
	for name, header := range map[string]string{
		"none":                    "EHLO client.test\r\n",
		"a TLS hello":             "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xxxxxx",
		"in lower case":           "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"v1, LF alone":            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
		"v1, a bare CR":           "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rEHLO x\r\n",
		"v1, two spaces":          "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"v1, a word too many":     "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
		"v1, a word too few":      "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
		"v1, a leading zero":      "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
		"v1, a zero in a quad":    "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
		"v1, a port too large":    "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
		"v1, a signed port":       "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
		"v1, IPv6 as TCP4":        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
		"v1, IPv4 as TCP6":        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
		"v1, UDP4":                "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"v1, a name":              "PROXY TCP4 localhost 192.0.2.2 1 2\r\n",
		"v1, 108 octets":          "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n",
		"v1, endless":             "PROXY " + strings.Repeat("x", 60000),
		"v2, version 1":           v2('\x11', '\x11', inet),
		"v2, an unknown command":  v2('\x22', '\x11', inet),
		"v2, an unknown family":   v2('\x21', '\x41', inet),
		"v2, UDP":                 v2('\x21', '\x12', inet),
		"v2, unspecified":         v2('\x21', '\x00', ""),
		"v2, a unix socket":       v2('\x21', '\x31', strings.Repeat("x", 216)),
		"v2, too short":           v2('\x21', '\x11', inet[:11]),
		"v2, a TLV cut off":       v2('\x21', '\x11', inet+"\x04\x00\x09x"),
		"v2, 4097 octets":         v2('\x21', '\x11', inet+"\x04\x0f\xf2"+strings.Repeat("\x00", 4097-15)),
		"v2, a wrong checksum":    withCRC(1),
		"v2, a checksum too long": v2('\x21', '\x11', inet+"\x03\x00\x05\x00\x00\x00\x00\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{}, fromBalancers)
			c := smtptest.Dial(t, e.addr)
			c.Send(header)
			if r, err := c.Reply(); err == nil || r != "" {
				t.Errorf("it said %q", r)
			}
			c.Close()
			e.wantRefused(CauseProxyHeader)
			if s := e.ended(0); s.BytesOut != 0 || s.Cause != CauseProxyHeader {
				t.Errorf("ended as %+v", s)
			}
			wantCommands(t, b)
		})
	}
}

// SEM 11: a health check is no refusal, and no line of a log that tells of mail.
func TestAHealthCheckIsNothingToTell(t *testing.T) {
	for name, check := range map[string]func(*smtptest.Client){
		"connect and leave": func(c *smtptest.Client) { c.Close() },
		"connect and reset": func(c *smtptest.Client) {
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Close()
		},
		"LOCAL and leave": func(c *smtptest.Client) {
			c.Send(v2('\x20', '\x00', ""))
			c.Expect("220")
			c.Close()
		},
		"UNKNOWN, EHLO and QUIT": checked(func(*smtptest.Client) string { return "PROXY UNKNOWN\r\n" }),
		"itself, EHLO and QUIT": checked(func(c *smtptest.Client) string {
			local, remote := c.Conn.LocalAddr().(*net.TCPAddr), c.Conn.RemoteAddr().(*net.TCPAddr)
			return fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", local.IP, remote.IP, local.Port, remote.Port)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{}, fromBalancers)
			check(smtptest.Dial(t, e.addr))
			if s := e.ended(0); s.Cause != "" && s.Cause != CauseClientGone {
				t.Errorf("ended as %+v", s)
			}
			if log := e.logged("msg=session"); !strings.Contains(log, "level=DEBUG msg=session") {
				t.Errorf("the log says %s", log)
			}
			if len(e.watch.refused) != 0 {
				t.Errorf("refused for %v", e.watch.refused)
			}
			wantCommands(t, b)
		})
	}
}

// checked is a health check with SMTP behind a header.
func checked(header func(*smtptest.Client) string) func(*smtptest.Client) {
	return func(c *smtptest.Client) {
		c.Send(header(c))
		c.Expect("220")
		c.Do("EHLO balancer.test", "250")
		c.Do("QUIT", "221")
	}
}

// A balancer that announces itself and then is refused, or sends mail, is told of.
func TestWhatABalancerSendsOfItsOwnIsTold(t *testing.T) {
	_, e := one(t, smtptest.Script{}, fromBalancers)
	c := smtptest.Dial(t, e.addr)
	c.Send("PROXY UNKNOWN\r\n")
	c.Expect("220")
	c.Do("GARBAGE", "500")
	c.Do("QUIT", "221")
	if log := e.logged("msg=session"); !strings.Contains(log, "level=INFO msg=session") {
		t.Errorf("the log says %s", log)
	}
}

// STANDARDS 172: an AWS NLB waits for the client, which waits for us.
func TestALateHeaderIsLoggedWithTheRemedy(t *testing.T) {
	_, e := one(t, smtptest.Script{}, fromBalancers, func(p *plan) { p.Timeouts.Proxy = short })
	c := smtptest.Dial(t, e.addr)
	c.ExpectClose()
	c.Close()
	e.wantRefused(CauseProxyHeader)
	if log := e.logged("outcome=proxy_header"); !strings.Contains(log, "on_first_ack") || !strings.Contains(log, "within 60ms") {
		t.Errorf("the log says %s", log)
	}
}

// STANDARDS 171.
func TestAPROXYHeaderPrecedesImplicitTLS(t *testing.T) {
	b, e := one(t, smtptest.Script{}, fromBalancers, mode(TLSImplicit), trace)
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := smtptest.Over(t, &glued{Conn: conn, ahead: "PROXY TCP4 192.0.2.1 192.0.2.2 1000 465\r\n"})
	if err := c.Handshake(e.clientTLS()); err != nil {
		t.Fatal(err)
	}
	c.Expect("220")
	c.Do("EHLO client.test", "250")
	deliver(c)
	if got := b.Messages()[0]; !strings.Contains(got, "from client.test ([192.0.2.1])") {
		t.Errorf("the trace header is %q", got)
	}
}

// glued sends something in one write with what is written first.
type glued struct {
	net.Conn
	ahead string
}

func (g *glued) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(append([]byte(g.ahead), p...))
	n -= len(g.ahead)
	g.ahead = ""
	return n, err
}

// STANDARDS 166; SEM 11: from a stranger it is an unknown command, or early talk.
func TestAPROXYHeaderFromAStrangerIsNotBelieved(t *testing.T) {
	b, e := one(t, smtptest.Script{}, func(p *plan) { p.Networks.Proxy = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, trace)
	c := e.connect()
	c.Do("PROXY TCP4 192.0.2.1 192.0.2.2 1000 25", "500 5.5.1")
	c.Do("EHLO client.test", "250")
	deliver(c)
	if got := b.Messages()[0]; !strings.Contains(got, "([127.0.0.1])") {
		t.Errorf("the trace header is %q", got)
	}
}

// clientOf is a client that comes, through a balancer, from an address.
func (e *edge) clientOf(from, to string) *smtptest.Client {
	c := smtptest.Dial(e.t, e.addr)
	family := "TCP4"
	if strings.Contains(from, ":") {
		family = "TCP6"
	}
	c.Send("PROXY " + family + " " + from + " " + to + " 1000 25\r\n")
	c.Expect("220")
	c.Do("EHLO client.test", "250")
	return c
}

// STANDARDS 173: read by two independent parsers, in one segment of its own.
func TestThePROXYHeaderThatIsSentIsReadByOthers(t *testing.T) {
	for _, c := range []struct{ from, to, v1, v2 string }{
		{"192.0.2.1", "192.0.2.2", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\n", v2('\x21', '\x11', inet)},
		{"2001:db8::1", "2001:db8::2", "PROXY TCP6 2001:db8::1 2001:db8::2 1000 25\r\n", v2('\x21', '\x21', inet6)},
	} {
		for version, want := range map[int]string{1: c.v1, 2: c.v2} {
			how := map[int]Convey{1: ConveyProxyV1, 2: ConveyProxyV2}[version]
			b, e := one(t, smtptest.Script{Proxy: version}, fromBalancers, convey(how))
			k := e.clientOf(c.from, c.to)
			k.Do("MAIL FROM:<a@b.test>", "250")
			k.Do("RSET", "250")
			k.Do("MAIL FROM:<a@b.test>", "250")
			conn := b.Connection(0)
			if conn.Header() != want || conn.Segments()[0] != want {
				t.Errorf("v%d: sent %q, want %q", version, conn.Segments()[0], want)
			}
			if len(b.Conns()) != 1 {
				t.Errorf("v%d: %d connections", version, len(b.Conns()))
			}
			if version == 1 {
				readByArmon(t, want, net.JoinHostPort(c.from, "1000"))
			}
		}
	}
}

// readByArmon reads a header as a backend does that is built on the oldest of
// the Go libraries.
func readByArmon(t *testing.T, header, want string) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go io.WriteString(ours, header+"EHLO x\r\n")
	c := armon.NewConn(theirs, smtptest.Patience)
	if got := c.RemoteAddr().String(); got != want {
		t.Errorf("armon reads %q as %s", header, got)
	}
	rest := make([]byte, 8)
	if _, err := io.ReadFull(c, rest); err != nil || string(rest) != "EHLO x\r\n" {
		t.Errorf("armon leaves %q (%v)", rest, err)
	}
}

// The facts of TLS, against the specification (2.2.6) octet by octet.
func TestAVersion2HeaderTellsTheFactsOfTLS(t *testing.T) {
	b, e := one(t, smtptest.Script{Proxy: 2}, convey(ConveyProxyV2))
	e.secure().Do("MAIL FROM:<a@b.test>", "250")
	header := b.Connection(0).Header()
	sub := "\x21\x00\x07TLSv1.3" + "\x23\x00\x16TLS_AES_128_GCM_SHA256"
	want := "\x20\x00" + string(rune(5+len(sub))) + "\x01\x00\x00\x00\x01" + sub + "\x02\x00\x07mx.test"
	if got := header[16+12:]; got != want {
		t.Errorf("TLVs %q, want %q", got, want)
	}
	h, err := pires.Read(bufioReader(header))
	if err != nil {
		t.Fatal(err)
	}
	if tlvs, err := h.TLVs(); err != nil || len(tlvs) != 2 {
		t.Errorf("pires reads %v (%v)", tlvs, err)
	}
}

// SEM 11: names go first, then all facts; the addresses always stay.
func TestAHeaderStaysWithin536Octets(t *testing.T) {
	at := netip.MustParseAddrPort("[2001:db8::1]:1000")
	who := introduction{client: at, local: at, secured: secured{version: 0x304, suite: 0x1301, verdict: verdictTrusted}}
	for _, c := range []struct {
		name, sni    string
		names, facts bool
	}{
		{"client.test", "mx.test", true, true},
		{strings.Repeat("n", 300), "mx.test", true, true},
		{strings.Repeat("n", 500), "mx.test", false, true},
		{strings.Repeat("n", 70000), strings.Repeat("s", 255), false, true},
	} {
		who.secured.name, who.secured.sni = c.name, c.sni
		p, err := proxyHeader(ConveyProxyV2, who)
		if err != nil || len(p) > maxProxySent || !bytes.HasPrefix(p[16:], at.Addr().AsSlice()) {
			t.Errorf("%d octets (%v)", len(p), err)
			continue
		}
		if got := bytes.Contains(p, []byte(c.name)); got != c.names {
			t.Errorf("a name of %d octets: sent is %v", len(c.name), got)
		}
		if got := bytes.Contains(p, []byte("TLSv1.3")); got != c.facts {
			t.Errorf("the facts: sent is %v", got)
		}
	}
}

// SEM 9: LOCAL and UNKNOWN would make the client one of ours.
func TestAClientWithoutAnAddressIsNeverIntroducedAsOurselves(t *testing.T) {
	for _, how := range []Convey{ConveyProxyV1, ConveyProxyV2} {
		four, six := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::1]:1")
		for _, who := range []introduction{{}, {client: four}, {local: four}, {client: four, local: six}, {client: six, local: four}} {
			if p, err := proxyHeader(how, who); err == nil && (slices.Contains([]byte{'\x20'}, p[12]) || bytes.Contains(p, []byte("UNKNOWN"))) {
				t.Errorf("%+v is introduced with %q", who, p)
			}
		}
	}
}

func bufioReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }
