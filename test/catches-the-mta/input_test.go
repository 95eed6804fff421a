package catches

import (
	"net"
	"strings"
	"testing"

	"postern/test/harness"
)

// Each ends in one line that names the remedy, and changes nothing.
func TestWhatCannotBeInstalledIsRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	const sidecar = "redirect install --outbound 10025 --inbound 2500 --exempt-uid 998"
	for name, c := range map[string]struct {
		before  string // done in the namespace
		without string // a capability
		command string
		want    []string
	}{
		"no CAP_NET_ADMIN":            {without: "net_admin", command: sidecar, want: []string{"no permission", "CAP_NET_ADMIN", "--cap-add NET_ADMIN"}},
		"no CAP_NET_ADMIN, to remove": {without: "net_admin", command: "redirect remove", want: []string{"no permission", "CAP_NET_ADMIN"}},
		"no CAP_NET_ADMIN for routes": {without: "net_admin", command: "redirect install --transparent 127.0.0.1:25", want: []string{"no permission", "CAP_NET_ADMIN"}},
		"a foreign table": {before: "nft add table inet postern", command: sidecar,
			want: []string{"table inet postern", "not made", "nft delete table inet postern"}},
		"a foreign table with rules": {before: "nft 'add table inet postern; add chain inet postern output { type nat hook output priority -100; }; add rule inet postern output tcp dport 25 redirect to :10025'",
			command: sidecar, want: []string{"table inet postern", "not made"}},
		"a foreign rule among ours": {before: "POSTERN redirect install --inbound 2500; nft insert rule inet postern prerouting tcp dport 26 accept",
			command: sidecar, want: []string{"table inet postern", "not made"}},
		"a foreign table, to remove": {before: "nft add table inet postern", command: "redirect remove", want: []string{"table inet postern", "not made"}},
		"foreign routes": {before: "ip route add local 192.0.2.0/24 dev lo table 2525", command: "redirect install --transparent 127.0.0.1:25",
			want: []string{"routes of somebody else", "192.0.2.0/24", "ip route show table 2525"}},
		"no IPv6, and a backend of it": {before: "sysctl -qw net.ipv6.conf.all.disable_ipv6=1", command: "redirect install --transparent 127.0.0.1:25,[::1]:25",
			want: []string{"no IPv6", "[::1]:25", "sysctl"}},
		"nobody is exempt":  {command: "redirect install --outbound 10025", want: []string{"postern's own", "--exempt-uid"}},
		"nothing to do":     {command: "redirect install", want: []string{"nothing to redirect", "--outbound"}},
		"no networks":       {command: "redirect install --outbound 10025 --tproxy", want: []string{"gateway", "--from"}},
		"one port for two":  {command: "redirect install --outbound 25 --inbound 25 --exempt-uid 1", want: []string{"port 25"}},
		"port 25 to itself": {command: "redirect install --inbound 25", want: []string{"port 25", "already"}},
		"no network":        {command: "redirect install --inbound 2500 --exempt-network example.org", want: []string{"--exempt-network example.org"}},
		"no user":           {command: "redirect install --outbound 10025 --exempt-uid nobody-at-all", want: []string{"--exempt-uid nobody-at-all"}},
		"no mark":           {command: "redirect install --outbound 10025 --exempt-mark 0", want: []string{"--exempt-mark 0"}},
		"no backend":        {command: "redirect install --transparent 0.0.0.0:25", want: []string{"0.0.0.0:25"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := harness.NewNamespace(t)
			if c.before != "" {
				n.Run(strings.ReplaceAll(c.before, "POSTERN", harness.Binary(t)))
			}
			before := shown(n)
			command := append([]string{harness.Binary(t)}, strings.Fields(c.command)...)
			if c.without != "" {
				command = append([]string{harness.Tool(t, "setpriv"), "--bounding-set", "-" + c.without}, command...)
			}
			n.Do(func() {
				out, code := harness.Run(t, "", command[0], command[1:]...)
				if code != 1 {
					t.Errorf("exit code %d", code)
				}
				said(t, out, c.want...)
			})
			if after := shown(n); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// said says that an error is one line that begins with our name, with a remedy behind it at
// most.
func said(t *testing.T, out string, want ...string) {
	t.Helper()
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) > 2 || !strings.HasPrefix(out, "postern: ") {
		t.Errorf("it says\n%s", out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("no %q in\n%s", w, out)
		}
	}
}

// TPROXY takes over what there is: IPv4 alone, where there is nothing else.
func TestWithoutIPv6TPROXYDoesIPv4(t *testing.T) {
	t.Parallel()
	n := harness.NewNamespace(t)
	n.Run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
	n.Do(func() {
		out := postern(t, "redirect", "install", "--outbound", "10025", "--from", "10.0.0.0/8", "--tproxy")
		if !strings.Contains(out, "no IPv6") {
			t.Errorf("it says %q", out)
		}
	})
	if rules := shown(n); strings.Count(rules, "fwmark 0x2525") != 1 {
		t.Errorf("the rules are\n%s", rules)
	}
}

// Two sidecars cannot both have port 25. The second is told, as long as the first runs.
func TestASecondSidecarIsToldOfTheFirst(t *testing.T) {
	t.Parallel()
	n := harness.NewNamespace(t)
	first := func(uid string) []string {
		return []string{"redirect", "install", "--outbound", "10025", "--exempt-uid", uid}
	}
	second := []string{"redirect", "install", "--outbound", "10026", "--exempt-uid", "998"}
	n.Do(func() {
		l, err := net.Listen("tcp", "127.0.0.1:10025")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		postern(t, first("998")...)
		out, code := harness.Run(t, "", harness.Binary(t), second...)
		if code != 1 {
			t.Errorf("exit code %d", code)
		}
		said(t, out, "another postern", "port 10025", "postern redirect remove")
		postern(t, first("997")...) // its own settings may change
		l.Close()
		postern(t, second...) // and when it is gone, so may the port
	})
	if rules := listed(n); !strings.Contains(rules, "redirect to :10026") || strings.Contains(rules, "10025") {
		t.Errorf("the rules are\n%s", rules)
	}
}

// The user that is exempt by default is the one whose socket listens.
func TestTheUserThatIsExemptIsTheOneThatListens(t *testing.T) {
	t.Parallel()
	n := harness.NewNamespace(t)
	n.Do(func() {
		l, err := net.Listen("tcp", "[::1]:10025")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out, code := harness.Run(t, "", harness.Binary(t), "redirect", "install", "--outbound", "10025")
		if code != 1 { // we are root, and so may others be
			t.Errorf("exit code %d", code)
		}
		said(t, out, "belongs to root", "--exempt-uid")
	})
}

// What a process may not do is said by check and at the start, before a client comes.
func TestMissingCapabilitiesAreSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		without, text string
		want          []string
	}{
		"transparent": {"net_raw,-net_admin", inbound("transparent", "127.0.0.1:25"), []string{`inbound "mx": client_address = "transparent"`, "CAP_NET_RAW", "--cap-add NET_RAW"}},
		"mark":        {"net_raw,-net_admin", "mark = 7\n" + inbound("xclient", "127.0.0.1:25"), []string{"mark = 7", "CAP_NET_ADMIN"}},
		"TPROXY": {"net_raw,-net_admin", "outbound \"egress\" {\n  listen = [\"127.0.0.1:10025\"]\n  route = \"original\"\n  transparent = true\n}\n",
			[]string{`outbound "egress": transparent = true`, "CAP_NET_RAW"}},
	} {
		t.Run(name, func(t *testing.T) {
			harness.Root(t)
			file := harness.Config(t, "hostname = \"mx.test\"\nstate \"memory\" {}\n"+c.text)
			for _, command := range []string{"check", "run"} {
				out, code := harness.Run(t, "", harness.Tool(t, "setpriv"), "--bounding-set", "-"+c.without, harness.Binary(t), command, "--config", file)
				if code != 1 {
					t.Errorf("%s: exit code %d", command, code)
				}
				for _, w := range c.want {
					if !strings.Contains(out, w) {
						t.Errorf("%s: no %q in\n%s", command, w, out)
					}
				}
			}
		})
	}
}
