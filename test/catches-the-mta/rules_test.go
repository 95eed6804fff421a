package catches

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/test/harness"
)

// settings are of all kinds of machines.
var settings = map[string]string{
	"a sidecar":             "--outbound 10025 --inbound 2500 --exempt-uid 998",
	"everything is exempt":  "--outbound 10025 --inbound 2500 --exempt-uid 33,postfix --exempt-mark 25,0x80000000 --exempt-network 10.0.0.0/8,10.2.2.0/23,192.0.2.1,fd00::/7,2001:db8::1,0.0.0.0/0,::/0",
	"out alone":             "--outbound 10025 --exempt-mark 7",
	"in alone":              "--inbound 2500 --exempt-network 192.0.2.0/25",
	"a gateway":             "--outbound 10025 --from 10.0.0.0/8,fd00::/8,192.0.2.7",
	"a gateway and an edge": "--outbound 10025 --from 10.0.0.0/8 --inbound 2500",
	"TPROXY":                "--outbound 10025 --from 10.0.0.0/8,fd00::/8 --tproxy --exempt-network 198.51.100.0/24",
	"TPROXY and an edge":    "--outbound 10025 --from 10.0.0.0/8 --tproxy --inbound 2500",
	"backends":              "--transparent 127.0.0.1:25,[::1]:25,10.80.0.2:2525",
	"all at once":           "--outbound 10025 --from 10.0.0.0/8 --tproxy --inbound 2500 --transparent 127.0.0.1:25,[::1]:25",
}

// What is printed is what is installed: nft takes it, shows the same of the kernel's table,
// and ip does the same with the commands.
func TestThePrintedRulesAreTheInstalledOnes(t *testing.T) {
	t.Parallel()
	for name, flags := range settings {
		t.Run(name, func(t *testing.T) {
			arguments := strings.Fields(flags)
			installed, printed := harness.NewNamespace(t), harness.NewNamespace(t)
			var text string
			installed.Do(func() { text = postern(t, append([]string{"redirect", "print"}, arguments...)...) })
			var dry string
			installed.Do(func() { dry = postern(t, append([]string{"redirect", "install", "--dry-run"}, arguments...)...) })
			if dry != text || shown(installed) != shown(harness.NewNamespace(t)) {
				t.Errorf("--dry-run printed\n%s\nor has done something", dry)
			}
			for range 2 { // to install it twice is to install it once
				installed.Do(func() { postern(t, append([]string{"redirect", "install"}, arguments...)...) })
			}
			file := filepath.Join(t.TempDir(), "rules")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			printed.Run("nft -c -f " + file + "; nft -f " + file)
			for _, line := range regexp.MustCompile(`(?m)^# (ip .*)$`).FindAllStringSubmatch(text, -1) {
				printed.Run(line[1])
			}
			if got, want := shown(installed), shown(printed); got != want {
				t.Errorf("installed is\n%s\nand printed\n%s", got, want)
			}
			table, _, _ := strings.Cut(text, "# ")
			if got := listed(installed); got != table {
				t.Errorf("nft shows\n%s\nand printed was\n%s", got, table)
			}
		})
	}
}

// postern runs a command that must succeed, and gives what it wrote.
func postern(t *testing.T, arguments ...string) string {
	t.Helper()
	out, code := harness.Run(t, "", harness.Binary(t), arguments...)
	if code != 0 {
		t.Fatalf("postern %s: %d\n%s", strings.Join(arguments, " "), code, out)
	}
	return out
}

// listed is our table as nft shows it, without what was counted.
func listed(n *harness.Namespace) (out string) {
	n.Do(func() {
		text, code := harness.Run(n.T(), "", harness.Tool(n.T(), "nft"), "-s", "list", "table", "inet", "postern")
		if code == 0 {
			out = text
		}
	})
	return out
}

// shown is all that could be installed.
func shown(n *harness.Namespace) (out string) {
	n.Do(func() {
		for _, command := range []string{"nft -s list ruleset", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all"} {
			text, _ := harness.Run(n.T(), "", "sh", "-c", command)
			out += text
		}
	})
	return out
}

// Install replaces what was there, in one step, and keeps nothing of it.
func TestInstallReplacesWhatWasInstalled(t *testing.T) {
	t.Parallel()
	replaced := harness.NewNamespace(t)
	replaced.Do(func() {
		for _, flags := range settings {
			postern(t, append([]string{"redirect", "install"}, strings.Fields(flags)...)...)
		}
	})
	for _, flags := range []string{"--transparent [::1]:25,[::1]:26,127.0.0.1:25", "--transparent 127.0.0.1:26", "--inbound 2500"} {
		arguments := append([]string{"redirect", "install"}, strings.Fields(flags)...)
		fresh := harness.NewNamespace(t)
		replaced.Do(func() { postern(t, arguments...) })
		fresh.Do(func() { postern(t, arguments...) })
		if got, want := shown(replaced), shown(fresh); got != want {
			t.Errorf("%s: there is\n%s\nand should be\n%s", flags, got, want)
		}
	}
}

// Others' tables, rules and routes are no concern of ours.
func TestWhatOthersHaveStays(t *testing.T) {
	t.Parallel()
	n := harness.NewNamespace(t)
	n.Run(`nft 'add table inet other; add chain inet other c { type nat hook output priority -100; }; add rule inet other c tcp dport 25 counter accept; add table ip postern'
ip rule add from 192.0.2.9 lookup 77 priority 2525
ip route add local 192.0.2.9 dev lo table 77`)
	before := shown(n)
	n.Do(func() {
		postern(t, "redirect", "install", "--inbound", "2500", "--transparent", "127.0.0.1:25")
		postern(t, "redirect", "remove")
	})
	if after := shown(n); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
