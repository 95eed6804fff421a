package app

import (
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/resolve"
)

const year = 365 * 24 * time.Hour

// A clock that is a year behind sees signatures of next year, and one that is ahead those of
// last year: it is the signatures that are moved here.
var wrongClocks = map[string]struct {
	signed time.Duration // before now
	cause  string
}{
	"a year behind": {-year, "is valid from 20"},
	"a year ahead":  {year, "expired on 20"},
}

func TestMailWaitsForAClockThatIsWrongSinceDNSSECHasWorked(t *testing.T) {
	for what, c := range wrongClocks {
		w := newWorld(t)
		w.twoDestinations(t, time.Now().Add(-c.signed), nil)
		p := w.begin(t, inMemory+strings.Replace(w.admin(), "{", "{\n  listen = \"127.0.0.1:0\"", 1)+w.resolverWith(`dnssec = "validate"`)+w.outbound(""))
		p.log.await(t, "level=ERROR", "holds DNSSEC signatures back")
		for _, domain := range []string{"example.com", "plain.com"} { // whose zone above is signed too
			w.wantReply(t, p, what, domain, "451 4.7.5 cannot look up the mail exchangers of DOMAIN: bogus (the signature for DNSKEY of . "+c.cause)
			wantWords(t, what, reply(t, p.at(t, "egress"), domain), "is the clock right that says "+time.Now().UTC().Format(time.DateOnly))
		}
		if status, text := get(t, "http://"+p.admin.page.Addr().String()+"/readyz"); status != 503 {
			t.Errorf("%s: /readyz: %d %s", what, status, text)
		}
	}
}

// SEM 27: where DNSSEC never worked and nobody asked for it, mail goes on; but not to those
// that are known to have had TLSA records.
func TestAClockThatIsWrongFromTheStartHoldsUpKnownDANEDestinationsAlone(t *testing.T) {
	for what, c := range wrongClocks {
		w := newWorld(t)
		w.twoDestinations(t, time.Now(), nil)
		p := w.begin(t, w.kept()+w.resolverWith("")+w.outbound(""))
		mail(t, p.at(t, "egress"), "example.com")
		must(p.stop())
		w.twoDestinations(t, time.Now().Add(-c.signed), nil)
		p = w.begin(t, w.kept()+w.admin()+w.resolverWith("")+w.outbound(""))
		w.wantReply(t, p, what, "example.com", knownDANE+"DNSSEC is not available; without that it is not known how safe the connection must be")
		w.wantReply(t, p, what, "plain.com", "")
		p.log.await(t, "DNSSEC is not available", "is the clock right that says")
	}
}

const knownDANE = "451 4.7.5 mx.DOMAIN: cannot look up the TLSA records of _PORT._tcp.mx.DOMAIN: mx.DOMAIN or DOMAIN had some in the last 30 days, and nobody can tell now: "

// STANDARDS 118.
func TestAClockBeforePosternWasMadeHoldsUpKnownDANEDestinationsAlone(t *testing.T) {
	w := newWorld(t)
	w.twoDestinations(t, time.Now(), nil)
	past := resolve.Options{Now: func() time.Time { return time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC) }}
	p := w.begin(t, w.kept()+w.admin()+w.resolverWith("")+w.outbound(""))
	p.log.await(t, "signatures through")
	p.refit(t, past)
	w.wantReply(t, p, "never seen", "example.com", "")
	p.refit(t, resolve.Options{})
	mail(t, p.at(t, "egress"), "example.com")
	p.log.await(t, "msg=delivery", "source=dane")
	p.refit(t, past)
	w.wantReply(t, p, "known", "example.com", knownDANE+"nothing can be validated: the clock says 2025-11-23 12:00:00")
	w.wantReply(t, p, "unsigned", "plain.com", "")
	text, _, _ := explained(t, ExplainOptions{Domain: "plain.com", Config: p.file})
	wantWords(t, "explain", text, "nobody can tell whether the address of mx.plain.com is signed: nothing can be validated: the clock says 2025-11-23 12:00:00")
}

// STANDARDS 118: it is said, and what the operator has written counts, however well the resolver answers.
func TestAClockBeforePosternWasMadeIsSaid(t *testing.T) {
	w := newWorld(t)
	w.twoDestinations(t, time.Now(), nil)
	p := w.begin(t, inMemory+strings.Replace(w.admin(), "{", "{\n  listen = \"127.0.0.1:0\"", 1)+w.resolverWith("")+w.outbound("destination \"example.com\" {\n level = \"dane\"\n}"))
	p.log.await(t, "signatures through")
	page := "http://" + p.admin.page.Addr().String()
	p.refit(t, resolve.Options{Now: func() time.Time { return time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC) }})
	p.log.await(t, "level=ERROR", "DNSSEC: nothing can be validated: the clock says 2025-11-23 12:00:00", "set the clock")
	if status, text := get(t, page+"/readyz"); status != 503 || !strings.Contains(text, "clock: nothing can be validated: the clock says 2025-11-23 12:00:00") {
		t.Errorf("/readyz: %d %s", status, text)
	}
	_, text := get(t, page+"/metrics")
	wantWords(t, "/metrics", text, "postern_dnssec_validates 0")
	w.wantReply(t, p, "level dane is written", "example.com", "451 4.7.5 mx.DOMAIN: level dane: nobody can tell whether the address of mx.DOMAIN is signed: nothing can be validated: the clock says 2025-11-23 12:00:00")
	w.wantReply(t, p, "level auto", "plain.com", "")
	p.plan.names.trial.try(t.Context())
	if !p.plan.names.trial.known(untested) {
		t.Error("a resolver is judged by a clock that is wrong")
	}
	if text := p.log.String(); strings.Count(text, "set the clock") != 1 || strings.Contains(text, "DNSSEC is not available") {
		t.Errorf("said more than once, or more:\n%s", text)
	}
	p.refit(t, resolve.Options{})
	if status, text := get(t, page+"/readyz"); status != 200 {
		t.Errorf("/readyz with the right clock: %d %s", status, text)
	}
	w.wantReply(t, p, "the right clock", "example.com", "")
}

// A resolver that is found not to know DNSSEC is no wrong clock: level dane without any is may (SEM 27).
func TestLevelDANEIsMayWhereDNSSECIsNotAvailable(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	w.dns = bare(t)
	p := w.begin(t, inMemory+w.resolverWith("")+w.outbound("destination \"example.com\" {\n level = \"dane\"\n}"))
	p.log.await(t, "DNSSEC is not available")
	mail(t, p.at(t, "egress"), "example.com")
}

// SEM 27: a destination that was verified by DANE is not to be had through another host.
func TestForgedMXRecordsDoNotLeadAwayFromDANEWhereThereIsNoDNSSEC(t *testing.T) {
	w := newWorld(t)
	w.twoDestinations(t, time.Now(), nil)
	p := w.begin(t, w.kept()+w.resolverWith("")+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	must(p.stop())
	w.dns = dnstest.Start(t, "example.com. IN MX 10 mx.evil.example.\nplain.com. IN MX 10 mx.evil.example.\nmx.evil.example. IN A 127.0.0.2")
	p = w.begin(t, w.kept()+w.admin()+w.resolverWith("")+w.outbound(""))
	w.wantReply(t, p, "known", "example.com", "451 4.7.5 mx.evil.example: cannot look up the TLSA records of _PORT._tcp.mx.evil.example: mx.evil.example or example.com had some in the last 30 days")
	w.wantReply(t, p, "unknown", "plain.com", "")
}
