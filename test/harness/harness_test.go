package harness_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"postern/test/harness"
)

// The tests below prove the parties of the end-to-end tests without postern,
// so that what fails with it between them is postern's.

func TestPostfixKeepsTheMessage(t *testing.T) {
	t.Parallel()
	deliverTo(t, &harness.NewPostfix(t).MTA)
}

func TestEximKeepsTheMessage(t *testing.T) {
	t.Parallel()
	deliverTo(t, harness.NewExim(t, false))
}

func deliverTo(t *testing.T, mta *harness.MTA) {
	t.Helper()
	message := harness.Message("direct-1") + ".\r\n..\r\nlast line\r\n"
	c := harness.Dial(t, mta.Addr)
	c.Cmd("EHLO client.test", 250)
	c.Deliver(message)
	c.Quit()
	mta.WaitSame("direct-1", message)
}

func TestServersReadTheProxyHeader(t *testing.T) {
	t.Parallel()
	postfix, exim := harness.NewPostfix(t), harness.NewExim(t, true)
	for mta, addr := range map[*harness.MTA]string{&postfix.MTA: postfix.ProxyAddr, exim: exim.Addr} {
		c := harness.Connect(t, addr)
		c.Send("PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n")
		c.Expect(220)
		c.Cmd("EHLO client.test", 250)
		c.Deliver(harness.Message("proxied"))
		c.Quit()
		mta.Wait("<proxied@")
		mta.WaitLog("192.0.2.7")
	}
}

func TestPostfixAllowsXCLIENT(t *testing.T) {
	t.Parallel()
	postfix := harness.NewPostfix(t)
	c := harness.Dial(t, postfix.Addr)
	reply := c.Cmd("EHLO client.test", 250)
	if !strings.Contains(reply, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN") {
		t.Errorf("Postfix offers %q", harness.Capabilities(reply))
	}
}

// A test that shows that no ending of a message was mistaken proves nothing if
// the backend would not have mistaken it.
func TestGullibleBackendBelievesEveryEnding(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\n.\r", "\r.\n", "\r.\r", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\r\n.\r\r\n", "\r\n.\r\n"} {
		t.Run(fmt.Sprintf("%q", ending), func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{Gullible: true})
			c := harness.Dial(t, backend.Addr)
			c.Cmd("EHLO client.test", 250)
			c.Envelope("a@client.test", "b@mx.test")
			c.Send("one" + ending + "MAIL FROM:<smuggled@client.test>\r\n")
			c.Expect(250)
			c.Expect(250)
			if got := backend.Commands(); got[len(got)-1] != "MAIL FROM:<smuggled@client.test>" {
				t.Errorf("saw %q", got)
			}
		})
	}
}

func TestPoliteBackendKeepsOctets(t *testing.T) {
	t.Parallel()
	for name, message := range map[string]string{
		"empty": "", "a dot": ".\r\n", "dots": "..\r\n...\r\n.x\r\n", "bare": "a\n.\nb\r.\rc\r\n", "8-bit": "\xff\x00\x80\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			backend := harness.NewBackend(t, harness.Script{})
			c := harness.Dial(t, backend.Addr)
			c.Cmd("EHLO client.test", 250)
			c.Deliver(message)
			c.Cmd("MAIL FROM:<a@client.test>", 250)
			c.Cmd("RCPT TO:<b@mx.test>", 250)
			half := len(message) / 2
			c.Send(fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", half, message[:half], len(message)-half, message[half:]))
			c.Expect(250)
			c.Expect(250)
			c.Quit()
			got := backend.Messages()
			if len(got) != 2 || string(got[0]) != message || string(got[1]) != message {
				t.Errorf("got %q, want %q twice", got, message)
			}
		})
	}
}

func TestHAProxyTranslatesTheHeader(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{Proxy: true})
	c := harness.Connect(t, harness.NewHAProxy(t, "accept-proxy", backend.Addr, "send-proxy"))
	c.Send("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x00\x19")
	c.Expect(220)
	c.Cmd("NOOP", 250)
	if got := string(backend.Sessions()[0].Proxy); got != "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n" {
		t.Errorf("HAProxy wrote %q", got)
	}
}

func TestNamesAreConfirmedBothWays(t *testing.T) {
	t.Parallel()
	names := harness.NewNames(t, map[string]string{"v4.test": "192.0.2.7", "v6.test": "2001:db8::7"})
	resolver := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("udp", names.Addr)
	}}
	for host, ip := range map[string]string{"v4.test": "192.0.2.7", "v6.test": "2001:db8::7"} {
		found, err := resolver.LookupAddr(t.Context(), ip)
		if err != nil || len(found) != 1 || found[0] != host+"." {
			t.Errorf("PTR of %s: %q %v", ip, found, err)
		}
		addrs, err := resolver.LookupHost(t.Context(), host+".")
		if err != nil || len(addrs) != 1 || addrs[0] != ip {
			t.Errorf("address of %s: %q %v", host, addrs, err)
		}
	}
	if found, err := resolver.LookupAddr(t.Context(), "192.0.2.99"); err == nil {
		t.Errorf("PTR of a stranger: %q", found)
	}
}

// A program at the other end sees segments in separate reads.
func TestSegmentsAreReadOneByOne(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reads := make(chan string, 10)
	go func() {
		defer close(reads)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 100)
		for n := 0; err == nil; n, err = conn.Read(buf) {
			reads <- string(buf[:n])
		}
	}()
	c := harness.Connect(t, l.Addr().String())
	c.Segments("a", "bc", "d")
	c.Close()
	var got []string
	for r := range reads {
		got = append(got, r)
	}
	if strings.Join(got, "|") != "|a|bc|d" {
		t.Errorf("read %q", got)
	}
}
