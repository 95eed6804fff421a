// Package published proves that a mail server without TLS, and a resolver without
// DNSSEC, are enough behind postern: mail goes out as safely as each domain has published that
// it can be, by DANE and by MTA-STS, whoever is in between.
package published

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// domain is one destination: what it publishes, and who answers in its name.
type domain struct {
	name     string
	unsigned bool         // its zone is not signed
	records  string       // beside MX and address: see zone
	flaw     dnstest.Flaw // of the TLSA records
	fault    string       // RCODE of a question for them
	policy   string       // of MTA-STS; "": none
	web      string       // that serves it: "" one with a good certificate, "stranger" with one by nobody known, "down"
	server   string       // at the MX: "" one with a good certificate, "stranger" with one by nobody known, "clear" without TLS
	next     bool         // another MX, with a good certificate

	want  string   // the attempts, as in the log: the token for TLS, and what is thought of who has the mail
	level string   // that postern explain tells for the first MX
	by    string   // who asks for it
	says  []string // what else its page has
}

const (
	right    = "_25._tcp.mx TLSA 3 1 1 KEY"
	wrong    = "_25._tcp.mx TLSA 3 1 1 OTHER"
	unusable = "_25._tcp.mx TLSA 1 1 1 KEY"
)

var domains = []domain{
	{name: "plain", unsigned: true, server: "clear", want: "may:none clear", level: "may", by: "default"},
	{name: "plain-tls", unsigned: true, server: "stranger", want: "may Untrusted", level: "may", by: "default"},

	{name: "dane", records: right, server: "stranger", want: "dane Verified", level: "dane", by: "dane", says: []string{"3 1 1 "}},
	{name: "dane-tampered", records: wrong, server: "stranger", want: "dane/!certificate", level: "dane", by: "dane", says: []string{"3 1 1 07070707"}},
	{name: "dane-stripped", records: right, server: "clear", want: "dane/!starttls", level: "dane", by: "dane"},
	{name: "dane-forged", records: right, flaw: dnstest.WrongKey, want: "dane?", level: "dane", by: "dane", says: []string{"does not verify"}},
	{name: "dane-unsigned", records: right, flaw: dnstest.NoSignature, want: "dane?", level: "dane", by: "dane"},
	{name: "dane-withheld", fault: "SERVFAIL", want: "dane?", level: "dane", by: "dane", says: []string{"SERVFAIL"}},
	{name: "dane-next", records: wrong, next: true, want: "dane/!certificate, may Verified", level: "dane", by: "dane"},
	{name: "dane-unusable", records: unusable, server: "stranger", want: "encrypt Untrusted", level: "encrypt", by: "dane", says: []string{"usage 1"}},

	{name: "sts", unsigned: true, policy: policyOf("enforce", "mx.sts.test"), want: "secure Verified", level: "secure", by: "mta-sts", says: []string{"enforce"}},
	{name: "sts-signed", policy: policyOf("enforce", "*.sts-signed.test"), want: "secure Verified", level: "secure", by: "mta-sts"},
	{name: "sts-stranger", unsigned: true, policy: policyOf("enforce", "mx.sts-stranger.test"), server: "stranger", want: "secure/!certificate", level: "secure", by: "mta-sts"},
	{name: "sts-stripped", unsigned: true, policy: policyOf("enforce", "mx.sts-stripped.test"), server: "clear", want: "secure/!starttls", level: "secure", by: "mta-sts"},
	{name: "sts-unlisted", unsigned: true, policy: policyOf("enforce", "mx.elsewhere.test"), want: "secure?", level: "secure", by: "mta-sts", says: []string{"mx.elsewhere.test"}},
	{name: "sts-unlisted-next", unsigned: true, policy: policyOf("enforce", "next.sts-unlisted-next.test"), next: true, want: "secure?, secure Verified", level: "secure", by: "mta-sts"},
	{name: "sts-testing", unsigned: true, policy: policyOf("testing", "mx.elsewhere.test"), server: "stranger", want: "may Untrusted", level: "may", by: "default", says: []string{"testing"}},
	{name: "sts-none", unsigned: true, policy: policyOf("none"), server: "clear", want: "may:none clear", level: "may", by: "default"},

	// A policy that was never seen is no promise (RFC 8461, 3.3).
	{name: "sts-down", unsigned: true, policy: policyOf("enforce", "mx.sts-down.test"), web: "down", server: "stranger", want: "may Untrusted", level: "may", by: "default", says: []string{"connection refused"}},
	{name: "sts-forged", unsigned: true, policy: policyOf("enforce", "mx.sts-forged.test"), web: "stranger", server: "stranger", want: "may Untrusted", level: "may", by: "default", says: []string{"certificate of mta-sts.sts-forged.test"}},
	{name: "sts-garbage", unsigned: true, policy: "hello", server: "stranger", want: "may Untrusted", level: "may", by: "default", says: []string{`"hello"`}},

	// Both (STANDARDS 136).
	{name: "both", records: right, policy: policyOf("enforce", "mx.elsewhere.test"), server: "stranger", want: "dane Verified", level: "dane", by: "dane"},
	{name: "both-tampered", records: wrong, policy: policyOf("enforce", "mx.both-tampered.test"), want: "dane/!certificate", level: "dane", by: "dane"},
	{name: "both-withheld", fault: "SERVFAIL", policy: policyOf("enforce", "mx.both-withheld.test"), want: "dane?", level: "dane", by: "dane"},
	{name: "both-unusable", records: unusable, policy: policyOf("enforce", "mx.both-unusable.test"), want: "secure Verified", level: "secure", by: "mta-sts", says: []string{"usage 1", "enforce"}},
	{name: "both-unusable-stranger", records: unusable, policy: policyOf("enforce", "mx.both-unusable-stranger.test"), server: "stranger", want: "secure/!certificate", level: "secure", by: "mta-sts"},

	// A domain that is not signed, with a signed host.
	{name: "hosted", unsigned: true, records: "@ MX 10 mx.dane.test.", want: "dane Trusted", level: "dane", by: "dane", says: []string{"hosted.test is not signed"}},
	{name: "hosted-listed", unsigned: true, records: "@ MX 10 mx.dane.test.", policy: policyOf("enforce", "*.dane.test"), want: "dane Trusted", level: "dane", by: "dane"},
	{name: "hosted-unlisted", unsigned: true, records: "@ MX 10 mx.dane.test.", policy: policyOf("enforce", "mx.hosted-unlisted.test"), want: "dane?", level: "dane", by: "dane"},
}

