package app

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"postern/internal/catest"
)

func TestMailLeavesOverTLSAndTheMemoryTellsOfIt(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, w.kept()+w.admin()+w.resolver()+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	if len(w.mx.Messages()) != 1 || w.mx.Conns()[0].Secured() == nil {
		t.Fatalf("%d messages arrived, and not over TLS", len(w.mx.Messages()))
	}
	server := "mx.example.com:" + w.port
	beside, err := peersCommand(t, ListPeers, p.file, "", false)
	must(err)
	wantWords(t, "peers list beside it", beside, "NAME", server, "TLS 1.3", "Verified")
	text, _, err := explained(t, ExplainOptions{Domain: "someone@EXAMPLE.com", Config: p.file})
	must(err)
	wantWords(t, "explain beside it", text, "example.com by outbound \"egress\"", server, "127.0.0.2", "level", "may", "TLS has worked in the last 30 days", "a second failure")

	must(p.stop())
	if _, err := os.Stat(w.socket()); !os.IsNotExist(err) {
		t.Errorf("the admin socket is still there: %v", err)
	}
	after, err := peersCommand(t, ListPeers, p.file, "", false)
	must(err)
	if after != beside {
		t.Errorf("peers list without it:\n%s\nbeside it:\n%s", after, beside)
	}
	text, _, err = explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
	must(err)
	wantWords(t, "explain without it", text, server, "127.0.0.2", "TLS has worked in the last 30 days")
}

func TestAnOutboundIsReloadedWhileAMessageIsUnderWay(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, inMemory+w.resolver()+w.outbound(""))
	address := p.at(t, "egress")
	busy := dial(t, address)
	busy.do(250, "EHLO mta.test")
	busy.do(250, "MAIL FROM:<a@b.test>")
	busy.do(250, "RCPT TO:<c@example.com>")
	busy.do(354, "DATA")

	signals, ended := p.signalled()
	p.write("hostname = \"gw.test\"\n" + inMemory + w.resolver() + w.outbound(`level = "fingerprint"`+"\n  fingerprints = [\"sha256:"+strings.Repeat("00", 32)+"\"]"))
	signals <- syscall.SIGHUP
	p.log.await(t, "configuration reloaded", address)
	busy.do(250, body)
	busy.do(221, "QUIT")
	if len(w.mx.Messages()) != 1 {
		t.Error("the message under way is lost")
	}
	c := dial(t, address)
	c.do(250, "EHLO mta.test")
	c.do(250, "MAIL FROM:<a@b.test>")
	if text := c.do(451, "RCPT TO:<c@example.com>"); !strings.Contains(text, "fingerprint") {
		t.Errorf("the new level does not hold: %q", text)
	}
	c.Close()
	signals <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !refused(address) {
		t.Error("it still listens")
	}
}

func TestAGatewayIsKeptAsLongAsNothingAboutItChanges(t *testing.T) {
	w := newWorld(t)
	begin := inMemory + w.resolver()
	p := w.begin(t, begin+w.outbound(""))
	reload := func(text string) *gateway {
		t.Helper()
		p.write("hostname = \"gw.test\"\n" + text)
		p.reload()
		if !lineWith(p.log.String(), []string{"configuration reloaded"}) {
			t.Fatalf("not reloaded:\n%s", p.log)
		}
		return p.plan.outbound("egress").gateway
	}
	first := p.plan.outbound("egress").gateway
	for what, more := range map[string]string{
		"nothing": "", "limits": "limits {\n connections = 7\n }", "from": `from = ["127.0.0.0/8", "10.0.0.0/8"]`,
		"protocol": `protocol = "lmtp"`, "newlines": `bare_newline = "reject"`, "grace": `shutdown_grace = "1s"`, "dsn": "dsn = true",
	} {
		if reload(begin+w.outbound(more)) != first {
			t.Errorf("a change of %s made another gateway", what)
		}
	}
	before := first
	const to = "destination \"a.test\" {\n level = \"none\"\n }"
	for _, change := range []struct{ what, text string }{
		{"level", begin + w.outbound(`level = "encrypt"`)},
		{"its place in the file", begin + "\n" + w.outbound(`level = "encrypt"`)},
		{"a destination", begin + w.outbound(to)},
		{"the resolver", inMemory + "resolver {\n servers = [\"" + w.dns.Address + "\", \"127.0.0.1:1\"]\n}\n" + w.outbound(to)},
	} {
		next := reload(change.text)
		if next == before {
			t.Errorf("a change of %s did not make another gateway", change.what)
		}
		before = next
	}
	before = reload(begin + w.outbound(""))
	catest.Write(t, w.roots, catest.New(t).PEM())
	next := reload(begin + w.outbound(""))
	if next == before {
		t.Error("other trusted roots did not make another gateway")
	}
	if reload(begin+w.outbound("")) != next {
		t.Error("the same roots, read again, made another gateway")
	}
}

