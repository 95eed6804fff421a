package harness

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// SendmailFolders are what NewSendmail needs unpacked on its machine.
var SendmailFolders = []string{"sendmail", "sendmail-cf"}

const sendmail = "/usr/libexec/sendmail/sendmail"

// sendmailMC is what is written around the lines of a sendmail.mc. Mail for the users a
// and b of client.test and example.org goes into a folder.
const sendmailMC = `divert(-1)
include(` + "`/usr/share/sendmail/cf/m4/cf.m4'" + `)
OSTYPE(` + "`linux'" + `)dnl
define(` + "`LOCAL_MAILER_PATH', `/usr/local/bin/deliver'" + `)dnl
define(` + "`LOCAL_MAILER_ARGS', `deliver $u'" + `)dnl
define(` + "`confQUEUE_LA', `1000'" + `)dnl
define(` + "`confREFUSE_LA', `1000'" + `)dnl
define(` + "`confPID_FILE', `/run/sendmail.pid'" + `)dnl
define(` + "`confDOMAIN_NAME', `mail.example.org'" + `)dnl
LINES
MAILER(` + "`local'" + `)dnl
MAILER(` + "`smtp'" + `)dnl
LOCAL_CONFIG
Cwclient.test example.org
`

// Without a domain behind the name of the machine, Sendmail sleeps for a minute.
const sendmailStart = `
{ echo "127.0.1.1 mail.example.org $(hostname)"; cat /etc/hosts; } >/etc/hosts.new
mv /etc/hosts.new /etc/hosts
printf 'a:x:2001:8::/:/bin/false\nb:x:2002:8::/:/bin/false\n' >>/etc/passwd
printf '#!/bin/sh\numask 022\nf=$(mktemp MAIL/tmp/XXXXXX)\ncat >$f\nchmod 644 $f\nmv $f MAIL/new/\n' >/usr/local/bin/deliver
chmod 755 /usr/local/bin/deliver
mkdir -p /var/spool/mqueue /etc/mail
chmod 700 /var/spool/mqueue
touch /etc/mail/local-host-names /etc/mail/aliases
m4 /etc/mail/sendmail.mc >/etc/mail/sendmail.cf
/usr/libexec/sendmail/sendmail -bi
`

// NewSendmail starts a Sendmail on a machine that has SendmailFolders. The lines are
// those of a sendmail.mc, and make it listen on addr.
func NewSendmail(t testing.TB, m *Machine, addr, lines string) *Sender {
	t.Helper()
	Tool(t, "m4")
	dir := openDir(t)
	s := &Sender{MTA: MTA{Name: "Sendmail", Addr: addr, t: t, log: filepath.Join(dir, "log"), maildir: filepath.Join(dir, "mail")}}
	for _, name := range []string{"mail", "mail/new", "mail/tmp"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		must(t, os.Chmod(filepath.Join(dir, name), 0o777))
	}
	m.Write("/etc/mail/sendmail.mc", strings.Replace(sendmailMC, "LINES", lines, 1))
	m.Run(strings.ReplaceAll(sendmailStart, "MAIL", s.maildir))
	m.Do(func() {
		p := StartProcess(t, sendmail, "-bD", "-X", s.log)
		if !Poll(Deadline, func() bool { return p.Ended() || Listening(addr) }) || p.Ended() {
			t.Fatalf("sendmail did not start: %s\n%s", p.Out.String(), s.Log())
		}
	})
	s.queue = func() []Queued {
		out, _ := m.Shell(sendmail + " -bp")
		return sendmailQueue(out)
	}
	s.flush = func() {
		if out, code := m.Shell(sendmail + " -q"); code != 0 {
			t.Fatalf("sendmail -q: %s", out)
		}
	}
	return s
}

var (
	sendmailReason    = regexp.MustCompile(`^ +\((.*)\)?$`)
	sendmailRecipient = regexp.MustCompile(`^\t+ +<(.+)>$`)
)

// sendmailQueue reads what "sendmail -bp" writes: below each message why it waits, and
// its recipients.
func sendmailQueue(listing string) []Queued {
	var all []Queued
	reason := ""
	for line := range strings.Lines(listing) {
		line = strings.TrimRight(line, "\n")
		if m := sendmailReason.FindStringSubmatch(line); m != nil {
			reason = m[1]
		} else if m := sendmailRecipient.FindStringSubmatch(line); m != nil {
			all = append(all, Queued{m[1], reason})
		} else {
			reason = ""
		}
	}
	return all
}
