package app

import (
	"net/netip"
	"testing"
)

func TestMailForOneOfOurOutboundsIsNoticed(t *testing.T) {
	machine, err := ownAddress4()
	if err != nil {
		machine = "127.0.0.1"
	}
	for _, c := range []struct {
		host, at string // as listened on
		to       string
		ours     bool
	}{
		{"127.0.0.1", "127.0.0.1:25", "127.0.0.1:25", true},
		{"127.0.0.1", "127.0.0.1:25", "127.0.0.1:26", false},
		{"127.0.0.1", "127.0.0.1:25", "127.0.0.2:25", false},
		{"127.0.0.1", "127.0.0.1:25", "[::ffff:127.0.0.1]:25", true},
		{"127.0.0.1", "127.0.0.1:25", "0.0.0.0:25", true}, // which leads to loopback
		{"::1", "[::1]:25", "[::]:25", true},
		{"::1", "[::1]:25", "0.0.0.0:25", false},
		{"0.0.0.0", "0.0.0.0:25", "127.9.9.9:25", true},
		{"0.0.0.0", "0.0.0.0:25", machine + ":25", true},
		{"0.0.0.0", "0.0.0.0:25", "192.0.2.1:25", false},
		{"0.0.0.0", "0.0.0.0:25", "[::1]:25", false},
		{"::", "[::]:25", "[::1]:25", true},
		{"::", "[::]:25", "127.0.0.1:25", false},
		{"", "[::]:25", "127.0.0.1:25", true},
		{"", "[::]:25", "[::1]:25", true},
		{"", "[::]:25", "[2001:db8::1]:25", false},
		{"fe80::1%lo", "[fe80::1%lo]:25", "[fe80::1%eth0]:25", true},
	} {
		var own ownAddresses
		own.set([]ownAddress{ownAddressOf(c.host, netip.MustParseAddrPort(c.at))})
		if got := own.has(netip.MustParseAddrPort(c.to)); got != c.ours {
			t.Errorf("listening on %q as %s, mail to %s: ours %v", c.host, c.at, c.to, got)
		}
	}
	if new(ownAddresses).has(netip.MustParseAddrPort("127.0.0.1:25")) {
		t.Error("something is ours before anything is listened on")
	}
}

func TestOwnAddressesAreThoseOfOutboundsAloneAndFollowAReload(t *testing.T) {
	w := newWorld(t)
	behind, _ := backend(t)
	inboundAt, first, second := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	p := w.begin(t, inMemory+w.resolver()+inboundHCL("mx", behind, inboundAt)+w.outboundAt("egress", first, ""))
	check := func(want map[string]bool) {
		t.Helper()
		for address, ours := range want {
			if p.own.has(netip.MustParseAddrPort(address)) != ours {
				t.Errorf("%s: not %v", address, ours)
			}
		}
	}
	check(map[string]bool{inboundAt: false, first: true, second: false})
	p.write("hostname = \"gw.test\"\n" + inMemory + w.resolver() + w.outboundAt("egress", second, "") + w.outboundAt("other", inboundAt, ""))
	p.reload()
	check(map[string]bool{inboundAt: true, first: false, second: true})
}

func TestMailThatWouldComeBackIsNotSent(t *testing.T) {
	w := newWorld(t)
	w.port = freePort(t)
	w.dns.Set("loop.example. 0 IN MX 10 loop.example.\nloop.example. 0 IN A 127.0.0.1")
	p := w.begin(t, inMemory+w.resolver()+w.outboundAt("egress", "127.0.0.1:"+w.port, ""))
	c := dial(t, p.at(t, "egress"))
	c.do(250, "EHLO mta.test")
	c.do(250, "MAIL FROM:<a@b.test>")
	if err := c.PrintfLine("RCPT TO:<c@loop.example>"); err != nil {
		t.Fatal(err)
	}
	if code, text, _ := c.ReadResponse(0); code < 400 {
		t.Errorf("it is taken: %d %s", code, text)
	}
	p.log.await(t, "cause=loop")
}
