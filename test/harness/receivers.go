package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Accepting makes a Postfix take the mail of every domain, as a mail exchanger
// of the lab, and say in Received how it came.
const Accepting = "virtual_mailbox_domains = static:any\nsmtpd_tls_received_header = yes"

// NewPostfixMX starts a Postfix that is a mail exchanger of all domains. With
// tls, which may be nil, it offers STARTTLS.
func NewPostfixMX(t testing.TB, addr string, tls *Pair, settings ...string) *MTA {
	t.Helper()
	lines := append([]string{Accepting}, settings...)
	if tls != nil {
		lines = append(lines, "smtpd_tls_security_level = may", "smtpd_tls_cert_file = "+tls.CertFile, "smtpd_tls_key_file = "+tls.KeyFile)
	}
	return &NewPostfixAt(t, addr, lines...).MTA
}

// NewEximMX starts an Exim that is a mail exchanger of all domains, with
// STARTTLS.
func NewEximMX(t testing.TB, addr string, tls Pair) *MTA {
	t.Helper()
	m, _ := startExim(t, addr, func(dir string) string {
		for name, file := range map[string]string{"cert.pem": tls.CertFile, "key.pem": tls.KeyFile} {
			data, err := os.ReadFile(file)
			must(t, err)
			write(t, filepath.Join(dir, name), string(data), 0o644)
		}
		return eximSettings{
			addr: addr,
			main: fmt.Sprintf("tls_advertise_hosts = *\ntls_certificate = %[1]s/cert.pem\ntls_privatekey = %[1]s/key.pem\ndomainlist local_domains = *", dir),
		}.text(dir)
	})
	return m
}

// eximSettings are what the configurations of the lab's Exims differ in.
type eximSettings struct {
	addr, main, routers, transports, retry string
}

func (e eximSettings) text(dir string) string {
	host, port, _ := net.SplitHostPort(e.addr)
	main := override(fmt.Sprintf(`exim_path = %[1]s/exim4
exim_user = Debian-exim
exim_group = Debian-exim
deliver_drop_privilege = true
keep_environment =
spool_directory = %[1]s/spool
log_file_path = %[1]s/log/%%slog
pid_file_path = %[1]s/spool/pid
primary_hostname = client.test
local_interfaces = %[2]s
daemon_smtp_ports = %[3]s
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
smtp_accept_max = 200
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
queue_run_max = 20
smtputf8_advertise_hosts =
bounce_return_body = false
acl_smtp_rcpt = accept
acl_smtp_data = accept
`, dir, host, port), e.main)
	return main + `
begin acl
accept:
  accept

begin routers
inbox:
  driver = accept
  domains = +local_domains
  transport = inbox
` + e.routers + fmt.Sprintf(`
begin transports
inbox:
  driver = appendfile
  maildir_format
  directory = %[1]s/mail
  create_directory
  user = Debian-exim
  group = Debian-exim
`, dir) + e.transports + "\nbegin retry\n" + e.retry + "\n"
}

// NewOpenSMTPDMX starts an OpenSMTPD that is a mail exchanger of all domains. It
// offers no STARTTLS: the keys that its privileged process holds cannot be used
// with the OpenSSL 3 of Debian 12.
func NewOpenSMTPDMX(t testing.TB, addr string) *MTA {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	return startOpenSMTPD(t, addr, func(dir string) string {
		return fmt.Sprintf(`table everybody { "@" = "nobody" }
listen on %s port %s hostname mx.test
action "inbox" maildir "%s/mail" virtual <everybody>
match from any for any action "inbox"
`, host, port, dir)
	})
}

// startOpenSMTPD starts an OpenSMTPD. All its paths are compiled into it, so it
// runs in a mount namespace of its own, where they lead into its folder.
func startOpenSMTPD(t testing.TB, addr string, config func(dir string) string) *MTA {
	t.Helper()
	Root(t)
	unpacked := filepath.Dir(filepath.Dir(filepath.Dir(Cached(t, "opensmtpd/usr/sbin/smtpd"))))
	unshare := Tool(t, "unshare")
	dir := openDir(t)
	m := &MTA{Name: "OpenSMTPD", Addr: addr, t: t, log: filepath.Join(dir, "log"), maildir: filepath.Join(dir, "mail")}
	must(t, os.Mkdir(m.maildir, 0o755))
	chown(t, m.maildir, "nobody")
	text := config(dir)
	write(t, filepath.Join(dir, "smtpd.conf"), text, 0o600)
	process := StartProcess(t, unshare, "--mount", "sh", "-c", openSMTPDStart, "smtpd", unpacked, dir)
	if !Poll(Deadline, func() bool { return process.Ended() || Listening(addr) }) || process.Ended() {
		said := process.Out.String()
		if strings.Contains(said, "mount: ") || strings.Contains(said, "unshare: ") {
			Skip(t, "OpenSMTPD has no mount namespace: %s", said)
		}
		t.Fatalf("OpenSMTPD did not start with\n%s\n%s%s", text, said, m.Log())
	}
	return m
}

// openSMTPDStart makes the namespace. The users that OpenSMTPD has compiled in
// exist there alone.
const openSMTPDStart = `set -eu
unpacked=$1 dir=$2
mkdir -p $dir/etc $dir/run $dir/libexec $dir/lib/opensmtpd/empty $dir/spool/smtpd
chmod 711 $dir/spool/smtpd
cp -a $unpacked/usr/libexec/opensmtpd $dir/libexec/
grep -v '^opensmtp' /etc/passwd >$dir/etc/passwd
grep -v '^opensmtp' /etc/group >$dir/etc/group
for user in opensmtpd:60981 opensmtpq:60982; do
	echo "${user%:*}:x:${user#*:}:${user#*:}::/var/lib/opensmtpd/empty:/bin/false" >>$dir/etc/passwd
	echo "${user%:*}:x:${user#*:}:" >>$dir/etc/group
done
# smtpctl has to be setgid to the group of the queue, wherever it is.
mkdir $dir/bin
cp $unpacked/usr/sbin/smtpctl $dir/bin/
chgrp 60982 $dir/bin/smtpctl
chmod 2755 $dir/bin/smtpctl
mount --make-rprivate /
mount --bind $dir/etc/passwd /etc/passwd
mount --bind $dir/etc/group /etc/group
mount --bind $dir/run "$(readlink -f /var/run)"
mount --bind $dir/libexec /usr/libexec
mount --bind $dir/lib /var/lib
mount --bind $dir/spool /var/spool
exec $unpacked/usr/sbin/smtpd -d -f $dir/smtpd.conf >$dir/log 2>&1
`
