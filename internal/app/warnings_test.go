package app

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/config"
	"postern/internal/catest"
)

func TestTooFewFilesForTheSessionsIsWarnedOf(t *testing.T) {
	a, b := config.DefaultInbound("a"), config.DefaultOutbound("b")
	a.Limits.Connections, b.Limits.Connections = 100, 200
	for limit, warned := range map[uint64]bool{699: true, 700: false, 1 << 20: false} {
		got := fileWarnings(&config.Config{Inbounds: []config.Inbound{a}, Outbounds: []config.Outbound{b}}, limit)
		if len(got) > 0 != warned {
			t.Errorf("with %d files: %q", limit, got)
		}
		if warned && !strings.Contains(got[0], "LimitNOFILE=700") {
			t.Errorf("it does not say what to write: %q", got[0])
		}
	}
}

func TestAnAdminPageForStrangersIsWarnedOf(t *testing.T) {
	for address, warned := range map[string]bool{
		"": false, "127.0.0.1:9025": false, "[::1]:9025": false, "10.1.2.3:9025": false, "[fd00::1]:9025": false, "100.64.0.1:1": false,
		"0.0.0.0:9025": true, ":9025": true, "[::]:9025": true, "192.0.2.1:9025": true, "[2001:db8::1]:9025": true,
	} {
		if got := adminWarnings(config.Admin{Listen: address}); len(got) > 0 != warned {
			t.Errorf("%q: %q", address, got)
		}
	}
}

func TestABackendNameWithAPublicAddressIsWarnedOf(t *testing.T) {
	for addrs, warned := range map[string]bool{
		"127.0.0.1": false, "10.0.0.1 fd00::1": false, "::ffff:192.168.1.1": false, "fe80::1%eth0": false,
		"192.0.2.1": true, "10.0.0.1 2001:db8::1": true,
	} {
		var all []netip.Addr
		for text := range strings.FieldsSeq(addrs) {
			all = append(all, netip.MustParseAddr(text))
		}
		if got := publicWarning("mta.test:25", all); got != "" != warned {
			t.Errorf("%s: %q", addrs, got)
		}
	}
	if got := nameWarning(t.Context(), "192.0.2.1:25"); got != "" {
		t.Errorf("an address is config's to warn of, and was looked up: %q", got)
	}
	if got := nameWarning(t.Context(), "localhost:25"); got != "" {
		t.Errorf("localhost: %q", got)
	}
}

func TestCertificatesAreWarnedOfUnlessSelfSignedByUs(t *testing.T) {
	behind, _ := backend(t)
	cert, key := catest.New(t).Files(t, catest.Leaf{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	p := launch(t, certificate(cert, key)+"certificate \"self\" {\n  self_signed = [\"mx.test\"]\n}\n"+inboundHCL("mx", behind, "127.0.0.1:0"))
	p.log.await(t, "level=WARN", "expired")
	if lineWith(p.log.String(), []string{"self-signed"}) {
		t.Errorf("who wrote self_signed knows:\n%s", p.log)
	}
}

func TestWhyAnAddressCannotBeOpenedIsSaidWithTheRemedy(t *testing.T) {
	for err, words := range map[error][]string{
		syscall.EADDRINUSE:    {"in use", "ss -ltnp 'sport = :25'"},
		syscall.EACCES:        {"no permission", "setcap", "AmbientCapabilities", "ip_unprivileged_port_start=25"},
		syscall.EADDRNOTAVAIL: {"does not have the address", "ip address"},
		syscall.EMFILE:        {"cannot listen on 192.0.2.1:25"},
	} {
		wrapped := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", err)}
		got := cannotListen("192.0.2.1:25", wrapped)
		text := got.Error() + "\n" + Hint(got)
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%v: %q is not in %q", err, w, text)
			}
		}
	}
}