func TestAnOutboundThatIsGoneEndsItsSessions(t *testing.T) {
	w := newWorld(t)
	both := w.outboundAt("a", "127.0.0.1:0", "") + w.outboundAt("b", "127.0.0.1:0", "reuse_idle = \"1h\"")
	p := w.begin(t, inMemory+w.resolver()+both)
	mail(t, p.at(t, "b"), "example.com")
	kept := w.mx.Connection(0)
	if kept.Over() {
		t.Fatal("the connection was not kept")
	}
	idle := dial(t, p.at(t, "b"))
	p.write("hostname = \"gw.test\"\n" + inMemory + w.resolver() + w.outboundAt("a", "127.0.0.1:0", ""))
	p.reload()
	idle.expect(421)
	kept.WaitOver()
	mail(t, p.at(t, "a"), "example.com")
}

func TestAnInboundCanTakeThePlaceOfAnOutbound(t *testing.T) {
	w := newWorld(t)
	behind, sink := backend(t)
	address := "127.0.0.1:" + freePort(t)
	p := w.begin(t, inMemory+w.resolver()+w.outboundAt("mx", address, ""))
	mail(t, address, "example.com")
	p.write("hostname = \"gw.test\"\n" + inMemory + w.resolver() + inboundHCL("mx", behind, address))
	p.reload()
	dial(t, address).deliver()
	if sink.Stats().Messages != 1 || len(w.mx.Messages()) != 1 {
		t.Errorf("%d messages at the backend, %d at the destination", sink.Stats().Messages, len(w.mx.Messages()))
	}
}

func TestOnlyThoseInFromMayUseAnOutbound(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, inMemory+w.resolver()+w.outbound(`from = ["192.0.2.0/24"]`))
	c := must1(net.Dial("tcp", p.at(t, "egress")))
	defer c.Close()
	answer := make([]byte, 3)
	if _, err := c.Read(answer); err != nil || string(answer) != "421" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestRedirectedMailMayComeFromTheHostItself(t *testing.T) {
	w := newWorld(t)
	own, err := ownAddress4()
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		more string
		want string // of the log: being let in, it is told that nobody redirected it
	}{
		{"", "it was not redirected here"},
		{`from = ["127.0.0.0/8"]`, "its address is not in from"},
	} {
		text := strings.Replace(w.outboundAt("egress", "0.0.0.0:0", "route = \"original\"\n  "+c.more), "mx_port = "+w.port, "", 1)
		p := w.begin(t, inMemory+w.resolver()+text)
		_, port, _ := net.SplitHostPort(p.at(t, "egress"))
		conn := must1(net.Dial("tcp", net.JoinHostPort(own, port)))
		p.log.await(t, c.want)
		conn.Close()
		must(p.stop())
	}
}

// ownAddress4 is an IPv4 address of this machine that is not of loopback.
func ownAddress4() (string, error) {
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		if p, bad := netip.ParsePrefix(a.String()); bad == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr().String(), nil
		}
	}
	return "", errors.Join(err, errors.New("this machine has no address but loopback"))
}

func TestDeliveriesAreCounted(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, inMemory+adminPage+w.resolver()+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	eventually(t, "the session is over", func() bool { return p.sessions() == 0 })
	page := "http://" + p.admin.page.Addr().String()
	_, text := get(t, page+"/metrics")
	wantWords(t, "/metrics", text, `postern_deliveries_total{level="may",listener="egress",result="delivered",source="default",trust="verified"} 1`,
		`postern_sessions_total{listener="egress"} 1`, `postern_messages_total{listener="egress",outcome="2xx",secured="false"} 1`)
	if status, text := get(t, page+"/peers"); status != 200 || !strings.Contains(text, "mx.example.com") {
		t.Errorf("/peers: %d %s", status, text)
	}
	if status, _ := get(t, page+"/explain?domain=example.com"); status != 404 {
		t.Errorf("/explain on the page for the network: %d", status)
	}
}

func TestEverythingWrongWithAnOutboundIsReportedOnce(t *testing.T) {
	w := newWorld(t)
	w.roots = "/no/roots"
	file := w.written(t, inMemory+w.resolver()+w.outbound("destination \"a.test\" {\n level = \"verify\"\n }\n destination \"b.test\" {\n trusted_roots = \"/no/others\"\n }"))
	var out bytes.Buffer
	err := Check(context.Background(), CheckOptions{Config: file, Out: &out})
	if !errors.Is(err, ErrReported) {
		t.Error(err)
	}
	for _, root := range []string{"/no/roots", "/no/others"} {
		if n := strings.Count(out.String(), "error: outbound \"egress\": trusted_roots: open "+root); n != 1 {
			t.Errorf("%s is reported %d times:\n%s", root, n, &out)
		}
	}
}
