package harness

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Gateway describes a postern with one outbound. The zero value of a field
// leaves that line out of the configuration, so that the default is what is
// tested.
type Gateway struct {
	DNS      string // address of the only resolver
	DNSSEC   string // validate | trust-ad | off; off when empty, for a DNS that does not sign
	Anchors  string // file of the trust anchors of DNSSEC; those of the root when empty
	STS      bool   // whether MTA-STS policies are looked for
	Addr     string // to listen on, a free port of 127.0.0.1 when empty
	Also     string // a second address to listen on
	Protocol string // smtp | lmtp
	Route    string // mx | original | smarthost
	Level    string
	MXPort   int
	Roots    string     // PEM file of trusted_roots
	Bolt     string     // path of the state; it is kept in memory when empty
	Sockets  []*os.File // listeners that it is given, as by systemd, instead of its own
	Env      []string   // further variables of its environment, as "NAME=value"
	User     string     // that it runs as, with CAP_NET_RAW alone; root when empty
	Outbound string     // further lines of HCL inside outbound
	Top      string     // further HCL beside it
}

// Start writes the configuration, starts postern and waits until it listens.
func (g Gateway) Start(t testing.TB) *Postern {
	t.Helper()
	Binary(t)
	if g.Addr == "" {
		g.Addr = FreePort(t, "127.0.0.1")
	}
	dir, err := os.MkdirTemp("", "postern-gw-") // short: the path of a socket may have 107 octets
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &Postern{t: t, Addr: g.Addr, Admin: FreePort(t, "127.0.0.1"), config: filepath.Join(dir, "config.hcl"), sockets: g.Sockets, env: g.Env}
	if g.User != "" {
		p.become(&g, dir)
	}
	p.WriteConfig(g.HCL(p))
	if g.User != "" {
		must(t, os.Chmod(p.config, 0o644))
	}
	p.Process = p.launch()
	t.Cleanup(p.finish)
	p.waitListening()
	return p
}

// become has p run as another user, who can read what it needs.
func (p *Postern) become(g *Gateway, dir string) {
	p.as = []string{Tool(p.t, "setpriv"), "--reuid", g.User, "--clear-groups", "--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw", "--bounding-set", "-all,+net_raw"}
	must(p.t, os.Chmod(dir, 0o755))
	chown(p.t, dir, g.User)
	if g.Roots != "" {
		pem, err := os.ReadFile(g.Roots)
		must(p.t, err)
		g.Roots = filepath.Join(dir, "roots.pem")
		write(p.t, g.Roots, string(pem), 0o644)
	}
}

// HCL is the configuration for p as text.
func (g Gateway) HCL(p *Postern) string {
	var b strings.Builder
	fmt.Fprintf(&b, "hostname = \"gw.test\"\n%sadmin {\n  listen = %q\n  socket = %q\n}\nlog {\n  format = \"json\"\n}\n",
		stateBlock(g.Bolt), p.Admin, filepath.Join(filepath.Dir(p.config), "admin.sock"))
	b.WriteString("resolver {\n")
	if g.DNS != "" {
		fmt.Fprintf(&b, "  servers = [%q]\n", g.DNS)
	}
	attribute(&b, "trust_anchors", g.Anchors)
	fmt.Fprintf(&b, "  dnssec = %q\n}\n", cmp.Or(g.DNSSEC, "off"))
	listen := fmt.Sprintf("%q", g.Addr)
	if g.Also != "" {
		listen += fmt.Sprintf(", %q", g.Also)
	}
	fmt.Fprintf(&b, "outbound \"egress\" {\n  listen = [%s]\n  mta_sts = %t\n", listen, g.STS)
	attribute(&b, "protocol", g.Protocol)
	attribute(&b, "route", g.Route)
	attribute(&b, "level", g.Level)
	attribute(&b, "trusted_roots", g.Roots)
	if g.MXPort != 0 {
		fmt.Fprintf(&b, "  mx_port = %d\n", g.MXPort)
	}
	fmt.Fprintf(&b, "%s\n}\n%s\n", g.Outbound, g.Top)
	return b.String()
}

