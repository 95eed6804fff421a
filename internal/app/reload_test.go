package app

import (
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"postern/internal/catest"
)

func TestSessionsSurviveAReload(t *testing.T) {
	old, oldBackend := backend(t)
	next, nextBackend := backend(t)
	p := launch(t, inboundHCL("mx", old, "127.0.0.1:0"))
	c := dial(t, p.at(t, "mx"))
	c.envelope()
	address := p.at(t, "mx")

	p.reloadWith(t, inboundHCL("mx", next, "127.0.0.1:0"), "configuration reloaded")
	if p.at(t, "mx") != address {
		t.Errorf("the listener was not kept: %s was %s", p.at(t, "mx"), address)
	}
	dial(t, address).deliver()
	c.do(250, body)
	c.do(221, "QUIT")
	if o, n := oldBackend.Stats().Messages, nextBackend.Stats().Messages; o != 1 || n != 1 {
		t.Errorf("%d messages at the old backend and %d at the new, not one at each", o, n)
	}
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	behind, _ := backend(t)
	taken := must1(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	ca := catest.New(t)
	cert, _ := ca.Files(t, catest.Leaf{})
	_, foreignKey := ca.Files(t, catest.Leaf{})
	for name, c := range map[string]struct {
		text  string
		words []string
	}{
		"a mistake in the text":     {"inbound \"mx\" {\n  lisen = \"\"\n}\n", []string{"mistake in the configuration", "lisen"}},
		"a port in use":             {inboundHCL("mx", behind, taken.Addr().String()), []string{"not reloaded", "in use", "hint=", "ss -ltnp"}},
		"no certificate file":       {certificate("/does/not/exist", "/does/not/exist") + "inbound \"mx\" {\n  listen = [\"127.0.0.1:0\"]\n  backend {\n    address = \"" + behind + "\"\n    client_address = \"none\"\n  }\n}\n", []string{"not reloaded", "does not exist"}},
		"a key that belongs to no.": {certificate(cert, foreignKey) + inboundHCL("mx", behind, "127.0.0.1:0"), []string{"not reloaded", foreignKey}},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
			address := p.at(t, "mx")
			p.reloadWith(t, c.text, c.words...)
			if p.at(t, "mx") != address {
				t.Error("it listens elsewhere")
			}
			dial(t, address).deliver()
		})
	}
}

func certificate(cert, key string) string {
	return "certificate \"c\" {\n  cert_file = \"" + cert + "\"\n  key_file = \"" + key + "\"\n}\n"
}

func TestAConfigurationThatIsGoneChangesNothing(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	p.path = filepath.Join(t.TempDir(), "none.hcl")
	p.reload()
	p.log.await(t, "not reloaded", "no such file")
	dial(t, p.at(t, "mx")).deliver()
}

func TestListenersComeAndGo(t *testing.T) {
	behind, _ := backend(t)
	one, two := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	p := launch(t, inboundHCL("mx", behind, one))
	early := dial(t, one)

	p.reloadWith(t, inboundHCL("mx", behind, one, two), "configuration reloaded", two)
	dial(t, two).deliver()
	dial(t, one).deliver()

	p.reloadWith(t, inboundHCL("mx", behind, two), "configuration reloaded")
	if !refused(one) {
		t.Error("the listener that is gone still takes connections")
	}
	early.deliver()
	dial(t, two).deliver()
}

func TestAListenerChangesHands(t *testing.T) {
	first, firstBackend := backend(t)
	second, secondBackend := backend(t)
	one, two := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	p := launch(t, inboundHCL("a", first, one)+inboundHCL("b", second, two))
	p.reloadWith(t, inboundHCL("a", first, two)+inboundHCL("b", second, one), "configuration reloaded")
	dial(t, one).deliver()
	if secondBackend.Stats().Messages != 1 {
		t.Error("the message was not for the inbound that has the address now")
	}
	dial(t, two).deliver()
	if firstBackend.Stats().Messages != 1 {
		t.Error("the message was not for the inbound that has the address now")
	}
}