// policyOf is one of that mode, for the hosts of a domain.
func policyOf(mode string, hosts ...string) string {
	text := "version: STSv1\nmode: " + mode + "\nmax_age: 86400\n"
	for _, h := range hosts {
		text += "mx: " + h + "\n"
	}
	return text
}

func TestMailLeavesAsDomainsPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t, domains)
	w.send(domains)
	w.sender.WaitTried(len(domains))
	waiting := w.sender.Deferred()
	for _, d := range domains {
		t.Run(d.name, func(t *testing.T) {
			made := w.made(d)
			if got := harness.Story(made); got != d.want {
				t.Fatalf("%s, want %s: %+v", got, d.want, made)
			}
			w.arrived(t, d, waiting["b@"+d.name+".test"], made)
			w.explained(t, d, made)
		})
	}
}

// send hands a message for each of the domains to the mail server.
func (w *world) send(all []domain) {
	w.Do(func() {
		session := w.sender.Open()
		for _, d := range all {
			session.Message(harness.Message(d.name), "b@"+d.name+".test")
		}
		session.Quit()
	})
}

// made are the attempts to deliver to a domain.
func (w *world) made(d domain) (those []harness.Delivery) {
	for _, one := range w.out.Deliveries() {
		if one.Destination == d.name+".test" {
			those = append(those, one)
		}
	}
	return those
}

// arrived checks that a server has the message, as safely as the log says, or that it waits, and
// that the mail server was told why.
func (w *world) arrived(t *testing.T, d domain, reason string, made []harness.Delivery) {
	t.Helper()
	last := made[len(made)-1]
	has, secured := w.took(d)
	if taken := strings.HasPrefix(last.Reply, "2"); has != taken || has == (reason != "") || secured != (last.Version != "") {
		t.Errorf("a server has it: %t, over TLS: %t; it waits because of %q; and logged is %+v", has, secured, reason, last)
	}
	if !has && (!strings.Contains(last.Reply, " 4.7.5 "+last.Host) || !strings.Contains(reason, last.Reply)) {
		t.Errorf("it waits because of %q, and logged is %+v", reason, last)
	}
}

