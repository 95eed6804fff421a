package catches

import (
	"strings"
	"testing"

	"postern/test/harness"
)

func TestMailLeavesByVerifiedTLSThoughTheMailServerSpokePlaintext(t *testing.T) {
	t.Parallel()
	p := newPod(t, "")
	p.must("redirect", "install", "--outbound", "10025")
	for domain, server := range map[string]string{"four.test": "mx.four.test[10.79.0.11]:25", "six.test": "mx.six.test[fd79::12]:25"} {
		p.send("out-"+domain, domain)
		if p.arrived("out-"+domain, domain).Secured() == nil {
			t.Errorf("%s got its message in clear", domain)
		}
		p.mta.WaitLog("relay="+server, "status=sent")
	}
	for _, d := range p.postern.WaitDeliveries(2) {
		if d.TLS != "verify" || d.Peer != "Verified" {
			t.Errorf("delivered as %+v", d)
		}
	}
	if log := p.mta.Log(); strings.Contains(log, "TLS") {
		t.Errorf("the mail server knows of TLS:\n%s", log)
	}
	if n := counter(t, p.inside, "postern", `tcp dport 25 counter packets (\d+) bytes \d+ redirect to :10025`); n != 2 {
		t.Errorf("%d connections were counted, not 2", n)
	}
	if n := counter(t, p.inside, "postern", `meta skuid 65534 counter packets (\d+)`); n != 2 {
		t.Errorf("%d connections of postern itself were counted, not 2", n)
	}
}

// Fail closed: with postern gone the kernel refuses what it had redirected.
func TestNothingLeavesWhilePosternIsDead(t *testing.T) {
	t.Parallel()
	p := newPod(t, "")
	p.must("redirect", "install", "--outbound", "10025")
	p.postern.Kill()
	before := p.sniffed()
	for _, domain := range []string{"four.test", "six.test"} {
		p.send("dead-"+domain, domain)
		if reason := p.waits(domain); !strings.Contains(reason, "Connection refused") {
			t.Errorf("%s waits because of %q", domain, reason)
		}
	}
	if after := p.sniffed(); after != before {
		t.Errorf("%d packets have left", after-before)
	}
	p.inside.Do(p.postern.StartAgain)
	for _, domain := range []string{"four.test", "six.test"} {
		p.inside.Do(func() { p.mta.Flush() })
		if p.arrived("dead-"+domain, domain).Secured() == nil {
			t.Errorf("%s got its message in clear", domain)
		}
	}
}

// The kernel keeps nothing back: what is in its tables is as it was.
func TestRemovedItIsAsItWas(t *testing.T) {
	t.Parallel()
	p := newPod(t, "")
	before := shown(p.inside)
	p.must("redirect", "install", "--outbound", "10025", "--inbound", "2500", "--transparent", "127.0.0.1:25,[::1]:25")
	if shown(p.inside) == before {
		t.Fatal("nothing was installed")
	}
	p.must("redirect", "remove")
	if after := shown(p.inside); after != before {
		t.Errorf("the kernel had\n%s\nand has\n%s", before, after)
	}
	p.send("removed", "four.test")
	if p.arrived("removed", "four.test").Secured() != nil {
		t.Error("the message came by TLS, which the mail server does not have")
	}
	if out := p.must("redirect", "remove"); !strings.Contains(out, "nothing was installed") {
		t.Errorf("a second removal says %q", out)
	}
}

// SEM 24: a redirect that catches postern itself is found by postern, and said.
func TestALoopIsFoundAndSaid(t *testing.T) {
	t.Parallel()
	p := newPod(t, "")
	p.must("redirect", "install", "--outbound", "10025", "--exempt-uid", "12345")
	p.send("loop", "four.test")
	if reason := p.waits("four.test"); !strings.Contains(reason, "4.4.") {
		t.Errorf("it waits because of %q", reason)
	}
	p.postern.WaitLog(`"level":"ERROR"`, "exempt the user that postern runs as")
	if n := len(p.servers["four.test"].Conns()); n != 0 {
		t.Errorf("%d connections have left", n)
	}
	p.must("redirect", "install", "--outbound", "10025")
	p.send("straight", "six.test")
	p.arrived("straight", "six.test")
}

// The mark stands in for the user where both programs run as the same one.
func TestAMarkExemptsPosternToo(t *testing.T) {
	t.Parallel()
	p := newPod(t, "mark = 25\n")
	p.must("redirect", "install", "--outbound", "10025", "--exempt-mark", "25")
	p.send("marked", "four.test")
	if p.arrived("marked", "four.test").Secured() == nil {
		t.Error("it came in clear")
	}
	if n := counter(t, p.inside, "postern", `meta mark 0x00000019 counter packets (\d+)`); n != 1 {
		t.Errorf("%d connections with the mark were counted, not 1", n)
	}
}

func TestExemptNetworksAreLeftAlone(t *testing.T) {
	t.Parallel()
	p := newPod(t, "")
	p.must("redirect", "install", "--outbound", "10025", "--exempt-network", "10.79.0.11,fd79::/64")
	for _, domain := range []string{"four.test", "six.test"} {
		p.send("exempt-"+domain, domain)
		if p.arrived("exempt-"+domain, domain).Secured() != nil {
			t.Errorf("mail for %s was redirected", domain)
		}
	}
}

func TestTheMachinesOwnAddressesAreLeftAlone(t *testing.T) {
	t.Parallel()
	p := newPod(t, "")
	p.must("redirect", "install", "--outbound", "10025", "--inbound", "2500")
	p.inside.Do(func() {
		for _, ip := range []string{"127.0.0.1", "[::1]", podIPv4, "[" + podIPv6 + "]"} {
			c := harness.Dial(t, ip+":25")
			if !strings.Contains(c.Greeting, "Postfix") {
				t.Errorf("%s greets with %q", ip, c.Greeting)
			}
			c.Close()
		}
	})
}
