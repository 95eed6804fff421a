// Package pages does what the pages of docs/deploy say, with the files, ports and
// commands that they have, on machines that are made for it: mail comes in by
// STARTTLS with the client's own address, goes out by TLS, and strangers are not
// relayed for.
package pages

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// The addresses and names that the pages have.
const (
	mailServer4, mailServer6 = "192.0.2.25", "2001:db8::25"
	stranger4, stranger6     = "192.0.2.7", "2001:db8::7"
	zone                     = `
example.org.      0 IN MX 10 mail.example.org.
mail.example.org. 0 IN A 192.0.2.25
mail.example.org. 0 IN AAAA 2001:db8::25
example.com.      0 IN MX 10 mx.example.com.
mx.example.com.   0 IN A 192.0.2.7
smtp.example.net. 0 IN A 192.0.2.8
client.test.      0 IN A 192.0.2.25
`
)

// world is a mail server, another machine, and a mail exchanger of example.com on
// that.
type world struct {
	t               *testing.T
	page            string
	server, another *harness.Machine
	mx              *smtptest.Backend
	lab             *harness.Lab
	postern         *harness.Postern
	mta             *harness.Sender
}

// newWorld makes the machines. The server has what test/install.sh unpacked under
// these names.
func newWorld(t *testing.T, page string, unpacked ...string) *world {
	t.Helper()
	harness.Tool(t, "swaks")
	w := &world{t: t, page: page, lab: harness.NewLab(t), server: harness.NewMachine(t, unpacked...), another: harness.NewMachine(t)}
	harness.Link(w.server.Namespace, "eth0", []string{mailServer4 + "/24", mailServer6 + "/64"},
		w.another.Namespace, "eth0", []string{stranger4 + "/24", "192.0.2.8/24", stranger6 + "/64"})
	for _, m := range []*harness.Machine{w.server, w.another} {
		dns, err := dnstest.New(zone)
		m.Do(func() {
			if err == nil {
				err = dns.Listen("127.0.0.1:53")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(dns.Close)
	}
	w.another.Do(func() { w.mx = smtptest.NewBackendAt(t, stranger4+":25", smtptest.Script{TLS: w.lab.Good()}) })
	return w
}

// block is the one block of the page with a title.
func (w *world) block(title string) string {
	w.t.Helper()
	return harness.Titled(w.t, w.page, title)
}

// runPostern runs postern as the page says. The authority of the certificates is
// known on the machine.
func (w *world) runPostern(listens ...string) {
	w.t.Helper()
	pair := w.lab.CA.Issue(w.t, harness.ECDSA, "mail.example.org")
	w.server.Run("cp " + pair.CertFile + " /etc/postern/fullchain.pem; cp " + pair.KeyFile + " /etc/postern/privkey.pem")
	w.server.Write("/etc/postern/config.hcl", w.block("/etc/postern/config.hcl"))
	w.postern = w.server.Postern([]string{"SSL_CERT_FILE=" + w.lab.CA.File}, listens...)
}

// commands runs the commands that the page has for a machine, and fails the test
// unless they succeed, or fail, as it says.
func (w *world) commands(on *harness.Machine, title string, succeed bool) {
	w.t.Helper()
	ran := false
	for _, b := range harness.Blocks(w.t, w.page) {
		if b.Title != title {
			continue
		}
		for line := range strings.Lines(b.Text) {
			ran = true
			if out, code := on.Shell("SSL_CERT_FILE=" + w.lab.CA.File + " " + line); (code == 0) != succeed {
				w.t.Errorf("%s: exit code %d, and\n%s", line, code, out)
			}
		}
	}
	if !ran {
		w.t.Errorf("docs/%s has no commands titled %q", w.page, title)
	}
}

// follows does what a reader does once all is set up.
func (w *world) follows(received ...string) {
	w.t.Helper()
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", w.mta.Name, w.mta.Log())
		}
	})
	w.commands(w.server, "on the mail server", true)
	w.commands(w.another, "on another machine", true)
	w.commands(w.another, "on another machine, refused", false)
	w.comesIn(received...)
	w.goesOut()
	w.waits()
}

// comesIn sends mail from outside by both families. What the mail server writes on top
// of it must name the client by these words, of which ADDRESS
// is the address.
func (w *world) comesIn(words ...string) {
	w.t.Helper()
	for from, to := range map[string]string{stranger4: mailServer4 + ":25", stranger6: "[" + mailServer6 + "]:25"} {
		id := "in" + fmt.Sprint(len(from))
		w.another.Do(func() {
			c := harness.Dial(w.t, to)
			c.Hello = "another.test"
			c.StartTLS(harness.Trusting(w.lab.CA, "mail.example.org"))
			c.Envelope("me@example.com", "b@example.org")
			c.Send(harness.Message(id) + ".\r\n")
			c.Expect(250)
			c.Quit()
		})
		header, ours := theirs(w.mta.Wait("<" + id + "@"))
		if !ours {
			w.t.Errorf("postern has not written a trace header on top of\n%s", header)
		}
		for _, word := range words {
			if want := strings.ReplaceAll(word, "ADDRESS", from); !strings.Contains(header, want) {
				w.t.Errorf("no %q in the trace header of\n%s", want, header)
			}
		}
	}
}