func (w *world) took(d domain) (has, secured bool) {
	for _, s := range w.servers {
		for _, c := range s.Conns() {
			if len(c.Messages()) > 0 && slices.ContainsFunc(c.Commands(), func(line string) bool { return strings.HasPrefix(line, "RCPT TO:<b@"+d.name+".test>") }) {
				return true, c.Secured() != nil
			}
		}
	}
	return false, false
}

// explained checks that postern explain tells the same story, to programs and to people.
func (w *world) explained(t *testing.T, d domain, made []harness.Delivery) {
	t.Helper()
	text, code := w.out.Command("explain", d.name+".test", "--json")
	var all []struct {
		Hosts []struct {
			Name     string
			Decision struct{ Level, Source, Error string }
		}
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 || len(all[0].Hosts) == 0 {
		t.Fatalf("explain --json: %v: %s", err, text)
	}
	page, _ := w.out.Command("explain", d.name+".test")
	usable := false
	for _, h := range all[0].Hosts {
		usable = usable || h.Decision.Error == ""
		if h.Name == made[0].Host && (h.Decision.Level != d.level || h.Decision.Source != d.by || (h.Decision.Error != "") != strings.HasSuffix(made[0].TLS, "?")) {
			t.Errorf("explained as %+v", h)
		}
		if !strings.Contains(page, h.Name+":25") {
			t.Errorf("%s is not on the page:\n%s", h.Name, page)
		}
	}
	if (code == 0) != usable {
		t.Errorf("explain ended with exit code %d", code)
	}
	for _, says := range d.says {
		if !strings.Contains(page, says) {
			t.Errorf("the page does not say %q:\n%s", says, page)
		}
	}
}

// What a domain has published binds whoever stands in its place later: mail waits as long
// as he does (STANDARDS 80, 130, 134).
func TestWhatWasPublishedHolds(t *testing.T) {
	t.Parallel()
	all := []domain{
		{name: "dane", records: right},
		{name: "sts", unsigned: true, policy: policyOf("enforce", "mx.sts.test")},
	}
	w := newWorld(t, all)
	dane, sts := w.servers["mx.dane.test"], w.servers["mx.sts.test"]
	w.send(all)
	w.sender.WaitTried(2)
	if len(dane.Messages()) != 1 || len(sts.Messages()) != 1 {
		t.Fatalf("not delivered: %+v", w.out.Deliveries())
	}

	w.DNS.Break("_mta-sts.sts.test", "TXT", dnstest.NoName)
	w.web.Close()
	dane.Play(domain{}.script(domain{name: "dane", server: "stranger"}.certificate(t, w.authority)))
	sts.Play(smtptest.Script{})
	w.send(all)
	w.sender.WaitTried(4)
	for recipient, token := range map[string]string{"b@dane.test": "dane/!certificate", "b@sts.test": "secure/!starttls"} {
		if !strings.Contains(w.sender.Deferred()[recipient], "451 4.7.5") {
			t.Errorf("%s does not wait: %v", recipient, w.sender.Deferred())
		}
		made := w.made(domain{name: strings.TrimSuffix(recipient[2:], ".test")})
		if got := made[len(made)-1].TLS; got != token {
			t.Errorf("%s: %s, want %s", recipient, got, token)
		}
	}
	if len(dane.Messages()) != 1 || len(sts.Messages()) != 1 {
		t.Error("it was delivered all the same")
	}

	dane.Play(domain{}.script(w.pairs["dane"]))
	sts.Play(domain{}.script(w.pairs["sts"]))
	w.Do(func() {
		w.sender.FlushUntil("the mail arrives", func() bool { return len(dane.Messages()) == 2 && len(sts.Messages()) == 2 })
	})
	for _, c := range append(dane.Conns(), sts.Conns()...) {
		if len(c.Messages()) > 0 && c.Secured() == nil {
			t.Error("it came in clear")
		}
	}
}
