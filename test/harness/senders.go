package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Sender is a real mail server that takes mail from the test and sends it to
// postern. Mail for client.test, which bounces are, stays with it: Messages and
// Wait give that.
type Sender struct {
	MTA
	ProxyAddr string // of a Postfix: its listener that wants a PROXY header
	queue     func() []Queued
	flush     func()
}

// Queued is a recipient whose message waits in the queue of a Sender.
type Queued struct {
	Recipient string
	Reason    string // what the last attempt was answered; empty before the first
}

// Submit hands a message to the server, from a@client.test, in the order of the
// recipients.
func (s *Sender) Submit(message string, recipients ...string) {
	s.t.Helper()
	session := s.Open()
	session.Message(message, recipients...)
	session.Quit()
}

// Queue is what waits, in no order.
func (s *Sender) Queue() []Queued { return s.queue() }

// Deferred is what waits after an attempt: reasons by recipient.
func (s *Sender) Deferred() map[string]string {
	all := map[string]string{}
	for _, q := range s.queue() {
		if q.Reason != "" {
			all[q.Recipient] = q.Reason
		}
	}
	return all
}

// Flush makes the server try again all that waits.
func (s *Sender) Flush() { s.flush() }

// FlushUntil makes the server try again, as often as it comes to rest, until the
// condition holds.
func (s *Sender) FlushUntil(what string, condition func() bool) {
	s.t.Helper()
	Eventually(s.t, what, func() bool {
		if condition() {
			return true
		}
		untried := func(q Queued) bool { return q.Reason == "" }
		if waiting := s.queue(); len(waiting) > 0 && !slices.ContainsFunc(waiting, untried) {
			s.flush()
		}
		return false
	})
}

// WaitTried waits until a Postfix has tried to deliver so many messages, each of which has
// its time, and none of which is tried again. Bounces do not count.
func (s *Sender) WaitTried(messages int) {
	s.t.Helper()
	for n := range messages {
		Eventually(s.t, fmt.Sprintf("%d messages are tried", n+1), func() bool {
			log := s.Log()
			return strings.Count(log, " status=")-strings.Count(log, "to=<a@client.test>") > n
		})
	}
}

// sending are the settings of a Postfix that sends.
const sending = `myhostname = client.test
virtual_mailbox_domains = client.test
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_recipient_limit = 1000
smtp_dns_support_level = enabled
`

// NewPostfixSender starts a Postfix that sends as the settings say.
func NewPostfixSender(t testing.TB, settings ...string) *Sender {
	t.Helper()
	return NewPostfixSenderAt(t, FreePort(t, "127.0.0.1"), settings...)
}

// NewPostfixSenderAt is NewPostfixSender with a listener on an address.
func NewPostfixSenderAt(t testing.TB, addr string, settings ...string) *Sender {
	t.Helper()
	return postfixSender(t, NewPostfixAt(t, addr, override(sending, strings.Join(settings, "\n"))))
}

// NewPostfixSenderWith is NewPostfixSender with what a master.cf says of its listeners,
// of which one is at addr.
func NewPostfixSenderWith(t testing.TB, addr, listeners string, settings ...string) *Sender {
	t.Helper()
	p := newPostfix(t, addr)
	p.start(listeners, []string{override(sending, strings.Join(settings, "\n"))})
	return postfixSender(t, p)
}

func postfixSender(t testing.TB, p *Postfix) *Sender {
	s := &Sender{MTA: p.MTA, ProxyAddr: p.ProxyAddr}
	postqueue := Tool(t, "postqueue")
	s.queue = func() []Queued {
		out, err := exec.Command(postqueue, "-c", p.config, "-j").Output()
		if err != nil {
			t.Fatalf("postqueue: %v\n%s", err, out)
		}
		return postfixQueue(t, string(out))
	}
	s.flush = func() {
		if out, err := exec.Command(postqueue, "-c", p.config, "-f").CombinedOutput(); err != nil {
			t.Fatalf("postqueue -f: %v\n%s", err, out)
		}
	}
	return s
}

// postfixQueue reads what "postqueue -j" writes: an object for each message.
func postfixQueue(t testing.TB, text string) []Queued {
	var all []Queued
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var m struct {
			Recipients []struct {
				Address string
				Reason  string `json:"delay_reason"`
			}
		}
		switch err := decoder.Decode(&m); {
		case err == io.EOF:
			return all
		case err != nil:
			t.Fatalf("postqueue -j wrote %q: %v", text, err)
		}
		for _, r := range m.Recipients {
			all = append(all, Queued{r.Address, r.Reason})
		}
	}
}

// NewEximSender starts an Exim that sends as the routers and transports say. It
// tries again whenever it is told to.
func NewEximSender(t testing.TB, main, routers, transports string) *Sender {
	t.Helper()
	return NewEximSenderAt(t, FreePort(t, "127.0.0.1"), main, routers, transports)
}