func TestBothFamiliesCanHaveTheSamePort(t *testing.T) {
	port := freePort(t)
	four, err := listen("0.0.0.0:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer four.Close()
	six, err := listen("[::]:" + port)
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	six.Close()
}

func TestAnEmptyHostIsBothFamilies(t *testing.T) {
	l, err := listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if refused("127.0.0.1:" + port) {
		t.Error("not on IPv4")
	}
}

func TestCheckKnowsTheAddressesOfThisMachine(t *testing.T) {
	here := []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}, &net.IPNet{IP: net.ParseIP("2001:db8::1"), Mask: net.CIDRMask(64, 128)}}
	for address, known := range map[string]bool{
		"0.0.0.0": true, "::": true, "127.9.9.9": true, "192.0.2.1": true, "2001:db8::1": true, "192.0.2.2": false, "2001:db8::2": false,
	} {
		if onThisMachine(netip.MustParseAddr(address), here) != known {
			t.Errorf("%s: not %v", address, known)
		}
	}
}

func TestTicketsAreOffOnPort25AndOnElsewhere(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		listen  []string
		sockets []int
		written *bool
		want    bool
	}{
		"submission":            {[]string{"0.0.0.0:587"}, nil, nil, true},
		"mail exchanger":        {[]string{"0.0.0.0:25"}, nil, nil, false},
		"one of several":        {[]string{"0.0.0.0:587", "[::]:25"}, nil, nil, false},
		"a socket of systemd's": {[]string{"0.0.0.0:2525"}, []int{25}, nil, false},
		"written on":            {[]string{"0.0.0.0:25"}, nil, &yes, true},
		"written off":           {[]string{"0.0.0.0:587"}, nil, &no, false},
	} {
		in := config.DefaultInbound("mx")
		in.Listen, in.SessionTickets = c.listen, c.written
		if got := sessionTickets(in, c.sockets); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestEverythingThatCannotBeBuiltIsReported(t *testing.T) {
	text := hostname + certificate("/no/cert", "/no/key") + "certificate \"d\" {\n  cert_file = \"/no/d\"\n  key_file = \"/no/d\"\n}\n"
	for _, name := range []string{"x", "y"} {
		text += fmt.Sprintf("inbound %q {\n  listen = [\"127.0.0.1:0\"]\n  client_certificates = \"request\"\n  client_roots = \"/no/roots-%s\"\n"+
			"  backend {\n    address = \"127.0.0.1:1\"\n    client_address = \"none\"\n  }\n}\n", name, name)
	}
	_, err := start(must1(config.Parse([]byte(text), "config.hcl")), startOptions{log: newJournal()})
	all := Errors(err)
	if len(all) != 4 {
		t.Fatalf("%d errors: %v", len(all), err)
	}
	for i, word := range []string{"/no/cert", "/no/d", "/no/roots-x", "/no/roots-y"} {
		if !strings.Contains(all[i].Error(), word) {
			t.Errorf("%q is not in %q", word, all[i])
		}
	}
	if Hint(all[2]) == "" {
		t.Error("the hint was lost")
	}
}

func TestThereAreAsManyPlacesAsFilesForThem(t *testing.T) {
	for files, want := range map[uint64]int{22100: 11000, 102: 1, 12: 1, 0: 1} {
		if got := places(files); got != want {
			t.Errorf("%d files: %d places", files, got)
		}
	}
}

func TestCheckTellsOfListenersThatCannotBeOpened(t *testing.T) {
	in, out := config.DefaultInbound("mx"), config.DefaultOutbound("egress")
	in.Listen, out.Listen = []string{"192.0.2.7:2525", "127.0.0.1:2525"}, []string{"192.0.2.8:10025", "127.0.0.1:10025"}
	got := listenWarnings(&config.Config{Inbounds: []config.Inbound{in}, Outbounds: []config.Outbound{out}})
	if len(got) != 2 || !strings.HasPrefix(got[0], `inbound "mx": this machine does not have the address of 192.0.2.7:2525`) ||
		!strings.HasPrefix(got[1], `outbound "egress": this machine does not have the address of 192.0.2.8:10025`) {
		t.Errorf("%q", got)
	}
}
