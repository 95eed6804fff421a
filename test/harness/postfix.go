package harness

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Postfix is a real Postfix with a configuration, queue and log of its own.
type Postfix struct {
	MTA
	ProxyAddr string // of the listener that wants a PROXY header

	config string // folder
}

// NewPostfix starts a Postfix that takes mail for mx.test. XCLIENT is allowed
// from loopback, SMTPUTF8, CHUNKING and DSN are offered, and nothing is
// checked, so that it shows what it was told. Settings are further lines of
// its main.cf.
func NewPostfix(t testing.TB, settings ...string) *Postfix {
	t.Helper()
	return NewPostfixAt(t, FreePort(t, "127.0.0.1"), settings...)
}

// everywhere, with a port behind it, is every address of inet_interfaces, IPv6 too.
const everywhere = "0.0.0.0:"

// NewPostfixAt is NewPostfix on an address; 0.0.0.0 is as the settings say.
func NewPostfixAt(t testing.TB, addr string, settings ...string) *Postfix {
	t.Helper()
	p := newPostfix(t, addr)
	p.ProxyAddr = FreePort(t, "127.0.0.1")
	p.start(fmt.Sprintf("%s inet n - n - - smtpd\n%s inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n", strings.TrimPrefix(p.Addr, everywhere), p.ProxyAddr), settings)
	if !Poll(Deadline, func() bool { return Listening(p.ProxyAddr) }) {
		t.Fatalf("postfix does not listen on %s:\n%s", p.ProxyAddr, p.Log())
	}
	return p
}

// start starts it with the given lines of master.cf for what listens.
func (p *Postfix) start(listeners string, settings []string) {
	t := p.t
	t.Helper()
	Root(t)
	postfix := Tool(t, "postfix")
	p.writeMain(settings)
	p.writeMaster(listeners)
	must(t, os.Chmod(p.config, 0o755))
	process := StartProcess(t, postfix, "-c", p.config, "start-fg")
	t.Cleanup(func() { p.stop(postfix, process) })
	if !Poll(Deadline, func() bool { return process.Ended() || Listening(p.Addr) }) || process.Ended() {
		t.Fatalf("postfix did not start: %s\n%s", process.Out.String(), p.Log())
	}
}

func newPostfix(t testing.TB, addr string) *Postfix {
	t.Helper()
	dir := openDir(t)
	p := &Postfix{config: filepath.Join(dir, "etc"), MTA: MTA{
		Name: "Postfix", Addr: addr, t: t,
		log: filepath.Join(dir, "log"), maildir: filepath.Join(dir, "mail", "inbox"),
	}}
	for _, name := range []string{"etc", "queue", "data", "mail"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	chown(t, filepath.Join(dir, "data"), "postfix")
	chown(t, filepath.Join(dir, "mail"), "nobody")
	return p
}

// stop ends master and its children. start-fg's process is the master.
func (p *Postfix) stop(postfix string, process *Process) {
	_ = exec.Command(postfix, "-c", p.config, "stop").Run()
	process.Wait(Deadline)
}

func (p *Postfix) writeMain(settings []string) {
	dir := filepath.Dir(p.config)
	nobody, err := user.Lookup("nobody")
	must(p.t, err)
	text := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = %[1]s/log
maillog_file_prefixes = /
myhostname = mx.test
mydestination =
mynetworks = 203.0.113.1
inet_interfaces = loopback-only
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_authorized_xclient_hosts = 127.0.0.0/8, [::1]
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
virtual_mailbox_domains = mx.test
virtual_transport = virtual
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:%[2]s
virtual_gid_maps = static:%[3]s
virtual_mailbox_limit = 0
`, dir, nobody.Uid, nobody.Gid)
	write(p.t, filepath.Join(p.config, "main.cf"), override(text, strings.Join(settings, "\n")), 0o644)
}

// override appends settings to text and takes out of it what they set anew,
// which Postfix would warn about in every process.
func override(text, settings string) string {
	var kept []string
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " =")
		if !strings.Contains("\n"+settings, "\n"+name+" =") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "") + settings + "\n"
}

func (p *Postfix) writeMaster(listeners string) {
	text := listeners + `postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
flush unix n - n 1000? 0 flush
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
`
	write(p.t, filepath.Join(p.config, "master.cf"), text, 0o644)
}

func chown(t testing.TB, path, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		Skip(t, "no user %s", name)
	}
	uid, err := strconv.Atoi(u.Uid)
	must(t, err)
	gid, err := strconv.Atoi(u.Gid)
	must(t, err)
	must(t, os.Chown(path, uid, gid))
}