// NewEximSenderAt is NewEximSender on an address. Main may have other settings of
// listeners, of which one is at addr.
func NewEximSenderAt(t testing.TB, addr, main, routers, transports string) *Sender {
	t.Helper()
	m, dir := startExim(t, addr, func(dir string) string {
		return eximSettings{addr: addr, routers: routers, transports: transports, retry: "* * F,4d,1s",
			main: override("domainlist local_domains = client.test\n", main)}.text(dir)
	})
	exim := func(args ...string) string {
		cmd := exec.Command(filepath.Join(dir, "exim4"), append([]string{"-C", filepath.Join(dir, "exim.conf")}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("exim4 %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	s := &Sender{MTA: *m}
	s.queue = func() []Queued { return eximQueue(exim("-bp"), m.Log()) }
	s.flush = func() { exim("-qff") }
	return s
}

var (
	eximWaiting  = regexp.MustCompile(`(?m)^ {10}([^ \n]+@[^ \n]+)$`)
	eximDeferred = regexp.MustCompile(`(?m)^\S+ \S+ \S+ == (\S+) .*? defer (.*)$`)
)

// eximQueue reads what waits from "exim -bp", and why from the log.
func eximQueue(listing, log string) []Queued {
	reasons := map[string]string{}
	for _, m := range eximDeferred.FindAllStringSubmatch(log, -1) {
		reasons[m[1]] = m[2]
	}
	var all []Queued
	for _, m := range eximWaiting.FindAllStringSubmatch(listing, -1) {
		all = append(all, Queued{m[1], reasons[m[1]]})
	}
	return all
}

// NewOpenSMTPDSender starts an OpenSMTPD whose configuration, below its
// listener, is given.
func NewOpenSMTPDSender(t testing.TB, config string) *Sender {
	t.Helper()
	addr := FreePort(t, "127.0.0.1")
	host, port, _ := net.SplitHostPort(addr)
	return NewOpenSMTPDSenderAt(t, addr, func(mail string) string {
		return fmt.Sprintf(`table bounces { "@" = "nobody" }
listen on %s port %s hostname client.test
action "inbox" maildir "%s" virtual <bounces>
match from any for domain "client.test" action "inbox"
%s
`, host, port, mail, config)
	})
}

// NewOpenSMTPDSenderAt starts an OpenSMTPD that listens on addr at least, with a
// configuration that is made for the maildir that it delivers into.
func NewOpenSMTPDSenderAt(t testing.TB, addr string, config func(mail string) string) *Sender {
	t.Helper()
	m := startOpenSMTPD(t, addr, func(dir string) string { return config(filepath.Join(dir, "mail")) })
	s := &Sender{MTA: *m}
	ctl := func(args ...string) string {
		dir := filepath.Dir(m.log)
		out, err := exec.Command("nsenter", append([]string{"--mount", "--target", pidIn(t, dir), filepath.Join(dir, "bin", "smtpctl")}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("smtpctl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	s.queue = func() []Queued { return openSMTPDQueue(ctl("show", "queue"), m.Log()) }
	s.flush = func() { ctl("schedule", "all") }
	return s
}

// pidIn finds the process that works in the folder, by its configuration.
func pidIn(t testing.TB, dir string) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, path := range all {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), "smtpd\x00-d\x00-f\x00"+dir+"/") {
			return filepath.Base(filepath.Dir(path))
		}
	}
	t.Fatalf("no OpenSMTPD works in %s", dir)
	return ""
}

var openSMTPDResult = regexp.MustCompile(`(?m)delivery evpid=\S+ from=\S+ to=<(\S+)> .*result="?TempFail"? stat="?(.*?)"?$`)

// openSMTPDQueue reads what waits from "smtpctl show queue", with its fields
// between bars, and why from the log.
func openSMTPDQueue(listing, log string) []Queued {
	reasons := map[string]string{}
	for _, m := range openSMTPDResult.FindAllStringSubmatch(log, -1) {
		reasons[m[1]] = m[2]
	}
	var all []Queued
	for line := range strings.Lines(listing) {
		if fields := strings.Split(line, "|"); len(fields) > 6 {
			all = append(all, Queued{fields[6], reasons[fields[6]]})
		}
	}
	return all
}

// Submission is a session in which messages are handed to a Sender.
type Submission struct{ c *Client }

// Open begins one.
func (s *Sender) Open() *Submission {
	s.t.Helper()
	Eventually(s.t, "the sender takes messages", s.greets)
	c := Dial(s.t, s.Addr)
	c.Cmd("EHLO mua.test", 250)
	return &Submission{c}
}

// greets says whether the mail server greets with 220: one that listens already, while its
// other daemons are still starting, may say 421.
func (s *Sender) greets() bool {
	c, err := net.DialTimeout("tcp", s.Addr, Deadline)
	if err != nil {
		return false
	}
	defer c.Close()
	code := make([]byte, 3)
	c.SetDeadline(time.Now().Add(Deadline))
	_, err = io.ReadFull(c, code)
	return err == nil && string(code) == "220"
}

// Message hands over one message from a@client.test.
func (s *Submission) Message(message string, recipients ...string) {
	s.c.t.Helper()
	s.c.Cmd("MAIL FROM:<a@client.test>", 250)
	for _, r := range recipients {
		s.c.Cmd("RCPT TO:<"+r+">", 250)
	}
	s.c.Cmd("DATA", 354)
	s.c.Send(Stuff(message) + ".\r\n")
	s.c.Expect(250)
}

// Quit ends it.
func (s *Submission) Quit() {
	s.c.t.Helper()
	s.c.Quit()
}