// launch starts the process of p. Sockets are given as sd_listen_fds(3) has it:
// the variables name the process itself.
func (p *Postern) launch() *Process {
	if len(p.sockets) == 0 {
		return StartProcess(p.t, "env", slices.Concat(p.env, p.as, []string{Binary(p.t), "run", "--config", p.config})...)
	}
	const script = `export LISTEN_PID=$$ LISTEN_FDS=$1 LISTEN_FDNAMES=$2; shift 2; exec "$@"`
	names := strings.TrimSuffix(strings.Repeat("egress:", len(p.sockets)), ":")
	return startProcess(p.t, p.sockets, "sh", "-c", script, "sh", fmt.Sprint(len(p.sockets)), names, Binary(p.t), "run", "--config", p.config)
}

func (p *Postern) waitListening() {
	p.t.Helper()
	if !Poll(Deadline, func() bool { return p.Ended() || Listening(p.Addr) && Listening(p.Admin) }) || p.Ended() {
		text, _ := os.ReadFile(p.config)
		p.t.Fatalf("postern did not start with\n%s\nand said\n%s", text, p.Out.String())
	}
}

// Kill ends postern as a power failure does, in the middle of whatever it does.
func (p *Postern) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	if !p.Wait(Deadline) {
		p.t.Fatal("postern outlived SIGKILL")
	}
	p.judge()
}

// Launch starts postern with the same configuration after its end, and does not wait
// until it listens.
func (p *Postern) Launch() {
	p.t.Helper()
	p.Process = p.launch()
}

// StartAgain starts postern with the same configuration after its end.
func (p *Postern) StartAgain() {
	p.t.Helper()
	p.Launch()
	p.waitListening()
}

// judge fails the test for what must not be in the log of a process that has
// ended.
func (p *Postern) judge() {
	p.t.Helper()
	if found := disaster.FindString(p.Out.String()); found != "" {
		p.t.Errorf("postern came to grief (%s):\n%s", found, p.Out.String())
	}
}

// Command runs another command of postern with the same configuration, and
// returns what it wrote and its exit code.
func (p *Postern) Command(args ...string) (string, int) {
	p.t.Helper()
	return Run(p.t, "", Binary(p.t), append(args, "--config", p.config)...)
}

// Delivery is a line of the log about one attempt to deliver.
type Delivery struct {
	Msg, Outbound, Session, Destination, Host, Address string
	TLS, Source, Rule, Peer, Version, Cipher, Clear    string
	Reply, DSN, Cause                                  string
	Reused                                             bool
}

// WaitDeliveries waits until the log tells of so many attempts, which it does a
// moment after the client has its answer, and returns all that there are.
func (p *Postern) WaitDeliveries(n int) []Delivery {
	p.t.Helper()
	Eventually(p.t, fmt.Sprintf("the log tells of %d attempts to deliver", n), func() bool {
		return strings.Count(p.Out.String(), `"msg":"delivery"`) >= n
	})
	return p.Deliveries()
}

// Deliveries are the attempts that the log tells of, in their order.
func (p *Postern) Deliveries() []Delivery {
	var all []Delivery
	for line := range strings.SplitSeq(p.Out.String(), "\n") {
		var d Delivery
		if json.Unmarshal([]byte(line), &d) == nil && d.Msg == "delivery" {
			all = append(all, d)
		}
	}
	return all
}

// Story is what a gateway has done with a message, attempt by attempt: the token for TLS of
// each, and of one that was taken what is thought of the server's certificate, or "clear". A
// destination without a server has none.
func Story(attempts []Delivery) string {
	var all []string
	for _, d := range attempts {
		word := d.TLS
		switch {
		case !strings.HasPrefix(d.Reply, "2"):
		case d.Version == "":
			word += " clear"
		default:
			word += " " + d.Peer
		}
		if word != "" {
			all = append(all, word)
		}
	}
	return strings.Join(all, ", ")
}

// Listener is the address that the outbound of that name listens on, by the log.
func (p *Postern) Listener(outbound string) string {
	p.t.Helper()
	for _, line := range p.Log() {
		if line["msg"] == "outbound is open" && line["outbound"] == outbound {
			return line["listen"].([]any)[0].(string)
		}
	}
	p.t.Fatalf("no outbound %q is open:\n%s", outbound, p.Out.String())
	return ""
}