// theirs is what the mail server has written on top of the trace header of postern, and
// whether there is one.
func theirs(message []byte) (header string, ours bool) {
	header, _, ours = strings.Cut(strings.Join(strings.Fields(string(message)), " "), " (postern) ")
	return header[:max(strings.LastIndex(header, "Received:"), 0)], ours
}

// goesOut sends mail to somebody outside from the mail server itself.
func (w *world) goesOut() {
	w.t.Helper()
	w.server.Do(func() { w.mta.Submit(harness.Message("out"), "somebody@example.com") })
	harness.Eventually(w.t, "it arrives", func() bool { return len(w.mx.Messages()) == 1 })
	if w.mx.Conns()[0].Secured() == nil {
		w.t.Error("it went in clear")
	}
	w.postern.WaitLog("msg=delivery", "destination=example.com", "version=TLSv1.3", "peer=Verified")
}

// waits sends mail while postern is not there: it stays with the mail server, and
// nothing leaves in clear.
func (w *world) waits() {
	w.t.Helper()
	w.postern.Stop()
	w.server.Do(func() {
		w.mta.Submit(harness.Message("late"), "late@example.com")
		harness.Eventually(w.t, "it waits in the queue, with a reason", func() bool { return w.mta.Deferred()["late@example.com"] != "" })
	})
	if n := len(w.mx.Messages()); n != 1 {
		w.t.Errorf("%d messages have left", n)
	}
}

func TestPostfix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "deploy/postfix.md")
	w.runPostern("0.0.0.0:25", "[::]:25", "127.0.0.1:10025")
	w.server.Do(func() {
		w.mta = harness.NewPostfixSenderWith(t, "127.0.0.1:2525", w.block("/etc/postfix/master.cf"), w.block("/etc/postfix/main.cf"),
			"virtual_mailbox_domains = example.org", "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination")
	})
	w.follows("ADDRESS]")
}

func TestExim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "deploy/exim.md")
	w.runPostern("0.0.0.0:25", "[::]:25", "127.0.0.1:10025")
	w.server.Write("/etc/exim4/check_rcpt", "accept hosts = 127.0.0.1\naccept domains = +local_domains\ndeny message = relay not permitted\n")
	main := "domainlist local_domains = example.org : client.test\nacl_smtp_rcpt = /etc/exim4/check_rcpt\n" + w.block("main section")
	w.server.Do(func() {
		w.mta = harness.NewEximSenderAt(t, "127.0.0.1:587", main, w.block("routers section"), w.block("transports section"))
	})
	w.follows("ADDRESS]")
}

func TestOpenSMTPD(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "deploy/opensmtpd.md")
	w.runPostern("0.0.0.0:25", "[::]:25", "127.0.0.1:10025")
	w.server.Do(func() {
		w.mta = harness.NewOpenSMTPDSenderAt(t, "127.0.0.1:587", func(mail string) string {
			return fmt.Sprintf("table everybody { \"@\" = \"nobody\" }\naction \"inbox\" maildir %q virtual <everybody>\n"+
				"match from any for domain \"example.org\" action \"inbox\"\n", mail) + w.block("/etc/smtpd.conf")
		})
	})
	w.follows("ADDRESS]")
}

func TestSendmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "deploy/sendmail.md", harness.SendmailFolders...)
	w.runPostern("0.0.0.0:25", "[::]:25", "127.0.0.1:10025")
	w.mta = harness.NewSendmail(t, w.server, "127.0.0.1:587", w.block("/etc/mail/sendmail.mc"))
	w.follows("by mail.example.org")
}

func TestDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "deploy/device.md")
	w.server.Run("ip addr add 192.0.2.40/24 dev eth0")
	var provider *smtptest.Backend
	w.another.Do(func() { provider = smtptest.NewBackendAt(t, "192.0.2.8:25", smtptest.Script{TLS: w.lab.Good()}) })
	w.runPostern("192.0.2.25:25")
	for _, b := range harness.Blocks(t, w.page) {
		if b.Title == "on a device" { // whose address the machine of postern has too
			out, code := w.server.Shell(strings.Replace(b.Text, "swaks ", "swaks --local-interface 192.0.2.40 ", 1))
			if code != 0 {
				t.Errorf("%s: exit code %d, and\n%s", b.Text, code, out)
			}
		}
	}
	if len(provider.Messages()) != 1 || provider.Conns()[0].Secured() == nil {
		t.Errorf("the provider has %q", provider.Messages())
	}
	w.postern.WaitLog("msg=delivery", "tls=secure", "peer=Verified")
	w.commands(w.another, "on another machine, refused", false)
	w.postern.WaitLog("outcome=from")
}
