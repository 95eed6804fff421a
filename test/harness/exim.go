package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// NewExim starts a real Exim that takes mail for mx.test. With proxy it wants a
// PROXY header from loopback.
func NewExim(t testing.TB, proxy bool) *MTA {
	t.Helper()
	addr := FreePort(t, "127.0.0.1")
	m, _ := startExim(t, addr, func(dir string) string { return eximConfig(dir, addr, proxy) })
	return m
}

// startExim starts an Exim whose configuration is made for the folder that it
// works in.
func startExim(t testing.TB, addr string, config func(dir string) string) (*MTA, string) {
	t.Helper()
	Root(t)
	binary := Cached(t, "exim/usr/sbin/exim4")
	dir := openDir(t)
	m := &MTA{
		Name: "Exim", Addr: addr, t: t,
		log: filepath.Join(dir, "log", "mainlog"), maildir: filepath.Join(dir, "mail"),
	}
	for _, name := range []string{"log", "mail", "spool"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		chown(t, filepath.Join(dir, name), "Debian-exim")
	}
	// Exim starts itself again after it has dropped its privileges, so its
	// file must be where everybody can reach it.
	code, err := os.ReadFile(binary)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "exim4"), code, 0o755))
	write(t, filepath.Join(dir, "exim.conf"), config(dir), 0o644)
	process := StartProcess(t, filepath.Join(dir, "exim4"), "-C", filepath.Join(dir, "exim.conf"), "-bdf", "-q10m")
	if !Poll(Deadline, func() bool { return process.Ended() || Listening(m.Addr) }) || process.Ended() {
		t.Fatalf("exim did not start: %s\n%s", process.Out.String(), m.Log())
	}
	return m, dir
}

func eximConfig(dir, addr string, proxy bool) string {
	hosts := ""
	if proxy {
		hosts = "hosts_proxy = 127.0.0.1"
	}
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	return fmt.Sprintf(`exim_path = %[1]s/exim4
exim_user = Debian-exim
exim_group = Debian-exim
deliver_drop_privilege = true
keep_environment =
spool_directory = %[1]s/spool
log_file_path = %[1]s/log/%%slog
pid_file_path = %[1]s/spool/pid
primary_hostname = mx.test
domainlist local_domains = mx.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]s
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
accept_8bitmime = true
smtputf8_advertise_hosts =
log_selector = +proxy +smtp_protocol_error +smtp_connection
acl_smtp_rcpt = accept
acl_smtp_data = accept
%[3]s

begin acl
accept:
  accept

begin routers
inbox:
  driver = accept
  domains = +local_domains
  transport = inbox

begin transports
inbox:
  driver = appendfile
  maildir_format
  directory = %[1]s/mail
  create_directory
  user = Debian-exim
  group = Debian-exim
  delivery_date_add
  envelope_to_add
  return_path_add
`, dir, port, hosts)
}
