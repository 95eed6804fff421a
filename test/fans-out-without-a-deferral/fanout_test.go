// Package fanout proves that a message for many destinations reaches all of
// them at once through the LMTP front: no recipient waits for another, and each
// has its own answer.
package fanout

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/test/harness"
)

// destinations is what Postfix puts into one transaction by itself
// (lmtp_destination_recipient_limit).
const destinations = 50

func TestFiftyDomains(t *testing.T) {
	t.Parallel()
	l, domains, servers := lab(t)
	out, sender := start(t, l)
	sender.Submit(harness.Message("fifty"), recipients(domains)...)
	harness.Eventually(t, "every domain has the message", func() bool { return arrived(servers) == destinations })
	harness.Eventually(t, "nothing waits", func() bool { return len(sender.Queue()) == 0 })
	for i, s := range servers {
		if got := s.Messages(); len(got) != 1 || !strings.HasSuffix(got[0], harness.Message("fifty")) {
			t.Errorf("%s got %q", domains[i], got)
		}
	}
	log := sender.Log()
	if n := strings.Count(log, "status=sent"); n != destinations || strings.Contains(log, "status=deferred") {
		t.Errorf("%d of %d were delivered at once:\n%s", n, destinations, log)
	}
	for _, domain := range domains { // each has the reply of its own server
		if want := fmt.Sprintf("to=<b@%s>, relay=127.0.0.1[127.0.0.1]", domain); !hasLine(log, want, "queued by "+domain) {
			t.Errorf("no line with %q and the reply of %s:\n%s", want, domain, log)
		}
	}
	if n := sessions(out); n != 1 {
		t.Errorf("it took %d sessions, want one", n)
	}
}

// One that refuses and one that is down are the only ones that miss it.
func TestThoseThatFailHarmNobody(t *testing.T) {
	t.Parallel()
	l, domains, servers := lab(t)
	servers[10].Play(smtptest.Script{Replies: map[string]string{".": "550 5.7.1 not this one"}})
	servers[20].Stop()
	servers[30].Play(smtptest.Script{TLS: l.Good(), Die: "message"})
	out, sender := start(t, l)
	sender.Submit(harness.Message("most"), recipients(domains)...)
	harness.Eventually(t, "all others have the message", func() bool { return arrived(servers) == destinations-2 })
	sender.Wait("550 5.7.1 not this one")
	harness.Eventually(t, "two wait", func() bool { return len(sender.Deferred()) == 2 && len(sender.Queue()) == 2 })
	waiting := sender.Deferred()
	for _, i := range []int{20, 30} {
		if reason := waiting["b@"+domains[i]]; !strings.Contains(reason, "451 4.4.") || !strings.Contains(reason, "mx."+domains[i]) {
			t.Errorf("%s waits because of %q", domains[i], reason)
		}
	}
	if n := sessions(out); n != 1 {
		t.Errorf("it took %d sessions, want one", n)
	}
}

func lab(t *testing.T) (l *harness.Lab, domains []string, servers []*smtptest.Backend) {
	l = harness.NewLab(t)
	for i := range destinations {
		domain := fmt.Sprintf("d%d.test", i)
		script := smtptest.Script{Replies: map[string]string{".": "250 2.0.0 queued by " + domain}}
		if i%2 == 0 {
			script.TLS = l.Good()
		}
		domains = append(domains, domain)
		servers = append(servers, l.Serve(script, domain))
	}
	return l, domains, servers
}

func start(t *testing.T, l *harness.Lab) (*harness.Postern, *harness.Sender) {
	g := l.Gateway()
	g.Protocol = "lmtp"
	out := g.Start(t)
	return out, harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, LMTP", 0, out.Addr))
}

func recipients(domains []string) []string {
	var all []string
	for _, d := range domains {
		all = append(all, "b@"+d)
	}
	return all
}

func arrived(servers []*smtptest.Backend) (n int) {
	for _, s := range servers {
		n += len(s.Messages())
	}
	return n
}

// sessions is how many the mail server has had with postern.
func sessions(out *harness.Postern) int {
	seen := map[string]bool{}
	for _, d := range out.WaitDeliveries(destinations) {
		seen[d.Session] = true
	}
	return len(seen)
}

func hasLine(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return true
		}
	}
	return false
}