// Who waits in a socket that changes hands is served by the new one.
func TestConnectionsThatWaitSurviveTheChange(t *testing.T) {
	address := "127.0.0.1:" + freePort(t)
	old := &listener{Listener: must1(listen(address)), front: "a", address: address}
	waiting := must1(net.Dial("tcp", address))
	defer waiting.Close()
	next := &plan{inbounds: []*inbound{{front: front{name: "b", listen: []string{address}}}}}
	b, err := bind(next, []*listener{old})
	if err != nil {
		t.Fatal(err)
	}
	defer shutAll(b.next)
	shutAll(b.gone)
	must(b.next[0].Listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
	c, err := b.next[0].Accept()
	if err != nil {
		t.Fatalf("the connection is lost: %v", err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != waiting.LocalAddr().String() {
		t.Errorf("accepted %s, not %s", got, waiting.LocalAddr())
	}
}

func TestAWiderAddressTakesThePlaceOfANarrowerOne(t *testing.T) {
	behind, _ := backend(t)
	port := freePort(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:"+port))
	open := dial(t, "127.0.0.1:"+port)
	for _, listen := range []string{"0.0.0.0:" + port, ":" + port, "127.0.0.1:" + port} {
		p.reloadWith(t, inboundHCL("mx", behind, listen), "configuration reloaded")
		dial(t, "127.0.0.1:"+port).deliver()
		if got := len(p.listeners); got != 1 {
			t.Errorf("%d listeners with listen = %q", got, listen)
		}
	}
	open.deliver()
}

func TestAnExchangeThatFailsIsTakenBack(t *testing.T) {
	behind, _ := backend(t)
	port := freePort(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:"+port))
	other := must1(net.Listen("tcp4", "127.0.0.2:"+port))
	defer other.Close()
	p.reloadWith(t, inboundHCL("mx", behind, "0.0.0.0:"+port), "not reloaded", "in use")
	dial(t, "127.0.0.1:"+port).deliver()
}

func TestAnInboundThatIsGoneEndsItsSessionsWithinTheGrace(t *testing.T) {
	behind, sink := backend(t)
	p := launch(t, inboundHCL("a", behind, "127.0.0.1:0")+inboundHCL("b", behind, "127.0.0.1:0"))
	idle, busy := dial(t, p.at(t, "b")), dial(t, p.at(t, "b"))
	busy.envelope()
	p.reloadWith(t, inboundHCL("a", behind, "127.0.0.1:0"), "configuration reloaded")
	idle.expect(421)
	busy.do(250, body)
	busy.expect(421)
	if sink.Stats().Messages != 1 {
		t.Error("the message under way is lost")
	}
	if ok, reasons := p.ready(); slices.Contains(reasons, `inbound "b": no backend answers`) {
		t.Errorf("ready %v: %q", ok, reasons)
	}
}

func TestAnInboundComesBack(t *testing.T) {
	behind, _ := backend(t)
	both := inboundHCL("a", behind, "127.0.0.1:0") + inboundHCL("b", behind, "127.0.0.1:0")
	p := launch(t, both)
	p.reloadWith(t, inboundHCL("a", behind, "127.0.0.1:0"), "configuration reloaded")
	p.reloadWith(t, both, "configuration reloaded")
	dial(t, p.at(t, "b")).deliver()
}

func TestWhatWasLearnedOfBackendsIsKept(t *testing.T) {
	behind, _ := backend(t)
	other, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	before := p.plan.inbound("mx").backends
	p.reloadWith(t, inboundWith("mx", behind, "trace_header = false", "127.0.0.1:0"), "configuration reloaded")
	if p.plan.inbound("mx").backends != before {
		t.Error("the backends were made anew, though nothing about them has changed")
	}
	p.reloadWith(t, inboundHCL("mx", other, "127.0.0.1:0"), "configuration reloaded")
	if p.plan.inbound("mx").backends == before {
		t.Error("the backends were kept, though their address has changed")
	}
}

func TestSelfSignedKeysAreKeptAndFilesAreReadAnew(t *testing.T) {
	behind, _ := backend(t)
	ca := catest.New(t)
	cert, key := ca.Files(t, catest.Leaf{})
	text := certificate(cert, key) + "certificate \"self\" {\n  self_signed = [\"mx.test\"]\n}\n" + inboundWith("mx", behind, `certificates = ["c", "self"]`, "127.0.0.1:0")
	p := launch(t, text)
	file, self := p.plan.sources[0], p.plan.sources[1]
	serial := file.Certificates()[0].Leaf.SerialNumber
	certPEM, keyPEM := catest.PEM(t, ca.Issue(t, catest.Leaf{}))
	catest.Write(t, cert, certPEM)
	catest.Write(t, key, keyPEM)
	p.reloadWith(t, text, "configuration reloaded")
	if p.plan.sources[0].Certificates()[0].Leaf.SerialNumber.Cmp(serial) == 0 {
		t.Error("the file was not read anew")
	}
	if p.plan.sources[1].Source != self.Source {
		t.Error("the self-signed certificate was made anew")
	}
}

func TestWhatNeedsARestartIsNamedAndNotTaken(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	p.write("hostname = \"other.test\"\n" + inMemory + "log {\n  level = \"debug\"\n}\nadmin {\n  listen = \"127.0.0.1:0\"\n}\n" + inboundHCL("mx", behind, "127.0.0.1:0"))
	p.reload()
	for _, what := range []string{"hostname", "admin", "log"} {
		if !lineWith(p.log.String(), []string{"a change of " + what + " needs a restart"}) {
			t.Errorf("%s is not named", what)
		}
	}
	c := dial(t, p.at(t, "mx"))
	if text := c.do(250, "EHLO client.test"); text[:7] != "mx.test" {
		t.Errorf("it calls itself %q", text)
	}
}

func TestWithoutAFileAReloadDoesNothing(t *testing.T) {
	behind, _ := backend(t)
	p := launch(t, inboundHCL("mx", behind, "127.0.0.1:0"))
	p.path = ""
	p.reload()
	p.log.await(t, "nothing to reload")
}
