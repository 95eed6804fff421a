package app

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/resolve"
)

// twoDestinations is a DNS for the time at: example.com is signed and has TLSA records,
// plain.com is not signed, and the records of its host would not fit. Both take their mail at
// the world's server.
func (w *world) twoDestinations(t *testing.T, at time.Time, flaws map[string]dnstest.Flaw) {
	t.Helper()
	w.dns = dnstest.StartSigned(t,
		dnstest.Zone{Name: ".", At: at},
		dnstest.Zone{Name: "com", At: at},
		dnstest.Zone{Name: "example.com", Records: "@ MX 10 mx\nmx A 127.0.0.2\n" + w.tlsa(true), At: at, Flaws: flaws},
		dnstest.Zone{Name: "plain.com", Records: "@ MX 10 mx\nmx A 127.0.0.2\n_25._tcp.mx TLSA 3 1 1 " + strings.Repeat("ab", 32), Unsigned: true},
	)
	must(os.WriteFile(w.anchors(), []byte(w.dns.Anchors), 0o600))
}

// refit gives a postern that runs another clock for its DNS, and less patience.
func (r *running) refit(t *testing.T, o resolve.Options) {
	t.Helper()
	old := r.plan.names
	anchors := must1(old.from.readAnchors())
	o.Servers, o.Timeout = old.from.cfg.Servers, 200*time.Millisecond
	next := &lookup{from: old.from, plain: must1(resolve.NewWith(o))}
	o.DNSSEC, o.Anchors = modes[old.from.cfg.DNSSEC], anchors
	next.checked = must1(resolve.NewWith(o))
	next.trial = &trial{lookup: next, memory: r.memories, log: old.trial.log, observer: old.trial.observer}
	r.plan.names = next
	r.reload() // and what was built on the old names is built on these
	if r.plan.names != next {
		t.Fatalf("not reloaded:\n%s", r.log)
	}
	next.trial.try(t.Context())
}

// reply is what an outbound says to a recipient.
func reply(t *testing.T, address, domain string) string {
	t.Helper()
	c := dial(t, address)
	c.do(250, "EHLO mta.test")
	c.do(250, "MAIL FROM:<a@b.test>")
	must(c.PrintfLine("RCPT TO:<c@%s>", domain))
	code, text, err := c.ReadResponse(0)
	if err != nil && code == 0 {
		t.Fatal(err)
	}
	c.do(221, "QUIT")
	return fmt.Sprint(code, " ", strings.ReplaceAll(text, "\n", " "))
}
